//! The request for the rest.

use meseta_wire::conversation::{Block, Delta, Event, Message, Part, Request, Role, Text, Thinking};
use meseta_wire::dialect::{Destination, Dialect, Quirks, encode_request};
use meseta_wire::feature::Losses;
use meseta_wire::resume::{INSTRUCTION, Partial, Prefill, continuation};
use serde_json::Value;

fn said(role: Role, text: &str) -> Message<'_> {
    let part = Part::Text(Text { text: text.into(), ..Text::default() });
    Message { role, name: None, parts: vec![part] }
}

fn asked() -> Request<'static> {
    Request { messages: vec![said(Role::User, "Tell a story.")], max_tokens: Some(100), ..Request::default() }
}

fn partial(text: &str) -> Partial {
    let mut partial = Partial::default();
    partial.take(&Event::Begin { id: None, model: None, created: None, usage: None });
    partial.take(&Event::BlockBegin { index: 0, block: Block::Thought { id: None } });
    partial.take(&Event::Delta { index: 0, delta: Delta::Thought("Let me think".into()) });
    partial.take(&Event::BlockEnd { index: 0 });
    partial.take(&Event::BlockBegin { index: 1, block: Block::Text });
    partial.take(&Event::Delta { index: 1, delta: Delta::Text(text.into()) });
    partial
}

fn encoded(dialect: Dialect, model: &str, request: &Request<'_>) -> Value {
    let quirks = Quirks::default();
    let destination = Destination { model, max_output_tokens: 4096, quirks: &quirks };
    let mut losses = Losses::new(Dialect::OpenaiChat, dialect);
    let bytes = encode_request(dialect, request, &destination, &mut losses).expect("a request");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn claude_goes_on_by_itself_and_everybody_else_is_told_to() {
    let native = |dialect, model| Prefill::of(dialect, model, &asked()) == Prefill::Native;
    for model in ["claude-sonnet-4-5", "claude-3-5-haiku-latest"] {
        assert!(native(Dialect::AnthropicMessages, model), "{model}");
    }
    for model in ["claude-sonnet-4-6", "claude-opus-5", "claude-fable-5", "kimi-k2"] {
        assert!(!native(Dialect::AnthropicMessages, model), "{model}");
    }
    assert!(native(Dialect::BedrockConverse, "us.anthropic.claude-sonnet-4-5-20250929-v1:0"));
    for model in
        ["us.anthropic.claude-opus-4-6-v1", "amazon.nova-pro-v1:0", "anthropic.claude-mythos-preview"]
    {
        assert!(!native(Dialect::BedrockConverse, model), "{model}");
    }
    assert!(!native(Dialect::OpenaiChat, "claude-sonnet-4-5"));
    assert!(!native(Dialect::GeminiGenerateContent, "gemini-2.5-flash"));
    let thinking = Thinking { enabled: Some(true), ..Thinking::default() };
    let thinks = Request { thinking: Some(thinking), ..asked() };
    let prefill = Prefill::of(Dialect::AnthropicMessages, "claude-sonnet-4-5", &thinks);
    assert_eq!(prefill, Prefill::Instructed);
}

#[test]
fn the_answer_so_far_stands_last_or_before_the_instruction() {
    let partial = partial("Once upon a time \n");
    let native = continuation(&asked(), &partial, Prefill::Native);
    assert_eq!(native.messages.last(), Some(&said(Role::Assistant, "Once upon a time")));
    assert_eq!(native.messages.len(), 2);
    let told = continuation(&asked(), &partial, Prefill::Instructed);
    assert_eq!(
        told.messages[1..],
        [said(Role::Assistant, "Once upon a time"), said(Role::User, INSTRUCTION)]
    );
    assert_eq!(told.max_tokens, Some(92));
}

#[test]
fn an_answer_that_the_client_began_is_one_with_what_was_told() {
    let mut request = asked();
    request.messages.push(said(Role::Assistant, "Title: "));
    let told = continuation(&request, &partial("Once"), Prefill::Native);
    assert_eq!(told.messages[1..], [said(Role::Assistant, "Title: Once")]);
}

#[test]
fn a_limit_that_is_reached_leaves_what_every_provider_takes() {
    let told = "word ".repeat(200);
    let left = |most| {
        let request = Request { max_tokens: most, ..asked() };
        continuation(&request, &partial(&told), Prefill::Native).max_tokens
    };
    assert_eq!(left(Some(100)), Some(16));
    assert_eq!(left(Some(8)), Some(8));
    assert_eq!(left(None), None);
}

/// What stands last in each dialect's own words.
#[test]
fn every_dialect_takes_it() {
    let partial = partial("Once ");
    for (dialect, model) in [
        (Dialect::OpenaiChat, "gpt-5"),
        (Dialect::OpenaiResponses, "gpt-5"),
        (Dialect::AnthropicMessages, "claude-sonnet-4-5"),
        (Dialect::AnthropicMessages, "claude-opus-4-8"),
        (Dialect::GeminiGenerateContent, "gemini-3-pro"),
        (Dialect::BedrockConverse, "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ] {
        let prefill = Prefill::of(dialect, model, &asked());
        let json = encoded(dialect, model, &continuation(&asked(), &partial, prefill));
        let turns = ["messages", "input", "contents"].iter().find_map(|key| json[key].as_array());
        let turns = turns.expect("turns");
        let last = turns.last().expect("a turn");
        let native = prefill == Prefill::Native;
        assert_eq!(turns.len(), if native { 2 } else { 3 }, "{json}");
        let expected = if native { "Once\"" } else { "cut off" };
        assert!(last.to_string().contains(expected), "{last}");
        assert!(!json.to_string().contains("Let me think"), "{json}");
    }
}
