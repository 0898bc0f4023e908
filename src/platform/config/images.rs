//! Which models a server can show a picture to.

use serde::Deserialize;

/// As `PROVIDERS` says it: `true`, `false`, or the models that can.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Images {
    All(bool),
    Of(Vec<String>),
}

impl Images {
    pub fn read_by(&self, model: &str) -> bool {
        match self {
            Self::All(can) => *can,
            Self::Of(models) => models.iter().any(|known| known == model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_none_or_some_models_read_pictures() {
        let read = |text: &str| serde_json::from_str::<Images>(text);
        for (text, a, b) in
            [("true", true, true), ("false", false, false), (r#"["a"]"#, true, false), ("[]", false, false)]
        {
            let images = read(text).unwrap();
            assert_eq!((images.read_by("a"), images.read_by("b")), (a, b), "{text}");
        }
        for wrong in ["1", "null", r#""a""#, "[1]", "{}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
