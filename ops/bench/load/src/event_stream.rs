//! A streamed answer as it comes: when its first byte arrived, how long each of its chunks was on the way, and where it
//! ends. Nothing of it is kept.
//!
//! The mock provider writes into each chunk's text when it was sent, so the way through a gateway is measured chunk by
//! chunk, on one clock.

use std::time::{Duration, Instant, SystemTime};

/// Around the time in a chunk's text.
pub const STAMP_MARK: u8 = b'@';
/// A line with the size of a transfer chunk is no longer than this.
const SIZE_LINE_BYTES_MAX: usize = 64;

/// Microseconds since 1970: what a stamp says.
pub fn clock_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What came of one stream.
#[derive(Default)]
pub struct Arrived {
    /// The first byte of its body.
    pub first_byte: Option<Instant>,
    /// How long each chunk was on the way.
    pub delays: Vec<Duration>,
}

/// The body of a streamed answer, taken apart as it comes.
#[derive(Default)]
pub struct EventStream {
    part: Part,
    stamp: Stamp,
    pub arrived: Arrived,
}

/// Where in the chunked body the next byte is.
#[derive(Default)]
enum Part {
    #[default]
    Size,
    /// So many bytes are still to come.
    Data(usize),
    /// The line end after a chunk.
    DataEnd,
    /// The line end after the last one.
    LastEnd,
}

/// A time that is being read out of a chunk's text.
#[derive(Default)]
enum Stamp {
    #[default]
    Outside,
    Digits(u64),
}

impl EventStream {
    /// Takes what it can from the start of `buffer`, at this moment; whether the answer has ended.
    pub fn take(&mut self, buffer: &mut Vec<u8>) -> Result<bool, String> {
        let (now, now_us) = (Instant::now(), clock_us());
        let mut at = 0_usize;
        let ended = loop {
            let rest = buffer.get(at..).unwrap_or_default();
            let (taken, next) = match self.part {
                Part::Size => match line(rest)? {
                    Some((taken, 0)) => (taken, Part::LastEnd),
                    Some((taken, bytes)) => (taken, Part::Data(bytes)),
                    None => break false,
                },
                Part::Data(left) => {
                    let data = rest.get(..left.min(rest.len())).unwrap_or_default();
                    if data.is_empty() {
                        break false;
                    }
                    self.arrived.first_byte.get_or_insert(now);
                    let taken = data.len();
                    self.look_for_stamps(data, now_us);
                    let left = left.saturating_sub(taken);
                    (taken, if left == 0 { Part::DataEnd } else { Part::Data(left) })
                }
                Part::DataEnd | Part::LastEnd if rest.len() < LINE_END.len() => break false,
                Part::DataEnd | Part::LastEnd if !rest.starts_with(LINE_END) => {
                    return Err("a transfer chunk without its end".to_owned());
                }
                Part::DataEnd => (LINE_END.len(), Part::Size),
                Part::LastEnd => {
                    at = at.saturating_add(LINE_END.len());
                    break true;
                }
            };
            self.part = next;
            at = at.saturating_add(taken);
        };
        buffer.drain(..at.min(buffer.len()));
        Ok(ended)
    }

    fn look_for_stamps(&mut self, data: &[u8], now_us: u64) {
        for byte in data {
            self.stamp = match (&self.stamp, *byte) {
                (Stamp::Outside, STAMP_MARK) => Stamp::Digits(0),
                (Stamp::Digits(sent_us), STAMP_MARK) if *sent_us > 0 => {
                    self.arrived.delays.push(Duration::from_micros(now_us.saturating_sub(*sent_us)));
                    Stamp::Outside
                }
                (Stamp::Digits(so_far), digit @ b'0'..=b'9') => {
                    let digit = u64::from(digit.saturating_sub(b'0'));
                    Stamp::Digits(so_far.saturating_mul(10).saturating_add(digit))
                }
                _ => Stamp::Outside,
            };
        }
    }
}

const LINE_END: &[u8] = b"\r\n";

/// The size in the line at the start of `bytes`, and how long the line is; `None` while it is not all there.
fn line(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let Some(end) = bytes.windows(LINE_END.len()).position(|window| window == LINE_END) else {
        return if bytes.len() > SIZE_LINE_BYTES_MAX {
            Err("no size of a transfer chunk".to_owned())
        } else {
            Ok(None)
        };
    };
    let text =
        std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|error| error.to_string())?;
    let size = text.split(';').next().unwrap_or_default().trim();
    let size =
        usize::from_str_radix(size, 16).map_err(|error| format!("size of a transfer chunk: {error}"))?;
    Ok(Some((end.saturating_add(LINE_END.len()), size)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_however_the_network_cuts_them() {
        let sent_us = clock_us().checked_sub(5_000).unwrap();
        let events =
            [format!("data: a @{sent_us}@\n\n"), format!("data: @ b @{sent_us}@\n\ndata: [DONE]\n\n")];
        let mut whole: String = events.iter().map(|text| format!("{:x}\r\n{text}\r\n", text.len())).collect();
        whole.push_str("0\r\n\r\nHTTP/1.1 200 OK\r\n");
        for cut in 1..whole.len() {
            let (mut stream, mut buffer, mut ended) = (EventStream::default(), Vec::new(), false);
            for piece in [&whole[..cut], &whole[cut..]] {
                buffer.extend_from_slice(piece.as_bytes());
                ended = ended || stream.take(&mut buffer).unwrap();
            }
            assert!(ended, "cut at {cut}");
            assert_eq!(buffer, b"HTTP/1.1 200 OK\r\n", "cut at {cut}");
            assert_eq!(stream.arrived.delays.len(), 2, "cut at {cut}");
            assert!(stream.arrived.delays.iter().all(|delay| delay.as_micros() >= 5_000));
            assert!(stream.arrived.first_byte.is_some());
        }
        assert!(EventStream::default().take(&mut b"nonsense\r\n".to_vec()).is_err());
    }
}
