//! Identifiers that OpenAI accepts, made where there is none or where one is too long.
//!
//! The same input always gives the same identifier: a conversation is sent again with every turn, and the provider's
//! prompt cache must find it unchanged.

use std::borrow::Cow;

/// OpenAI refuses ids of tool calls that are longer.
const LONGEST_CALL_ID: usize = 40;
/// OpenAI refuses end users whose identifier is longer.
const LONGEST_USER: usize = 64;

/// FNV-1a: spreads well enough to name things, and is the same on every machine and in every version.
pub(super) fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) fn call_id(id: &str) -> Cow<'_, str> {
    if !id.is_empty() && id.len() <= LONGEST_CALL_ID {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{:016x}", fingerprint(id)))
    }
}

/// For the `index`th call of an answer whose provider gave it no id. The answer's id makes it differ from turn to turn.
pub(super) fn missing_call_id(answer: &str, index: usize) -> String {
    format!("call_{:016x}_{index}", fingerprint(answer))
}

pub(super) fn user(user: &str) -> Cow<'_, str> {
    if user.len() <= LONGEST_USER {
        Cow::Borrowed(user)
    } else {
        Cow::Owned(format!("user_{:016x}", fingerprint(user)))
    }
}
