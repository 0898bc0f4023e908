//! Cursors and the numbers of a query.

use actors::shared::{Cursor, TenantId};
use cognomega::parsers::{LIST_ROWS_MAX, Query, SEQUENCE_MAX, iso_time, moment_ms};

pub fn run(data: &[u8]) {
    let raw = crate::text(data);
    let (me, you) = (TenantId::Email("me@x.io".to_owned()), TenantId::Email("you@x.io".to_owned()));
    if let Ok(cursor) = Cursor::decode(&raw, "usage", &me) {
        assert_eq!(cursor.encode("usage", &me), *raw, "one place, one spelling");
    }
    made(data, &me, &you);
    query(&raw);
    if let Some(at_ms) = moment_ms(&raw) {
        assert!((0..=9_999_999_999_999).contains(&at_ms), "{raw:?}");
        assert_eq!(moment_ms(&iso_time(at_ms)), Some(at_ms), "{raw:?}");
    }
}

/// A place out of the first bytes, and changes of its cursor out of the others.
fn made(data: &[u8], me: &TenantId, you: &TenantId) {
    let number = |from: usize| {
        let bytes: [u8; 8] = data.get(from..from + 8).and_then(|b| b.try_into().ok()).unwrap_or_default();
        i64::from_be_bytes(bytes)
    };
    let cursor = Cursor { at_ms: number(0), seq: number(8) };
    let encoded = cursor.encode("usage", me);
    let exact = |number| (0..=SEQUENCE_MAX).contains(&number);
    assert_eq!(Cursor::decode(&encoded, "usage", me).is_ok(), exact(cursor.at_ms) && exact(cursor.seq));
    assert!(Cursor::decode(&encoded, "usage", you).is_err(), "{encoded} of another tenant");
    assert!(Cursor::decode(&encoded, "ledger", me).is_err(), "{encoded} of another list");
    if let Some(changed) = crate::edited(&encoded, data.get(16..).unwrap_or_default()) {
        assert!(
            changed == encoded || Cursor::decode(&changed, "usage", me).is_err(),
            "{changed} was not made"
        );
    }
}

fn query(raw: &str) {
    let query = Query::new(raw.to_owned());
    assert!((1..=LIST_ROWS_MAX).contains(&query.limit()), "{raw:?}");
    if let Ok(Some(sequence)) = query.sequence("entry") {
        assert!(sequence.unsigned_abs() <= SEQUENCE_MAX.unsigned_abs(), "{raw:?}");
        assert_eq!(query.get("entry").and_then(|text| text.parse().ok()), Some(sequence));
    }
    if let Ok(Some(since_ms)) = query.since_ms(1_800_000_000_000) {
        assert!(since_ms <= 9_999_999_999_999, "{raw:?}");
    }
    if let Some(email) = query.get("email") {
        assert_eq!(first(raw, "email"), Some(email), "{raw:?}");
    }
}

/// The first value of a parameter, by the rules of forms once more.
fn first(raw: &str, name: &str) -> Option<String> {
    let decoded = |part: &str| {
        let (mut bytes, mut rest) = (Vec::new(), part.as_bytes());
        while let [byte, tail @ ..] = rest {
            let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            let digits = digits.filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
            match (byte, digits.and_then(|two| u8::from_str_radix(two, 16).ok())) {
                (b'%', Some(value)) => {
                    bytes.push(value);
                    rest = &tail[2..];
                }
                (b'+', _) => {
                    bytes.push(b' ');
                    rest = tail;
                }
                (byte, _) => {
                    bytes.push(*byte);
                    rest = tail;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut pairs = raw.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value))
}
