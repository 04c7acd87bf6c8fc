//! The causes of real errors, family by family.

use meseta_wire::conversation::{Failure, FailureKind};
use meseta_wire::dialect::{self, Dialect};
use meseta_wire::failure::{Cause, classify, classify_event, classify_failure};
use proptest::prelude::*;

type Case = (u16, &'static str, Cause);

fn check(cases: &[Case]) {
    for (status, body, cause) in cases {
        assert_eq!(classify(*status, None, body.as_bytes()), *cause, "{status} {body}");
    }
}

/// The same error read by the dialect's decoder first, as it happens to translated answers.
fn check_decoded(dialect: Dialect, cases: &[Case]) {
    for (status, body, cause) in cases {
        let failure = dialect::decode_error(dialect, *status, body.as_bytes());
        assert_eq!(classify_failure(&failure), *cause, "{status} {body} {failure:?}");
    }
}

/// Shapes: `openai/types/shared/error_object.py`; the sentences are those of the API's guide to error codes.
const OPENAI: [Case; 11] = [
    (
        400,
        r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        Cause::ContextLength,
    ),
    (
        400,
        r#"{"error":{"message":"Invalid 'input': string too long. Expected a string with maximum length 10485760, but got a string with length 10500000 instead.","type":"invalid_request_error","param":"input","code":"string_above_max_length"}}"#,
        Cause::ContextLength,
    ),
    (
        400,
        r#"{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy.","type":"invalid_request_error","param":null,"code":"invalid_prompt"}}"#,
        Cause::ContentPolicy,
    ),
    (
        400,
        r#"{"error":{"message":"max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.","type":"invalid_request_error","param":"max_tokens","code":"invalid_value"}}"#,
        Cause::Invalid,
    ),
    (
        401,
        r#"{"error":{"message":"Incorrect API key provided: sk-ab***yz.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        Cause::Credential,
    ),
    (
        404,
        r#"{"error":{"message":"The model `gpt-9` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
        Cause::Error,
    ),
    (
        429,
        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        Cause::Credential,
    ),
    (
        429,
        r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
        Cause::RateLimit,
    ),
    (
        500,
        r#"{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}"#,
        Cause::Error,
    ),
    (
        503,
        r#"{"error":{"message":"That model is currently overloaded with other requests.","type":"server_error","param":null,"code":null}}"#,
        Cause::Error,
    ),
    (
        503,
        r#"{"error":{"message":"Slow down.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
        Cause::RateLimit,
    ),
];

#[test]
fn openai() {
    check(&OPENAI);
    check_decoded(Dialect::OpenaiChat, &OPENAI);
}

/// Azure OpenAI's content filter (its page on content filtering) and its limits.
#[test]
fn azure() {
    check(&[
        (
            400,
            r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true,"severity":"high"}}}}}"#,
            Cause::ContentPolicy,
        ),
        (
            400,
            r#"{"error":{"code":"BadRequest","message":"no","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            Cause::ContentPolicy,
        ),
        (
            429,
            r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation have exceeded token rate limit of your current AIServices S0 pricing tier. Please retry after 26 seconds."}}"#,
            Cause::RateLimit,
        ),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
            Cause::Error,
        ),
        (
            401,
            r#"{"statusCode":401,"message":"Access denied due to invalid subscription key."}"#,
            Cause::Credential,
        ),
        (408, r#"{"error":{"code":"Timeout","message":"The operation was timeout."}}"#, Cause::Timeout),
    ]);
}

/// Shapes: `anthropic/types/error_response.py` and the union of error objects beside it.
#[test]
fn anthropic() {
    let cases = [
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 214850 tokens > 200000 maximum"},"request_id":"req_1"}"#,
            Cause::ContextLength,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again"}}"#,
            Cause::ContextLength,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
            Cause::ContentPolicy,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#,
            Cause::Credential,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.0.content: Input should be a valid list"}}"#,
            Cause::Invalid,
        ),
        (402, r#"{"type":"error","error":{"type":"billing_error","message":"Billing."}}"#, Cause::Credential),
        (
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}"#,
            Cause::Credential,
        ),
        (
            413,
            r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
            Cause::ContextLength,
        ),
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 50,000 input tokens per minute."}}"#,
            Cause::RateLimit,
        ),
        (
            500,
            r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
            Cause::Error,
        ),
        (
            504,
            r#"{"type":"error","error":{"type":"timeout_error","message":"Request timed out"}}"#,
            Cause::Timeout,
        ),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Cause::Error),
    ];
    check(&cases);
    check_decoded(Dialect::AnthropicMessages, &cases);
}

/// Shapes: google.rpc.Status as `google/genai/errors.py` reads it.
#[test]
fn google() {
    let cases = [
        (
            400,
            r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
            Cause::ContextLength,
        ),
        (
            400,
            r#"[{"error":{"code":400,"message":"Unable to submit request because the input token count is 40000 but the model only supports up to 32768.","status":"INVALID_ARGUMENT"}}]"#,
            Cause::ContextLength,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"The prompt could not be submitted. This prompt contains sensitive words that violate Google's Generative AI Prohibited Use policy.","status":"INVALID_ARGUMENT"}}"#,
            Cause::ContentPolicy,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
            Cause::Credential,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"foo\".","status":"INVALID_ARGUMENT"}}"#,
            Cause::Invalid,
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"Generative Language API has not been used in project 1 before or it is disabled.","status":"PERMISSION_DENIED"}}"#,
            Cause::Credential,
        ),
        (
            404,
            r#"{"error":{"code":404,"message":"models/x is not found for API version v1beta.","status":"NOT_FOUND"}}"#,
            Cause::Error,
        ),
        (
            429,
            r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"13s"}]}}"#,
            Cause::RateLimit,
        ),
        (
            503,
            r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#,
            Cause::Error,
        ),
        (
            504,
            r#"{"error":{"code":504,"message":"Deadline expired before operation could complete.","status":"DEADLINE_EXCEEDED"}}"#,
            Cause::Timeout,
        ),
    ];
    check(&cases);
    check_decoded(Dialect::GeminiGenerateContent, &cases);
}

/// Names and statuses: `botocore/data/bedrock-runtime/2023-09-30/service-2.json`. The name stands in a header that we do
/// not see here, or in the body.
#[test]
fn bedrock() {
    let cases = [
        (
            400,
            r#"{"message":"Input is too long for requested model.","__type":"ValidationException"}"#,
            Cause::ContextLength,
        ),
        (
            400,
            r#"{"message":"The model returned the following errors: input length and `max_tokens` exceed context limit: 199999 + 4096 > 200000"}"#,
            Cause::ContextLength,
        ),
        (400, r#"{"message":"The provided model identifier is invalid."}"#, Cause::Error),
        (
            400,
            r#"{"message":"messages: at least one message is required","__type":"ValidationException"}"#,
            Cause::Invalid,
        ),
        (
            400,
            r#"{"message":"Your account is at its quota.","__type":"com.amazon.coral.service#ServiceQuotaExceededException"}"#,
            Cause::RateLimit,
        ),
        (
            403,
            r#"{"message":"You don't have access to the model with the specified model ID."}"#,
            Cause::Credential,
        ),
        (
            403,
            r#"{"message":"The security token included in the request is expired","__type":"ExpiredTokenException"}"#,
            Cause::Credential,
        ),
        (408, r#"{"message":"The request took too long to process."}"#, Cause::Timeout),
        (424, r#"{"message":"The model failed.","__type":"ModelErrorException"}"#, Cause::Error),
        (
            429,
            r#"{"message":"Too many tokens, please wait before trying again.","__type":"ThrottlingException"}"#,
            Cause::RateLimit,
        ),
        (
            429,
            r#"{"message":"The model is not ready for inference.","__type":"ModelNotReadyException"}"#,
            Cause::Error,
        ),
        (503, r#"{"message":"Bedrock is unable to process your request."}"#, Cause::Error),
    ];
    check(&cases);
    check_decoded(Dialect::BedrockConverse, &cases);
}

/// Servers that speak OpenAI's dialect in words of their own.
#[test]
fn servers_like_openai() {
    check(&[
        // vLLM: entrypoints/openai, old and new form
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the messages, 100 in the completion).","type":"BadRequestError","param":null,"code":400}"#,
            Cause::ContextLength,
        ),
        (
            400,
            r#"{"error":{"message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096.","type":"BadRequestError","param":null,"code":400}}"#,
            Cause::ContextLength,
        ),
        (
            404,
            r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}"#,
            Cause::Error,
        ),
        // TGI: `router/src/validation.rs`
        (
            422,
            r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 200 `max_new_tokens`","error_type":"validation"}"#,
            Cause::ContextLength,
        ),
        (
            422,
            r#"{"error":"Input validation error: `temperature` must be strictly positive","error_type":"validation"}"#,
            Cause::Invalid,
        ),
        (429, r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, Cause::Error),
        // llama.cpp: tools/server
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#,
            Cause::ContextLength,
        ),
        (
            500,
            r#"{"error":{"code":500,"message":"the request exceeds the available context size","type":"server_error"}}"#,
            Cause::ContextLength,
        ),
        (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, Cause::Error),
        // Mistral
        (
            400,
            r#"{"object":"error","message":"Prompt contains 40961 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_prompt","param":null,"code":"3051"}"#,
            Cause::ContextLength,
        ),
        (
            429,
            r#"{"object":"error","message":"Requests rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}"#,
            Cause::RateLimit,
        ),
        (
            422,
            r#"{"object":"error","message":{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required","input":{"code":"content_filter"}}]},"type":"invalid_request_error","param":null,"code":null}"#,
            Cause::Invalid,
        ),
        // Groq
        (
            413,
            r#"{"error":{"message":"Request too large for model `x` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            Cause::RateLimit,
        ),
        (
            400,
            r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            Cause::ContextLength,
        ),
        // DeepSeek
        (
            402,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
            Cause::Credential,
        ),
        (
            400,
            r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
            Cause::ContentPolicy,
        ),
        // OpenRouter
        (
            403,
            r#"{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged","metadata":{"reasons":["violence"],"flagged_input":"…","provider_name":"OpenAI"}}}"#,
            Cause::ContentPolicy,
        ),
        (
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 210000 tokens > 200000 maximum\"}}","provider_name":"Anthropic"}}}"#,
            Cause::ContextLength,
        ),
        (200, r#"{"error":{"code":429,"message":"Provider returned error"}}"#, Cause::RateLimit),
        // Proxies
        (502, "<html><body>prompt is too long</body></html>", Cause::Error),
        (524, "error code: 524", Cause::Timeout),
        (413, "<html><h1>413 Request Entity Too Large</h1></html>", Cause::ContextLength),
        (418, "", Cause::Error),
    ]);
}

#[test]
fn events_of_streams() {
    let cases = [
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Cause::Error),
        (r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}"#, Cause::RateLimit),
        (r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#, Cause::Invalid),
        (r#"{"error":{"message":"The server had an error","type":"server_error"}}"#, Cause::Error),
        (r#"{"id":"x","error":{"code":429,"message":"Rate limit exceeded"},"choices":[]}"#, Cause::RateLimit),
        (r#"{"error":{"code":504,"message":"Upstream idle timeout exceeded"}}"#, Cause::Timeout),
        (
            r#"{"type":"error","code":"context_length_exceeded","message":"Your input exceeds the context window of this model.","param":"input"}"#,
            Cause::ContextLength,
        ),
        (
            r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"rate_limit_exceeded","message":"x"},"metadata":{"code":"content_filter"}}}"#,
            Cause::RateLimit,
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}"#,
            Cause::Error,
        ),
        (r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#, Cause::Error),
        (r#"{"message":"Too many requests, please wait before trying again."}"#, Cause::RateLimit),
        ("garbage", Cause::Error),
    ];
    for (data, cause) in cases {
        assert_eq!(classify_event(data.as_bytes()), cause, "{data}");
    }
}

#[test]
fn an_event_that_repeats_a_long_request_is_read_by_its_error() {
    let data = format!(
        r#"{{"type":"response.failed","response":{{"error":{{"code":"server_error","message":"x"}},"instructions":"{}"}}}}"#,
        "the prompt is too long ".repeat(4_000)
    );
    assert_eq!(classify_event(data.as_bytes()), Cause::Error);
}

#[test]
fn what_stands_far_behind_is_not_looked_at() {
    let body = format!("{}prompt is too long", "x".repeat(16 * 1024));
    assert_eq!(classify(400, None, body.as_bytes()), Cause::Invalid);
    assert_eq!(classify(400, None, body.get(100..).unwrap().as_bytes()), Cause::ContextLength);
}

#[test]
fn amazon_says_it_in_a_header() {
    let body = br#"{"message":"Try again later."}"#;
    let named = |status, name| classify(status, Some(name), body);
    assert_eq!(named(429, "ModelNotReadyException"), Cause::Error);
    assert_eq!(
        named(429, "ThrottlingException:http://internal.amazon.com/coral/com.amazon/"),
        Cause::RateLimit
    );
    assert_eq!(named(400, "ServiceQuotaExceededException"), Cause::RateLimit);
    assert_eq!(named(400, "ValidationException"), Cause::Invalid);
}

#[test]
fn names_are_read_back() {
    for cause in Cause::ALL {
        assert_eq!(Cause::parse(cause.as_str()), Some(cause));
    }
    assert_eq!(Cause::parse("nothing"), None);
}

proptest! {
    /// Any bytes have a cause, and a plain status keeps its own whatever they say.
    #[test]
    fn any_bytes_have_a_cause(status: u16, body: Vec<u8>, noise in ".{0,40}") {
        classify(status, None, &body);
        classify_event(&body);
        let shaped = format!(r#"{{"error":{{"code":{},"message":{}}}}}"#, serde_json::json!(noise), serde_json::json!(noise));
        classify(status, None, shaped.as_bytes());
        prop_assert_eq!(classify(401, None, &body), Cause::Credential);
        prop_assert_eq!(classify(504, None, shaped.as_bytes()), Cause::Timeout);
        let failure = Failure { message: noise.clone().into(), kind: FailureKind::Timeout, code: Some(noise.into()), param: None };
        prop_assert_eq!(classify_failure(&failure), Cause::Timeout);
    }
}
