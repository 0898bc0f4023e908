//! The form of `/api/si/ask`: one object, or a stream of text pieces, then what was used, then the end mark.
//!
//! `data:` lines carry plain text only, because existing clients show every one of them. What a program
//! needs besides comes in comment lines, or as named events when the request asks with `?events=1`.

use serde_json::{Value, json};

use super::form::{Closing, StreamEnd};
use super::inbound::Inbound;
use super::kept_answer::KeptAnswer;
use super::reply::Reply;

/// How a stream says what is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Comments,
    NamedEvents,
}

impl Manner {
    pub fn of(inbound: &Inbound) -> Self {
        match inbound.query.get("events").as_deref() {
            Some("1") => Self::NamedEvents,
            _ => Self::Comments,
        }
    }

    fn usage(self, usage: &Value) -> String {
        match self {
            Self::Comments => format!(": usage {usage}\n\n"),
            Self::NamedEvents => format!("event: usage\ndata: {usage}\n\n"),
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Comments => ": done\n\n",
            Self::NamedEvents => "event: done\ndata:\n\n",
        }
    }

    fn error(self, error: &Value) -> String {
        match self {
            // The event has empty data: a client that shows every data line shows nothing more.
            Self::Comments => format!(": error {error}\nevent: error\ndata:\n\n"),
            Self::NamedEvents => format!("event: error\ndata: {error}\n\n"),
        }
    }
}

/// A piece of text as one event: a `data:` line for each of its lines. A lone carriage return ends a line of
/// an event stream too, so it must not get through: a model's text could forge events with it.
fn text_event(text: &str) -> String {
    let mut event = String::with_capacity(text.len().saturating_add(8));
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event
}

/// The event of `text`, which follows `before`.
pub fn event(text: &str, before: &str) -> Option<String> {
    // The two halves of one line end may come in two pieces.
    let halved = before.ends_with('\r').then(|| text.strip_prefix('\n')).flatten();
    let shown = halved.unwrap_or(text);
    (!shown.is_empty()).then(|| text_event(shown))
}

/// What follows the text: usage and the end mark, or the error.
pub fn closing(manner: Manner, closing: &Closing<'_>) -> String {
    let Closing { kept, usage, request_id } = closing;
    let Some((code, message)) = StreamEnd::of(kept).error() else {
        return format!("{}{}", manner.usage(usage), manner.done());
    };
    manner.error(&json!({ "error": code, "message": message, "request_id": request_id, "usage": usage }))
}

/// The JSON answer.
pub fn whole(kept: &KeptAnswer) -> Reply {
    let mut result = json!({ "content": kept.content });
    if let (true, Some(result)) = (kept.interrupted, result.as_object_mut()) {
        result.insert("interrupted".to_owned(), json!(true));
    }
    if let (true, Some(result)) = (kept.cut, result.as_object_mut()) {
        result.insert("cut".to_owned(), json!("hold_used_up"));
    }
    Reply::json(200, &json!({ "result": result }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_lines() {
        assert_eq!(text_event("a"), "data: a\n\n");
        assert_eq!(text_event(" a\n\nb"), "data:  a\ndata: \ndata: b\n\n");
        assert_eq!(text_event("a\r\nb\rdata: c"), "data: a\ndata: b\ndata: data: c\n\n");
    }

    #[test]
    fn a_halved_line_end_is_one() {
        assert_eq!(event("\nb", "a\r"), Some("data: b\n\n".to_owned()));
        assert_eq!(event("\n", "a\r"), None);
        assert_eq!(event("\n", "a"), Some("data: \ndata: \n\n".to_owned()));
        assert_eq!(event("", "a"), None);
    }

    #[test]
    fn only_text_is_in_the_data_of_the_plain_form() {
        let form = Manner::Comments;
        let extra =
            format!("{}{}{}", form.usage(&json!({"a": 1})), form.done(), form.error(&json!({"b": 2})));
        assert!(extra.lines().filter_map(|line| line.strip_prefix("data:")).all(str::is_empty), "{extra}");
    }
}
