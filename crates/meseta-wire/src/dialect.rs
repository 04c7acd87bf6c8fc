//! The dialects and what every one of them can do. Each is a folder of its own; this page only sends the call there.

use crate::conversation::{Answer, Event, Failure, Request};
use crate::feature::{Losses, Refused};
use crate::json::Json;
use crate::shape::Malformed;
use crate::{chat, converse, gemini, messages, responses};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    OpenaiChat,
    OpenaiResponses,
    AnthropicMessages,
    GeminiGenerateContent,
    BedrockConverse,
}

impl Dialect {
    pub const ALL: [Dialect; 5] = [
        Dialect::OpenaiChat,
        Dialect::OpenaiResponses,
        Dialect::AnthropicMessages,
        Dialect::GeminiGenerateContent,
        Dialect::BedrockConverse,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenaiChat => "openai_chat",
            Dialect::OpenaiResponses => "openai_responses",
            Dialect::AnthropicMessages => "anthropic_messages",
            Dialect::GeminiGenerateContent => "gemini_generate_content",
            Dialect::BedrockConverse => "bedrock_converse",
        }
    }

    pub fn parse(text: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.as_str() == text)
    }

    /// Whether ids of files mean the same in both: a provider knows the files that were uploaded to it, and OpenAI has two
    /// dialects.
    pub(crate) fn shares_files_with(self, other: Dialect) -> bool {
        let openai = |dialect| matches!(dialect, Dialect::OpenaiChat | Dialect::OpenaiResponses);
        self == other || openai(self) && openai(other)
    }

    /// For messages to people.
    pub fn title(self) -> &'static str {
        match self {
            Dialect::OpenaiChat => "OpenAI chat completions",
            Dialect::OpenaiResponses => "OpenAI Responses",
            Dialect::AnthropicMessages => "Anthropic Messages",
            Dialect::GeminiGenerateContent => "Gemini generateContent",
            Dialect::BedrockConverse => "Bedrock Converse",
        }
    }
}

/// What an encoder of requests must know of the target.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The model id to send.
    pub model: &'a str,
    /// The limit to send where the dialect demands one and the client gave none.
    pub max_output_tokens: u64,
    pub quirks: &'a Quirks,
}

/// How an OpenAI-compatible server differs from OpenAI. The rows are data of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// `max_completion_tokens`, or the older `max_tokens`.
    pub max_tokens_field: MaxTokensField,
    /// `developer` is a role of its own; otherwise it is sent as `system`.
    pub developer_role: bool,
    /// Parts may carry Anthropic's `cache_control`.
    pub cache_control: bool,
    pub reasoning: ReasoningField,
    /// `response_format` may be a JSON Schema; otherwise only `json_object`.
    pub json_schema: bool,
    /// Top-level fields that the server refuses.
    pub drop: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensField {
    MaxCompletionTokens,
    MaxTokens,
}

/// How a server is told how hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningField {
    /// `reasoning_effort: "low"`, as OpenAI has it.
    ReasoningEffort,
    /// `reasoning: {effort}` or `{max_tokens}`, as OpenRouter has it.
    Openrouter,
    /// `thinking: {type: "enabled" | "disabled"}`.
    Thinking,
    /// Not at all.
    None,
}

impl Default for Quirks {
    /// OpenAI itself.
    fn default() -> Quirks {
        Quirks {
            max_tokens_field: MaxTokensField::MaxCompletionTokens,
            developer_role: true,
            cache_control: false,
            reasoning: ReasoningField::ReasoningEffort,
            json_schema: true,
            drop: Vec::new(),
        }
    }
}

/// What an encoder of answers must know of the request that is answered.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What our id of the request has behind its prefix. A dialect puts its own before it (`chatcmpl-`, `resp_`, `msg_`).
    pub id: String,
    /// Our id of the request as people quote it, for errors.
    pub request_id: String,
    /// The name by which the client asked for the model.
    pub model: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Whether a streamed chat completion ends with a chunk of usage.
    pub include_usage: bool,
    /// JSON text of the object with what a Responses answer repeats of its request; made by [`responses::echo`].
    pub echo: Option<String>,
}

/// Reads a request in a client's own dialect. Losses are fields that no other dialect knows.
pub fn decode_request<'j>(
    dialect: Dialect,
    json: &'j Json<'_>,
    losses: &mut Losses,
) -> Result<Request<'j>, Malformed> {
    match dialect {
        Dialect::OpenaiChat => chat::decode_request(json, losses),
        Dialect::OpenaiResponses => responses::decode_request(json, losses),
        Dialect::AnthropicMessages => messages::decode_request(json, losses),
        Dialect::GeminiGenerateContent => gemini::decode_request(json, losses),
        Dialect::BedrockConverse => converse::decode_request(json, losses),
    }
}

/// Writes a request for a target. `stream` says what is asked of the target and is not always the client's own wish.
pub fn encode_request(
    dialect: Dialect,
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    match dialect {
        Dialect::OpenaiChat => chat::encode_request(request, destination, losses),
        Dialect::OpenaiResponses => responses::encode_request(request, destination, losses),
        Dialect::AnthropicMessages => messages::encode_request(request, destination, losses),
        Dialect::GeminiGenerateContent => gemini::encode_request(request, destination, losses),
        Dialect::BedrockConverse => converse::encode_request(request, destination, losses),
    }
}

/// Writes the question how many tokens a request has, for targets that answer it.
pub fn encode_count(
    dialect: Dialect,
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Option<Result<Vec<u8>, Refused>> {
    match dialect {
        Dialect::OpenaiChat => None,
        Dialect::OpenaiResponses => Some(responses::encode_count(request, destination, losses)),
        Dialect::AnthropicMessages => Some(messages::encode_count(request, destination, losses)),
        Dialect::GeminiGenerateContent => Some(gemini::encode_count(request, destination, losses)),
        Dialect::BedrockConverse => Some(converse::encode_count(request, destination, losses)),
    }
}

/// The number of tokens in the answer to that question.
pub fn decode_count(dialect: Dialect, json: &Json<'_>) -> Option<u64> {
    let key = match dialect {
        Dialect::OpenaiChat => return None,
        Dialect::OpenaiResponses | Dialect::AnthropicMessages => "input_tokens",
        Dialect::GeminiGenerateContent => "totalTokens",
        Dialect::BedrockConverse => "inputTokens",
    };
    crate::shape::Object::of(json).ok()?.count(key).ok()?
}

pub fn decode_answer<'j>(dialect: Dialect, json: &'j Json<'_>) -> Result<Answer<'j>, Malformed> {
    match dialect {
        Dialect::OpenaiChat => chat::decode_answer(json),
        Dialect::OpenaiResponses => responses::decode_answer(json),
        Dialect::AnthropicMessages => messages::decode_answer(json),
        Dialect::GeminiGenerateContent => gemini::decode_answer(json),
        Dialect::BedrockConverse => converse::decode_answer(json),
    }
}

pub fn encode_answer(
    dialect: Dialect,
    answer: &Answer<'_>,
    context: &Context,
    losses: &mut Losses,
) -> Vec<u8> {
    match dialect {
        Dialect::OpenaiChat => chat::encode_answer(answer, context, losses),
        Dialect::OpenaiResponses => responses::encode_answer(answer, context, losses),
        Dialect::AnthropicMessages => messages::encode_answer(answer, context, losses),
        Dialect::GeminiGenerateContent => gemini::encode_answer(answer, context, losses),
        Dialect::BedrockConverse => converse::encode_answer(answer, context, losses),
    }
}

/// Reads the body of an answer whose status is an error, whatever it is: never fails.
pub fn decode_error(dialect: Dialect, status: u16, body: &[u8]) -> Failure<'static> {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => chat::decode_error(status, body),
        Dialect::AnthropicMessages => messages::decode_error(status, body),
        Dialect::GeminiGenerateContent => gemini::decode_error(status, body),
        Dialect::BedrockConverse => converse::decode_error(status, body),
    }
}

/// The body of an answer whose status is an error.
pub fn encode_error(dialect: Dialect, failure: &Failure<'_>, request_id: &str) -> Vec<u8> {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => chat::encode_error(failure, request_id),
        Dialect::AnthropicMessages => messages::encode_error(failure, request_id),
        Dialect::GeminiGenerateContent => gemini::encode_error(failure),
        Dialect::BedrockConverse => converse::encode_error(failure),
    }
}

/// Reads a stream, one event at a time.
pub enum StreamDecoder {
    Chat(chat::StreamDecoder),
    Responses(responses::StreamDecoder),
    Messages(messages::StreamDecoder),
    Gemini(gemini::StreamDecoder),
    Converse(converse::StreamDecoder),
}

impl StreamDecoder {
    pub fn new(dialect: Dialect) -> StreamDecoder {
        match dialect {
            Dialect::OpenaiChat => StreamDecoder::Chat(chat::StreamDecoder::default()),
            Dialect::OpenaiResponses => StreamDecoder::Responses(responses::StreamDecoder::default()),
            Dialect::AnthropicMessages => StreamDecoder::Messages(messages::StreamDecoder::default()),
            Dialect::GeminiGenerateContent => StreamDecoder::Gemini(gemini::StreamDecoder::default()),
            Dialect::BedrockConverse => StreamDecoder::Converse(converse::StreamDecoder::default()),
        }
    }

    /// One event: its name (SSE's `event`, or `:event-type` / `:exception-type` of Bedrock; "" where there is none) and
    /// its data. Data that is not what the API says is a `Failed` event, never a panic. Returns false once the stream
    /// has said its last word.
    pub fn event(&mut self, name: &str, data: &[u8], out: &mut dyn FnMut(Event<'_>)) -> bool {
        match self {
            StreamDecoder::Chat(decoder) => decoder.event(data, out),
            StreamDecoder::Responses(decoder) => decoder.event(data, out),
            StreamDecoder::Messages(decoder) => decoder.event(data, out),
            StreamDecoder::Gemini(decoder) => decoder.event(data, out),
            StreamDecoder::Converse(decoder) => decoder.event(name, data, out),
        }
    }

    /// The connection ended: closes blocks and says `Finish` if the dialect has no last word of its own. Returns false
    /// if the stream was cut off before its end.
    pub fn end(&mut self, out: &mut dyn FnMut(Event<'_>)) -> bool {
        match self {
            StreamDecoder::Chat(decoder) => decoder.end(out),
            StreamDecoder::Responses(decoder) => decoder.end(out),
            StreamDecoder::Messages(decoder) => decoder.end(out),
            StreamDecoder::Gemini(decoder) => decoder.end(out),
            StreamDecoder::Converse(decoder) => decoder.end(out),
        }
    }
}

/// Writes a stream: server-sent events, or Bedrock's binary frames.
pub enum StreamEncoder {
    Chat(chat::StreamEncoder),
    Responses(Box<responses::StreamEncoder>),
    Messages(messages::StreamEncoder),
    Gemini(gemini::StreamEncoder),
    Converse(converse::StreamEncoder),
}

impl StreamEncoder {
    pub fn new(dialect: Dialect, context: Context) -> StreamEncoder {
        match dialect {
            Dialect::OpenaiChat => StreamEncoder::Chat(chat::StreamEncoder::new(context)),
            Dialect::OpenaiResponses => {
                StreamEncoder::Responses(Box::new(responses::StreamEncoder::new(context)))
            }
            Dialect::AnthropicMessages => StreamEncoder::Messages(messages::StreamEncoder::new(context)),
            Dialect::GeminiGenerateContent => StreamEncoder::Gemini(gemini::StreamEncoder::new(context)),
            Dialect::BedrockConverse => StreamEncoder::Converse(converse::StreamEncoder::new(context)),
        }
    }

    /// Appends what the client is to see of one event. After `Failed` nothing more is written.
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match self {
            StreamEncoder::Chat(encoder) => encoder.event(event, out),
            StreamEncoder::Responses(encoder) => encoder.event(event, out),
            StreamEncoder::Messages(encoder) => encoder.event(event, out),
            StreamEncoder::Gemini(encoder) => encoder.event(event, out),
            StreamEncoder::Converse(encoder) => encoder.event(event, out),
        }
    }

    /// Appends the dialect's last words after a stream that ended well.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match self {
            StreamEncoder::Chat(encoder) => encoder.end(out),
            StreamEncoder::Responses(encoder) => encoder.end(out),
            StreamEncoder::Messages(encoder) => encoder.end(out),
            StreamEncoder::Gemini(encoder) => encoder.end(out),
            StreamEncoder::Converse(encoder) => encoder.end(out),
        }
    }

    /// What the client's dialect had no place for.
    pub fn losses(&self) -> &[&'static str] {
        match self {
            StreamEncoder::Chat(encoder) => encoder.losses(),
            StreamEncoder::Responses(encoder) => encoder.losses(),
            StreamEncoder::Messages(encoder) => encoder.losses(),
            StreamEncoder::Gemini(encoder) => encoder.losses(),
            StreamEncoder::Converse(encoder) => encoder.losses(),
        }
    }
}
