//! The name under which an uploaded file is kept, whatever its client calls it.

/// The longest name, in bytes: a key of the store with a date, an identity and an id before it stays far below its 1,024.
pub const FILE_NAME_BYTES_MAX: usize = 100;
/// An ending longer than this, in bytes, is no type of file but a part of the name.
const EXTENSION_BYTES_MAX: usize = 16;
/// The name of what has no usable one.
const NAMELESS: &str = "file";

/// A name that is one plain path segment: 1 to [`FILE_NAME_BYTES_MAX`] letters, digits, `.`, `_` and `-` of ASCII, that
/// begins and ends with a letter or a digit and has no two dots together. Folders before it are dropped, everything else
/// is replaced; a long one keeps its ending. A name that is safe already stays as it is.
#[must_use]
pub fn safe_file_name(raw: &str) -> String {
    let last = raw.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name = String::new();
    for letter in last.chars() {
        let plain = letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
        let letter = if plain { letter } else { '_' };
        // One for a run of them.
        if letter.is_ascii_alphanumeric() || letter == '-' || !name.ends_with(letter) {
            name.push(letter);
        }
    }
    let name = shortened(trimmed(&name));
    if name.is_empty() { NAMELESS.to_owned() } else { name }
}

fn trimmed(name: &str) -> &str {
    name.trim_matches(['.', '_', '-'])
}

fn shortened(name: &str) -> String {
    if name.len() <= FILE_NAME_BYTES_MAX {
        return name.to_owned();
    }
    let cut = |stem: &str, bytes: usize| trimmed(stem.get(..bytes).unwrap_or(stem)).to_owned();
    let extension = name.rsplit_once('.').filter(|(_, extension)| extension.len() <= EXTENSION_BYTES_MAX);
    let Some((stem, extension)) = extension else {
        return cut(name, FILE_NAME_BYTES_MAX);
    };
    let stem_bytes = FILE_NAME_BYTES_MAX.saturating_sub(extension.len()).saturating_sub(1);
    format!("{}.{extension}", cut(stem, stem_bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_one_plain_segment() {
        let long = format!("{}.pdf", "a".repeat(5_000));
        let kept = format!("{}.pdf", "a".repeat(FILE_NAME_BYTES_MAX - 4));
        for (raw, expected) in [
            ("report.pdf", "report.pdf"),
            ("My Report (final).PDF", "My_Report_final_.PDF"),
            ("../../x", "x"),
            ("..\\..\\x", "x"),
            ("/etc/passwd", "passwd"),
            ("a/..", "file"),
            ("", "file"),
            ("...", "file"),
            (".htaccess", "htaccess"),
            ("a\r\nSet-Cookie: x=1", "a_Set-Cookie_x_1"),
            ("a\0.png", "a_.png"),
            ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
            ("a..b...c", "a.b.c"),
            ("tar.gz", "tar.gz"),
            ("日本.txt", "txt"),
            (&long, &kept),
        ] {
            assert_eq!(safe_file_name(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_ending_and_a_long_ending_is_cut() {
        assert_eq!(safe_file_name(&format!("{}.tar.gz", "a".repeat(200))).len(), FILE_NAME_BYTES_MAX);
        let no_type = format!("a.{}", "b".repeat(200));
        assert_eq!(safe_file_name(&no_type), no_type[..FILE_NAME_BYTES_MAX]);
        let cut_at_a_dash = format!("{}-{}.txt", "a".repeat(95), "b".repeat(50));
        assert_eq!(safe_file_name(&cut_at_a_dash), format!("{}.txt", "a".repeat(95)));
    }

    proptest! {
        #[test]
        fn a_safe_name_stays_as_it_is(raw in "\\PC{0,300}") {
            let name = safe_file_name(&raw);
            prop_assert_eq!(safe_file_name(&name), name.clone());
            prop_assert!((1..=FILE_NAME_BYTES_MAX).contains(&name.len()));
        }
    }
}
