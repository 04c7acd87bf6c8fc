//! As much of a conversation as a prompt has room for.

use std::borrow::Cow;

use serde::Serialize;

use crate::cut::middle;
use crate::turns::Role;

/// A token has about four bytes. Plano counts so too, and its weights are to see what Plano would show them.
pub(super) const TOKEN_BYTES: usize = 4;

/// The part of a budget that a conversation has at least, where descriptions of routes would fill it: one in so many.
const LEAST_SHARE: usize = 4;

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

/// The same where something was said after the user's last words, and somebody is to judge what is still to be done: those
/// words are there, however long what follows is. They have up to half of the room; the answers to them share the rest, each
/// cut in its middle where it takes more than its part; and what was said before has what is left.
pub(super) fn fit_question<'a>(messages: &[(Role, &'a str)], taken: usize, budget: usize) -> Vec<Line<'a>> {
    let question = messages.iter().rposition(|(role, _)| *role == Role::User);
    let (before, rest) = messages.split_at(question.unwrap_or_default());
    let [(Role::User, question), answers @ ..] = rest else {
        return fit(messages.iter().copied(), taken, budget);
    };
    if answers.is_empty() {
        return fit(messages.iter().copied(), taken, budget);
    }
    let room = budget.saturating_sub(taken).max(budget / LEAST_SHARE).saturating_mul(TOKEN_BYTES);
    let question = middle(question, room / 2);
    let mut left = room - question.len();
    let lengths: Vec<usize> = answers.iter().map(|(_, text)| text.len()).collect();
    let mut lines = vec![Line { role: Role::User.as_str(), content: question }];
    for ((role, text), most) in answers.iter().zip(parts(&lengths, left)) {
        let content = middle(text, most);
        left -= content.len();
        if !content.is_empty() {
            lines.push(Line { role: role.as_str(), content });
        }
    }
    let left = left / TOKEN_BYTES;
    let mut all = if left > 0 { fit(before.iter().copied(), 0, left) } else { Vec::new() };
    all.append(&mut lines);
    all
}

/// How many of `room` bytes each may have of those that want so many: all that it wants, or as much as the others that do
/// not get all.
fn parts(wanted: &[usize], room: usize) -> Vec<usize> {
    let mut smallest_first: Vec<(usize, usize)> = wanted.iter().copied().enumerate().collect();
    smallest_first.sort_by_key(|(_, wanted)| *wanted);
    let (mut left, mut waiting) = (room, wanted.len());
    let mut parts = vec![0; wanted.len()];
    for (at, wanted) in smallest_first {
        let part = wanted.min(left / waiting.max(1));
        left -= part;
        waiting -= 1;
        if let Some(slot) = parts.get_mut(at) {
            *slot = part;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(messages: &[(Role, &str)], taken: usize, budget: usize) -> Vec<String> {
        fit_question(messages, taken, budget).into_iter().map(|line| line.content.into_owned()).collect()
    }

    #[test]
    fn the_question_is_there_however_long_the_answers_are() {
        let long = format!("FIRST {} LAST", "A".repeat(40_000));
        let question = "Bring me to Oslo.";
        let lines = shown(&[(Role::User, question), (Role::Assistant, &long)], 100, 8192);
        assert_eq!(lines[0], question);
        assert!(
            lines[1].starts_with("FIRST AAA") && lines[1].ends_with("AAA LAST") && lines[1].contains('…')
        );
        // A short answer is whole, and what it leaves is for the long ones; nothing is left for what was before.
        let before = (Role::Assistant, "How may I help?");
        let answers = [(Role::Assistant, &*long), (Role::Assistant, "Booked."), (Role::Assistant, &*long)];
        let lines = shown(&[&[before, (Role::User, question)][..], &answers].concat(), 100, 8192);
        assert_eq!((lines.len(), &*lines[0], &*lines[2]), (4, question, "Booked."));
        assert!(lines[1].len().abs_diff(lines[3].len()) <= 4 && lines[1].len() > 16_000);
    }

    #[test]
    fn a_long_question_leaves_room_for_its_answers() {
        let long = "Q".repeat(40_000);
        let lines = shown(&[(Role::User, &long), (Role::Assistant, "Booked.")], 0, 1000);
        assert_eq!((lines[0].len() <= 2000, &*lines[1]), (true, "Booked."));
        // Routes that fill the prompt do not push it out.
        let lines = shown(&[(Role::User, "Where?"), (Role::Assistant, "Here.")], 5000, 1000);
        assert_eq!(lines, ["Where?", "Here."]);
    }

    proptest! {
        #[test]
        fn what_has_room_is_whole_and_no_room_is_overdrawn(
            said in prop::collection::vec((any::<bool>(), 1_usize..400), 0..20),
            taken in 0_usize..200,
            budget in 0_usize..400,
        ) {
            let texts: Vec<(Role, String)> = said
                .iter()
                .map(|(user, length)| (if *user { Role::User } else { Role::Assistant }, "é".repeat(*length)))
                .collect();
            let messages: Vec<(Role, &str)> = texts.iter().map(|(role, text)| (*role, text.as_str())).collect();
            let lines = shown(&messages, taken, budget);
            let room = budget.saturating_sub(taken).max(budget / LEAST_SHARE) * TOKEN_BYTES;
            let total: usize = lines.iter().map(String::len).sum();
            if messages.last().is_some_and(|(role, _)| *role == Role::Assistant)
                && messages.iter().any(|(role, _)| *role == Role::User)
            {
                // Of each message up to three bytes are not counted, as they make no token.
                let uncounted = lines.len() * (TOKEN_BYTES - 1);
                prop_assert!(total <= room + uncounted, "{} of {}", total, room);
            }
            let all: usize = messages.iter().map(|(_, text)| text.len()).sum();
            if taken <= budget && all <= (budget - taken) * TOKEN_BYTES / 2 {
                prop_assert_eq!(lines, texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
            }
        }
    }
}
