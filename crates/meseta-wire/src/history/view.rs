//! Which messages of a long conversation are shown.
//!
//! What is left out are whole turns, the oldest first: a turn begins with words of the user's and ends before the next
//! ones, so the calls of tools in it stay with their results. A call whose result stands in a later turn ties the two
//! together.

use std::collections::HashMap;

use super::stored::{Inline, write};
use super::{Kept, is_system};
use crate::conversation::{Message, Part, Role};
use crate::estimate;

/// How much of a conversation is shown at most; 0 is no bound. The instructions are always shown; they count as tokens
/// and not as messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub messages: usize,
    pub tokens: u64,
}

impl Bounds {
    /// The current turn and no other.
    pub const LAST_TURN: Bounds = Bounds { messages: 1, tokens: 0 };

    fn allow(self, messages: usize, tokens: u64) -> bool {
        (self.messages == 0 || messages <= self.messages) && (self.tokens == 0 || tokens <= self.tokens)
    }
}

/// The places of the messages that are shown, in their order.
///
/// Always shown, whatever the bounds: messages of the system, the last turn, and turns with a call that has no result
/// yet. Of the others the newest that fit, without a gap.
pub fn view(messages: &[Message<'_>], bounds: Bounds) -> Vec<usize> {
    if bounds == Bounds::default() {
        return (0..messages.len()).collect();
    }
    let turn_of = turns(messages);
    let count = turn_of.iter().flatten().max().map_or(0, |last| last + 1);
    let mut groups = Groups::new(count);
    let pinned = tie(messages, &turn_of, &mut groups);
    let mut sizes = vec![(0_usize, 0_u64); count];
    let mut tokens = 0_u64;
    for (message, turn) in messages.iter().zip(&turn_of) {
        let weight = if bounds.tokens == 0 { 0 } else { weight(message) };
        match turn {
            None => tokens = tokens.saturating_add(weight),
            Some(turn) => {
                if let Some(size) = sizes.get_mut(groups.of(*turn)) {
                    *size = (size.0 + 1, size.1.saturating_add(weight));
                }
            }
        }
    }
    // By the group that a turn is in.
    let mut shown = vec![false; count];
    let mut total = (0_usize, tokens);
    let mut show = |group: usize, always: bool| {
        let (Some(shown), Some(size)) = (shown.get_mut(group), sizes.get(group)) else { return false };
        let with = (total.0 + size.0, total.1.saturating_add(size.1));
        if *shown {
            return true;
        }
        if always || bounds.allow(with.0, with.1) {
            (*shown, total) = (true, with);
            return true;
        }
        false
    };
    for turn in pinned.into_iter().chain(count.checked_sub(1)) {
        show(groups.of(turn), true);
    }
    for turn in (0..count).rev() {
        if !show(groups.of(turn), false) {
            break;
        }
    }
    let is_shown = |turn: usize| shown.get(groups.of(turn)).copied().unwrap_or(false);
    (0..messages.len())
        .zip(&turn_of)
        .filter(|(_, turn)| turn.is_none_or(is_shown))
        .map(|(place, _)| place)
        .collect()
}

/// The number of the turn that each message is in; messages of the system are in none.
fn turns(messages: &[Message<'_>]) -> Vec<Option<usize>> {
    let mut turn: Option<usize> = None;
    let mut before = None;
    messages
        .iter()
        .map(|message| {
            if is_system(message) {
                return None;
            }
            // Words behind results belong to the same turn of the client's, and neighbours to one another.
            let begins = message.role == Role::User && !matches!(before, Some(Role::Tool | Role::User));
            before = Some(message.role);
            turn = Some(match turn {
                None => 0,
                Some(turn) if begins => turn + 1,
                Some(turn) => turn,
            });
            turn
        })
        .collect()
}

/// Ties the turns of calls and results, and returns the turns with calls that have no result.
fn tie(messages: &[Message<'_>], turn_of: &[Option<usize>], groups: &mut Groups) -> Vec<usize> {
    let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
    for (message, turn) in messages.iter().zip(turn_of) {
        let Some(turn) = *turn else { continue };
        for part in &message.parts {
            match part {
                Part::ToolCall(call) => open.entry(&call.id).or_default().push(turn),
                Part::ToolResult(result) => {
                    if let Some(call) = open.get_mut(&*result.id).and_then(Vec::pop) {
                        groups.join(call, turn);
                    }
                }
                _ => {}
            }
        }
    }
    open.into_values().flatten().collect()
}

fn weight(message: &Message<'_>) -> u64 {
    let kept = Kept { instructions: false, message: message.clone() };
    estimate::tokens(write(&kept, Inline(usize::MAX)).as_bytes())
}

/// Turns that are shown together or not at all.
struct Groups(Vec<usize>);

impl Groups {
    fn new(turns: usize) -> Groups {
        Groups((0..turns).collect())
    }

    /// The newest turn that it is tied to: parents only ever point to newer turns.
    fn of(&self, mut turn: usize) -> usize {
        while let Some(parent) = self.0.get(turn).copied().filter(|parent| *parent != turn) {
            turn = parent;
        }
        turn
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        if let Some(parent) = self.0.get_mut(one.min(other)) {
            *parent = one.max(other);
        }
    }
}
