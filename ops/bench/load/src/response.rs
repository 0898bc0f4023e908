//! One HTTP/1.1 answer in a buffer: where it ends, and what its status is.

const HEADERS_MAX: usize = 64;

pub struct Answer {
    pub status: u16,
    /// Bytes of head and body together.
    pub length: usize,
    /// Where the body begins.
    pub body_at: usize,
    /// The server ends the connection after it.
    pub closes: bool,
}

/// The head of an answer.
pub struct Head {
    pub status: u16,
    /// Where the body begins.
    pub body_at: usize,
    /// The body comes in transfer chunks; else its length is told.
    pub chunked: bool,
    pub closes: bool,
    body_length: usize,
}

/// The head at the start of `buffer`; `None` while it is not all there.
pub fn head(buffer: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let body_at = match head.parse(buffer).map_err(|error| format!("unreadable answer: {error}"))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let value = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    Ok(Some(Head {
        status: head.code.unwrap_or_default(),
        body_at,
        chunked: value("transfer-encoding").is_some(),
        closes: value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        body_length: value("content-length").and_then(|value| value.parse().ok()).unwrap_or(0),
    }))
}

/// The answer at the start of `buffer`; `None` while it is not all there.
pub fn parse(buffer: &[u8]) -> Result<Option<Answer>, String> {
    let Some(Head { status, body_at, chunked, closes, body_length }) = head(buffer)? else { return Ok(None) };
    let body = buffer.get(body_at..).unwrap_or_default();
    let body_length = if chunked {
        match chunked_length(body)? {
            Some(length) => length,
            None => return Ok(None),
        }
    } else {
        body_length
    };
    if body.len() < body_length {
        return Ok(None);
    }
    Ok(Some(Answer { status, length: body_at.saturating_add(body_length), body_at, closes }))
}

/// The bytes of a chunked body, its last chunk included. Trailers are not expected.
fn chunked_length(body: &[u8]) -> Result<Option<usize>, String> {
    const LINE_END_BYTES: usize = 2;
    let mut at = 0_usize;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let (line_bytes, chunk_bytes) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("unreadable chunk".to_owned()),
        };
        let chunk_bytes = usize::try_from(chunk_bytes).map_err(|error| error.to_string())?;
        at = at.saturating_add(line_bytes).saturating_add(chunk_bytes).saturating_add(LINE_END_BYTES);
        if at > body.len() {
            return Ok(None);
        }
        if chunk_bytes == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_say() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1";
        let chunked = b"HTTP/1.1 429 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let answer = parse(plain).unwrap().unwrap();
        assert_eq!((answer.status, answer.length), (200, plain.len() - 8));
        let answer = parse(chunked).unwrap().unwrap();
        assert_eq!((answer.status, answer.length), (429, chunked.len()));
        for end in 0..chunked.len() {
            assert!(parse(&chunked[..end]).unwrap().is_none(), "{end} bytes are not all of it");
        }
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
