//! The same request in every dialect.

use meseta_sim::Simulator;
use serde_json::{Value, json};

use super::{Reply, send_json};

/// A dialect: its name, and a request to a model with a text.
pub const DIALECTS: &[&str] = &["chat", "azure", "responses", "messages", "gemini", "array", "bedrock"];

/// The path and body of a request.
pub fn request(dialect: &str, model: &str, text: &str, stream: bool) -> (String, Value) {
    let messages = json!([{"role": "user", "content": text}]);
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]});
    let path_model = model.replace(';', "%3B").replace('=', "%3D").replace(' ', "%20");
    let (verb, alt) = match (dialect, stream) {
        (_, false) => ("generateContent", ""),
        ("array", true) => ("streamGenerateContent", ""),
        (_, true) => ("streamGenerateContent", "?alt=sse"),
    };
    match dialect {
        "chat" => (
            "/v1/chat/completions".to_owned(),
            json!({"model": model, "messages": messages, "stream": stream}),
        ),
        "azure" => (
            format!("/openai/deployments/{path_model}/chat/completions?api-version=2024-10-21"),
            json!({"messages": messages, "stream": stream}),
        ),
        "responses" => ("/v1/responses".to_owned(), json!({"model": model, "input": text, "stream": stream})),
        "messages" => (
            "/v1/messages".to_owned(),
            json!({"model": model, "max_tokens": 500, "messages": messages, "stream": stream}),
        ),
        "gemini" | "array" => (format!("/v1beta/models/{path_model}:{verb}{alt}"), contents),
        _ => {
            let verb = if stream { "converse-stream" } else { "converse" };
            let messages = json!([{"role": "user", "content": [{"text": text}]}]);
            (format!("/model/{path_model}/{verb}"), json!({"messages": messages}))
        }
    }
}

pub fn ask(simulator: &Simulator, dialect: &str, model: &str, text: &str, stream: bool) -> Reply {
    let (path, body) = request(dialect, model, text, stream);
    send_json(simulator, "POST", &path, "anthropic-version: 2023-06-01\r\n", &body)
}
