//! Calls of tools whose results never came, or came late.
//!
//! Providers demand the results of a step right behind its calls, and refuse a conversation that has gone on without
//! them. Users do go on: they say something else while a call waits. So a call waits only until words follow it. Then it
//! is closed with a result that says so, and what comes for it later is told as words.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use super::is_system;
use crate::conversation::{Message, Part, Role, Text, ToolCall, ToolResult};

/// A message as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown<'m, 'a> {
    /// The place of the message that this is, or is a part of; `None` for the results of calls that were not run.
    pub place: Option<usize>,
    /// Borrowed where nothing of it is changed.
    pub message: Cow<'m, Message<'a>>,
}

const NOT_RUN: &str = "This call was not run: the conversation went on without it.";

pub(super) fn settle<'m, 'a>(messages: &[&'m Message<'a>]) -> Vec<Shown<'m, 'a>> {
    let mut thread = Thread { shown: Vec::with_capacity(messages.len()), ..Thread::default() };
    for (place, message) in messages.iter().enumerate() {
        match message.role {
            Role::Tool => thread.results(place, message),
            _ if is_system(message) => thread.pass(place, message),
            _ => {
                thread.close();
                thread.open(message);
                thread.pass(place, message);
            }
        }
    }
    thread.shown
}

#[derive(Default)]
struct Thread<'m, 'a> {
    shown: Vec<Shown<'m, 'a>>,
    /// The calls of the last step in their order; taken out when the result comes.
    open: Vec<Option<&'m ToolCall<'a>>>,
    by_id: HashMap<&'m str, VecDeque<usize>>,
    /// The names of all tools that were called, by the ids of the calls.
    names: HashMap<&'m str, &'m str>,
    /// Where the last step ends: behind its calls, and the results that have come.
    step: usize,
}

impl<'m, 'a> Thread<'m, 'a> {
    fn pass(&mut self, place: usize, message: &'m Message<'a>) {
        self.shown.push(Shown { place: Some(place), message: Cow::Borrowed(message) });
    }

    fn write(&mut self, place: usize, role: Role, parts: Vec<Part<'a>>) {
        let message = Cow::Owned(Message { role, name: None, parts });
        self.shown.push(Shown { place: Some(place), message });
    }

    fn open(&mut self, message: &'m Message<'a>) {
        for part in &message.parts {
            if let Part::ToolCall(call) = part {
                self.names.insert(&call.id, &call.name);
                self.by_id.entry(&call.id).or_default().push_back(self.open.len());
                self.open.push(Some(call));
            }
        }
        self.step = self.shown.len() + 1;
    }

    /// Results of open calls pass; others are told as words.
    fn results(&mut self, place: usize, message: &'m Message<'a>) {
        let passes: Vec<bool> = message.parts.iter().map(|part| self.answers(part)).collect();
        if passes.iter().all(|passes| *passes) {
            self.pass(place, message);
            self.step = self.shown.len();
            return;
        }
        let mut results = Vec::new();
        let mut words = Vec::new();
        for (part, passes) in message.parts.iter().zip(passes) {
            match part {
                Part::ToolResult(result) if !passes => self.tell(result, &mut words),
                part => results.push(part.clone()),
            }
        }
        if !results.is_empty() {
            self.write(place, Role::Tool, results);
            self.step = self.shown.len();
        }
        self.close();
        self.write(place, Role::User, words);
    }

    /// Whether it is no result, or that of an open call, which then is open no more.
    fn answers(&mut self, part: &Part<'_>) -> bool {
        let Part::ToolResult(result) = part else { return true };
        let call = self.by_id.get_mut(&*result.id).and_then(VecDeque::pop_front);
        call.and_then(|call| self.open.get_mut(call)?.take()).is_some()
    }

    fn tell(&self, result: &ToolResult<'a>, words: &mut Vec<Part<'a>>) {
        let name = result.name.as_deref().or_else(|| self.names.get(&*result.id).copied());
        let name = name.filter(|name| !name.is_empty()).unwrap_or("a tool");
        let heading = format!("Result of an earlier call of {name}:");
        words.push(Part::Text(Text { text: heading.into(), ..Text::default() }));
        words.extend(result.parts.iter().cloned());
    }

    /// The conversation goes on: what is open will not be answered.
    fn close(&mut self) {
        self.by_id.clear();
        let results: Vec<Part<'a>> = self.open.drain(..).flatten().map(not_run).collect();
        if results.is_empty() {
            return;
        }
        let last = self.step.checked_sub(1).and_then(|last| self.shown.get_mut(last));
        match last {
            Some(last) if last.message.role == Role::Tool => last.message.to_mut().parts.extend(results),
            _ => {
                let message = Cow::Owned(Message { role: Role::Tool, name: None, parts: results });
                self.shown.insert(self.step.min(self.shown.len()), Shown { place: None, message });
            }
        }
    }
}

fn not_run<'a>(call: &ToolCall<'a>) -> Part<'a> {
    let text = Text { text: NOT_RUN.into(), ..Text::default() };
    Part::ToolResult(ToolResult {
        id: call.id.clone(),
        name: Some(call.name.clone()),
        parts: vec![Part::Text(text)],
        error: false,
        custom: call.custom,
        cache: None,
    })
}

/// Whether it stands there because nobody answered the calls before it, also where it was put in for an earlier look at
/// the conversation, in whatever dialect that was written.
pub(super) fn is_put_in(message: &Message<'_>) -> bool {
    let put_in = |part: &Part<'_>| match part {
        Part::ToolResult(result) => matches!(&*result.parts, [Part::Text(text)] if text.text == NOT_RUN),
        _ => false,
    };
    message.role == Role::Tool && message.parts.iter().all(put_in)
}
