//! Query parameters: percent-decoding, clamped numbers, moments.

use super::error::ApiError;
use super::limits::{LIST_ROWS_DEFAULT, LIST_ROWS_MAX, SEQUENCE_MAX};
use super::moment::moment_ms;

/// The query of one request.
pub struct Query(String);

impl Query {
    pub const fn new(raw: String) -> Self {
        Self(raw)
    }

    /// The first value of a parameter, decoded; empty counts as absent.
    pub fn get(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.0.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    }

    /// The address in `email`. Several that differ name several tenants, and nobody knows which of them is meant.
    ///
    /// # Errors
    /// `IdentityMismatch`.
    pub fn email(&self) -> Result<Option<String>, ApiError> {
        let all = url::form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == "email");
        let mut all = all.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty());
        let Some(first) = all.next() else { return Ok(None) };
        if all.any(|other| !other.trim().eq_ignore_ascii_case(first.trim())) {
            return Err(ApiError::IdentityMismatch);
        }
        Ok(Some(first))
    }

    /// The sequence number of an entry; `None` when it is not said.
    ///
    /// # Errors
    /// `InvalidField` for what is no number, or larger than any could be.
    pub fn sequence(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        let expected = "the sequence number of an entry of the ledger";
        let wrong = ApiError::InvalidField { field: name, expected };
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse::<i64>().ok();
        number.filter(|seq| (-SEQUENCE_MAX..=SEQUENCE_MAX).contains(seq)).map(Some).ok_or(wrong)
    }

    /// `limit`, clamped to 1–100; what is no number counts as absent.
    pub fn limit(&self) -> u32 {
        let asked = self.get("limit").and_then(|text| text.trim().parse::<f64>().ok());
        match asked {
            Some(number) if number.is_finite() => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let whole = number.clamp(1.0, f64::from(LIST_ROWS_MAX)) as u32;
                whole
            }
            _ => LIST_ROWS_DEFAULT,
        }
    }

    /// `since` (a moment) or `hours` (back from now); the later one when both are given.
    pub fn since_ms(&self, now_ms: i64) -> Result<Option<i64>, ApiError> {
        let since = match self.get("since") {
            Some(text) => Some(moment_ms(&text).ok_or(ApiError::InvalidTime { parameter: "since" })?),
            None => None,
        };
        let hours = match self.get("hours") {
            Some(text) => {
                let hours: f64 =
                    text.trim().parse().map_err(|_| ApiError::InvalidTime { parameter: "hours" })?;
                if !(0.0..=1e6).contains(&hours) {
                    return Err(ApiError::InvalidTime { parameter: "hours" });
                }
                #[allow(clippy::cast_possible_truncation)]
                let back_ms = (hours * 3_600_000.0) as i64;
                Some(now_ms.saturating_sub(back_ms))
            }
            None => None,
        };
        Ok(since.max(hours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_clamped_and_never_refused() {
        for (raw, expected) in [
            ("", 25),
            ("limit=", 25),
            ("limit=7", 7),
            ("limit=-1", 1),
            ("limit=0", 1),
            ("limit=1e9", 100),
            ("limit=200", 100),
            ("limit=abc", 25),
            ("limit=NaN", 25),
        ] {
            assert_eq!(Query::new(raw.to_owned()).limit(), expected, "{raw}");
        }
    }

    #[test]
    fn sequence_numbers_are_those_that_every_reader_has_exactly() {
        let sequence = |raw: &str| Query::new(format!("entry={raw}")).sequence("entry");
        assert_eq!(sequence("9007199254740991"), Ok(Some(SEQUENCE_MAX)));
        assert_eq!((sequence("-1"), sequence("")), (Ok(Some(-1)), Ok(None)));
        for wrong in ["9007199254740992", "9007199254740993", "-9007199254740992", "1.0", "x"] {
            assert!(sequence(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let query = Query::new("email=a%2Bb%40x.io&x=&email=second".to_owned());
        assert_eq!(query.get("email").as_deref(), Some("a+b@x.io"));
        assert_eq!(query.get("x"), None);
    }

    #[test]
    fn several_addresses_are_one_or_none() {
        let email = |raw: &str| Query::new(raw.to_owned()).email();
        assert_eq!(email("x=1&email="), Ok(None));
        for one in ["email=a%40x.io", "email=a%40x.io&email=%20A@x.io", "email=&email=a@x.io"] {
            assert_eq!(email(one), Ok(Some("a@x.io".to_owned())), "{one}");
        }
        for several in ["email=a@x.io&email=b@x.io", "email=b@x.io&email=a@x.io", "email=a@x.io&x=&email=b"] {
            assert_eq!(email(several), Err(ApiError::IdentityMismatch), "{several}");
        }
    }

    #[test]
    fn since_is_the_later_of_both() {
        let query = |raw: &str| Query::new(raw.to_owned()).since_ms(10_000_000);
        assert_eq!(query("hours=1"), Ok(Some(6_400_000)));
        assert_eq!(query("hours=1&since=1970-01-01T02:00:00Z"), Ok(Some(7_200_000)));
        assert_eq!(query("hours=soon"), Err(ApiError::InvalidTime { parameter: "hours" }));
        assert_eq!(query("hours=inf"), Err(ApiError::InvalidTime { parameter: "hours" }));
    }
}
