//! What the body of an error says: its codes and its sentences, wherever a provider puts them.
//!
//! Only keys that providers use for errors are opened. Some of them send the client's own input back inside the error,
//! and words in there are nobody's code.

use std::borrow::Cow;

use crate::json::Json;

/// Nothing behind this is looked at: an error that needs more room is a web page.
pub(crate) const MOST: usize = 16 * 1024;
/// An error inside an error inside an error is all that routers make.
const DEEPEST: usize = 8;

/// Keys whose value is a code.
const CODES: [&str; 8] = ["code", "type", "status", "__type", "reason", "error_type", "errorType", "kind"];
/// Keys whose text is a sentence for people.
const SENTENCES: [&str; 9] =
    ["message", "Message", "detail", "details", "msg", "error", "raw", "error_message", "errorMessage"];
/// Keys whose value may hold more of the error.
const INSIDE: [&str; 8] =
    ["error", "errors", "detail", "details", "innererror", "inner_error", "innerError", "metadata"];

#[derive(Debug, Default)]
pub(crate) struct Said {
    pub codes: Vec<String>,
    /// All sentences in small letters, a line each.
    pub text: String,
    /// A status of HTTP that stands in the body; in a stream there is no other.
    pub status: Option<u16>,
    /// How long to wait, in Google's words (`13s`).
    pub retry_delay: Option<String>,
}

impl Said {
    pub fn of_body(body: &[u8]) -> Said {
        let head = body.get(..MOST).unwrap_or(body);
        let text = String::from_utf8_lossy(head);
        let text = text.trim();
        let mut said = Said::default();
        if let Ok(json) = Json::parse(text) {
            said.document(&json, 0);
        } else if let Some(error) = error_inside(text) {
            said.take_under("error", &error, 0);
        } else if !text.starts_with(['<', '{', '[']) {
            said.sentence(text);
        }
        said
    }

    pub fn of_words(code: Option<&str>, message: &str) -> Said {
        let mut said = Said::default();
        if let Some(code) = code {
            said.code(code);
        }
        said.sentence(message);
        said
    }

    fn document(&mut self, json: &Json<'_>, depth: usize) {
        match json {
            Json::Array(items) if depth < DEEPEST => {
                for item in items {
                    self.document(item, depth + 1);
                }
            }
            Json::Object(fields) if depth < DEEPEST => {
                for (key, value) in fields {
                    self.take_under(key, value, depth);
                }
            }
            Json::String(text) => self.sentence(text),
            _ => {}
        }
    }

    fn take_under(&mut self, key: &str, value: &Json<'_>, depth: usize) {
        match value {
            Json::String(text) => {
                if CODES.contains(&key) || key == "error" {
                    self.code(text);
                }
                if SENTENCES.contains(&key) {
                    self.sentence(text);
                }
                if key == "retryDelay" && self.retry_delay.is_none() {
                    self.retry_delay = Some(text.chars().take(32).collect());
                }
            }
            Json::Number(number) if CODES.contains(&key) => self.code(&number.to_string()),
            // A response object repeats the request; only its error is one.
            Json::Object(_) if key == "response" => {
                if let Some(error) = value.get("error") {
                    self.take_under("error", error, depth + 1);
                }
            }
            Json::Object(_) | Json::Array(_) if INSIDE.contains(&key) => self.document(value, depth + 1),
            _ => {}
        }
    }

    /// Names of exceptions come with the namespace in front or with an address behind.
    pub(crate) fn code(&mut self, text: &str) {
        let name = text.rsplit_once('#').map_or(text, |(_, name)| name);
        let name = name.split_once(':').map_or(name, |(name, _)| name).trim();
        if name.is_empty() || name.len() > 96 {
            return;
        }
        match name.parse::<u16>() {
            Ok(status) if (400..600).contains(&status) => self.status = self.status.or(Some(status)),
            _ => self.codes.push(name.to_ascii_lowercase()),
        }
    }

    fn sentence(&mut self, text: &str) {
        self.text.push_str(&text.to_ascii_lowercase());
        self.text.push('\n');
    }
}

/// The value of the first `error` in a document that was cut off or that has something around it. Inside a string the
/// quotes would be escaped, so it is a key.
fn error_inside(text: &str) -> Option<Json<'_>> {
    let (_, rest) = text.split_once("\"error\":")?;
    serde_json::Deserializer::from_str(rest).into_iter::<Json<'_>>().next()?.ok()
}

/// The first `most` bytes of a text that end where a character ends.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Borrowed(text.get(..end).unwrap_or_default())
}
