//! Errors: `{"error": {code, message, status, details}}`, the form of all of Google's APIs.

use std::borrow::Cow;

use crate::conversation::{Failure, FailureKind};
use crate::json::Json;
use crate::object;

/// The longest message that is passed on, in characters.
const LONGEST: usize = 2_000;

/// What Google's words mean, and the status that goes with each.
const KINDS: [(&str, FailureKind); 13] = [
    ("INVALID_ARGUMENT", FailureKind::InvalidRequest),
    ("FAILED_PRECONDITION", FailureKind::InvalidRequest),
    ("OUT_OF_RANGE", FailureKind::InvalidRequest),
    ("ALREADY_EXISTS", FailureKind::InvalidRequest),
    ("UNAUTHENTICATED", FailureKind::Authentication),
    ("PERMISSION_DENIED", FailureKind::Permission),
    ("NOT_FOUND", FailureKind::NotFound),
    ("RESOURCE_EXHAUSTED", FailureKind::RateLimit),
    ("UNAVAILABLE", FailureKind::Overloaded),
    ("DEADLINE_EXCEEDED", FailureKind::Timeout),
    ("INTERNAL", FailureKind::Server),
    ("UNKNOWN", FailureKind::Server),
    ("DATA_LOSS", FailureKind::Server),
];

pub fn decode_error(status: u16, body: &[u8]) -> Failure<'static> {
    let text = String::from_utf8_lossy(body);
    let json = Json::parse(&text).ok();
    let error = json.as_ref().and_then(error_of);
    match error {
        Some(error) => read(error, status),
        None => Failure {
            message: Cow::Owned(plain_message(status, &text)),
            kind: FailureKind::of_status(status),
            code: None,
            param: None,
        },
    }
}

/// The error of a document, if it is one. Vertex puts it into an array when it does not stream events.
pub(super) fn error_of<'d>(document: &'d Json<'_>) -> Option<&'d Json<'d>> {
    let document = document.as_array().and_then(<[Json<'_>]>::first).unwrap_or(document);
    document.get("error").filter(|error| matches!(error, Json::Object(_) | Json::String(_)))
}

/// Reads the value of `error`. `status` is the answer's; inside a stream the error's own code takes its place.
pub(super) fn read(error: &Json<'_>, status: u16) -> Failure<'static> {
    let word = error.get("status").and_then(Json::as_str);
    let code = match error.get("code") {
        Some(Json::Number(number)) => number.as_u64().and_then(|code| u16::try_from(code).ok()),
        _ => None,
    };
    let known = word.and_then(|word| KINDS.iter().find(|(known, _)| *known == word));
    let kind = match known {
        // A wrong key is an invalid argument to Google.
        _ if has_reason(error, "API_KEY_INVALID") => FailureKind::Authentication,
        Some((_, kind)) => *kind,
        None if status >= 400 => FailureKind::of_status(status),
        None => code.map_or(FailureKind::Server, FailureKind::of_status),
    };
    let message = error.get("message").and_then(Json::as_str).or(error.as_str()).unwrap_or_default();
    Failure {
        message: match message {
            "" => Cow::Borrowed("The provider reported an error without a message."),
            message => Cow::Owned(message.chars().take(LONGEST).collect()),
        },
        kind,
        code: word.map(|word| Cow::Owned(word.chars().take(64).collect())),
        param: None,
    }
}

fn has_reason(error: &Json<'_>, reason: &str) -> bool {
    let details = error.get("details").and_then(Json::as_array).unwrap_or_default();
    details.iter().any(|detail| detail.get("reason").and_then(Json::as_str) == Some(reason))
}

/// For bodies that are no JSON. A page of HTML tells nobody anything.
fn plain_message(status: u16, text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.starts_with(['<', '{', '[']) {
        format!("The provider answered with status {status} and no message.")
    } else {
        text.chars().filter(|character| !character.is_control()).take(300).collect()
    }
}

pub fn encode_error(failure: &Failure<'_>) -> Vec<u8> {
    document(failure).to_vec()
}

pub(super) fn document<'f>(failure: &'f Failure<'_>) -> Json<'f> {
    let (code, status): (u64, &str) = match failure.kind {
        FailureKind::InvalidRequest | FailureKind::TooLarge => (400, "INVALID_ARGUMENT"),
        FailureKind::Authentication => (401, "UNAUTHENTICATED"),
        FailureKind::Permission => (403, "PERMISSION_DENIED"),
        FailureKind::NotFound => (404, "NOT_FOUND"),
        FailureKind::RateLimit => (429, "RESOURCE_EXHAUSTED"),
        FailureKind::Overloaded => (503, "UNAVAILABLE"),
        FailureKind::Timeout => (504, "DEADLINE_EXCEEDED"),
        FailureKind::Server => (500, "INTERNAL"),
    };
    object! { "error" => object! { "code" => code, "message" => &failure.message, "status" => status } }
}
