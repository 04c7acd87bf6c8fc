//! A stream in the target's dialect that becomes one in the client's, event by event.

use std::collections::VecDeque;

use bytes::Bytes;
use meseta_wire::conversation::{Delta, Event, Failure};
use meseta_wire::dialect::{Dialect, StreamDecoder, StreamEncoder};
use meseta_wire::failure::{self, Cause};
use meseta_wire::resume::{Partial, Resumed, Resumption};

use crate::continuation::Keep;
use crate::error::Error;
use crate::respond;
use crate::stages::relay::framing::Framing;
use crate::stages::relay::stream::{Heard, Verdict, push};
use crate::stages::translate::Translation;

pub(super) struct Translator {
    /// What the target speaks.
    dialect: Dialect,
    framing: Framing,
    decoder: StreamDecoder,
    writer: Writer,
    keep: Option<Box<Keep>>,
    out: Vec<u8>,
    /// What the provider says of its failing. Whether the client hears it is not decided here.
    failure: Option<Failure<'static>>,
    /// The writer has ended the stream with a failure of its own.
    given_up: bool,
}

/// Who writes to the client.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and stands in a box already")]
pub(super) enum Writer {
    Fresh(StreamEncoder),
    /// Behind what another target has told.
    Resumed(Box<Resumed>),
}

impl Writer {
    fn encoder(&self) -> &StreamEncoder {
        match self {
            Writer::Fresh(encoder) => encoder,
            Writer::Resumed(resumed) => resumed.encoder(),
        }
    }

    /// False when the writer has given up.
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        let goes_on = match self {
            Writer::Fresh(encoder) => {
                encoder.event(event, out);
                true
            }
            Writer::Resumed(resumed) => resumed.event(event, out),
        };
        // The answer may be longer than the encoder holds.
        let broke = matches!(self.encoder(), StreamEncoder::Responses(encoder)
            if encoder.ended() && encoder.completed().is_none());
        goes_on && !broke
    }
}

impl Translator {
    pub fn new(client: Dialect, translation: Translation, keep: Option<Box<Keep>>) -> Translator {
        let encoder = StreamEncoder::new(client, translation.context);
        Translator::with(translation.target, Writer::Fresh(encoder), keep)
    }

    /// Goes on with a stream that broke; whose words follow, [`Translator::listen`] says.
    pub fn resumed(resumed: Resumed, before: Dialect, keep: Option<Box<Keep>>) -> Translator {
        let keep = keep.map(|keep| Box::new(keep.of_several()));
        Translator::with(before, Writer::Resumed(Box::new(resumed)), keep)
    }

    fn with(dialect: Dialect, writer: Writer, keep: Option<Box<Keep>>) -> Translator {
        Translator {
            dialect,
            framing: Framing::of(dialect),
            decoder: StreamDecoder::new(dialect),
            writer,
            keep,
            out: Vec::new(),
            failure: None,
            given_up: false,
        }
    }

    pub fn listen(&mut self, dialect: Dialect) {
        self.dialect = dialect;
        self.framing = Framing::of(dialect);
        self.decoder = StreamDecoder::new(dialect);
    }

    /// What the client was told; `raw` is what the first target has said.
    pub fn told(&self, raw: &[u8]) -> Partial {
        match &self.writer {
            Writer::Fresh(_) => Partial::read(self.dialect, raw),
            Writer::Resumed(resumed) => resumed.told().clone(),
        }
    }

    /// The same stream, for somebody to go on with.
    pub fn resume(self, told: Partial, resumption: &Resumption, out: &mut Vec<u8>) -> Translator {
        let resumed = match self.writer {
            Writer::Fresh(encoder) => Resumed::live(encoder, told, resumption, out),
            Writer::Resumed(mut resumed) => {
                resumed.again(resumption, out);
                *resumed
            }
        };
        Translator::resumed(resumed, self.dialect, self.keep)
    }

    pub fn has_given_up(&self) -> bool {
        self.given_up
    }

    /// Why the provider failed, and in what words.
    pub fn failure(&self) -> (Cause, &str) {
        let failure = self.failure.as_ref();
        failure.map_or((Cause::Error, ""), |failure| (failure::classify_failure(failure), &failure.message))
    }

    /// Takes a packet and writes what the client is to see of it.
    pub fn read(&mut self, data: &[u8], notes: &mut Heard, ready: &mut VecDeque<Bytes>) -> Verdict {
        let Translator { framing, decoder, writer, out, failure, given_up, .. } = self;
        let mut sink = Sink { notes, writer, out, failure, given_up };
        let open = framing
            .read(data, &mut |name, data| one_event(decoder, name, data, &mut sink) && !sink.over())
            .unwrap_or_else(|broken| {
                sink.take(&Event::Failed(Failure { message: broken.into(), ..Failure::default() }));
                false
            });
        let verdict = if open { Verdict::Open } else { self.last_words(None, notes) };
        push(ready, std::mem::take(&mut self.out).into());
        verdict
    }

    /// The connection has ended.
    pub fn finish(&mut self, notes: &mut Heard, ready: &mut VecDeque<Bytes>) -> Verdict {
        let Translator { framing, decoder, writer, out, failure, given_up, .. } = self;
        let mut sink = Sink { notes, writer, out, failure, given_up };
        framing.finish(&mut |name, data| one_event(decoder, name, data, &mut sink));
        let ended = decoder.end(&mut |event| sink.take(&event));
        let verdict = if sink.over() || ended { self.last_words(None, notes) } else { Verdict::Open };
        push(ready, std::mem::take(&mut self.out).into());
        verdict
    }

    /// Ends a stream to which nothing is missing but its end.
    pub fn end(&mut self, resumption: &Resumption, notes: &mut Heard, ready: &mut VecDeque<Bytes>) {
        self.last_words(Some(resumption), notes);
        push(ready, std::mem::take(&mut self.out).into());
    }

    /// Tells the client of a failure: the provider's words if it had any.
    pub fn fail(&mut self, error: &Error, ready: &mut VecDeque<Bytes>) {
        let failure = self.failure.take().unwrap_or_else(|| owned(&respond::described(error)));
        if !std::mem::replace(&mut self.given_up, true) {
            match &mut self.writer {
                Writer::Fresh(encoder) => encoder.event(&Event::Failed(failure), &mut self.out),
                Writer::Resumed(resumed) => {
                    resumed.fail(&failure, &mut self.out);
                }
            }
        }
        push(ready, std::mem::take(&mut self.out).into());
    }

    fn last_words(&mut self, resumption: Option<&Resumption>, notes: &mut Heard) -> Verdict {
        if self.given_up || self.failure.is_some() {
            return Verdict::Failed;
        }
        match &mut self.writer {
            Writer::Fresh(encoder) => encoder.end(&mut self.out),
            Writer::Resumed(resumed) => resumed.end(resumption, &mut self.out),
        }
        let encoder = self.writer.encoder();
        if let (Some(keep), StreamEncoder::Responses(encoder)) = (self.keep.take(), encoder)
            && let Some(response) = encoder.completed().and_then(|bytes| std::str::from_utf8(bytes).ok())
        {
            keep.put(response);
        }
        // The head with its header is long gone; the record can still have them.
        for lost in encoder.losses() {
            let dropped = notes.dropped.get_or_insert_default();
            let gap = if dropped.is_empty() { "" } else { ", " };
            dropped.push_str(gap);
            dropped.push_str(lost);
        }
        Verdict::Done
    }
}

fn one_event(decoder: &mut StreamDecoder, name: &str, data: &[u8], sink: &mut Sink<'_>) -> bool {
    if data.is_empty() {
        // A comment keeps connections alive, on our side of the gateway too.
        sink.take(&Event::Ping);
        return true;
    }
    decoder.event(name, data, &mut |event| sink.take(&event))
}

/// Where decoded events go.
struct Sink<'t> {
    notes: &'t mut Heard,
    writer: &'t mut Writer,
    out: &'t mut Vec<u8>,
    failure: &'t mut Option<Failure<'static>>,
    given_up: &'t mut bool,
}

impl Sink<'_> {
    fn take(&mut self, event: &Event<'_>) {
        if self.over() {
            return;
        }
        match event {
            Event::Begin { usage: Some(usage), .. } | Event::Finish { usage: Some(usage), .. } => {
                self.notes.usage = Some(*usage);
            }
            Event::Delta { delta: Delta::Text(_) | Delta::Thought(_) | Delta::Arguments(_), .. } => {
                self.notes.pieces += 1;
            }
            Event::Failed(failure) => {
                *self.failure = Some(owned(failure));
                return;
            }
            _ => {}
        }
        *self.given_up |= !self.writer.event(event, self.out);
    }

    /// Whether nothing more can be told.
    fn over(&self) -> bool {
        *self.given_up || self.failure.is_some()
    }
}

fn owned(failure: &Failure<'_>) -> Failure<'static> {
    let own = |text: &str| text.to_owned().into();
    Failure {
        message: own(&failure.message),
        kind: failure.kind,
        code: failure.code.as_deref().map(own),
        param: failure.param.as_deref().map(own),
    }
}
