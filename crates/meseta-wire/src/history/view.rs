//! Which messages of a long conversation are shown.
//!
//! What is left out are whole turns, the oldest first: a turn begins with words of the user's and ends before the next
//! ones, so the calls of tools in it stay with their results.

use super::settle::{Shown, is_put_in, settle};
use super::stored::{Inline, write};
use super::{Kept, is_system};
use crate::conversation::{Message, Role};
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

/// What is shown of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View<'m, 'a> {
    pub shown: Vec<Shown<'m, 'a>>,
    /// How many messages are not.
    pub left_out: usize,
}

/// What the bounds leave of a conversation, in its order.
///
/// Always shown, whatever the bounds: messages of the system, and the last turn. Of the others the newest that fit,
/// without a gap. Every call of a tool that words follow has its result right behind it, and no result is without its
/// call: what is missing is put in, counted as all else, and a result whose call is closed or unknown becomes words.
pub fn view<'m, 'a>(messages: &[&'m Message<'a>], bounds: Bounds) -> View<'m, 'a> {
    let settled = settle(messages);
    let turn_of = turns(&settled);
    let count = turn_of.iter().flatten().max().map_or(0, |last| last + 1);
    let mut sizes = vec![(0_usize, 0_u64); count];
    let mut total = (0_usize, 0_u64);
    for (shown, turn) in settled.iter().zip(&turn_of) {
        let weight = if bounds.tokens == 0 { 0 } else { weight(&shown.message) };
        match turn.and_then(|turn| sizes.get_mut(turn)) {
            None => total.1 = total.1.saturating_add(weight),
            Some(size) => *size = (size.0 + 1, size.1.saturating_add(weight)),
        }
    }
    let mut first = count;
    for (turn, size) in sizes.iter().enumerate().rev() {
        total = (total.0 + size.0, total.1.saturating_add(size.1));
        if first < count && !bounds.allow(total.0, total.1) {
            break;
        }
        first = turn;
    }
    let shown: Vec<_> = settled
        .into_iter()
        .zip(turn_of)
        .filter(|(_, turn)| turn.is_none_or(|turn| turn >= first))
        .map(|(shown, _)| shown)
        .collect();
    let mut places: Vec<_> = shown.iter().filter_map(|shown| shown.place).collect();
    places.dedup();
    View { left_out: messages.len() - places.len(), shown }
}

/// The number of the turn that each message is in; messages of the system are in none.
fn turns(thread: &[Shown<'_, '_>]) -> Vec<Option<usize>> {
    let mut turn: Option<usize> = None;
    let mut before = None;
    let mut of = |shown: &Shown<'_, '_>| {
        if is_system(&shown.message) {
            return None;
        }
        let role = shown.message.role;
        // Words behind results belong to the same turn of the client's, and neighbours to one another.
        let begins = role == Role::User && !matches!(before, Some(Role::Tool | Role::User));
        // The client did not say what is put in.
        if !is_put_in(&shown.message) {
            before = Some(role);
        }
        turn = Some(match turn {
            None => 0,
            Some(turn) if begins => turn + 1,
            Some(turn) => turn,
        });
        turn
    };
    thread.iter().map(&mut of).collect()
}

fn weight(message: &Message<'_>) -> u64 {
    let kept = Kept { instructions: false, message: message.clone() };
    estimate::tokens(write(&kept, Inline(usize::MAX)).as_bytes())
}
