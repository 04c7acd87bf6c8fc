//! Errors: `{"message": "…"}`, with the name of the exception in a header of the answer or beside the message.

use std::borrow::Cow;

use crate::conversation::{Failure, FailureKind};
use crate::json::{Fields, Json};

/// What of a message is kept.
const MOST: usize = 4_096;

pub fn decode_error(status: u16, body: &[u8]) -> Failure<'static> {
    let code_and_message =
        std::str::from_utf8(body).ok().and_then(|text| Json::parse(text).ok()).map(|json| {
            let text = |keys: [&str; 2]| {
                keys.into_iter().find_map(|key| json.get(key).and_then(Json::as_str).map(cut))
            };
            (text(["__type", "code"]), text(["message", "Message"]))
        });
    let (code, message) = code_and_message.unwrap_or_default();
    let message = message.unwrap_or_else(|| match cut(&String::from_utf8_lossy(body)) {
        text if text.is_empty() => format!("Bedrock answered with status {status} and said nothing more."),
        text => text,
    });
    // Some names come with the namespace that they are defined in.
    let code = code.map(|code| match code.rsplit_once('#') {
        Some((_, name)) => name.to_owned(),
        None => code,
    });
    let kind = code.as_deref().and_then(kind).unwrap_or_else(|| FailureKind::of_status(status));
    Failure { message: Cow::Owned(message), kind, code: code.map(Cow::Owned), param: None }
}

/// An exception in a stream.
pub fn decode_exception(name: &str, data: &[u8]) -> Failure<'static> {
    let name: String = name.chars().take(128).collect();
    let failure = decode_error(500, data);
    let message =
        if data.is_empty() { Cow::Owned(format!("The stream ended with {name}.")) } else { failure.message };
    let kind = kind(&name).unwrap_or_default();
    Failure { message, kind, code: Some(Cow::Owned(name)), param: None }
}

/// A stream that is not what Converse says.
pub fn garbage(what: &str) -> Failure<'static> {
    Failure {
        message: Cow::Owned(format!("The provider's stream cannot be read: {what}.")),
        kind: FailureKind::Server,
        code: None,
        param: None,
    }
}

fn cut(text: &str) -> String {
    text.trim().chars().take(MOST).collect()
}

/// What the name of an exception says. In streams it begins with a small letter.
fn kind(code: &str) -> Option<FailureKind> {
    let matches = |name: &str| code.eq_ignore_ascii_case(name);
    let table: [(&[&str], FailureKind); 9] = [
        (
            &["ThrottlingException", "TooManyRequestsException", "ServiceQuotaExceededException"],
            FailureKind::RateLimit,
        ),
        (&["ServiceUnavailableException", "ModelNotReadyException"], FailureKind::Overloaded),
        (&["ModelTimeoutException", "RequestTimeoutException"], FailureKind::Timeout),
        (
            &["ValidationException", "SerializationException", "ConflictException"],
            FailureKind::InvalidRequest,
        ),
        (&["AccessDeniedException"], FailureKind::Permission),
        (
            &[
                "UnrecognizedClientException",
                "InvalidSignatureException",
                "ExpiredTokenException",
                "IncompleteSignatureException",
                "MissingAuthenticationTokenException",
            ],
            FailureKind::Authentication,
        ),
        (&["ResourceNotFoundException", "UnknownOperationException"], FailureKind::NotFound),
        (&["RequestEntityTooLargeException"], FailureKind::TooLarge),
        (
            &[
                "InternalServerException",
                "ModelErrorException",
                "ModelStreamErrorException",
                "InternalFailureException",
            ],
            FailureKind::Server,
        ),
    ];
    table.iter().find(|(names, _)| names.iter().any(|name| matches(name))).map(|(_, kind)| *kind)
}

/// The exception of the API that says what happened.
fn exception(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::InvalidRequest | FailureKind::TooLarge => "ValidationException",
        FailureKind::Authentication => "UnrecognizedClientException",
        FailureKind::Permission => "AccessDeniedException",
        FailureKind::NotFound => "ResourceNotFoundException",
        FailureKind::RateLimit => "ThrottlingException",
        FailureKind::Overloaded => "ServiceUnavailableException",
        FailureKind::Timeout => "ModelTimeoutException",
        FailureKind::Server => "InternalServerException",
    }
}

/// The exception of a stream that says what happened; a stream has only five.
pub fn stream_exception(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::RateLimit => "throttlingException",
        FailureKind::Overloaded => "serviceUnavailableException",
        FailureKind::Timeout => "modelStreamErrorException",
        FailureKind::Server => "internalServerException",
        FailureKind::InvalidRequest
        | FailureKind::TooLarge
        | FailureKind::Authentication
        | FailureKind::Permission
        | FailureKind::NotFound => "validationException",
    }
}

/// The name stands in the body, too, where clients look for it when the header is missing.
pub fn encode_error(failure: &Failure<'_>) -> Vec<u8> {
    let mut body = Fields::new();
    body.put("message", &failure.message).put("__type", exception(failure.kind));
    Json::from(body).to_vec()
}
