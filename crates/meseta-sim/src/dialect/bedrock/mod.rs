//! Amazon Bedrock: Converse, and the embedding models behind its invoke.

mod frame;
mod invoke;
mod reply;
mod request;

pub use invoke::Invocation;
pub use reply::{events, whole};
pub use request::{ConverseRequest, counted};
