//! Bedrock Converse: documents as the API's own model has them, whole and in streams, and what must hold for any.

mod answer;
mod any;
mod model;
mod request;
mod stream;
#[path = "../support/mod.rs"]
mod support;

use std::borrow::Cow;

use meseta_wire::conversation::{
    Answer, Block, CacheMark, CacheTtl, Citation, Delta, Effort, Event, Failure, FailureKind, File, Finish,
    Format, Function, Image, Message, Part, Request, Role, Source, Text, Thinking, Thought, Tool, ToolChoice,
    ToolResult,
};
use meseta_wire::converse::{self, StreamDecoder, StreamEncoder};
use meseta_wire::dialect::{Context, Destination, Dialect, Quirks};
use meseta_wire::eventstream::Frames;
use meseta_wire::feature::{Feature, Losses, Refused};
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::usage::Usage;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{message, text};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "amazon.nova-pro-v1:0";

fn losses() -> Losses {
    Losses::new(Dialect::OpenaiChat, Dialect::BedrockConverse)
}

fn user(words: &str) -> Message<'_> {
    message(Role::User, vec![text(words)])
}

fn call<'a>(id: &'a str, arguments: &'a str) -> Part<'a> {
    Part::ToolCall(support::call(id, "weather", arguments))
}

fn result<'a>(id: &'a str, parts: Vec<Part<'a>>) -> Part<'a> {
    Part::ToolResult(ToolResult { name: Some("weather".into()), ..support::result(id, parts) })
}

fn weather<'a>() -> Tool<'a> {
    Tool::Function(Function {
        name: "weather".into(),
        description: Some("Tells the weather.".into()),
        parameters: Some(Cow::Owned(
            Json::parse(r#"{"type":"object","properties":{"city":{"type":"string"}}}"#).unwrap().into_owned(),
        )),
        strict: None,
        cache: None,
    })
}

fn encode_with(request: &Request<'_>, model: &str, losses: &mut Losses) -> Result<Value, Refused> {
    let quirks = Quirks::default();
    let destination = Destination { model, max_output_tokens: 4_096, quirks: &quirks };
    let body = converse::encode_request(request, &destination, losses)?;
    Ok(serde_json::from_slice(&body).expect("JSON"))
}

/// The request as it is sent, and what was lost.
fn encode(request: &Request<'_>, model: &str) -> (Value, Vec<String>) {
    let mut losses = losses();
    let body = encode_with(request, model, &mut losses).expect("not refused");
    (body, losses.noted().iter().map(ToString::to_string).collect())
}

fn decode(document: &Value) -> Result<Request<'static>, meseta_wire::shape::Malformed> {
    let document: &'static str = document.to_string().leak();
    let json: &'static Json<'static> = Box::leak(Box::new(Json::parse(document).unwrap()));
    converse::decode_request(json, &mut losses())
}

fn everything() -> Value {
    json!({
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [
                {"text": "What is in these?"},
                {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}},
                {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/cat.jpeg"}}}},
                {"document": {
                    "format": "pdf", "name": "report", "source": {"bytes": "JVBERi0="},
                    "context": "Of 2025.", "citations": {"enabled": true},
                }},
                {"cachePoint": {"type": "default"}},
                {"audio": {"format": "mp3", "source": {"bytes": "SUQz"}}},
            ]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "RW13S0Fo"}},
                {"text": "I ask the tool."},
                {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Oslo"}}},
                {"toolUse": {"toolUseId": "tooluse_2", "name": "weather", "input": {"city": "Rome"}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "Rain."}]}},
                {"toolResult": {"toolUseId": "tooluse_2", "content": [{"text": "No such city."}], "status": "error"}},
                {"text": "Well?"},
            ]},
        ],
        "inferenceConfig": {"maxTokens": 16_000, "temperature": 1, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [
                {"toolSpec": {
                    "name": "weather", "description": "Tells the weather.",
                    "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
                    "strict": true,
                }},
                {"cachePoint": {"type": "default"}},
            ],
        },
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2_048}},
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "requestMetadata": {"team": "a"},
        "serviceTier": {"type": "flex"},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {
            "schema": "{\"type\":\"object\"}", "name": "answer",
        }}}},
    })
}
