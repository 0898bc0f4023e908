//! File names: one plain segment comes out, whatever goes in.

use actors::shared::{FILE_NAME_BYTES_MAX, safe_file_name};

pub fn run(data: &[u8]) {
    let raw = crate::text(data);
    let name = safe_file_name(&raw);
    assert!((1..=FILE_NAME_BYTES_MAX).contains(&name.len()), "{name:?}");
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{name:?}");
    assert!(!name.contains("..") && !name.starts_with(['.', '-', '_']) && !name.ends_with(['.', '-', '_']));
    assert_eq!(safe_file_name(&name), name, "safe twice is safe once");
    // As the last part of a path it leads nowhere else, by another's reading of paths.
    let path = format!("uploads/{name}");
    let parts: Vec<_> = std::path::Path::new(&path).components().collect();
    assert_eq!(parts.len(), 2, "{name:?}");
    let url = url::Url::parse("https://x.io/uploads/").and_then(|base| base.join(&name));
    assert_eq!(url.map(|url| url.path().to_owned()), Ok(format!("/uploads/{name}")));
    // Folders around it change nothing.
    assert_eq!(safe_file_name(&format!("../a/{name}")), name);
}
