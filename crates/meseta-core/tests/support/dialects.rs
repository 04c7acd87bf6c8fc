//! What tests that play every dialect have in common.

use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::target;

/// The name of a dialect in cases and golden files, and of the provider that speaks it.
pub fn short(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenaiChat => "chat",
        Dialect::OpenaiResponses => "responses",
        Dialect::AnthropicMessages => "messages",
        Dialect::GeminiGenerateContent => "gemini",
        Dialect::BedrockConverse => "converse",
    }
}

/// A target that speaks one dialect alone.
pub fn speaking(dialect: Dialect, url: &str) -> Json {
    let mut target = target(url);
    let paths = match dialect {
        Dialect::OpenaiChat => &["chat_completions"][..],
        Dialect::OpenaiResponses => &["responses"],
        Dialect::AnthropicMessages => &["messages"],
        Dialect::GeminiGenerateContent => &["generate_content", "stream_generate_content"],
        Dialect::BedrockConverse => &["converse", "converse_stream"],
    };
    let known = target["paths"].as_object_mut().expect("paths");
    known.retain(|name, _| paths.contains(&name.as_str()));
    target["name"] = json!(format!("{}/*", short(dialect)));
    target["provider"] = json!(short(dialect));
    target["dialects"] = json!([dialect.as_str()]);
    target["default_headers"] = json!({"anthropic-version": "2023-06-01"});
    target
}

/// A function to call, as the client's API writes it.
pub fn tools(client: Dialect) -> Json {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    match client {
        Dialect::AnthropicMessages => json!([{"name": "weather", "input_schema": schema}]),
        Dialect::OpenaiResponses => json!([{"type": "function", "name": "weather", "parameters": schema}]),
        _ => json!([{"type": "function", "function": {"name": "weather", "parameters": schema}}]),
    }
}
