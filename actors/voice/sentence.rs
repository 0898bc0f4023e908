//! Where a text that still grows can be cut, so that speech begins with the first sentence.

use super::limits::PART_CHARACTERS_MAX;

/// A piece shorter than this is not spoken by itself: `Dr. ` ends no sentence.
const CHARACTERS_MIN: usize = 12;

/// How much of `text`, in bytes, can be spoken already: a sentence with the space behind it, or a piece of one that is
/// too long. `None` when it has to grow first.
#[must_use]
pub fn speakable(text: &str) -> Option<usize> {
    let (mut before_space, mut ended, mut space_bytes) = (false, false, None);
    for (count, (at, character)) in text.char_indices().enumerate() {
        if character.is_whitespace() {
            let newline = character == '\n' && before_space;
            if (ended || newline) && count >= CHARACTERS_MIN {
                return Some(at.saturating_add(character.len_utf8()));
            }
            space_bytes = Some(at.saturating_add(character.len_utf8()));
        } else {
            if count >= PART_CHARACTERS_MAX {
                return Some(space_bytes.unwrap_or(at));
            }
            before_space = true;
            // Quotes and brackets may come after what ends a sentence.
            ended = matches!(character, '.' | '!' | '?' | '…' | '。' | '！' | '？')
                || (ended && matches!(character, '"' | '\'' | ')' | '”' | '’'));
            if matches!(character, '。' | '！' | '？') {
                return Some(at.saturating_add(character.len_utf8()));
            }
        }
    }
    None
}

/// The part of `text` that was heard when `played` of `all` samples were: whole words, and no more than was.
#[must_use]
pub fn heard(text: &str, played: u32, all: u32) -> &str {
    if played >= all {
        return text;
    }
    let characters = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    let upto = characters.saturating_mul(u64::from(played)).checked_div(u64::from(all)).unwrap_or(0);
    let upto = usize::try_from(upto).unwrap_or(usize::MAX);
    let mut words = 0;
    for (count, (at, character)) in text.char_indices().enumerate() {
        if count > upto {
            break;
        }
        if character.is_whitespace() {
            words = at;
        }
    }
    text.get(..words).unwrap_or_default()
}
