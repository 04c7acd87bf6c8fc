//! Turns of the conversation as the API demands them: user and assistant in turn, the user first, no empty block, and
//! every call of a tool answered once at the beginning of the very next turn.

use std::collections::{HashMap, HashSet, VecDeque};

use super::cache::Marks;
use super::citation;
use super::content::{input, is_blank, text_block, write_users};
use crate::conversation::{Message, Part, Role, Text, Thought, ToolCall, ToolResult};
use crate::feature::{Feature, Losses, Refused, first_turn};
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::Family;

/// Neighbouring messages that are one turn to the API.
#[derive(Default)]
pub(super) struct Turn<'r> {
    assistant: bool,
    results: Vec<&'r ToolResult<'r>>,
    parts: Vec<&'r Part<'r>>,
}

pub(super) struct Conversation<'r> {
    pub system: Vec<&'r Text<'r>>,
    turns: Vec<Turn<'r>>,
}

impl<'r> Conversation<'r> {
    pub fn of(messages: &'r [Message<'r>], losses: &mut Losses) -> Result<Conversation<'r>, Refused> {
        let mut conversation = Conversation { system: Vec::new(), turns: Vec::new() };
        for message in messages {
            if message.name.is_some() {
                losses.meet(Feature::MessageName)?;
            }
            match message.role {
                Role::System | Role::Developer => {
                    if !conversation.turns.is_empty() {
                        losses.meet(Feature::SystemInPlace)?;
                    }
                    for part in &message.parts {
                        match part {
                            Part::Text(text) if is_blank(&text.text) => {}
                            Part::Text(text) => conversation.system.push(text),
                            _ => losses.drop_feature(Feature::NativeParts),
                        }
                    }
                }
                role => {
                    for part in &message.parts {
                        conversation.add(role == Role::Assistant, part, losses)?;
                    }
                }
            }
        }
        conversation.end_no_turn_in_thought(losses);
        Ok(conversation)
    }

    /// The API refuses a turn of the assistant's that ends in a thought: what the thought led to is gone, as where an
    /// answer was cut off.
    fn end_no_turn_in_thought(&mut self, losses: &mut Losses) {
        let mut turns: Vec<Turn<'r>> = Vec::with_capacity(self.turns.len());
        for mut turn in self.turns.drain(..) {
            while matches!(turn.parts.last(), Some(Part::Thought(_))) {
                turn.parts.pop();
                losses.drop_feature(Feature::Thoughts);
            }
            if turn.parts.is_empty() && turn.results.is_empty() {
                continue;
            }
            match turns.last_mut() {
                Some(last) if last.assistant == turn.assistant => {
                    last.results.append(&mut turn.results);
                    last.parts.append(&mut turn.parts);
                }
                _ => turns.push(turn),
            }
        }
        self.turns = turns;
    }

    fn add(&mut self, assistant: bool, part: &'r Part<'r>, losses: &mut Losses) -> Result<(), Refused> {
        let keeps = match part {
            Part::Text(text) => !is_blank(&text.text),
            Part::Refusal(text) => {
                losses.meet(Feature::Refusals)?;
                !is_blank(text)
            }
            Part::Thought(thought) if assistant => {
                let own = own_signature(thought).is_some();
                if !own {
                    losses.meet(Feature::ForeignThoughts)?;
                }
                own
            }
            Part::ToolCall(_) if assistant => true,
            Part::Audio(_) => {
                losses.meet(Feature::AudioInput)?;
                false
            }
            Part::Image(_) | Part::File(_) | Part::ToolResult(_) if !assistant => true,
            // The API has no such block in this role.
            _ => {
                losses.drop_feature(Feature::NativeParts);
                false
            }
        };
        if !keeps {
            return Ok(());
        }
        if self.turns.last().is_none_or(|turn| turn.assistant != assistant) {
            self.turns.push(Turn { assistant, ..Turn::default() });
        }
        if let Some(turn) = self.turns.last_mut() {
            match part {
                Part::ToolResult(result) => turn.results.push(result),
                part => turn.parts.push(part),
            }
        }
        Ok(())
    }

    /// Whether the assistant's last turn begins with a thought, or calls no tool.
    pub fn thought_first(&self) -> bool {
        let Some(last) = self.turns.iter().rev().find(|turn| turn.assistant) else { return true };
        matches!(last.parts.first(), Some(Part::Thought(_)))
            || !last.parts.iter().any(|part| matches!(part, Part::ToolCall(_)))
    }

    pub fn calls(&self) -> impl Iterator<Item = &'r ToolCall<'r>> + '_ {
        self.turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// How many blocks have a mark for the cache.
    pub fn marks(&self) -> usize {
        let marks = |part: &Part<'_>| match part {
            Part::Text(text) => text.cache.is_some(),
            Part::Image(image) => image.cache.is_some(),
            Part::File(file) => file.cache.is_some(),
            Part::ToolCall(call) => call.cache.is_some(),
            _ => false,
        };
        let inside = |result: &ToolResult<'_>| {
            usize::from(result.cache.is_some()) + result.parts.iter().filter(|part| marks(part)).count()
        };
        let turns = self.turns.iter().map(|turn| {
            turn.parts.iter().filter(|part| marks(part)).count()
                + turn.results.iter().map(|result| inside(result)).sum::<usize>()
        });
        self.system.iter().filter(|text| text.cache.is_some()).count() + turns.sum::<usize>()
    }

    /// The `messages` of a request. `prefill` says whether they may end with the assistant.
    pub fn write(
        &self,
        prefill: bool,
        marks: &mut Marks,
        losses: &mut Losses,
    ) -> Result<Vec<Json<'r>>, Refused> {
        let mut messages = Vec::with_capacity(self.turns.len() + 2);
        if self.turns.first().is_none_or(|turn| turn.assistant) {
            losses.unknown(first_turn(losses.client()));
            messages.push(go_on());
        }
        let mut names = Names::default();
        let mut open = Calls::default();
        for (index, turn) in self.turns.iter().enumerate() {
            if turn.assistant {
                let last = index + 1 == self.turns.len();
                let mut blocks = Vec::with_capacity(turn.parts.len());
                for (index, part) in turn.parts.iter().enumerate() {
                    let last = last && index + 1 == turn.parts.len();
                    blocks.extend(write_assistants(part, last, &mut names, &mut open, marks, losses)?);
                }
                messages.push(object! { "role" => "assistant", "content" => blocks });
            } else {
                let mut blocks = Vec::with_capacity(turn.results.len() + turn.parts.len());
                // What a result cannot hold follows the results.
                let mut behind = Vec::new();
                for result in &turn.results {
                    write_result(result, &mut open, &mut blocks, &mut behind, marks, losses)?;
                }
                let mut unanswered = open.unanswered();
                if !unanswered.is_empty() {
                    losses.unknown("tool_result");
                }
                blocks.append(&mut unanswered);
                blocks.append(&mut behind);
                for part in &turn.parts {
                    blocks.extend(write_users(part, marks, losses)?);
                }
                messages.push(object! { "role" => "user", "content" => blocks });
            }
        }
        let unanswered = open.unanswered();
        if !unanswered.is_empty() {
            losses.unknown("tool_result");
            messages.push(object! { "role" => "user", "content" => unanswered });
        } else if !prefill && self.turns.last().is_some_and(|turn| turn.assistant) {
            losses.unknown("messages[last]");
            messages.push(go_on());
        }
        Ok(messages)
    }
}

/// Stands where the API demands a turn of the user's and the client has none.
fn go_on() -> Json<'static> {
    object! { "role" => "user", "content" => "Continue." }
}

fn own_signature<'r>(thought: &'r Thought<'_>) -> Option<&'r str> {
    thought.signature.as_ref().and_then(|signature| signature.valid_for(Family::Anthropic))
}

/// The ids that calls have in the request: the client's, unless the API would refuse it.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// How often a name was wanted.
    wanted: HashMap<String, u32>,
}

impl Names {
    fn give(&mut self, id: &str) -> String {
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        let mut name: String = id.chars().map(|one| if allowed(one) { one } else { '_' }).collect();
        if name.is_empty() {
            name.push_str("call");
        }
        if self.taken.insert(name.clone()) {
            return name;
        }
        let count = self.wanted.entry(name.clone()).or_insert(1);
        loop {
            *count = count.saturating_add(1);
            let other = format!("{name}_{count}");
            if self.taken.insert(other.clone()) {
                return other;
            }
        }
    }
}

/// The calls of the assistant's last turn, which the user's next turn must answer.
#[derive(Default)]
struct Calls<'r> {
    /// Names in the order of the calls; taken out when the result comes.
    names: Vec<Option<String>>,
    by_id: HashMap<&'r str, VecDeque<usize>>,
}

impl<'r> Calls<'r> {
    fn open(&mut self, id: &'r str, name: String) {
        self.by_id.entry(id).or_default().push_back(self.names.len());
        self.names.push(Some(name));
    }

    fn answer(&mut self, id: &str) -> Option<String> {
        let index = self.by_id.get_mut(id)?.pop_front()?;
        self.names.get_mut(index)?.take()
    }

    /// Results for the calls whose results the client left out; no call is open afterwards.
    fn unanswered<'b>(&mut self) -> Vec<Json<'b>> {
        self.by_id.clear();
        let names = std::mem::take(&mut self.names).into_iter().flatten();
        let results = names.map(|name| {
            object! {
                "type" => "tool_result",
                "tool_use_id" => name,
                "content" => "There is no result of this call.",
                "is_error" => true,
            }
        });
        results.collect()
    }
}

fn write_assistants<'r>(
    part: &'r Part<'r>,
    last: bool,
    names: &mut Names,
    open: &mut Calls<'r>,
    marks: &mut Marks,
    losses: &mut Losses,
) -> Result<Option<Json<'r>>, Refused> {
    Ok(Some(match part {
        Part::Text(text) => {
            // The beginning of an answer must not end in white space.
            let words: &str = if last { text.text.trim_end() } else { &text.text };
            let mut fields = text_block(words);
            let citations: Vec<_> = text.citations.iter().filter_map(citation::write).collect();
            // Only Anthropic's own citations come back to it, and their index is gone.
            if !citations.is_empty() {
                losses.meet(Feature::Citations)?;
            }
            fields.put_some("cache_control", marks.take(text.cache));
            fields.into()
        }
        Part::Refusal(text) => text_block(if last { text.trim_end() } else { text }).into(),
        Part::Thought(thought) => {
            let signature = own_signature(thought).unwrap_or_default();
            if thought.redacted {
                object! { "type" => "redacted_thinking", "data" => signature }
            } else {
                object! { "type" => "thinking", "thinking" => &thought.text, "signature" => signature }
            }
        }
        Part::ToolCall(call) => {
            if call.signature.as_ref().is_some_and(|signature| signature.family != Family::Anthropic) {
                losses.meet(Feature::ForeignThoughts)?;
            }
            let name = names.give(&call.id);
            open.open(&call.id, name.clone());
            let mut fields = Fields::new();
            fields.put("type", "tool_use").put("id", name).put("name", &call.name);
            if call.custom {
                losses.meet(Feature::CustomTools)?;
            }
            let (input, whole) = input(call);
            if !whole {
                losses.meet(Feature::BrokenArguments)?;
            }
            fields.put("input", input).put_some("cache_control", marks.take(call.cache));
            fields.into()
        }
        other => return write_users(other, marks, losses),
    }))
}

fn write_result<'r>(
    result: &'r ToolResult<'r>,
    open: &mut Calls<'r>,
    blocks: &mut Vec<Json<'r>>,
    behind: &mut Vec<Json<'r>>,
    marks: &mut Marks,
    losses: &mut Losses,
) -> Result<(), Refused> {
    let mut content = Vec::with_capacity(result.parts.len());
    for part in &result.parts {
        let place = match part {
            Part::Text(text) if is_blank(&text.text) => continue,
            Part::Refusal(text) if is_blank(text) => continue,
            // An error may only hold text.
            Part::Image(_) | Part::File(_) if result.error => &mut *behind,
            Part::Text(_) | Part::Refusal(_) | Part::Image(_) | Part::File(_) => &mut content,
            Part::Audio(_) => {
                losses.meet(Feature::AudioInput)?;
                continue;
            }
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thought(_) => {
                losses.drop_feature(Feature::NativeParts);
                continue;
            }
        };
        place.extend(write_users(part, marks, losses)?);
    }
    let Some(name) = open.answer(&result.id) else {
        // The API refuses a result without its call right before it; what it says is not lost.
        losses.unknown("tool_result");
        behind.push(text_block(format!("Result of an earlier call of {}:", tool_of(result))).into());
        behind.append(&mut content);
        return Ok(());
    };
    let mut fields = Fields::new();
    fields.put("type", "tool_result").put("tool_use_id", name);
    match result.parts.as_slice() {
        // As most clients write it.
        [Part::Text(text)] if text.cache.is_none() && !content.is_empty() => {
            fields.put("content", &text.text);
        }
        _ if content.is_empty() => {}
        _ => {
            fields.put("content", content);
        }
    }
    if result.error {
        fields.put("is_error", true);
    }
    fields.put_some("cache_control", marks.take(result.cache));
    blocks.push(fields.into());
    Ok(())
}

fn tool_of<'r>(result: &'r ToolResult<'_>) -> &'r str {
    result.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("a tool")
}
