//! Counting tokens without the model's tokenizer, for providers that do not say what they used.
//!
//! The usual byte-pair vocabularies give a short word one token and a long one a token for about seven letters;
//! letters of other alphabets come two or three to a token, characters of East Asian scripts and marks one each.
//! It is a count by one fixed rule, and is said to be one.

/// Letters that one token holds on average in a long word.
const LETTERS_PER_TOKEN: usize = 7;
/// What a letter of another alphabet (Greek, Cyrillic, Arabic, Devanagari, …) weighs beside an ASCII one.
const OTHER_ALPHABET_WEIGHT: usize = 3;
/// Where the East Asian scripts begin, a character of which is a token.
const EAST_ASIAN_START: char = '\u{2E80}';
/// Tokens that a chat template adds around the messages.
const TEMPLATE_TOKENS: u64 = 8;

/// Counts text that comes in pieces, as if it had come whole.
#[derive(Debug, Clone, Default)]
pub struct TokenCounter {
    tokens: u64,
    /// Weight of the letters of a word that has not ended yet.
    letters: usize,
}

impl TokenCounter {
    pub fn push(&mut self, text: &str) {
        for character in text.chars() {
            if character.is_ascii_alphanumeric() {
                self.letters = self.letters.saturating_add(1);
            } else if character.is_alphabetic() && character < EAST_ASIAN_START {
                self.letters = self.letters.saturating_add(OTHER_ALPHABET_WEIGHT);
            } else {
                // A space belongs to the word after it.
                self.tokens = self.total().saturating_add(u64::from(character != ' '));
                self.letters = 0;
            }
        }
    }

    pub fn total(&self) -> u64 {
        let word = self.letters.div_ceil(LETTERS_PER_TOKEN);
        self.tokens.saturating_add(u64::try_from(word).unwrap_or(u64::MAX))
    }
}

/// The tokens of `text` by the rule above. Never more than its bytes.
pub fn count_tokens(text: &str) -> u64 {
    let mut counter = TokenCounter::default();
    counter.push(text);
    counter.total()
}

/// What a prompt of `bytes` costs at most, of which `counted` tokens were counted. For holds. In ordinary text it is a token
/// for three bytes, where English and other alphabets have four or five and East Asian scripts three, and the template;
/// what is dense, as marks and code are, has as many as are counted.
pub fn estimate_prompt_tokens(bytes: usize, counted: u64) -> u64 {
    u64::try_from(bytes.div_ceil(3)).unwrap_or(u64::MAX).max(counted).saturating_add(32)
}

/// The tokens of a prompt, counted.
pub fn count_prompt(system: Option<&str>, user: &str) -> u64 {
    let system = system.map_or(0, count_tokens);
    count_tokens(user).saturating_add(system).saturating_add(TEMPLATE_TOKENS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_is_counted_as_tokenizers_do() {
        for (text, expected) in [
            ("", 0),
            ("Hello", 1),
            ("Hello, world!", 4),
            ("The capital of France is Paris.", 7),
            ("internationalization", 3),
            ("日本語", 3),
            ("привет", 3),
            ("Καλημέρα κόσμε", 7),
            ("a\nb", 3),
        ] {
            assert_eq!(count_tokens(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_bytes_and_never_less_for_more_text(a in "\\PC{0,80}", b in "\\PC{0,80}") {
            let whole = format!("{a}{b}");
            prop_assert!(count_tokens(&whole) <= whole.len() as u64);
            prop_assert!(count_tokens(&whole) >= count_tokens(&a));
            let mut counter = TokenCounter::default();
            counter.push(&a);
            counter.push(&b);
            prop_assert_eq!(counter.total(), count_tokens(&whole));
        }

        #[test]
        fn no_prompt_is_counted_as_more_than_is_held_for_it(system in "\\PC{0,80}", user in "\\PC{0,80}") {
            let counted = count_prompt(Some(&system), &user);
            prop_assert!(counted <= estimate_prompt_tokens(system.len() + user.len(), counted));
        }
    }
}
