//! Errors of both OpenAI dialects, chat completions and Responses.

use std::borrow::Cow;

use serde::Serialize;

use crate::conversation::{Failure, FailureKind};
use crate::json::Json;

/// Longer messages are cut: nobody reads on, and a page of HTML is no message.
const LONGEST_MESSAGE: usize = 2_000;

/// Reads an error of OpenAI, or of a server that is like it: `{"error": {…}}`, `{"error": "…"}`, `{"message": "…"}`,
/// `{"detail": …}`, any of them in an array, or just text.
pub fn decode_error(status: u16, body: &[u8]) -> Failure<'static> {
    let text = String::from_utf8_lossy(body);
    let json = Json::parse(&text).ok();
    let mut failure = match &json {
        Some(Json::Array(items)) => items.first().map(of_json).unwrap_or_default(),
        Some(json) => of_json(json),
        None => Failure::default(),
    };
    let of_status = FailureKind::of_status(status);
    // A status such as 429 is plainer than any word; 400 and 500 say too little.
    if !matches!(of_status, FailureKind::InvalidRequest | FailureKind::Server)
        || failure.kind == FailureKind::Server
    {
        failure.kind = of_status;
    }
    if failure.message.is_empty() {
        let text = text.trim();
        failure.message = if json.is_none() && !text.is_empty() && !text.starts_with('<') {
            Cow::Owned(cut(text))
        } else {
            Cow::Owned(format!("The provider answered with status {status} and without a message."))
        };
    }
    failure
}

/// Reads the value of `error` of a stream's event, or a whole body.
pub(super) fn of_json(json: &Json<'_>) -> Failure<'static> {
    let error = match json.get("error") {
        Some(error) if !error.is_null() => error,
        _ => json,
    };
    if let Some(message) = error.as_str() {
        return Failure { message: Cow::Owned(cut(message)), ..Failure::default() };
    }
    let word = |key| match error.get(key) {
        Some(Json::String(text)) if !text.is_empty() => Some(cut(text)),
        Some(Json::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = word("message").or_else(|| match error.get("detail")? {
        Json::String(text) => Some(cut(text)),
        other => Some(cut(&other.to_text())),
    });
    let (code, kind) = (word("code"), word("type"));
    let known = [&code, &kind].into_iter().flatten().find_map(|word| kind_of(word));
    Failure {
        message: Cow::Owned(message.unwrap_or_default()),
        kind: known.unwrap_or_default(),
        code: code.or(kind).map(Cow::Owned),
        param: word("param").map(Cow::Owned),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_MESSAGE).collect()
}

/// What a provider's word means. Routers put the status of their own provider there.
fn kind_of(word: &str) -> Option<FailureKind> {
    if let Ok(status) = word.parse::<u16>() {
        return (400..600).contains(&status).then(|| FailureKind::of_status(status));
    }
    Some(match word {
        "invalid_request_error" | "invalid_prompt" | "context_length_exceeded" | "BadRequestError" => {
            FailureKind::InvalidRequest
        }
        "authentication_error" | "invalid_api_key" | "AuthenticationError" => FailureKind::Authentication,
        "permission_error" | "permission_denied" | "PermissionDeniedError" => FailureKind::Permission,
        "not_found_error" | "model_not_found" | "NotFoundError" => FailureKind::NotFound,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "insufficient_quota"
        | "tokens"
        | "requests"
        | "RateLimitError" => FailureKind::RateLimit,
        "overloaded_error"
        | "overloaded"
        | "server_overloaded"
        | "engine_overloaded"
        | "service_unavailable_error"
        | "service_unavailable" => FailureKind::Overloaded,
        "timeout" | "timeout_error" | "request_timeout" => FailureKind::Timeout,
        _ => return None,
    })
}

fn type_of(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::InvalidRequest | FailureKind::TooLarge => "invalid_request_error",
        FailureKind::Authentication => "authentication_error",
        FailureKind::Permission => "permission_error",
        FailureKind::NotFound => "not_found_error",
        FailureKind::RateLimit => "rate_limit_error",
        FailureKind::Overloaded | FailureKind::Timeout | FailureKind::Server => "server_error",
    }
}

pub fn encode_error(failure: &Failure<'_>, request_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: Option<&'a str>,
        request_id: &'a str,
    }
    let error = Error {
        message: &failure.message,
        r#type: type_of(failure.kind),
        param: failure.param.as_deref(),
        code: failure.code.as_deref(),
        request_id,
    };
    serde_json::to_vec(&Body { error }).unwrap_or_default()
}
