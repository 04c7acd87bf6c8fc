//! As much of a conversation as a prompt has room for.

use std::borrow::Cow;

use serde::Serialize;

use crate::cut::middle;
use crate::turns::Role;

/// A token has about four bytes. Plano counts so too, and its weights are to see what Plano would show them.
pub(super) const TOKEN_BYTES: usize = 4;

/// A message of the conversation, as prompts show it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line<'a> {
    pub role: &'static str,
    pub content: Cow<'a, str>,
}

/// The latest messages that fit into `budget` tokens, of which the prompt itself has `taken`. A user's message that does
/// not fit whole is cut in its middle; another one ends the history. There is always the last message, even where the
/// prompt leaves it no room.
pub(super) fn fit<'a>(
    messages: impl DoubleEndedIterator<Item = (Role, &'a str)> + Clone,
    taken: usize,
    budget: usize,
) -> Vec<Line<'a>> {
    let mut left = budget.saturating_sub(taken);
    let mut lines = Vec::new();
    for (role, text) in messages.clone().rev() {
        let tokens = text.len() / TOKEN_BYTES;
        if taken > budget || tokens > left {
            if role == Role::User && left > 0 {
                let content = middle(text, left.saturating_mul(TOKEN_BYTES));
                lines.push(Line { role: role.as_str(), content });
            }
            break;
        }
        left -= tokens;
        lines.push(Line { role: role.as_str(), content: Cow::Borrowed(text) });
    }
    if lines.is_empty() {
        lines.extend(messages.last().map(|(role, text)| Line {
            role: role.as_str(),
            content: middle(text, budget.saturating_mul(TOKEN_BYTES)),
        }));
    }
    lines.reverse();
    lines
}
