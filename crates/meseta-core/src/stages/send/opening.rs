//! The beginning of a stream, up to its first token: until then nothing is lost if another target answers.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use meseta_wire::conversation::{Block, Delta, Event};
use meseta_wire::dialect::{Dialect, StreamDecoder};
use meseta_wire::failure::{self, Cause};
use meseta_wire::scan::{Scanner, Seen};
use serde::de::IgnoredAny;

use crate::error::{Code, Error};
use crate::stages::relay::framing::Framing;
use crate::stages::send::{Failed, answer};
use crate::stages::translate::Reading;

pub(super) struct Opening {
    framing: Framing,
    decoder: StreamDecoder,
    /// Of what passes as it is: only the dialect's own word for a failure is one there.
    scanner: Option<Scanner>,
    dialect: Dialect,
    /// Nothing has been read yet.
    fresh: bool,
}

/// What the beginning says.
pub(super) enum Opened {
    /// Nothing yet that counts.
    Not,
    /// A piece of the answer, or its end.
    Begun,
    /// It cannot answer.
    Failed { cause: Cause, message: String },
    /// No client could make anything of it.
    Unreadable { message: String },
}

impl Opening {
    pub fn of(reading: &Reading) -> Opening {
        let dialect = answer::dialect_of(reading);
        let scanner = matches!(reading, Reading::Same { .. }).then(|| Scanner::new(dialect));
        Opening {
            framing: Framing::of(dialect),
            decoder: StreamDecoder::new(dialect),
            scanner,
            dialect,
            fresh: true,
        }
    }

    pub fn read(&mut self, data: &[u8]) -> Opened {
        // Most streams say something in their first packet, and then nothing of it has to be decoded.
        if std::mem::take(&mut self.fresh) && self.scanner.is_some() && speaks(self.dialect, data) {
            return Opened::Begun;
        }
        let Opening { framing, decoder, scanner, .. } = self;
        let mut opened = Opened::Not;
        let read = framing.read(data, &mut |name, data| {
            if let Some(Seen::Failure) = scanner.as_mut().map(|scanner| scanner.event(data)) {
                let cause = failure::classify_event(data);
                let message = excerpt(&String::from_utf8_lossy(data));
                opened = Opened::Failed { cause, message };
                return false;
            }
            if data.is_empty() {
                return true;
            }
            if !is_event(data) {
                let message = excerpt(&String::from_utf8_lossy(data));
                opened = Opened::Unreadable { message };
                return false;
            }
            let open = decoder.event(name, data, &mut |event| match event {
                Event::Delta { delta, .. } if says_something(&delta) => opened = Opened::Begun,
                Event::BlockBegin { block: Block::ToolCall { .. } | Block::RedactedThought(_), .. }
                | Event::Finish { .. } => {
                    opened = Opened::Begun;
                }
                // What passes as it is may be more than our decoder knows.
                Event::Failed(_) if scanner.is_some() => opened = Opened::Begun,
                Event::Failed(failed) => {
                    let cause = failure::classify_failure(&failed);
                    opened = Opened::Failed { cause, message: excerpt(&failed.message) };
                }
                _ => {}
            });
            if !open && matches!(opened, Opened::Not) {
                opened = Opened::Begun;
            }
            matches!(opened, Opened::Not)
        });
        match read {
            Err(_) if self.scanner.is_some() => Opened::Begun,
            Err(message) => Opened::Failed { cause: Cause::Error, message },
            Ok(_) => opened,
        }
    }
}

impl Opened {
    pub fn result(self, held: Bytes) -> Result<Bytes, Failed> {
        match self {
            Opened::Not | Opened::Begun => Ok(held),
            Opened::Failed { cause, message } => Err(reported(cause, &message).into()),
            Opened::Unreadable { message } => {
                let message = format!("the provider's stream holds what is no JSON: {message}");
                Err(Error::new(Code::UpstreamInvalidAnswer, message).into())
            }
        }
    }
}

/// What the provider says in its stream of its failing.
pub(super) fn reported(cause: Cause, words: &str) -> Error {
    let message = format!("the provider reported an error in its stream: {}", excerpt(words));
    Error::new(Code::UpstreamFailedMidStream, message).with_cause(cause)
}

/// Whether the packet holds a token beyond doubt, by the words that stand before one. A packet that might speak of a
/// failure is for the decoder.
fn speaks(dialect: Dialect, packet: &[u8]) -> bool {
    static FAILURE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error"));
    static CHAT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"content\":"));
    static MESSAGES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"text_delta\",\"text\":"));
    static RESPONSES: LazyLock<Finder<'static>> =
        LazyLock::new(|| Finder::new(b"\"response.output_text.delta\""));
    let text_follows = |before: &Finder<'_>| {
        before.find_iter(packet).any(|at| {
            let value = packet[at + before.needle().len()..].trim_ascii_start();
            matches!(value, [b'"', first, ..] if *first != b'"')
        })
    };
    let told = match dialect {
        Dialect::OpenaiChat => text_follows(&CHAT),
        Dialect::AnthropicMessages => text_follows(&MESSAGES),
        Dialect::OpenaiResponses => RESPONSES.find(packet).is_some(),
        Dialect::GeminiGenerateContent | Dialect::BedrockConverse => false,
    };
    told && FAILURE.find(packet).is_none()
}

/// Data of an event in any dialect, known to our decoder or not: JSON, or the word with which chat ends.
fn is_event(data: &[u8]) -> bool {
    data.starts_with(b"[DONE]") || serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

fn says_something(delta: &Delta<'_>) -> bool {
    match delta {
        Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
            !text.is_empty()
        }
        Delta::Signature(_) | Delta::Citation(_) | Delta::Logprobs(_) => false,
    }
}

/// So much of a provider's words as a message needs.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_speaks_when_a_token_is_in_it_and_no_failure() {
        let chat = |packet: &str| speaks(Dialect::OpenaiChat, packet.as_bytes());
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        let token = r#"data: {"choices":[{"delta":{"content": "Hi"}}]}"#;
        assert!(!chat(role) && chat(token) && chat(&format!("{role}\n\n{token}\n\n")));
        assert!(!chat(&format!("{token}\n\ndata: {{\"error\":{{}}}}\n\n")));
        let messages = |packet: &str| speaks(Dialect::AnthropicMessages, packet.as_bytes());
        assert!(messages(r#"{"delta":{"type":"text_delta","text":"Hi"}}"#));
        assert!(!messages(r#"{"content_block":{"type":"text","text":""}}"#));
    }

    /// What is made of a stream that passes as it is.
    fn read(data: &str) -> Opened {
        Opening::of(&Reading::Same { dialect: Dialect::OpenaiChat, hide_usage: false }).read(data.as_bytes())
    }

    #[test]
    fn what_is_no_json_is_no_beginning() {
        for data in ["data: this is not JSON\n\n", "data: {\"choices\":[{\n\n", ": ping\n\ndata: <html>\n\n"]
        {
            assert!(matches!(read(data), Opened::Unreadable { .. }), "{data}");
        }
        for data in ["", ": ping\n\n", "event: ping\ndata:\n\n", "data: this is not"] {
            assert!(matches!(read(data), Opened::Not), "{data}");
        }
    }

    #[test]
    fn an_event_that_the_decoder_does_not_know_passes() {
        for data in ["data: [DONE]\n\n", "data: {\"choices\":\"none of ours\"}\n\n", "data: [1]\n\n"] {
            assert!(matches!(read(data), Opened::Begun), "{data}");
        }
    }
}
