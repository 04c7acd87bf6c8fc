//! Errors inside a stream and inside a response object, in OpenAI's words.

use std::borrow::Cow;

use crate::conversation::{Failure, FailureKind};
use crate::json::Json;

/// Reads an error: `{code, message, param, type}`.
pub(super) fn read<'j>(error: &'j Json<'_>) -> Failure<'j> {
    let text = |key: &str| error.get(key).and_then(Json::as_str);
    let code = text("code").or_else(|| text("type").filter(|kind| *kind != "error"));
    Failure {
        message: Cow::Borrowed(text("message").unwrap_or("The provider failed and did not say why.")),
        kind: kind(text("code")).or_else(|| kind(text("type"))).unwrap_or_default(),
        code: code.map(Cow::Borrowed),
        param: text("param").map(Cow::Borrowed),
    }
}

fn kind(word: Option<&str>) -> Option<FailureKind> {
    Some(match word? {
        "rate_limit_exceeded" | "rate_limit_error" | "insufficient_quota" | "tokens" | "requests" => {
            FailureKind::RateLimit
        }
        "invalid_api_key" | "authentication_error" => FailureKind::Authentication,
        "permission_error" | "insufficient_permissions" | "data_residency_mismatch" => {
            FailureKind::Permission
        }
        "model_not_found" | "not_found_error" | "not_found" => FailureKind::NotFound,
        "server_is_overloaded" | "overloaded_error" | "slow_down" | "service_unavailable" => {
            FailureKind::Overloaded
        }
        "timeout" | "request_timeout" | "vector_store_timeout" => FailureKind::Timeout,
        "server_error" | "internal_error" | "internal_server_error" => FailureKind::Server,
        "context_length_exceeded"
        | "invalid_request_error"
        | "bio_policy"
        | "misalignment_policy_violation" => FailureKind::InvalidRequest,
        word if word.starts_with("invalid_") || word.contains("image") => FailureKind::InvalidRequest,
        _ => return None,
    })
}

/// The word for a failure: the provider's own, or the nearest of the API's.
pub(super) fn code<'f>(failure: &'f Failure<'_>) -> &'f str {
    failure.code.as_deref().unwrap_or(match failure.kind {
        FailureKind::RateLimit => "rate_limit_exceeded",
        FailureKind::InvalidRequest | FailureKind::TooLarge => "invalid_prompt",
        FailureKind::Authentication => "invalid_api_key",
        FailureKind::Permission => "insufficient_permissions",
        FailureKind::NotFound => "model_not_found",
        FailureKind::Overloaded => "server_is_overloaded",
        FailureKind::Timeout => "timeout",
        FailureKind::Server => "server_error",
    })
}

/// The word for a failure in a response object, whose codes are a closed list.
pub(super) fn listed(failure: &Failure<'_>) -> &'static str {
    const LISTED: [&str; 21] = [
        "server_error",
        "rate_limit_exceeded",
        "invalid_prompt",
        "data_residency_mismatch",
        "bio_policy",
        "misalignment_policy_violation",
        "vector_store_timeout",
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
    ];
    let own = failure.code.as_deref().and_then(|code| LISTED.into_iter().find(|known| *known == code));
    own.unwrap_or(match failure.kind {
        FailureKind::RateLimit => "rate_limit_exceeded",
        FailureKind::InvalidRequest | FailureKind::TooLarge => "invalid_prompt",
        _ => "server_error",
    })
}
