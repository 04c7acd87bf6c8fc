//! Why a provider refuses, in its own words: clients and gateways tell the causes apart by these.

use http::StatusCode;
use serde_json::{Value, json};

use super::Dialect;
use crate::directives::Refusal;
use crate::failure::Failure;

impl Dialect {
    /// The error that the provider answers for this cause.
    pub fn refusal(self, cause: Refusal) -> Failure {
        match self {
            Self::OpenAi => openai(cause),
            Self::Anthropic => anthropic(cause),
            Self::Gemini => gemini(cause),
            Self::Bedrock => bedrock(cause),
        }
    }
}

fn overloaded() -> StatusCode {
    // Anthropic's own number, which no standard names.
    StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

fn refused(status: StatusCode, message: &str) -> Failure {
    Failure { status, ..Failure::request(None, message) }
}

fn openai(cause: Refusal) -> Failure {
    match cause {
        Refusal::Context => Failure {
            code: Some("context_length_exceeded"),
            ..Failure::request(
                Some("messages"),
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. \
                 Please reduce the length of the messages.",
            )
        },
        Refusal::Policy => Failure {
            code: Some("content_policy_violation"),
            ..Failure::request(
                None,
                "Your request was rejected as a result of our safety system. Your prompt may contain text that is not \
                 allowed by our safety system.",
            )
        },
        Refusal::Quota => Failure {
            kind: "insufficient_quota",
            code: Some("insufficient_quota"),
            ..refused(
                StatusCode::TOO_MANY_REQUESTS,
                "You exceeded your current quota, please check your plan and billing details.",
            )
        },
        Refusal::Key => Failure {
            code: Some("invalid_api_key"),
            ..refused(StatusCode::UNAUTHORIZED, "Incorrect API key provided: ***.")
        },
        Refusal::Overloaded => Failure {
            kind: "server_error",
            ..refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "The engine is currently overloaded, please try again later",
            )
        },
    }
}

fn anthropic(cause: Refusal) -> Failure {
    match cause {
        Refusal::Context => Failure::request(None, "prompt is too long: 209000 tokens > 200000 maximum"),
        Refusal::Policy => Failure::request(None, "Output blocked by content filtering policy"),
        Refusal::Quota => Failure::request(
            None,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or \
             purchase credits.",
        ),
        Refusal::Key => refused(StatusCode::UNAUTHORIZED, "invalid x-api-key"),
        Refusal::Overloaded => refused(overloaded(), "Overloaded"),
    }
}

fn gemini(cause: Refusal) -> Failure {
    match cause {
        Refusal::Context => refused(
            StatusCode::BAD_REQUEST,
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        ),
        // A prompt that is blocked is answered, see the dialect's reply. This is for the middle of a stream.
        Refusal::Policy => {
            refused(StatusCode::BAD_REQUEST, "The response was blocked as it may contain prohibited content.")
        }
        Refusal::Quota => Failure {
            details: vec![json!({
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                    "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                    "quotaValue": "50",
                }],
            })],
            ..refused(
                StatusCode::TOO_MANY_REQUESTS,
                "You exceeded your current quota, please check your plan and billing details.",
            )
        },
        Refusal::Key => Failure {
            details: vec![json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            })],
            ..refused(StatusCode::BAD_REQUEST, "API key not valid. Please pass a valid API key.")
        },
        Refusal::Overloaded => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "The model is overloaded. Please try again later.")
        }
    }
}

fn bedrock(cause: Refusal) -> Failure {
    match cause {
        Refusal::Context => refused(StatusCode::BAD_REQUEST, "Input is too long for requested model."),
        Refusal::Policy => refused(
            StatusCode::BAD_REQUEST,
            "The model returned the following errors: Output blocked by content filtering policy",
        ),
        Refusal::Quota => refused(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many tokens per day, please wait before trying again.",
        ),
        Refusal::Key => {
            refused(StatusCode::FORBIDDEN, "Authentication failed: Please make sure your API Key is valid.")
        }
        Refusal::Overloaded => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "Bedrock is unable to process your request.")
        }
    }
}

/// When Google says to try again: it has no header for that.
pub fn retry_info(seconds: u64) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")})
}
