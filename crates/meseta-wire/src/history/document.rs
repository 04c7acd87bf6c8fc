//! The client's document with what is kept in it.

use std::borrow::Cow;

use super::is_system;
use super::stored::left_out;
use crate::conversation::{Message, Part, Request, Text};
use crate::dialect::{Destination, Dialect, Quirks, encode_request};
use crate::feature::{Losses, Refused};
use crate::json::Json;
use crate::object;

/// OpenAI's chat takes no longer ids of calls, so longer ones are written in another way.
const LONGEST_CALL_ID: usize = 40;

/// What a request is to say, in this order.
pub(super) struct Conversation<'a> {
    pub instructions: Vec<Message<'a>>,
    /// The instructions are kept ones, and not the client's.
    pub instructed: bool,
    pub kept: Vec<Message<'a>>,
    pub own: Vec<Message<'a>>,
    /// `own` is all that the client says.
    pub own_whole: bool,
}

/// All that stands in the request besides its conversation stays as the client wrote it.
pub(super) fn write(
    dialect: Dialect,
    json: &Json<'_>,
    conversation: Conversation<'_>,
) -> Result<Vec<u8>, Refused> {
    if let Some(document) = put_in(dialect, json, &conversation) {
        return Ok(document);
    }
    let Conversation { mut instructions, instructed, mut kept, own, .. } = conversation;
    let encoded = encode(dialect, [&*instructions, &*kept, &*own].concat()).or_else(|_| {
        // What is kept came in another dialect, which could say more than this one.
        let kept_instructions = instructions.iter_mut().filter(|_| instructed);
        kept_instructions.chain(&mut kept).for_each(without_media);
        encode(dialect, [&*instructions, &*kept, &*own].concat())
    })?;
    let encoded = Json::parse(&encoded).unwrap_or(Json::Null);
    Ok(with_conversation(dialect, json, &encoded).to_vec())
}

/// Puts what is kept before the client's own messages, which stay as they are written. `None` where that cannot be: they
/// are not all shown, or what is kept must be written together with them.
fn put_in(dialect: Dialect, json: &Json<'_>, conversation: &Conversation<'_>) -> Option<Vec<u8>> {
    let (key, prompt) = match dialect {
        Dialect::OpenaiChat => ("messages", None),
        Dialect::OpenaiResponses => ("input", Some("instructions")),
        Dialect::AnthropicMessages => ("messages", Some("system")),
        // No client speaks them.
        Dialect::GeminiGenerateContent | Dialect::BedrockConverse => return None,
    };
    let Conversation { instructions, instructed, kept, own, own_whole } = conversation;
    let prompts_in_kept = prompt.is_some() && kept.iter().any(is_system);
    if !own_whole || prompts_in_kept || !kept.is_empty() && own.iter().any(|own| answers(dialect, own)) {
        return None;
    }
    let mut before = if *instructed { instructions.clone() } else { Vec::new() };
    // A request may have few marks for the cache, and the client's own come first.
    before.extend(kept.iter().cloned().map(without_marks));
    let encoded = encode(dialect, before.clone()).or_else(|_| {
        before.iter_mut().for_each(without_media);
        encode(dialect, before)
    });
    let encoded = encoded.ok()?;
    let encoded = Json::parse(&encoded).ok()?;

    let mut items = match json.get(key) {
        Some(Json::Array(items)) => items.clone(),
        Some(Json::String(text)) => vec![object! { "role" => "user", "content" => text.clone() }],
        _ => Vec::new(),
    };
    let head = items.iter().take_while(|item| is_prompt(item)).count();
    // A prompt stands beside the messages there, and a request without any is given one.
    let only_prompt = dialect == Dialect::AnthropicMessages && kept.is_empty();
    let put = encoded.get(key).and_then(Json::as_array).filter(|_| !only_prompt).unwrap_or_default();
    items.splice(head..head, put.iter().cloned());

    let Json::Object(fields) = json else { return None };
    let prompt = prompt.filter(|_| *instructed);
    let mut document: Vec<_> = fields
        .iter()
        .filter(|(name, _)| name != key && prompt.is_none_or(|prompt| name != prompt))
        .cloned()
        .collect();
    document.extend(prompt.and_then(|name| Some((Cow::Borrowed(name), encoded.get(name)?.clone()))));
    document.push((Cow::Borrowed(key), Json::Array(items)));
    Some(Json::Object(document).to_vec())
}

/// Whether a message answers a kept call in a way that only shows when both are written together: most encoders give a
/// call that has no result one of their own.
fn answers(dialect: Dialect, message: &Message<'_>) -> bool {
    message.parts.iter().any(|part| match part {
        Part::ToolResult(result) => dialect != Dialect::OpenaiChat || result.id.len() > LONGEST_CALL_ID,
        _ => false,
    })
}

fn is_prompt(item: &Json<'_>) -> bool {
    matches!(item.get("role").and_then(Json::as_str), Some("system" | "developer"))
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

fn with_conversation<'a>(dialect: Dialect, json: &Json<'a>, encoded: &Json<'a>) -> Json<'a> {
    let ours = fields_of(dialect);
    let Json::Object(fields) = json else { return json.clone() };
    let others = fields.iter().filter(|(key, _)| !ours.contains(&key.as_ref())).cloned();
    let conversation = ours.iter().filter_map(|key| Some((Cow::Borrowed(*key), encoded.get(key)?.clone())));
    Json::Object(others.chain(conversation).collect())
}

/// A request of nothing but messages.
fn encode(dialect: Dialect, messages: Vec<Message<'_>>) -> Result<String, Refused> {
    let request = Request { messages, ..Request::default() };
    // Marks for the cache are kept: whoever sends the request on takes out what its target does not know.
    let quirks = Quirks { cache_control: true, ..Quirks::default() };
    let destination = Destination { model: "", max_output_tokens: 1, quirks: &quirks };
    let encoded = encode_request(dialect, &request, &destination, &mut Losses::new(dialect, dialect))?;
    Ok(String::from_utf8(encoded).unwrap_or_default())
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

fn without_marks(mut message: Message<'_>) -> Message<'_> {
    message.parts.iter_mut().for_each(part_without_marks);
    message
}

fn part_without_marks(part: &mut Part<'_>) {
    if let Some(cache) = part.cache_mark() {
        *cache = None;
    }
    if let Part::ToolResult(result) = part {
        result.parts.iter_mut().for_each(part_without_marks);
    }
}
