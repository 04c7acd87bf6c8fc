//! `OpenAI`'s Responses.

mod events;
mod object;
mod request;
mod store;

pub use events::events;
pub use object::{Response, whole};
pub use request::ResponsesRequest;
pub use store::{Kept, Store};

use std::borrow::Cow;

use crate::failure::Failure;

/// Most filler that an answer may have: the last events of a stream hold all of it, and thrice.
pub const MOST_FILLER: u64 = 16 << 20;

pub fn previous_not_found(id: &str) -> Failure {
    let id: String = id.chars().take(80).collect();
    let message = format!("Previous response with id '{id}' not found.");
    let code = Some("previous_response_not_found");
    Failure { code, ..Failure::request(Some("previous_response_id"), message) }
}

pub fn not_found(id: &str) -> Failure {
    let id: String = id.chars().take(80).collect();
    let failure =
        Failure::not_found(None, "response_not_found", format!("Response with id '{id}' not found."));
    Failure { param: Some(Cow::Borrowed("response_id")), code: None, ..failure }
}
