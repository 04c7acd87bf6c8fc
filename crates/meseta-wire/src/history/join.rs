//! A request with the kept conversation before what it says.

use std::borrow::Cow;
use std::fmt;

use super::known::{Known, known};
use super::stored::left_out;
use super::view::{Bounds, view};
use super::{Kept, decode, is_system, owned, parse};
use crate::conversation::{Message, Part, Request, Text};
use crate::dialect::{Destination, Dialect, Quirks, encode_request};
use crate::feature::{Losses, Refused};
use crate::json::Json;
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
/// The messages of a request that is changed are written anew, all its other fields stay as they are.
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
    let mut thread: Vec<Message<'_>> = Vec::new();
    if insert_instructions {
        thread.extend(kept_instructions.iter().map(|message| (*message).clone()));
    } else {
        thread.extend(instructions.iter().cloned());
    }
    if insert_kept {
        thread.extend(kept.iter().map(|message| (*message).clone()));
    }
    let own = if insert_kept { behind } else { said };
    // The client's own words are the last, and are there only once.
    let own_from = thread.len();
    thread.extend(own.iter().cloned());

    let places = view(&thread, bounds);
    let left_out = thread.len() - places.len();
    if left_out == 0 && !insert_instructions && !insert_kept {
        return Ok(Joined { body: None, new, added: 0, left_out });
    }
    let own_heads = if insert_instructions { 0 } else { head };
    let added = places.iter().filter(|place| (own_heads..own_from).contains(*place)).count();
    let mut shown = Vec::with_capacity(places.len());
    let mut wanted = places.iter().copied().peekable();
    for (place, message) in thread.into_iter().enumerate() {
        if wanted.next_if_eq(&place).is_some() {
            shown.push(message);
        }
    }
    let body = write(dialect, &json, shown, own.len()).map_err(JoinError::Refused)?;
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
    Kept { instructions, message: owned::message(message.clone()) }
}

/// The client's document with other messages. The last `own` messages are of the client itself.
fn write(
    dialect: Dialect,
    json: &Json<'_>,
    messages: Vec<Message<'_>>,
    own: usize,
) -> Result<Vec<u8>, Refused> {
    // All that stands in a request besides its messages is taken from the client's own document.
    let mut request = Request { messages, ..Request::default() };
    let encoded = match encode(dialect, &request) {
        Err(_) => {
            // The conversation came in another dialect, which could say more than this one.
            let kept = request.messages.len().saturating_sub(own);
            request.messages.iter_mut().take(kept).for_each(without_media);
            encode(dialect, &request)?
        }
        encoded => encoded?,
    };
    let text = String::from_utf8(encoded).unwrap_or_default();
    let encoded = Json::parse(&text).unwrap_or(Json::Null);
    Ok(with_messages(dialect, json, &encoded).to_vec())
}

/// The fields that hold the conversation in each dialect, and those that mark places in it.
fn fields_of(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::OpenaiChat => &["messages"],
        Dialect::OpenaiResponses => &["instructions", "input"],
        // A mark for the cache on the whole request has become one on its last block.
        Dialect::AnthropicMessages => &["system", "messages", "cache_control"],
        Dialect::GeminiGenerateContent => &["systemInstruction", "contents"],
        Dialect::BedrockConverse => &["system", "messages"],
    }
}

fn with_messages<'a>(dialect: Dialect, json: &Json<'a>, encoded: &Json<'a>) -> Json<'a> {
    let ours = fields_of(dialect);
    let Json::Object(fields) = json else { return json.clone() };
    let others = fields.iter().filter(|(key, _)| !ours.contains(&key.as_ref())).cloned();
    let conversation = ours.iter().filter_map(|key| Some((Cow::Borrowed(*key), encoded.get(key)?.clone())));
    Json::Object(others.chain(conversation).collect())
}

fn encode(dialect: Dialect, request: &Request<'_>) -> Result<Vec<u8>, Refused> {
    // Marks for the cache are kept: whoever sends the request on takes out what its target does not know.
    let quirks = Quirks { cache_control: true, ..Quirks::default() };
    let destination = Destination { model: "", max_output_tokens: 1, quirks: &quirks };
    encode_request(dialect, request, &destination, &mut Losses::new(dialect, dialect))
}

/// Puts words in the place of all that is not words.
fn without_media(message: &mut Message<'_>) {
    message.parts.iter_mut().for_each(part_without_media);
}

fn part_without_media(part: &mut Part<'_>) {
    match part {
        Part::Image(_) | Part::File(_) | Part::Audio(_) => {
            let words =
                left_out(part).unwrap_or_else(|| "[an attachment that cannot be sent here]".to_owned());
            *part = Part::Text(Text { text: Cow::Owned(words), ..Text::default() });
        }
        Part::ToolResult(result) => result.parts.iter_mut().for_each(part_without_media),
        _ => {}
    }
}
