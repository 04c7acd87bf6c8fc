//! Parts of conversations, as short as tests write them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use meseta_wire::conversation::{Message, Part, Role, Text, ToolCall, ToolResult};

pub fn text(text: &str) -> Part<'_> {
    Part::Text(Text { text: text.into(), ..Text::default() })
}

pub fn message(role: Role, parts: Vec<Part<'_>>) -> Message<'_> {
    Message { role, name: None, parts }
}

pub fn call<'a>(id: &'a str, name: &'a str, arguments: &'a str) -> ToolCall<'a> {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        custom: false,
        signature: None,
        cache: None,
    }
}

pub fn result<'a>(id: &'a str, parts: Vec<Part<'a>>) -> ToolResult<'a> {
    ToolResult { id: id.into(), name: None, parts, error: false, custom: false, cache: None }
}
