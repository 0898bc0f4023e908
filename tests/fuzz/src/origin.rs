//! Origins: what is allowed is listed, byte for byte, or one label below a listed parent.

use cognomega::parsers::is_origin_allowed;
use url::Url;

const EXACT: &[&str] = &["https://app.cognomega.com", "http://localhost:5173"];
const PARENT: &str = "cognomega-frontend.pages.dev";

pub fn run(data: &[u8]) {
    let origin = crate::text(data);
    let rules: Vec<String> =
        EXACT.iter().map(|rule| (*rule).to_owned()).chain([format!("https://*.{PARENT}")]).collect();
    let listed = EXACT.contains(&&*origin);
    if !is_origin_allowed(&origin, &rules) {
        assert!(!listed, "{origin:?} is listed");
        return;
    }
    if listed {
        return;
    }
    // What a browser would make of it is the same text, and one label below the parent, over TLS.
    let label = origin.strip_prefix("https://").and_then(|rest| rest.strip_suffix(PARENT));
    let label = label.and_then(|rest| rest.strip_suffix('.')).unwrap_or_else(|| panic!("{origin:?}"));
    assert!(
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_graphic() && !b"./:@?#\\".contains(&b)),
        "{origin:?}"
    );
    // No browser has a page at a label that is no right Punycode, or too long for a name.
    if let Ok(url) = Url::parse(&origin) {
        assert_eq!(url.origin().ascii_serialization(), *origin);
        assert_eq!(url.host_str(), Some(format!("{label}.{PARENT}").as_str()));
    } else {
        assert!(label.starts_with("xn--"), "{origin:?}");
    }
}
