//! Any message that a conversation may hold.

use std::borrow::Cow;

use meseta_wire::conversation::{
    Audio, CacheMark, CacheTtl, Citation, File, Image, Message, Part, Role, Source, Text, Thought, ToolCall,
    ToolResult,
};
use meseta_wire::history::Kept;
use meseta_wire::signature::{Family, Signature};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

pub type Own = Cow<'static, str>;

pub fn words() -> impl Strategy<Value = Own> + Clone {
    any::<String>().prop_map(Cow::Owned)
}

fn cache() -> impl Strategy<Value = Option<CacheMark>> + Clone {
    prop::sample::select(vec![
        None,
        Some(CacheMark { ttl: None }),
        Some(CacheMark { ttl: Some(CacheTtl::FiveMinutes) }),
        Some(CacheMark { ttl: Some(CacheTtl::OneHour) }),
    ])
}

fn signature() -> impl Strategy<Value = Signature<'static>> + Clone {
    let family = prop::sample::select(vec![Family::Anthropic, Family::OpenAi, Family::Gemini]);
    (family, words()).prop_map(|(family, value)| Signature { family, value })
}

fn source() -> impl Strategy<Value = Source<'static>> + Clone {
    prop_oneof![
        words().prop_map(Source::Url),
        (words(), words()).prop_map(|(media_type, data)| Source::Base64 { media_type, data }),
        words().prop_map(Source::FileId),
        words().prop_map(Source::Text),
    ]
}

fn citation() -> impl Strategy<Value = Citation<'static>> + Clone {
    // Counts are read as JSON numbers, which hold this many.
    let place = of(0..(1_u64 << 53));
    (of(words()), of(words()), of(words()), place.clone(), place)
        .prop_map(|(url, title, cited, start, end)| Citation { url, title, cited, start, end })
}

fn plain() -> impl Strategy<Value = Part<'static>> + Clone {
    prop_oneof![
        (words(), cache(), vec(citation(), 0..3)).prop_map(|(text, cache, citations)| Part::Text(Text {
            text,
            cache,
            citations
        })),
        (source(), of(words()), cache()).prop_map(|(source, detail, cache)| Part::Image(Image {
            source,
            detail,
            cache
        })),
        (source(), of(words()), of(words()), any::<bool>(), cache()).prop_map(
            |(source, name, context, citations, cache)| {
                Part::File(File { source, name, context, citations, cache })
            }
        ),
        (words(), words()).prop_map(|(format, data)| Part::Audio(Audio { format, data })),
        (words(), words(), words(), any::<bool>(), of(signature()), cache()).prop_map(
            |(id, name, arguments, custom, signature, cache)| {
                Part::ToolCall(ToolCall { id, name, arguments, custom, signature, cache })
            }
        ),
        (of(words()), words(), of(signature()), any::<bool>()).prop_map(|(id, text, signature, redacted)| {
            Part::Thought(Thought { id, text, signature, redacted })
        }),
        words().prop_map(Part::Refusal),
    ]
}

pub fn part() -> impl Strategy<Value = Part<'static>> {
    let result = (words(), of(words()), vec(plain(), 0..3), any::<bool>(), any::<bool>(), cache()).prop_map(
        |(id, name, parts, error, custom, cache)| {
            Part::ToolResult(ToolResult { id, name, parts, error, custom, cache })
        },
    );
    prop_oneof![4 => plain(), 1 => result]
}

pub fn role() -> impl Strategy<Value = Role> + Clone {
    prop::sample::select(vec![Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool])
}

pub fn kept() -> impl Strategy<Value = Kept<'static>> {
    (any::<bool>(), role(), of(words()), vec(part(), 0..4)).prop_map(|(instructions, role, name, parts)| {
        Kept { instructions, message: Message { role, name, parts } }
    })
}

pub fn text(text: &str) -> Part<'static> {
    Part::Text(Text { text: Cow::Owned(text.to_owned()), ..Text::default() })
}

pub fn said(role: Role, words: &str) -> Message<'static> {
    Message { role, name: None, parts: vec![text(words)] }
}

pub fn call(id: &str) -> Part<'static> {
    Part::ToolCall(ToolCall {
        id: Cow::Owned(id.to_owned()),
        name: Cow::Borrowed("look"),
        arguments: Cow::Borrowed(r#"{"at":"it"}"#),
        custom: false,
        signature: None,
        cache: None,
    })
}

pub fn result(id: &str, words: &str) -> Part<'static> {
    Part::ToolResult(ToolResult {
        id: Cow::Owned(id.to_owned()),
        name: None,
        parts: vec![text(words)],
        error: false,
        custom: false,
        cache: None,
    })
}
