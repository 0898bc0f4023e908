//! Canaries: every secret of a stack, so that each reply and each log line can be searched for it.

/// A text that must never leave the Worker, and what to call it in a failure message.
#[derive(Clone, Debug)]
struct Canary {
    name: String,
    text: String,
}

/// What no response and no log line may hold.
#[derive(Clone, Debug, Default)]
pub struct Canaries {
    list: Vec<Canary>,
}

/// Enough of a PEM's line to be unmistakable, short enough to be found in a part of it.
const PEM_SLICE_CHARS: usize = 40;
/// A 2048-bit key begins with its modulus, 256 bytes or 5.4 lines of base64. That part is public.
const PEM_PUBLIC_LINES: usize = 7;

impl Canaries {
    pub fn add(&mut self, name: &str, text: &str) {
        // An empty or tiny secret would be found everywhere and prove nothing.
        if text.len() >= 12 {
            self.list.push(Canary { name: name.to_owned(), text: text.to_owned() });
        }
    }

    /// Adds those of another configuration.
    pub fn extend(&mut self, others: Self) {
        self.list.extend(others.list);
    }

    /// Adds a slice of each private line of a PEM: a message may hold any part of it.
    pub fn add_pem(&mut self, name: &str, pem: &str) {
        if !pem.contains("-----BEGIN") {
            return self.add(name, pem);
        }
        let body = pem.lines().filter(|line| !line.starts_with("-----"));
        for line in body.skip(PEM_PUBLIC_LINES) {
            self.add(name, line.get(..PEM_SLICE_CHARS).unwrap_or(line));
        }
    }

    /// The name of the first secret that `text` holds.
    pub fn found_in(&self, text: &str) -> Option<&str> {
        self.list.iter().find(|canary| text.contains(&canary.text)).map(|canary| canary.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_inside_a_longer_text() {
        let mut canaries = Canaries::default();
        canaries.add("key", "sk-0123456789abcdef");
        assert_eq!(canaries.found_in("Bearer sk-0123456789abcdef!"), Some("key"));
        assert_eq!(canaries.found_in("Bearer sk-0123"), None);
    }

    #[test]
    fn a_private_key_is_found_by_one_line_of_it() {
        let pem = crate::keys::foreign().pkcs8_pem();
        let mut canaries = Canaries::default();
        canaries.add_pem("private key", &pem);
        let middle = pem.lines().nth(9).expect("a 2048-bit key has 26 lines");
        assert_eq!(canaries.found_in(middle), Some("private key"));
    }
}
