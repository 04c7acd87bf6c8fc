//! Errors of the Messages API: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

use std::borrow::Cow;

use serde::Serialize;

use crate::conversation::{Failure, FailureKind};
use crate::json::Json;

/// An error's text is shown and logged; a provider that answers with a page gets no more room than this.
const LONGEST_MESSAGE: usize = 2_000;

pub fn decode_error(status: u16, body: &[u8]) -> Failure<'static> {
    let text = String::from_utf8_lossy(body);
    let said = Json::parse(&text).ok().and_then(|json| {
        let error = json.get("error");
        // Clouds in front of the API answer `{"message": …}` or `{"error": "…"}` themselves.
        let message = error
            .and_then(|error| error.get("message").or(Some(error)))
            .or(json.get("message"))
            .and_then(Json::as_str)?
            .to_owned();
        let code = error.and_then(|error| error.get("type")).and_then(Json::as_str).map(str::to_owned);
        Some((message, code))
    });
    let (message, code) = said.unwrap_or_else(|| (text.trim().to_owned(), None));
    let message = shorten(&message);
    let message = if message.is_empty() {
        format!("The provider answered with status {status} and no explanation.")
    } else {
        message
    };
    let kind = code.as_deref().and_then(kind_of).unwrap_or_else(|| FailureKind::of_status(status));
    let code = code.map(|code| Cow::Owned(shorten(&code)));
    Failure { message: Cow::Owned(message), kind, code, param: None }
}

fn shorten(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control() || *character == '\n')
        .take(LONGEST_MESSAGE)
        .collect()
}

/// The failure in the `error` object of an `error` event.
pub(super) fn from_event(error: Option<&Json<'_>>) -> Failure<'static> {
    let text = |key| error.and_then(|error| error.get(key)).and_then(Json::as_str).map(shorten);
    let code = text("type");
    Failure {
        message: Cow::Owned(
            text("message").unwrap_or_else(|| "The provider broke the stream off.".to_owned()),
        ),
        kind: code.as_deref().and_then(kind_of).unwrap_or_default(),
        code: code.map(Cow::Owned),
        param: None,
    }
}

fn kind_of(word: &str) -> Option<FailureKind> {
    Some(match word {
        "invalid_request_error" => FailureKind::InvalidRequest,
        "authentication_error" => FailureKind::Authentication,
        "permission_error" | "billing_error" => FailureKind::Permission,
        "not_found_error" => FailureKind::NotFound,
        "request_too_large" => FailureKind::TooLarge,
        "rate_limit_error" => FailureKind::RateLimit,
        "overloaded_error" => FailureKind::Overloaded,
        "timeout_error" => FailureKind::Timeout,
        "api_error" => FailureKind::Server,
        _ => return None,
    })
}

fn word_of(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::InvalidRequest => "invalid_request_error",
        FailureKind::Authentication => "authentication_error",
        FailureKind::Permission => "permission_error",
        FailureKind::NotFound => "not_found_error",
        FailureKind::TooLarge => "request_too_large",
        FailureKind::RateLimit => "rate_limit_error",
        FailureKind::Overloaded => "overloaded_error",
        FailureKind::Timeout => "timeout_error",
        FailureKind::Server => "api_error",
    }
}

/// The field by which a client asks the provider to hold the conversation. Whoever sends it sends later turns alone.
pub(super) const THREAD: &str = "thread";

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Detail<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Detail<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    /// Not Anthropic's: our stable code, where there is one. Its SDKs keep keys that they do not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    /// On this word Anthropic's SDKs send the whole conversation again without a thread, and go on so.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    error_code: &'static str,
}

pub fn encode_error(failure: &Failure<'_>, request_id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_error(failure, request_id, &mut out);
    out
}

pub(super) fn write_error(failure: &Failure<'_>, request_id: &str, out: &mut Vec<u8>) {
    let kind = word_of(failure.kind);
    // Between two speakers of the dialect the code is the type itself.
    let code = failure.code.as_deref().filter(|code| *code != kind);
    let details = (failure.param.as_deref() == Some(THREAD))
        .then_some(Details { error_code: "thread_unsupported_request" });
    let body =
        Body { kind: "error", error: Detail { kind, message: &failure.message, code, details }, request_id };
    // Writing strings into memory cannot fail.
    let _ = serde_json::to_writer(out, &body);
}
