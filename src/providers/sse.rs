//! Server-sent events of providers: bytes in any pieces in, whole `data` payloads out.

/// The longest line, in bytes: a piece of an answer is far below it.
const LINE_BYTES_MAX: usize = 262_144;

/// A line was too long or was no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    /// The last byte was a carriage return, which has ended its line: a line feed after it ends no other.
    after_cr: bool,
    /// A line has begun; before it there may be a byte order mark.
    begun: bool,
    /// Something else than data was in it since this was asked last.
    other: bool,
}

impl SseParser {
    /// Takes the next bytes; returns the payloads of the events they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Malformed> {
        let mut complete = Vec::new();
        for byte in bytes {
            let rest_of_crlf = *byte == b'\n' && self.after_cr;
            self.after_cr = *byte == b'\r';
            if rest_of_crlf {
                continue;
            }
            if !matches!(byte, b'\n' | b'\r') {
                if self.line.len() >= LINE_BYTES_MAX {
                    return Err(Malformed);
                }
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, &mut complete)?;
        }
        Ok(complete)
    }

    /// The payload of an event that the end of the stream cut before its blank line; servers do that.
    pub fn finish(&mut self) -> Result<Vec<String>, Malformed> {
        let mut complete = Vec::new();
        let line = std::mem::take(&mut self.line);
        self.end_line(&line, &mut complete)?;
        self.end_line(b"", &mut complete)?;
        Ok(complete)
    }

    /// Whether every event that began has ended.
    pub const fn is_between(&self) -> bool {
        self.line.is_empty() && !self.has_data
    }

    /// Whether there was nothing but data since this was asked last: no comments, no names, no ids.
    pub const fn take_only_data(&mut self) -> bool {
        !std::mem::replace(&mut self.other, false)
    }

    fn end_line(&mut self, line: &[u8], complete: &mut Vec<String>) -> Result<(), Malformed> {
        if line.is_empty() {
            if self.has_data {
                complete.push(std::mem::take(&mut self.data));
                self.has_data = false;
            }
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
        self.other |= !line.starts_with("data:");
        let line = if self.begun { line } else { line.trim_start_matches('\u{FEFF}') };
        self.begun = true;
        if let Some(value) = line.strip_prefix("data:") {
            if self.has_data {
                self.data.push('\n');
            }
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
            self.has_data = true;
        }
        if self.data.len() > LINE_BYTES_MAX { Err(Malformed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_are_put_together() {
        let mut parser = SseParser::default();
        let text = b": hi\r\nevent: x\ndata: a\r\ndata:b\n\n\ndata: [DONE]\n\nid: 1\n\ndata: cut";
        assert_eq!(parser.push(text).unwrap(), ["a\nb", "[DONE]"]);
        assert_eq!(parser.finish().unwrap(), ["cut"]);
        let mut parser = SseParser::default();
        assert_eq!(parser.push("\u{FEFF}data: a\r\rdata: b\r".as_bytes()).unwrap(), ["a"]);
        assert_eq!(parser.push(b"\n\r\n").unwrap(), ["b"]);
    }

    #[test]
    fn it_knows_whether_bytes_could_go_on_as_they_are() {
        let mut parser = SseParser::default();
        for (bytes, only_data, between) in [
            ("data: a\n\ndata: b\n\n", true, true),
            ("data: c\n", true, false),
            ("\n", true, true),
            ("da", true, false),
            ("ta: d\n\n", true, true),
            (": ping\n\n", false, true),
            ("event: x\ndata: e\n\n", false, true),
            ("retry: 1\n", false, true),
            ("data: f\n\n", true, true),
        ] {
            parser.push(bytes.as_bytes()).unwrap();
            assert_eq!((parser.take_only_data(), parser.is_between()), (only_data, between), "{bytes:?}");
        }
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut parser = SseParser::default();
        assert_eq!(parser.push(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(text in "(data: [a-zé]{0,5}(\r|\n|\r\n)|\n|\r|: c\n){0,20}", cut in 1_usize..9) {
            let mut whole = SseParser::default();
            let mut expected = whole.push(text.as_bytes()).unwrap();
            expected.extend(whole.finish().unwrap());
            let mut parser = SseParser::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(cut) {
                found.extend(parser.push(piece).unwrap());
            }
            found.extend(parser.finish().unwrap());
            prop_assert_eq!(found, expected);
        }
    }
}
