//! What lives longer than the text it was read from.

use std::borrow::Cow;

use super::{
    Audio, Block, Citation, File, Finish, Image, Message, Part, Source, Text, Thought, ToolCall, ToolResult,
};
use crate::signature::Signature;

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

impl Message<'_> {
    pub fn into_owned(self) -> Message<'static> {
        Message {
            role: self.role,
            name: self.name.map(own),
            parts: self.parts.into_iter().map(Part::into_owned).collect(),
        }
    }
}

impl Part<'_> {
    pub fn into_owned(self) -> Part<'static> {
        match self {
            Part::Text(text) => Part::Text(Text {
                text: own(text.text),
                cache: text.cache,
                citations: text.citations.into_iter().map(Citation::into_owned).collect(),
            }),
            Part::Image(image) => Part::Image(Image {
                source: image.source.into_owned(),
                detail: image.detail.map(own),
                cache: image.cache,
            }),
            Part::File(file) => Part::File(File {
                source: file.source.into_owned(),
                name: file.name.map(own),
                context: file.context.map(own),
                citations: file.citations,
                cache: file.cache,
            }),
            Part::Audio(audio) => Part::Audio(Audio { format: own(audio.format), data: own(audio.data) }),
            Part::ToolCall(call) => Part::ToolCall(ToolCall {
                id: own(call.id),
                name: own(call.name),
                arguments: own(call.arguments),
                custom: call.custom,
                signature: call.signature.map(Signature::into_owned),
                cache: call.cache,
            }),
            Part::ToolResult(result) => Part::ToolResult(ToolResult {
                id: own(result.id),
                name: result.name.map(own),
                parts: result.parts.into_iter().map(Part::into_owned).collect(),
                error: result.error,
                custom: result.custom,
                cache: result.cache,
            }),
            Part::Thought(thought) => Part::Thought(Thought {
                id: thought.id.map(own),
                text: own(thought.text),
                signature: thought.signature.map(Signature::into_owned),
                redacted: thought.redacted,
            }),
            Part::Refusal(refusal) => Part::Refusal(own(refusal)),
        }
    }
}

impl Citation<'_> {
    pub fn into_owned(self) -> Citation<'static> {
        Citation {
            url: self.url.map(own),
            title: self.title.map(own),
            cited: self.cited.map(own),
            start: self.start,
            end: self.end,
        }
    }
}

impl Source<'_> {
    fn into_owned(self) -> Source<'static> {
        match self {
            Source::Url(url) => Source::Url(own(url)),
            Source::Base64 { media_type, data } => {
                Source::Base64 { media_type: own(media_type), data: own(data) }
            }
            Source::FileId(id) => Source::FileId(own(id)),
            Source::Text(text) => Source::Text(own(text)),
        }
    }
}

impl Finish<'_> {
    pub fn into_owned(self) -> Finish<'static> {
        match self {
            Finish::Stop => Finish::Stop,
            Finish::StopSequence(sequence) => Finish::StopSequence(sequence.map(own)),
            Finish::Length => Finish::Length,
            Finish::ToolCalls => Finish::ToolCalls,
            Finish::ContentFilter => Finish::ContentFilter,
            Finish::Refusal => Finish::Refusal,
            Finish::Pause => Finish::Pause,
            Finish::Other(word) => Finish::Other(own(word)),
        }
    }
}

impl Block<'_> {
    pub fn into_owned(self) -> Block<'static> {
        match self {
            Block::Text => Block::Text,
            Block::Refusal => Block::Refusal,
            Block::Thought { id } => Block::Thought { id: id.map(own) },
            Block::RedactedThought(signature) => Block::RedactedThought(signature.into_owned()),
            Block::ToolCall { id, name, custom, signature } => Block::ToolCall {
                id: own(id),
                name: own(name),
                custom,
                signature: signature.map(Signature::into_owned),
            },
        }
    }
}
