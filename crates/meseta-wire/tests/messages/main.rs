//! The Messages dialect: requests, answers, errors and streams, whole and broken.

mod answers;
mod hostile;
mod requests;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod turns;

use meseta_wire::conversation::{Message, Part, Request, Role};
use meseta_wire::dialect::{Context, Destination, Dialect, Quirks};
use meseta_wire::feature::Losses;
use meseta_wire::messages;
use serde_json::Value;
use support::{message, text};

fn losses() -> Losses {
    Losses::new(Dialect::AnthropicMessages, Dialect::AnthropicMessages)
}

fn from_chat() -> Losses {
    Losses::new(Dialect::OpenaiChat, Dialect::AnthropicMessages)
}

fn encode(request: &Request<'_>, model: &str, losses: &mut Losses) -> Value {
    let quirks = Quirks::default();
    let destination = Destination { model, max_output_tokens: 8192, quirks: &quirks };
    let body = messages::encode_request(request, &destination, losses).expect("nothing is refused");
    serde_json::from_slice(&body).expect("JSON")
}

fn asks(parts: Vec<Message<'_>>) -> Request<'_> {
    Request { messages: parts, ..Request::default() }
}

fn hello() -> Request<'static> {
    asks(vec![message(Role::User, vec![text("Hello")])])
}

fn context() -> Context {
    Context {
        id: "req1".into(),
        request_id: "req1".into(),
        model: "smart".into(),
        created: 1,
        include_usage: true,
        echo: None,
    }
}

fn call<'a>(id: &'a str, arguments: &'a str) -> Part<'a> {
    Part::ToolCall(support::call(id, "look", arguments))
}

fn result<'a>(id: &'a str, said: &'a str) -> Part<'a> {
    Part::ToolResult(support::result(id, vec![text(said)]))
}
