//! The beginning of a stream, up to its first token: until then nothing is lost if another target answers.

use bytes::Bytes;
use meseta_wire::conversation::{Block, Delta, Event};
use meseta_wire::dialect::StreamDecoder;
use meseta_wire::failure::{self, Cause};
use meseta_wire::scan::{Scanner, Seen};

use crate::error::{Code, Error};
use crate::stages::relay::framing::Framing;
use crate::stages::send::{Failed, answer};
use crate::stages::translate::Reading;

pub(super) struct Opening {
    framing: Framing,
    decoder: StreamDecoder,
    /// Of what passes as it is: only the dialect's own word for a failure is one there.
    scanner: Option<Scanner>,
}

/// What the beginning says.
pub(super) enum Opened {
    /// Nothing yet that counts.
    Not,
    /// A piece of the answer, or its end.
    Begun,
    /// It cannot answer.
    Failed { cause: Cause, message: String },
}

impl Opening {
    pub fn of(reading: &Reading) -> Opening {
        let dialect = answer::dialect_of(reading);
        let scanner = matches!(reading, Reading::Same { .. }).then(|| Scanner::new(dialect));
        Opening { framing: Framing::of(dialect), decoder: StreamDecoder::new(dialect), scanner }
    }

    pub fn read(&mut self, data: &[u8]) -> Opened {
        let Opening { framing, decoder, scanner } = self;
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
            Opened::Failed { cause, message } => {
                let message = format!("the provider reported an error in its stream: {message}");
                Err(Error::new(Code::UpstreamFailedMidStream, message).with_cause(cause).into())
            }
        }
    }
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
