//! Why a provider did not answer, as far as it matters to what is done next.
//!
//! The status speaks first where it is plain (a timeout, a missing key), the provider's codes where it is not, its
//! sentences last. The client's dialect plays no part: routers and compatibility endpoints send one provider's words in
//! another one's shape, so all words are known everywhere.
//!
//! An answer that ends with the finish reason `content_filter` and says nothing is no failure here: it
//! has a good status, it was paid for, and it goes to the client as it is.

use crate::conversation::{Failure, FailureKind};
use crate::said::{self, Said};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Too much was asked of this account or key for now.
    RateLimit,
    /// The request is longer than this model takes; one with a longer context may answer it.
    ContextLength,
    /// This provider does not talk about that.
    ContentPolicy,
    /// The provider is broken, overloaded, or does not have the model.
    Error,
    Timeout,
    /// The key is wrong, may not do this, or is out of money: the provider is well, but not for this key.
    Credential,
    /// The request is wrong, and would be wrong elsewhere.
    Invalid,
}

impl Cause {
    pub const ALL: [Cause; 7] = [
        Cause::RateLimit,
        Cause::ContextLength,
        Cause::ContentPolicy,
        Cause::Error,
        Cause::Timeout,
        Cause::Credential,
        Cause::Invalid,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Cause::RateLimit => "rate_limit",
            Cause::ContextLength => "context_length",
            Cause::ContentPolicy => "content_policy",
            Cause::Error => "error",
            Cause::Timeout => "timeout",
            Cause::Credential => "credential",
            Cause::Invalid => "invalid",
        }
    }

    /// Whether the request's content is what was not taken, so that the provider is well.
    fn is_about_content(self) -> bool {
        matches!(self, Cause::ContextLength | Cause::ContentPolicy)
    }

    pub fn parse(text: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

/// The cause of a whole answer whose status is an error. Looks at the first 16 KiB of the body. `name` is what a header
/// says: Amazon's `x-amzn-errortype`, beside a body that may hold a sentence alone.
pub fn classify(status: u16, name: Option<&str>, body: &[u8]) -> Cause {
    let mut said = Said::of_body(body);
    if let Some(name) = name {
        said.code(name);
    }
    // A router answers 200 and puts its provider's status inside.
    let status = if status >= 400 { Some(status) } else { said.status };
    decide(status, &said)
}

/// The cause of a failure that a decoder read, in a stream or out of it.
pub fn classify_failure(failure: &Failure<'_>) -> Cause {
    let status = match failure.kind {
        FailureKind::InvalidRequest => 400,
        FailureKind::Authentication => 401,
        FailureKind::Permission => 403,
        FailureKind::NotFound => 404,
        FailureKind::TooLarge => 413,
        FailureKind::RateLimit => 429,
        FailureKind::Overloaded => 503,
        FailureKind::Timeout => 504,
        FailureKind::Server => 500,
    };
    let said = Said::of_words(failure.code.as_deref(), &said::cut(&failure.message, said::MOST));
    decide(Some(status), &said)
}

/// The cause of a stream's error event that travels on as it is, by its data.
pub fn classify_event(data: &[u8]) -> Cause {
    let said = Said::of_body(data);
    decide(said.status, &said)
}

fn decide(status: Option<u16>, said: &Said) -> Cause {
    let phrase = || known_phrase(said);
    let code = match known_code(said) {
        // Some say in a sentence what was wrong and call it a server error all the same.
        Some(Cause::Error) => phrase().filter(|cause| cause.is_about_content()).or(Some(Cause::Error)),
        code => code,
    };
    match status {
        Some(401 | 402 | 407) => Cause::Credential,
        // The last four are the words of proxies in front of providers.
        Some(408 | 504 | 522 | 524 | 598 | 599) => Cause::Timeout,
        Some(403) => match code.or_else(phrase) {
            Some(cause @ (Cause::ContentPolicy | Cause::RateLimit)) => cause,
            _ => Cause::Credential,
        },
        Some(404) => Cause::Error,
        // Groq says so, too, when a request is larger than a whole minute's tokens.
        Some(413) if code == Some(Cause::RateLimit) => Cause::RateLimit,
        Some(413) => Cause::ContextLength,
        Some(429) => match code {
            // OpenAI and others answer 429 when the money is gone; Bedrock, when a model is not loaded yet.
            Some(cause @ (Cause::Credential | Cause::Error)) => cause,
            _ if phrase() == Some(Cause::Credential) => Cause::Credential,
            _ => Cause::RateLimit,
        },
        Some(400 | 406 | 411..=417 | 422 | 431) => code.or_else(phrase).unwrap_or(Cause::Invalid),
        Some(_) => code.or_else(phrase).unwrap_or(Cause::Error),
        None => code.or_else(phrase).unwrap_or_else(|| {
            let invalid = said.codes.iter().any(|code| VAGUE.contains(&code.as_str()));
            if invalid { Cause::Invalid } else { Cause::Error }
        }),
    }
}

/// The weightiest cause that any of the codes names: several stand in one error, and the most particular one counts.
fn known_code(said: &Said) -> Option<Cause> {
    CODES
        .iter()
        .find(|(_, names)| said.codes.iter().any(|code| names.contains(&code.as_str())))
        .map(|(cause, _)| *cause)
}

fn known_phrase(said: &Said) -> Option<Cause> {
    PHRASES
        .iter()
        .find(|(_, fragments)| fragments.iter().all(|fragment| said.text.contains(fragment)))
        .map(|(cause, _)| *cause)
}

/// Codes that say no more than that the request was not liked.
const VAGUE: [&str; 4] =
    ["invalid_request_error", "badrequesterror", "invalid_argument", "validationexception"];

/// Codes in small letters, the most particular cause first. Sources: the error types of OpenAI's, Anthropic's and
/// Google's SDKs and API references, botocore's model of bedrock-runtime, and the servers named.
const CODES: [(Cause, &[&str]); 6] = [
    (
        Cause::ContextLength,
        &[
            "context_length_exceeded",
            "string_above_max_length",
            "array_above_max_length",
            "context_window_exceeded",
            "model_max_prompt_tokens_exceeded",
            // llama.cpp
            "exceed_context_size_error",
            // Anthropic, for the size in bytes
            "request_too_large",
            "requestentitytoolargeexception",
        ],
    ),
    (
        Cause::ContentPolicy,
        &[
            "content_filter",
            "content_filtered",
            "content_policy_violation",
            "invalid_prompt",
            "moderation_blocked",
            "image_content_policy_violation",
            "bio_policy",
            "cyber_policy",
            "misalignment_policy_violation",
            // Azure, inside `innererror`
            "responsibleaipolicyviolation",
            // Google
            "prohibited_content",
            "safety",
            "blocklist",
            "spii",
            "image_safety",
            // Alibaba
            "data_inspection_failed",
            "datainspectionfailed",
        ],
    ),
    (
        Cause::Credential,
        &[
            "insufficient_quota",
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "insufficient_balance",
            "account_deactivated",
            "invalid_api_key",
            "authentication_error",
            "authenticationerror",
            "permission_error",
            "permission_denied",
            "insufficient_permissions",
            "unauthenticated",
            "api_key_invalid",
            "api_key_service_blocked",
            "billing_disabled",
            "service_disabled",
            // Gemini: not in this country without billing
            "failed_precondition",
            "accessdeniedexception",
            "unrecognizedclientexception",
            "invalidsignatureexception",
            "incompletesignatureexception",
            "expiredtokenexception",
            "missingauthenticationtokenexception",
        ],
    ),
    (
        // Before the rate limits: Bedrock answers 429 for it.
        Cause::Error,
        &[
            "modelnotreadyexception",
            "modelerrorexception",
            "modelstreamerrorexception",
            "internalserverexception",
            "internalfailureexception",
            "serviceunavailableexception",
            "resourcenotfoundexception",
            "unknownoperationexception",
            "overloaded_error",
            "overloaded",
            "server_overloaded",
            "server_is_overloaded",
            "engine_overloaded",
            "engine_overloaded_error",
            "slow_down",
            "service_unavailable",
            "service_unavailable_error",
            "unavailable",
            "unavailable_error",
            "server_error",
            "api_error",
            "internal_server_error",
            "internalservererror",
            "internal",
            "not_found_error",
            "model_not_found",
            "model_not_active",
            "model_decommissioned",
            "deploymentnotfound",
            "not_found",
        ],
    ),
    (
        Cause::RateLimit,
        &[
            "rate_limit_exceeded",
            "rate_limit_error",
            "ratelimiterror",
            "ratelimitexceeded",
            "ratelimitreached",
            "rate_limit_reached",
            "rate_limited",
            // The types that go with OpenAI's `rate_limit_exceeded`
            "tokens",
            "requests",
            "resource_exhausted",
            "throttlingexception",
            "toomanyrequestsexception",
            "too_many_requests",
            "servicequotaexceededexception",
        ],
    ),
    (
        Cause::Timeout,
        &[
            "timeout",
            "timeout_error",
            "request_timeout",
            "deadline_exceeded",
            "modeltimeoutexception",
            "requesttimeoutexception",
            "vector_store_timeout",
        ],
    ),
];

/// Sentences, by fragments in small letters that must all be there.
const PHRASES: [(Cause, &[&str]); 46] = [
    // OpenAI, vLLM, Mistral, Groq, OpenRouter
    (Cause::ContextLength, &["maximum context length"]),
    (Cause::ContextLength, &["context_length_exceeded"]),
    (Cause::ContextLength, &["context length", "exceed"]),
    (Cause::ContextLength, &["context window", "exceed"]),
    (Cause::ContextLength, &["please reduce the length of the messages"]),
    // Anthropic; also at Bedrock and Vertex
    (Cause::ContextLength, &["prompt is too long"]),
    (Cause::ContextLength, &["exceed context limit"]),
    // Google
    (Cause::ContextLength, &["exceeds the maximum number of tokens"]),
    (Cause::ContextLength, &["input token count", "supports up to"]),
    // Bedrock
    (Cause::ContextLength, &["input is too long"]),
    (Cause::ContextLength, &["too many input tokens"]),
    (Cause::ContextLength, &["input tokens exceeded"]),
    // vLLM
    (Cause::ContextLength, &["longer than the maximum model length"]),
    // TGI
    (Cause::ContextLength, &["`max_new_tokens` must be <="]),
    (Cause::ContextLength, &["`inputs` must have less than"]),
    // llama.cpp and Ollama
    (Cause::ContextLength, &["exceeds the available context size"]),
    (Cause::ContextLength, &["exceeded max context length"]),
    // xAI
    (Cause::ContextLength, &["maximum prompt length"]),
    // Moonshot
    (Cause::ContextLength, &["exceeded model token limit"]),
    // Cohere
    (Cause::ContextLength, &["total number of tokens", "cannot exceed"]),
    // OpenAI; Azure
    (Cause::ContentPolicy, &["violating our usage policy"]),
    (Cause::ContentPolicy, &["content management policy"]),
    (Cause::ContentPolicy, &["safety system"]),
    (Cause::ContentPolicy, &["content_policy_violation"]),
    (Cause::ContentPolicy, &["content policy"]),
    // Anthropic
    (Cause::ContentPolicy, &["content filtering policy"]),
    (Cause::ContentPolicy, &["violate our usage policy"]),
    // Google
    (Cause::ContentPolicy, &["prohibited_content"]),
    (Cause::ContentPolicy, &["prohibited use policy"]),
    (Cause::ContentPolicy, &["blocked", "safety"]),
    // DeepSeek
    (Cause::ContentPolicy, &["content exists risk"]),
    // xAI
    (Cause::ContentPolicy, &["content violates usage guidelines"]),
    // OpenRouter
    (Cause::ContentPolicy, &["requires moderation"]),
    // Alibaba
    (Cause::ContentPolicy, &["inappropriate content"]),
    // Anthropic, with `invalid_request_error`
    (Cause::Credential, &["credit balance is too low"]),
    // DeepSeek, Zhipu
    (Cause::Credential, &["insufficient balance"]),
    // OpenRouter
    (Cause::Credential, &["insufficient credits"]),
    (Cause::Credential, &["api key not valid"]),
    (Cause::Credential, &["incorrect api key"]),
    (Cause::Credential, &["invalid api key"]),
    (Cause::Credential, &["api key expired"]),
    // Bedrock, with `ValidationException`: the target's model is not there
    (Cause::Error, &["model identifier is invalid"]),
    (Cause::Error, &["on-demand throughput", "supported"]),
    (Cause::RateLimit, &["rate limit", "exceeded"]),
    (Cause::RateLimit, &["rate limit reached"]),
    (Cause::RateLimit, &["too many requests"]),
];
