//! Conversations that the plane keeps for its clients, so that one who says only what is new is understood.
//!
//! A conversation is kept message by message, each a JSON text of a form of our own ([`write`], [`read`]), whatever the
//! dialect that it came in. [`join`] puts what is kept before what a request says, [`AnswerReader`] reads the answer that
//! goes back, and [`view`] says which part of a long conversation an agent is shown.

mod answer;
mod document;
mod join;
mod known;
mod settle;
mod stored;
mod view;

use std::str;

pub use answer::{AnswerReader, Broken, answer};
pub use join::{JoinError, Joined, join};
pub use settle::Shown;
pub use stored::{Inline, read, write};
pub use view::{Bounds, View, view};

use crate::conversation::{Message, Request, Role};
use crate::dialect::{Dialect, decode_request};
use crate::feature::Losses;
use crate::json::Json;
use crate::shape::Malformed;

/// A message that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept<'a> {
    /// It stood at the head of a request and says how to behave. The last instructions of a conversation hold; those
    /// before them have been replaced.
    pub instructions: bool,
    pub message: Message<'a>,
}

impl Kept<'_> {
    pub fn into_owned(self) -> Kept<'static> {
        Kept { instructions: self.instructions, message: self.message.into_owned() }
    }
}

/// The conversation that a request of a client holds.
pub fn messages(dialect: Dialect, body: &[u8]) -> Result<Vec<Message<'static>>, Malformed> {
    let json = parse(body)?;
    let request = decode(dialect, &json)?;
    Ok(request.messages.into_iter().map(Message::into_owned).collect())
}

fn parse(body: &[u8]) -> Result<Json<'_>, Malformed> {
    let text = str::from_utf8(body).map_err(|_| Malformed::here("is not valid UTF-8"))?;
    Json::parse(text).map_err(|error| Malformed::here(format!("is not JSON: {error}")))
}

fn decode<'j>(dialect: Dialect, json: &'j Json<'_>) -> Result<Request<'j>, Malformed> {
    decode_request(dialect, json, &mut Losses::new(dialect, dialect))
}

fn is_system(message: &Message<'_>) -> bool {
    matches!(message.role, Role::System | Role::Developer)
}
