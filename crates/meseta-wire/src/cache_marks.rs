//! Marks for the prompt cache, placed where the client placed none: behind what stays the same from turn to turn (the
//! tools and the system prompt), and behind the last turn, which is the beginning of the next request.
//!
//! A mark costs: what is written to a cache is dearer than what is not. So nothing is marked that is too short to be
//! cached, and nothing at all where the client marked anything, since it then knows better.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::conversation::{CacheMark, Part, Request, Role, Tool};
use crate::estimate;
use crate::json::Json;

/// How a target is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// `cache_control` on the blocks of Messages.
    Messages,
    /// `cache_control` on the parts of chat completions, for Anthropic's models behind OpenAI's dialect.
    ChatParts,
    /// `cachePoint` behind the blocks of Converse. No client speaks it, so only [`mark`] places them.
    Converse,
}

impl Placement {
    pub fn parse(text: &str) -> Option<Placement> {
        match text {
            "messages" => Some(Placement::Messages),
            "chat_parts" => Some(Placement::ChatParts),
            "converse" => Some(Placement::Converse),
            _ => None,
        }
    }
}

/// Whether anything in the document looks like a mark for the prompt cache, of whatever dialect. Words in a text of the
/// client's are taken for marks, too; a mark that is spelled with escapes is not overlooked.
pub fn may_be_marked(body: &[u8]) -> bool {
    const ENDS: [&[u8]; 3] = [b"_control", b"Point", b"_breakpoint"];
    let behind = |at: usize, length: usize| body.get(at + length..).unwrap_or_default();
    let spelled = memchr::memmem::find_iter(body, b"cache")
        .any(|at| ENDS.iter().any(|end| behind(at, b"cache".len()).starts_with(end)));
    // Nobody escapes plain letters (U+0040 to U+007F) but who wants to hide them.
    spelled
        || memchr::memmem::find_iter(body, b"\\u00")
            .any(|at| matches!(behind(at, b"\\u00".len()).first(), Some(b'4'..=b'7')))
}

const CONTROL: &str = r#""cache_control":{"type":"ephemeral"}"#;

/// Places marks in a request that otherwise travels as it is. `None`: nothing to mark. Every other byte stays, but that a
/// text that stood alone becomes a part, since only a part can be marked.
pub fn insert(body: &[u8], placement: Placement, minimum_tokens: u64) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        system: Option<&'a RawValue>,
        #[serde(borrow, default)]
        tools: Option<&'a RawValue>,
        #[serde(borrow, default)]
        messages: Vec<Turn<'a>>,
    }
    if estimate::tokens(body) < minimum_tokens || may_be_marked(body) {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let parsed: Body<'_> = serde_json::from_str(text).ok()?;
    let long = |raw: &[&RawValue]| {
        raw.iter().map(|raw| estimate::tokens(raw.get().as_bytes())).sum::<u64>() >= minimum_tokens
    };
    let mut splices = Vec::with_capacity(2);
    match placement {
        Placement::Messages => {
            let prefix: Vec<&RawValue> = [parsed.tools, parsed.system].into_iter().flatten().collect();
            if long(&prefix) {
                let system = parsed.system.and_then(|raw| content(raw, MESSAGES_BLOCKS));
                splices.extend(system.or_else(|| parsed.tools.and_then(last_tool)));
            }
            let last = parsed.messages.last().and_then(|turn| content(turn.content?, MESSAGES_BLOCKS));
            splices.extend(last);
        }
        Placement::ChatParts => {
            let is_prompt = |turn: &Turn<'_>| matches!(turn.role.as_ref(), "system" | "developer");
            let first = parsed.messages.iter().take_while(|turn| is_prompt(turn)).last();
            let prefix: Vec<&RawValue> =
                [parsed.tools, first.and_then(|turn| turn.content)].into_iter().flatten().collect();
            if long(&prefix) {
                splices.extend(first.and_then(|turn| content(turn.content?, CHAT_PARTS)));
            }
            // A tool's result cannot be marked everywhere; the user's turn before it can.
            let last = parsed.messages.iter().rfind(|turn| turn.role == "user");
            splices.extend(last.and_then(|turn| content(turn.content?, CHAT_PARTS)));
        }
        Placement::Converse => {}
    }
    apply(text, splices)
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow, default)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// Blocks and parts that can carry a mark. Thinking cannot.
const MESSAGES_BLOCKS: &[&str] = &["text", "image", "document", "tool_use", "tool_result", "search_result"];
const CHAT_PARTS: &[&str] = &["text"];

/// A piece of the document and what takes its place.
struct Splice<'a> {
    old: &'a str,
    new: String,
}

/// The mark behind a content, which is a text or an array of parts.
fn content<'a>(raw: &'a RawValue, markable: &[&str]) -> Option<Splice<'a>> {
    let old = raw.get();
    if old.starts_with('"') {
        let text: String = serde_json::from_str(old).ok()?;
        let new = format!(r#"[{{"type":"text","text":{old},{CONTROL}}}]"#);
        return (!text.trim().is_empty()).then_some(Splice { old, new });
    }
    let parts: Vec<&RawValue> = serde_json::from_str(old).ok()?;
    let part = parts.last()?.get();
    let json = Json::parse(part).ok()?;
    let kind = json.get("type").and_then(Json::as_str)?;
    let blank = json.get("text").and_then(Json::as_str).is_none_or(|text| text.trim().is_empty());
    (markable.contains(&kind) && !(kind == "text" && blank)).then(|| behind(part)).flatten()
}

/// The mark on the last tool, if it is the client's own and always loaded.
fn last_tool(raw: &RawValue) -> Option<Splice<'_>> {
    let tools: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    let tool = tools.last()?.get();
    let json = Json::parse(tool).ok()?;
    let own = json.get("type").is_none_or(|kind| kind.as_str() == Some("custom"));
    let loaded = json.get("defer_loading").is_none_or(|deferred| *deferred == Json::Bool(false));
    (own && loaded && json.get("name").is_some()).then(|| behind(tool)).flatten()
}

/// The mark as the last key of an object that has keys.
fn behind(object: &str) -> Option<Splice<'_>> {
    let brace = object.len().checked_sub(1)?;
    let old = object.get(brace..).filter(|end| *end == "}")?;
    Some(Splice { old, new: format!(",{CONTROL}}}") })
}

fn apply(text: &str, splices: Vec<Splice<'_>>) -> Option<Vec<u8>> {
    if splices.is_empty() {
        return None;
    }
    let mut splices: Vec<(Range<usize>, String)> =
        splices.into_iter().map(|splice| (place(text, splice.old), splice.new)).collect();
    splices.sort_by_key(|(range, _)| range.start);
    // A prompt that is all there is would be marked twice.
    splices.dedup_by_key(|(range, _)| range.start);
    let mut marked = Vec::with_capacity(text.len() + 256);
    let mut copied = 0;
    for (range, new) in splices {
        marked.extend_from_slice(text.as_bytes().get(copied..range.start)?);
        marked.extend_from_slice(new.as_bytes());
        copied = range.end;
    }
    marked.extend_from_slice(text.as_bytes().get(copied..)?);
    Some(marked)
}

/// The byte range of `part`, which must be a slice of `text`.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + part.len()
}

/// Places marks in a request that is translated; the target's encoder writes them in its own way. `prompt_tokens` is the
/// estimate of the whole request. Returns how many were placed.
pub fn mark(request: &mut Request<'_>, prompt_tokens: u64, minimum_tokens: u64) -> usize {
    if prompt_tokens < minimum_tokens || is_marked(request) {
        return 0;
    }
    let is_prompt = |role: Role| matches!(role, Role::System | Role::Developer);
    let prompts = request.messages.iter().take_while(|message| is_prompt(message.role)).count();
    let mut placed = 0;
    if prefix_tokens(request, prompts) >= minimum_tokens {
        let system = request.messages.get_mut(..prompts).and_then(<[_]>::last_mut);
        let on_system = system.and_then(|message| message.parts.last_mut()).is_some_and(mark_part);
        if on_system {
            placed += 1;
        } else if let Some(Tool::Function(function)) = request.tools.last_mut() {
            function.cache = Some(MARK);
            placed += 1;
        }
    }
    let turns = request.messages.get_mut(prompts..).and_then(<[_]>::last_mut);
    if turns.and_then(|message| message.parts.last_mut()).is_some_and(mark_part) {
        placed += 1;
    }
    placed
}

const MARK: CacheMark = CacheMark { ttl: None };

fn mark_part(part: &mut Part<'_>) -> bool {
    let is_blank = matches!(part, Part::Text(text) if text.text.trim().is_empty());
    let place = part.cache_mark().filter(|_| !is_blank);
    place.map(|cache| *cache = Some(MARK)).is_some()
}

fn is_marked(request: &Request<'_>) -> bool {
    fn part_is_marked(part: &Part<'_>) -> bool {
        match part {
            Part::Text(text) => text.cache.is_some(),
            Part::Image(image) => image.cache.is_some(),
            Part::File(file) => file.cache.is_some(),
            Part::ToolCall(call) => call.cache.is_some(),
            Part::ToolResult(result) => result.cache.is_some() || result.parts.iter().any(part_is_marked),
            Part::Audio(_) | Part::Thought(_) | Part::Refusal(_) => false,
        }
    }
    let tool = |tool: &Tool<'_>| matches!(tool, Tool::Function(function) if function.cache.is_some());
    request.tools.iter().any(tool)
        || request.messages.iter().flat_map(|message| &message.parts).any(part_is_marked)
}

/// The tokens of the tools and the first messages, by the length of their texts.
fn prefix_tokens(request: &Request<'_>, prompts: usize) -> u64 {
    let texts =
        request.messages.iter().take(prompts).flat_map(|message| &message.parts).map(|part| match part {
            Part::Text(text) => text.text.len(),
            _ => 0,
        });
    let tools = request.tools.iter().map(|tool| match tool {
        Tool::Function(function) => {
            let parameters = function.parameters.as_ref().map_or(0, |schema| schema.to_vec().len());
            function.name.len() + function.description.as_ref().map_or(0, |text| text.len()) + parameters
        }
        Tool::Custom { name, description, .. } => {
            name.len() + description.as_ref().map_or(0, |text| text.len())
        }
        Tool::WebSearch(_) => 0,
    });
    let bytes = texts.chain(tools).fold(0_usize, usize::saturating_add);
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}
