//! OpenAI chat completions: what is read, what is written, and that nothing at all makes it panic.

mod answers;
mod hostile;
mod quirks;
mod requests;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use meseta_wire::conversation::{Message, Request};
use meseta_wire::dialect::{Context, Dialect};
use meseta_wire::feature::Losses;
use support::{call, message, result, text};

fn losses() -> Losses {
    Losses::new(Dialect::OpenaiChat, Dialect::OpenaiChat)
}

fn request(messages: Vec<Message<'_>>) -> Request<'_> {
    Request { messages, ..Request::default() }
}

fn context() -> Context {
    Context {
        id: "req1".into(),
        request_id: "req1".into(),
        model: "smart".into(),
        created: 1_700_000_000,
        include_usage: true,
        echo: None,
    }
}
