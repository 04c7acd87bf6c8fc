//! Anthropic's Messages.

mod reply;
mod request;

pub use reply::{events, whole};
pub use request::{MessagesRequest, check_thread, check_version};
