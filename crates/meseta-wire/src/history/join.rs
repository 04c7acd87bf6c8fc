//! A request with the kept conversation before what it says.

use std::borrow::Cow;
use std::fmt;

use super::document::{Conversation, write};
use super::known::{Known, known};
use super::settle::Shown;
use super::view::{Bounds, View, view};
use super::{Kept, decode, is_system, parse};
use crate::conversation::{Message, Part};
use crate::dialect::Dialect;
use crate::feature::Refused;
use crate::shape::Malformed;

#[derive(Debug, PartialEq)]
pub struct Joined {
    /// The request to send; `None` where the client's own bytes say it already.
    pub body: Option<Vec<u8>>,
    /// What the request says that is not kept yet. To be kept with the answer, in this order, before it.
    pub new: Vec<Kept<'static>>,
    /// How many of the kept messages stand in the request that is sent and did not in the client's.
    pub added: usize,
    /// How many messages the bounds have left out.
    pub left_out: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The request is not what its API says.
    Malformed(Malformed),
    /// The client's dialect cannot say something that it said itself, which is odd, but can be said to the client.
    Refused(Refused),
}

impl fmt::Display for JoinError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Malformed(malformed) => malformed.fmt(formatter),
            JoinError::Refused(refused) => {
                write!(formatter, "`{}` cannot be sent together with the kept conversation.", refused.path)
            }
        }
    }
}

impl std::error::Error for JoinError {}

/// Puts what is kept before what the request says.
///
/// - A client that sends the conversation itself gets nothing doubled: what it repeats is recognised. Where it repeats
///   only a part, the whole of what is kept takes the place of that part.
/// - Instructions at the head of the request replace the kept ones; a request without any is given the kept ones.
/// - The bounds hold for all of it. With nothing in `stored` the function only applies them.
///
/// A request that goes on from a stored answer (`previous_response_id`) must hold that conversation before it comes here.
/// The client's own messages are written anew only where bounds cut them, where a part of them is kept already, and where
/// results follow kept calls in Messages and Responses; all other fields stay as they are in any case.
pub fn join(dialect: Dialect, body: &[u8], stored: &[Kept<'_>], bounds: Bounds) -> Result<Joined, JoinError> {
    let json = parse(body).map_err(JoinError::Malformed)?;
    let request = decode(dialect, &json).map_err(JoinError::Malformed)?;
    let head = request.messages.iter().take_while(|message| is_system(message)).count();
    let (instructions, said) = request.messages.split_at_checked(head).unwrap_or_default();

    let (kept_instructions, kept) = split(stored);
    let Known { messages: repeated, whole } = known(&kept, said);
    let behind = said.get(repeated..).unwrap_or_default();

    let mut new: Vec<Kept<'static>> = Vec::new();
    if !same(instructions, &kept_instructions) {
        new.extend(instructions.iter().map(|message| keep(true, message)));
    }
    new.extend(behind.iter().map(|message| keep(false, message)));

    let insert_instructions = instructions.is_empty() && !kept_instructions.is_empty();
    let insert_kept = !whole && !kept.is_empty();
    let mut thread: Vec<&Message<'_>> = Vec::new();
    if insert_instructions {
        thread.extend(&kept_instructions);
    } else {
        thread.extend(instructions);
    }
    let heads = thread.len();
    if insert_kept {
        thread.extend(&kept);
    }
    let own = if insert_kept { behind } else { said };
    // The client's own words are the last, and are there only once.
    let own_from = thread.len();
    thread.extend(own);

    let View { shown, left_out } = view(&thread, bounds);
    if left_out == 0 && !insert_instructions && !insert_kept {
        return Ok(Joined { body: None, new, added: 0, left_out });
    }
    let mut conversation = Conversation {
        instructions: Vec::new(),
        instructed: insert_instructions,
        kept: Vec::new(),
        own: Vec::new(),
        own_whole: false,
    };
    let mut at = 0;
    let (mut added, mut as_written) = (0, 0);
    for Shown { place, message } in shown {
        // What is put in stands with the message that it follows.
        at = place.unwrap_or(at);
        added += usize::from(place.is_some() && at < own_from && (at >= heads || insert_instructions));
        as_written += usize::from(at >= own_from && matches!(message, Cow::Borrowed(_)));
        let side = if at < heads {
            // Instructions are always shown.
            &mut conversation.instructions
        } else if at < own_from {
            &mut conversation.kept
        } else {
            &mut conversation.own
        };
        side.push(message.into_owned());
    }
    let whole = as_written == own.len() && conversation.own.len() == own.len();
    conversation.own_whole = whole && (repeated == 0 || !insert_kept);
    let body = write(dialect, &json, conversation).map_err(JoinError::Refused)?;
    Ok(Joined { body: Some(body), new, added, left_out })
}

/// The instructions that hold, and the conversation.
fn split<'s>(stored: &'s [Kept<'s>]) -> (Vec<&'s Message<'s>>, Vec<&'s Message<'s>>) {
    let mut instructions = Vec::new();
    let mut kept = Vec::new();
    let mut before = false;
    for entry in stored {
        if entry.instructions {
            if !before {
                instructions.clear();
            }
            instructions.push(&entry.message);
        } else {
            kept.push(&entry.message);
        }
        before = entry.instructions;
    }
    (instructions, kept)
}

fn same(ours: &[Message<'_>], kept: &[&Message<'_>]) -> bool {
    let words = |message: &Message<'_>| {
        let mut words = String::new();
        for part in &message.parts {
            if let Part::Text(text) = part {
                words.extend(text.text.split_whitespace());
            }
        }
        words
    };
    let ours: String = ours.iter().map(words).collect();
    let kept: String = kept.iter().map(|message| words(message)).collect();
    ours.is_empty() || ours == kept
}

fn keep(instructions: bool, message: &Message<'_>) -> Kept<'static> {
    Kept { instructions, message: message.clone().into_owned() }
}
