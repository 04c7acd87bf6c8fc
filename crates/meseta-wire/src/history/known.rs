//! How much of a request is kept already.
//!
//! Clients write what they were told in their own way: another cut into parts, no thoughts, no sources, white space taken
//! off. What is compared is what was said, run by run, where a run is all that one side says before the other does.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::is_system;
use super::stored::left_out;
use crate::conversation::{Message, Part, Role};
use crate::json::Json;

/// How many messages at the beginning of `request` are kept in `stored`. Neither holds instructions.
///
/// Only what a model said proves that a client repeats the conversation: users say the same words twice. So the kept
/// part ends behind the last run of the assistant's that is recognised.
pub(super) fn known(stored: &[&Message<'_>], request: &[Message<'_>]) -> Known {
    let hasher = RandomState::new();
    let stored = runs(stored.iter().copied(), &hasher);
    let request = runs(request.iter(), &hasher);
    if stored.iter().any(|run| run.assistant)
        && let Some(at) = find(&stored, &request)
        && let Some(last) = request.get(at + stored.len() - 1)
    {
        return Known { messages: last.end, whole: true };
    }
    let mut rest = stored.iter();
    let again = request.iter().take_while(|run| rest.any(|kept| kept.said == run.said));
    let messages = again.filter(|run| run.assistant).last().map_or(0, |run| run.end);
    Known { messages, whole: false }
}

pub(super) struct Known {
    pub messages: usize,
    /// All that is kept stands in the request.
    pub whole: bool,
}

struct Run {
    said: u64,
    assistant: bool,
    /// The number of messages up to its end.
    end: usize,
}

fn runs<'m>(messages: impl Iterator<Item = &'m Message<'m>>, hasher: &RandomState) -> Vec<Run> {
    let mut runs: Vec<(Run, Role, Said)> = Vec::new();
    let mut before: Option<(Role, Option<&str>)> = None;
    for (index, message) in messages.enumerate() {
        let role = if is_system(message) { Role::System } else { message.role };
        let assistant = role == Role::Assistant;
        // Of several agents that answered one after another, the client was told the last one's answer.
        let author = message.name.as_deref().filter(|_| assistant);
        if before != Some((role, author)) {
            runs.push((Run { said: 0, assistant, end: 0 }, role, Said::default()));
        }
        before = Some((role, author));
        if let Some((run, _, said)) = runs.last_mut() {
            said.parts(&message.parts);
            run.end = index + 1;
        }
    }
    runs.into_iter()
        .map(|(run, role, said)| Run { said: hasher.hash_one((role, said.words, said.tools)), ..run })
        .collect()
}

/// What is said in a run, however it is cut.
#[derive(Default)]
struct Said {
    /// Without white space.
    words: String,
    /// Calls and results: their ids, and what they say.
    tools: Vec<[String; 3]>,
}

impl Said {
    fn parts(&mut self, parts: &[Part<'_>]) {
        for part in parts {
            match part {
                Part::Text(text) => self.words(&text.text),
                Part::Refusal(text) => self.words(text),
                Part::ToolCall(call) => {
                    // Clients write the same arguments with other blanks and escapes.
                    let arguments = Json::parse(&call.arguments)
                        .map_or_else(|_| call.arguments.to_string(), |json| json.to_text());
                    self.tools.push([call.id.to_string(), call.name.to_string(), arguments]);
                }
                Part::ToolResult(result) => {
                    let mut said = Said::default();
                    said.parts(&result.parts);
                    self.tools.push([result.id.to_string(), String::new(), said.words]);
                }
                Part::Image(_) | Part::File(_) | Part::Audio(_) => {
                    if let Some(words) = left_out(part) {
                        self.words(&words);
                    }
                }
                Part::Thought(_) => {}
            }
        }
    }

    fn words(&mut self, text: &str) {
        self.words.extend(text.split_whitespace());
    }
}

/// Where the first stretch of `text` begins that says what `pattern` says, by Knuth, Morris and Pratt: both may be long
/// and say the same thing over and over.
fn find(pattern: &[Run], text: &[Run]) -> Option<usize> {
    let said = |index: usize| pattern.get(index).map(|run| run.said);
    // How long a beginning of the pattern ends at each of its places.
    let mut borders: Vec<usize> = vec![0];
    let shorter = |borders: &[usize], matched: usize, next: u64| {
        let mut matched = matched;
        while matched > 0 && said(matched) != Some(next) {
            matched = borders.get(matched - 1).copied().unwrap_or(0);
        }
        if said(matched) == Some(next) { matched + 1 } else { 0 }
    };
    let mut matched = 0;
    for run in pattern.iter().skip(1) {
        matched = shorter(&borders, matched, run.said);
        borders.push(matched);
    }
    matched = 0;
    for (index, run) in text.iter().enumerate() {
        matched = shorter(&borders, matched, run.said);
        if matched == pattern.len() {
            return Some(index + 1 - matched);
        }
    }
    None
}
