//! Errors, in the shapes in which the providers send them.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::Dialect;
use crate::failure::Failure;
use crate::field::{Problem, Wrong, bracketed};

impl Dialect {
    /// A mistake in a request, in the provider's words.
    pub fn wrong(self, wrong: Wrong) -> Failure {
        let Wrong { path, problem } = wrong;
        match self {
            Self::OpenAi => in_openai(&path, problem),
            Self::Anthropic => Failure::request(
                None,
                match problem {
                    Problem::Missing => format!("{path}: Field required"),
                    Problem::Type(expected, _) => format!("{path}: Input should be {expected}"),
                    Problem::Unknown => format!("{path}: Extra inputs are not permitted"),
                    Problem::Said(message) if path.is_empty() => message,
                    Problem::Said(message) => format!("{path}: {message}"),
                },
            ),
            Self::Gemini => in_gemini(&path, problem),
            Self::Bedrock => Failure::request(
                None,
                match problem {
                    Problem::Missing => format!(
                        "1 validation error detected: Value null at '{path}' failed to satisfy constraint: \
                         Member must not be null"
                    ),
                    Problem::Type(expected, found) => {
                        format!("Unexpected type at '{path}': {expected} was expected, {found} was found.")
                    }
                    Problem::Unknown => format!("{path}: Extra inputs are not permitted"),
                    Problem::Said(message) if path.is_empty() => message,
                    Problem::Said(message) => format!("{path}: {message}"),
                },
            ),
        }
    }

    /// The body of a refusal. `request` is the request's number in hexadecimal digits.
    pub fn body(self, failure: &Failure, request: &str) -> Bytes {
        match self {
            Self::OpenAi => openai_body(failure),
            Self::Anthropic => Bytes::from(anthropic_error(failure, request).to_string()),
            Self::Gemini => Bytes::from(gemini_error(failure).to_string()),
            Self::Bedrock => Bytes::from(json!({"message": failure.message}).to_string()),
        }
    }
}

fn in_openai(path: &str, problem: Problem) -> Failure {
    let path = bracketed(path);
    let (code, message) = match problem {
        Problem::Missing => ("missing_required_parameter", format!("Missing required parameter: '{path}'.")),
        Problem::Type(expected, found) => {
            let message = format!("Invalid type for '{path}': expected {expected}, but got {found} instead.");
            ("invalid_type", message)
        }
        Problem::Unknown => ("unknown_parameter", format!("Unknown parameter: '{path}'.")),
        Problem::Said(message) => ("invalid_value", message),
    };
    let param = (!path.is_empty()).then(|| path.into());
    Failure { param, code: Some(code), ..Failure::request(None, message) }
}

fn in_gemini(path: &str, problem: Problem) -> Failure {
    let place = bracketed(path);
    let message = match problem {
        Problem::Missing => {
            let name = path.rsplit('.').next().unwrap_or_default();
            format!("* GenerateContentRequest.{place}: {name} is not specified\n")
        }
        Problem::Type(expected, found) => {
            format!("Invalid value at '{place}': {expected} was expected, {found} was found.")
        }
        Problem::Unknown => {
            let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
            let at = if parent.is_empty() { String::new() } else { format!(" at '{}'", bracketed(parent)) };
            format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.")
        }
        Problem::Said(message) if place.is_empty() => message,
        Problem::Said(message) => format!("* GenerateContentRequest.{place}: {message}\n"),
    };
    Failure::request(None, message)
}

fn openai_body(failure: &Failure) -> Bytes {
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
    }
    let error = Error {
        message: &failure.message,
        r#type: failure.kind,
        param: failure.param.as_deref(),
        code: failure.code,
    };
    // Strings alone: there is nothing in it that could fail to serialise.
    Bytes::from(serde_json::to_vec(&Body { error }).unwrap_or_default())
}

/// Anthropic's error, whole and in a stream.
pub fn anthropic_error(failure: &Failure, request: &str) -> Value {
    let kind = match failure.status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let mut error = json!({"type": kind, "message": failure.message});
    if let Some(code @ "thread_unsupported_request") = failure.code {
        error["details"] = json!({"error_code": code});
    }
    json!({"type": "error", "error": error, "request_id": format!("req_{request}")})
}

/// Google's error, whole and in a stream.
pub fn gemini_error(failure: &Failure) -> Value {
    let status = match failure.status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let mut error = json!({"code": failure.status.as_u16(), "message": failure.message, "status": status});
    if !failure.details.is_empty() {
        error["details"] = json!(failure.details);
    }
    json!({"error": error})
}

/// The name of Bedrock's exception for a status.
pub fn exception(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::At;

    #[test]
    fn every_provider_names_the_field_in_its_own_words() {
        let value = json!({"contents": [{"x": 1}]});
        let unknown = || {
            let contents = At::root(&value).need("contents").expect("there").list().expect("a list");
            contents[0].only(&["parts"]).expect_err("unknown")
        };
        for (dialect, expected) in [
            (Dialect::OpenAi, "Unknown parameter: 'contents[0].x'."),
            (Dialect::Anthropic, "contents.0.x: Extra inputs are not permitted"),
            (
                Dialect::Gemini,
                "Invalid JSON payload received. Unknown name \"x\" at 'contents[0]': Cannot find field.",
            ),
            (Dialect::Bedrock, "contents.0.x: Extra inputs are not permitted"),
        ] {
            assert_eq!(dialect.wrong(unknown()).message, expected);
        }
    }
}
