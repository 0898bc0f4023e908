//! A request as the front door sees it: what is needed is read when it is needed, each once.

use std::collections::HashMap;

use js_sys::Uint8Array;
use web_sys::{ReadableStream, Request};

use super::error::ApiError;
use super::limits::{HEADER_BYTES_MAX, HEADERS_MAX, PATH_BYTES_MAX, PATH_BYTES_READ_MAX, QUERY_BYTES_MAX};
use super::query::Query;
use crate::platform::streams::{self, Broken};
use crate::platform::task::{BodyWait, settled};
use crate::platform::uploads::{self, Form, Unread};

pub struct Inbound {
    raw: Request,
    pub method: String,
    /// Lower-cased, without one trailing slash; still percent-encoded, so an encoded path matches no route.
    pub path: String,
    pub query: Query,
    /// Scheme and authority of the address, as the client wrote them.
    base: String,
    excess: Option<ApiError>,
    /// Names in lower case; several of one name are joined by commas, as the platform does.
    headers: HashMap<String, String>,
}

impl Inbound {
    /// `head` is the request's method, URL and headers, a line each, the headers as JSON: all of it in one crossing,
    /// where a look at each of a dozen headers would be two dozen.
    pub fn new(raw: Request, head: &str) -> Self {
        let mut lines = head.splitn(3, '\n');
        let mut line = || lines.next().unwrap_or_default();
        let (method, url, headers) = (line().to_owned(), line(), line());
        let headers = serde_json::from_str(headers).unwrap_or_default();
        let (path, query) = split(url);
        let excess = excess(path, query, &headers);
        let query = Query::new(query.to_owned());
        let path = normal(path);
        let base = base(url).to_owned();
        Self { method, path, query, base, excess, raw, headers }
    }

    /// The address of a socket of ours at `path`, where this request came to.
    pub fn socket_url(&self, path: &str) -> String {
        match self.base.strip_prefix("http") {
            Some(rest) => format!("ws{rest}{path}"),
            None => path.to_owned(),
        }
    }

    /// What of the request is larger than anything that is read, when something is.
    pub const fn excess(&self) -> Option<&ApiError> {
        self.excess.as_ref()
    }

    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).cloned()
    }

    /// A header that is there and not blank.
    pub fn header_filled(&self, name: &str) -> Option<String> {
        self.header(name).filter(|value| !value.trim().is_empty())
    }

    /// The last segment of the path, decoded; `None` when it is no text then.
    pub fn last_segment(&self) -> Option<String> {
        let segment = self.path.rsplit('/').next()?;
        percent_encoding::percent_decode_str(segment).decode_utf8().ok().map(Into::into)
    }

    /// Fires when the client goes away before its answer.
    pub fn signal(&self) -> web_sys::AbortSignal {
        self.raw.signal()
    }

    /// How long the body is said to be, in bytes. Of one that comes in chunks the runtime says nothing, whatever the
    /// client did.
    pub fn declared_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// The body as it comes; `None` when there is none.
    pub fn stream(&self) -> Option<ReadableStream> {
        self.raw.body()
    }

    /// The whole body. A declared length over the limit is refused before anything is read.
    pub async fn body(&self, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
        let too_large = ApiError::PayloadTooLarge { max_bytes: bytes_max };
        let Some(length) = self.declared_length() else {
            return self.streamed_body(bytes_max).await;
        };
        if usize::try_from(length).map_or(true, |length| length > bytes_max) {
            return Err(too_large);
        }
        let _wait = BodyWait::begin();
        // The runtime holds a sender to the length it declared, so this is bounded too, and is one turn.
        let buffer = self.raw.array_buffer().map_err(|_| ApiError::InvalidJson)?;
        let buffer = settled(&buffer).await.map_err(|_| ApiError::InvalidJson)?;
        let bytes = Uint8Array::new(&buffer).to_vec();
        if bytes.len() > bytes_max { Err(too_large) } else { Ok(bytes) }
    }

    /// A body whose length nobody told, read until it is too long.
    async fn streamed_body(&self, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
        let Some(stream) = self.raw.body() else {
            return Ok(Vec::new());
        };
        let _wait = BodyWait::begin();
        match streams::read_all(&stream, bytes_max).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(ApiError::PayloadTooLarge { max_bytes: bytes_max }),
            Err(Broken) => Err(ApiError::InvalidJson),
        }
    }

    /// Whether the answer is wanted as a WebSocket.
    pub fn wants_socket(&self) -> bool {
        self.header("upgrade").is_some_and(|to| to.trim().eq_ignore_ascii_case("websocket"))
    }

    /// Whether the answer is wanted as a stream of events.
    pub fn wants_events(&self) -> bool {
        self.header("accept").unwrap_or_default().to_ascii_lowercase().contains("text/event-stream")
    }

    /// The body as a form of at most `bytes_max` bytes, with texts of at most `text_length_max` UTF-16 units.
    ///
    /// # Errors
    /// `InvalidForm`, `PayloadTooLarge`.
    pub async fn form(&self, bytes_max: u32, text_length_max: u32) -> Result<Form, ApiError> {
        let content_type = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if !content_type.trim_start().starts_with("multipart/form-data") {
            return Err(ApiError::InvalidForm);
        }
        let too_large =
            ApiError::PayloadTooLarge { max_bytes: usize::try_from(bytes_max).unwrap_or(usize::MAX) };
        let declared = self.header("content-length").and_then(|text| text.trim().parse::<u64>().ok());
        if declared.is_some_and(|length| length > u64::from(bytes_max)) {
            return Err(too_large);
        }
        let _wait = BodyWait::begin();
        uploads::read_form(&self.raw, bytes_max, text_length_max).await.map_err(|unread| match unread {
            Unread::TooLarge => too_large,
            Unread::Malformed => ApiError::InvalidForm,
        })
    }

    /// Whether the body is said to be JSON. Nothing said counts as that.
    pub fn says_json(&self) -> bool {
        self.header_filled("content-type").is_none_or(|content_type| {
            let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            essence == "application/json" || essence.ends_with("+json")
        })
    }

    /// A JSON body's bytes, once its content type is one we read.
    pub async fn json_bytes(&self, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
        if !self.says_json() {
            return Err(ApiError::UnsupportedContentType);
        }
        self.body(bytes_max).await
    }
}

fn excess(path: &str, query: &str, headers: &HashMap<String, String>) -> Option<ApiError> {
    let header_bytes = |sum: usize, (name, value): (&String, &String)| {
        sum.saturating_add(name.len()).saturating_add(value.len())
    };
    if path.len() > PATH_BYTES_READ_MAX || query.len() > QUERY_BYTES_MAX {
        Some(ApiError::UriTooLong)
    } else if headers.len() > HEADERS_MAX || headers.iter().fold(0, header_bytes) > HEADER_BYTES_MAX {
        Some(ApiError::HeadersTooLarge { max_headers: HEADERS_MAX, max_bytes: HEADER_BYTES_MAX })
    } else if path.len() > PATH_BYTES_MAX {
        Some(ApiError::NotFound)
    } else {
        None
    }
}

/// Path and query of an absolute URL.
fn split(url: &str) -> (&str, &str) {
    let url = url.split('#').next().unwrap_or_default();
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path_and_query = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    path_and_query.split_once('?').unwrap_or((path_and_query, ""))
}

/// Scheme and authority of an absolute URL.
fn base(url: &str) -> &str {
    let from = url.find("://").map_or(0, |at| at.saturating_add(3));
    let length = url.get(from..).and_then(|rest| rest.find(['/', '?', '#']));
    let end = length.map_or(url.len(), |length| from.saturating_add(length));
    url.get(..end).unwrap_or_default()
}

fn normal(path: &str) -> String {
    let path = match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => rest,
        _ => path,
    };
    path.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_request_has_its_limit() {
        let headers = |count: usize, bytes: usize| -> HashMap<String, String> {
            (0..count).map(|n| (format!("h{n:03}"), "x".repeat(bytes))).collect()
        };
        let (path, query) = ("/".repeat(PATH_BYTES_MAX), "q".repeat(QUERY_BYTES_MAX));
        let (none, too_large) = (
            HashMap::new(),
            Some(ApiError::HeadersTooLarge { max_headers: HEADERS_MAX, max_bytes: HEADER_BYTES_MAX }),
        );
        assert_eq!(excess(&path, &query, &headers(HEADERS_MAX, 300)), None);
        assert_eq!(excess(&format!("{path}/"), "", &none), Some(ApiError::NotFound));
        assert_eq!(excess(&"/".repeat(PATH_BYTES_READ_MAX), "", &none), Some(ApiError::NotFound));
        assert_eq!(excess(&"/".repeat(PATH_BYTES_READ_MAX + 1), "", &none), Some(ApiError::UriTooLong));
        assert_eq!(excess("/", &format!("{query}q"), &none), Some(ApiError::UriTooLong));
        assert_eq!(excess("/", "", &headers(HEADERS_MAX + 1, 1)), too_large);
        assert_eq!(excess("/", "", &headers(1, HEADER_BYTES_MAX - 4)), None);
        assert_eq!(excess("/", "", &headers(1, HEADER_BYTES_MAX - 3)), too_large);
    }

    #[test]
    fn urls_are_split_and_paths_are_normal() {
        assert_eq!(split("http://h:1/a/b?x=/y#z"), ("/a/b", "x=/y"));
        assert_eq!(split("http://h"), ("/", ""));
        assert_eq!(
            (base("https://h:1/a?x=/y"), base("http://h?x"), base("x")),
            ("https://h:1", "http://h", "x")
        );
        for (path, expected) in [("/API/Credits/", "/api/credits"), ("/", "/"), ("//", "/"), ("/a//", "/a/")]
        {
            assert_eq!(normal(path), expected, "{path}");
        }
    }
}
