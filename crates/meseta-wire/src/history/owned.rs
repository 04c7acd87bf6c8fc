//! A message that lives longer than the text it was read from.

use std::borrow::Cow;

use crate::conversation::{
    Audio, Citation, File, Image, Message, Part, Source, Text, Thought, ToolCall, ToolResult,
};
use crate::signature::Signature;

pub(super) fn message(message: Message<'_>) -> Message<'static> {
    Message {
        role: message.role,
        name: message.name.map(text),
        parts: message.parts.into_iter().map(part).collect(),
    }
}

fn text(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn part(part: Part<'_>) -> Part<'static> {
    match part {
        Part::Text(said) => Part::Text(Text {
            text: text(said.text),
            cache: said.cache,
            citations: said.citations.into_iter().map(citation).collect(),
        }),
        Part::Image(image) => Part::Image(Image {
            source: source(image.source),
            detail: image.detail.map(text),
            cache: image.cache,
        }),
        Part::File(file) => Part::File(File {
            source: source(file.source),
            name: file.name.map(text),
            context: file.context.map(text),
            citations: file.citations,
            cache: file.cache,
        }),
        Part::Audio(audio) => Part::Audio(Audio { format: text(audio.format), data: text(audio.data) }),
        Part::ToolCall(call) => Part::ToolCall(ToolCall {
            id: text(call.id),
            name: text(call.name),
            arguments: text(call.arguments),
            custom: call.custom,
            signature: call.signature.map(Signature::into_owned),
            cache: call.cache,
        }),
        Part::ToolResult(result) => Part::ToolResult(ToolResult {
            id: text(result.id),
            name: result.name.map(text),
            parts: result.parts.into_iter().map(self::part).collect(),
            error: result.error,
            custom: result.custom,
            cache: result.cache,
        }),
        Part::Thought(thought) => Part::Thought(Thought {
            id: thought.id.map(text),
            text: text(thought.text),
            signature: thought.signature.map(Signature::into_owned),
            redacted: thought.redacted,
        }),
        Part::Refusal(refusal) => Part::Refusal(text(refusal)),
    }
}

pub(super) fn citation(citation: Citation<'_>) -> Citation<'static> {
    Citation {
        url: citation.url.map(text),
        title: citation.title.map(text),
        cited: citation.cited.map(text),
        start: citation.start,
        end: citation.end,
    }
}

fn source(source: Source<'_>) -> Source<'static> {
    match source {
        Source::Url(url) => Source::Url(text(url)),
        Source::Base64 { media_type, data } => {
            Source::Base64 { media_type: text(media_type), data: text(data) }
        }
        Source::FileId(id) => Source::FileId(text(id)),
        Source::Text(words) => Source::Text(text(words)),
    }
}
