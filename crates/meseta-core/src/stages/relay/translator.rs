//! A stream in the target's dialect that becomes one in the client's, event by event.

use std::collections::VecDeque;

use bytes::Bytes;
use meseta_wire::conversation::{Delta, Event, Failure};
use meseta_wire::dialect::{Dialect, StreamDecoder, StreamEncoder};

use crate::continuation::Keep;
use crate::error::Error;
use crate::respond;
use crate::stages::relay::framing::Framing;
use crate::stages::relay::{Heard, Verdict, push};
use crate::stages::translate::Translation;

pub(super) struct Translator {
    framing: Framing,
    decoder: StreamDecoder,
    encoder: StreamEncoder,
    keep: Option<Box<Keep>>,
    out: Vec<u8>,
    failed: bool,
}

impl Translator {
    pub fn new(client: Dialect, translation: Translation, keep: Option<Box<Keep>>) -> Translator {
        let framing = Framing::of(translation.target);
        Translator {
            framing,
            decoder: StreamDecoder::new(translation.target),
            encoder: StreamEncoder::new(client, translation.context),
            keep,
            out: Vec::new(),
            failed: false,
        }
    }

    /// Takes a packet and writes what the client is to see of it.
    pub fn read(&mut self, data: &[u8], notes: &mut Heard, ready: &mut VecDeque<Bytes>) -> Verdict {
        let Translator { framing, decoder, encoder, out, failed, .. } = self;
        let mut sink = Sink { notes, encoder, out, failed };
        let open = framing
            .read(data, &mut |name, data| one_event(decoder, name, data, &mut sink) && !sink.given_up())
            .unwrap_or_else(|broken| {
                sink.fail(&broken);
                false
            });
        let verdict = if open { Verdict::Open } else { self.last_words(notes) };
        push(ready, std::mem::take(&mut self.out).into());
        verdict
    }

    /// The connection has ended.
    pub fn finish(&mut self, notes: &mut Heard, ready: &mut VecDeque<Bytes>) -> Verdict {
        let Translator { framing, decoder, encoder, out, failed, .. } = self;
        let mut sink = Sink { notes, encoder, out, failed };
        framing.finish(&mut |name, data| one_event(decoder, name, data, &mut sink));
        let ended = decoder.end(&mut |event| sink.take(&event));
        let verdict = if sink.given_up() || ended { self.last_words(notes) } else { Verdict::Open };
        push(ready, std::mem::take(&mut self.out).into());
        verdict
    }

    /// A failure of ours, or of the way there.
    pub fn fail(&mut self, error: &Error, ready: &mut VecDeque<Bytes>) {
        self.encoder.event(&Event::Failed(respond::described(error)), &mut self.out);
        push(ready, std::mem::take(&mut self.out).into());
    }

    fn last_words(&mut self, notes: &mut Heard) -> Verdict {
        if self.failed {
            return Verdict::Failed;
        }
        self.encoder.end(&mut self.out);
        if let (Some(keep), StreamEncoder::Responses(encoder)) = (self.keep.take(), &self.encoder)
            && let Some(response) = encoder.completed().and_then(|bytes| std::str::from_utf8(bytes).ok())
        {
            keep.put(response);
        }
        // The head with its header is long gone; the record can still have them.
        for lost in self.encoder.losses() {
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
    encoder: &'t mut StreamEncoder,
    out: &'t mut Vec<u8>,
    failed: &'t mut bool,
}

impl Sink<'_> {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Begin { usage: Some(usage), .. } | Event::Finish { usage: Some(usage), .. } => {
                self.notes.usage = Some(*usage);
            }
            Event::Delta { delta: Delta::Text(_) | Delta::Thought(_) | Delta::Arguments(_), .. } => {
                self.notes.pieces += 1;
            }
            Event::Failed(_) => *self.failed = true,
            _ => {}
        }
        self.encoder.event(event, self.out);
    }

    /// Whether the encoder has ended before the provider did: the answer is longer than it holds.
    fn given_up(&mut self) -> bool {
        if let StreamEncoder::Responses(encoder) = &*self.encoder
            && encoder.ended()
            && encoder.completed().is_none()
        {
            *self.failed = true;
        }
        *self.failed
    }

    fn fail(&mut self, message: &str) {
        self.take(&Event::Failed(Failure { message: message.into(), ..Failure::default() }));
    }
}
