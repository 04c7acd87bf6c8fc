//! Identifiers that OpenAI accepts, made where there is none or where one is too long.
//!
//! The same input always gives the same identifier: a conversation is sent again with every turn, and the provider's
//! prompt cache must find it unchanged.

use std::borrow::Cow;

use crate::fingerprint;

/// OpenAI refuses end users whose identifier is longer.
const LONGEST_USER: usize = 64;

/// For the `index`th call of an answer whose provider gave it no id. The answer's id makes it differ from turn to turn.
pub(super) fn missing_call_id(answer: &str, index: usize) -> String {
    format!("call_{:016x}_{index}", fingerprint::of(answer))
}

pub(super) fn user(user: &str) -> Cow<'_, str> {
    if user.len() <= LONGEST_USER {
        Cow::Borrowed(user)
    } else {
        Cow::Owned(format!("user_{:016x}", fingerprint::of(user)))
    }
}
