//! Answers, and the streams in which providers tell them.

use std::path::Path;

use meseta_wire::conversation::{Block, Delta, Event, Finish};
use meseta_wire::dialect::{Context, Dialect, StreamEncoder};
use meseta_wire::signature::{Family, Signature};
use meseta_wire::sse;
use meseta_wire::usage::Usage;
use serde_json::Value;

/// An answer as a client should have it in the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Whole {
    pub name: String,
    pub thoughts: Vec<String>,
    pub text: String,
    /// Name and arguments.
    pub calls: Vec<(String, Value)>,
}

/// A text that does not repeat itself.
pub fn numbered(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect::<Vec<_>>().concat()
}

/// The answers of the cases that are told without a failure, and one that is longer than a joiner holds.
pub fn all() -> Vec<Whole> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conversations");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let mut wholes: Vec<Whole> = files.iter().filter_map(|path| read(path)).collect();
    let mut known: Vec<Whole> = Vec::new();
    wholes.retain(|whole| {
        let shape = Whole { name: String::new(), ..whole.clone() };
        let new = !known.contains(&shape);
        known.push(shape);
        new
    });
    wholes.push(Whole {
        name: "long".to_owned(),
        text: numbered(30, |number| format!("Line {number} of it.\n")),
        ..Whole::default()
    });
    wholes
}

fn read(path: &Path) -> Option<Whole> {
    let file = std::fs::read_to_string(path).expect("a readable case");
    let (_, provider) = file.split_once("=== provider\n")?;
    let provider = provider.split("\n===").next().unwrap_or_default();
    let reply: Value = serde_json::from_str(provider).expect("a provider's reply");
    let mut whole = Whole { name: path.display().to_string(), ..Whole::default() };
    for part in reply["content"].as_array()? {
        if let Some(text) = part["text"].as_str() {
            whole.text.push_str(text);
        } else if let Some(thought) = part["thinking"].as_str() {
            whole.thoughts.push(thought.to_owned());
        } else if let Some(tool) = part["tool"].as_str() {
            let arguments =
                part.get("arguments").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            whole.calls.push((tool.to_owned(), arguments));
        }
    }
    Some(whole)
}

/// Words; of a long text several at once, so that there are not too many places to cut it.
pub fn words(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    words.chunks(words.len().div_ceil(24).max(1)).map(<[&str]>::concat).collect()
}

/// The events that tell it.
pub fn events(whole: &Whole) -> Vec<Event<'static>> {
    let owned = |text: &str| text.to_owned().into();
    let mut events = vec![Event::Begin {
        id: Some("upstream".into()),
        model: Some("upstream-model".into()),
        created: Some(1_700_000_000),
        usage: None,
    }];
    let mut index = 0;
    let mut tell = |block: Block<'static>, deltas: Vec<Delta<'static>>| {
        events.push(Event::BlockBegin { index, block });
        events.extend(deltas.into_iter().map(|delta| Event::Delta { index, delta }));
        events.push(Event::BlockEnd { index });
        index += 1;
    };
    for thought in &whole.thoughts {
        let mut deltas: Vec<_> = words(thought).into_iter().map(|word| Delta::Thought(word.into())).collect();
        deltas.push(Delta::Signature(Signature::new(Family::Anthropic, "c2lnbmVk")));
        tell(Block::Thought { id: None }, deltas);
    }
    if !whole.text.is_empty() {
        tell(Block::Text, words(&whole.text).into_iter().map(|word| Delta::Text(word.into())).collect());
    }
    for (number, (name, arguments)) in whole.calls.iter().enumerate() {
        let text = arguments.to_string();
        let pieces: Vec<_> = text.chars().collect();
        let deltas = pieces.chunks(4).map(|piece| Delta::Arguments(piece.iter().collect::<String>().into()));
        let block = Block::ToolCall {
            id: format!("call_{number}").into(),
            name: owned(name),
            custom: false,
            signature: None,
        };
        tell(block, deltas.collect());
    }
    let finish = if whole.calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
    let usage = Usage { input: 30, output: 20, ..Usage::default() };
    events.push(Event::Finish { finish, usage: Some(usage) });
    events
}

/// The stream of a provider that speaks a dialect, event by event.
pub fn stream(dialect: Dialect, whole: &Whole) -> Vec<Vec<u8>> {
    let context = Context {
        id: "00ff".to_owned(),
        model: "upstream-model".to_owned(),
        created: 1_700_000_000,
        include_usage: true,
        ..Context::default()
    };
    let mut encoder = StreamEncoder::new(dialect, context);
    let mut bytes = Vec::new();
    for event in events(whole) {
        encoder.event(&event, &mut bytes);
    }
    encoder.end(&mut bytes);
    split(dialect, &bytes)
}

pub fn split(dialect: Dialect, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut events = Vec::new();
    while !rest.is_empty() {
        let end = match dialect {
            Dialect::BedrockConverse => u32::from_be_bytes(rest[..4].try_into().expect("a length")) as usize,
            _ => sse::event_end(rest).expect("a whole event"),
        };
        events.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
    events
}
