//! An answer in another form than was asked for: a whole one for who waits for a stream, or a stream for who waits for all
//! of it. Agents often know only one of the two. No client says that it can make nothing of it: an SDK that reads events
//! finds none in a document, and goes on with nothing. So it is put into the form that was asked for.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::response;
use meseta_wire::conversation::{Answer, Event, Failure};
use meseta_wire::dialect::{self, Context, Dialect, StreamDecoder, StreamEncoder};
use meseta_wire::feature::Losses;
use meseta_wire::form::{self, Gathered};
use meseta_wire::json::Json;
use meseta_wire::{envelope, failure, responses};
use tokio::time::{Instant, timeout_at};

use crate::continuation::Keep;
use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::handle::Journey;
use crate::snapshot::{Target, Timeouts};
use crate::stages::relay::framing::Framing;
use crate::stages::send::clock::{late, silent};
use crate::stages::send::opening::reported;
use crate::stages::send::source::Source;
use crate::stages::send::{Client, Notes, answer, too_long};
use crate::stages::translate::{self, Reading};

/// The longest answer that is put into another form.
pub(super) const MOST_BYTES: usize = 8 * 1024 * 1024;
/// How long the end of a body is waited for behind the last word of its stream, so that the connection can serve
/// another call.
const END: Duration = Duration::from_secs(1);

/// In which form a conversation's answer is to come.
pub(super) struct Asked {
    pub stream: bool,
    /// The other form can be put right. If not, it is a failure of the target.
    bends: bool,
    call: Call,
    /// The client's request, to be read again where an answer of ours must repeat something of it.
    body: Bytes,
}

/// What an answer is made with.
pub(super) struct Making<'s> {
    pub client: Client,
    /// The target's name of the model.
    pub model: &'s str,
    pub reading: &'s mut Reading,
    pub keep: Option<Box<Keep>>,
    pub notes: &'s mut Notes,
    pub head: &'s mut response::Parts,
}

impl Asked {
    pub fn of(journey: &Journey, target: &Target, reading: &Reading) -> Option<Asked> {
        let Journey { ask, plan, .. } = journey;
        if !matches!(ask.call, Call::Chat | Call::Responses | Call::Messages) {
            return None;
        }
        // A model's answer that must be translated is refused, and another target can give a better one. Who goes on with
        // another target's answer must do so event by event.
        let same = matches!(reading, Reading::Same { .. });
        let bends = (same || target.is_agent()) && !plan.resuming;
        Some(Asked { stream: ask.envelope.stream, bends, call: ask.call, body: ask.body.clone() })
    }

    fn must_bend(&self) -> Result<(), Error> {
        if self.bends {
            return Ok(());
        }
        let (asked, came) =
            if self.stream { ("a stream", "a whole answer") } else { ("a whole answer", "a stream") };
        let message = format!("the provider was asked for {asked} and sent {came}.");
        Err(Error::new(Code::UpstreamInvalidAnswer, message))
    }

    /// A whole answer as a stream.
    pub fn told(&self, making: Making<'_>, body: &Bytes) -> Result<Bytes, Error> {
        self.must_bend()?;
        let Making { client, model, reading, keep, notes, head } = making;
        let dialect = answer::dialect_of(reading);
        let text = std::str::from_utf8(body).map_err(|error| answer::invalid(head, &error))?;
        let json = Json::parse(text).map_err(|error| answer::invalid(head, &error))?;
        let read = dialect::decode_answer(dialect, &json)
            .map_err(|error| answer::no_answer(head, dialect, &error))?;
        let Named { context, known } = self.name(client, model, reading, &read);
        let mut encoder = StreamEncoder::new(client.dialect, context);
        let mut out = Vec::new();
        note(notes, reading, |losses| {
            form::tell(&read, losses, &mut |event| encoder.event(event, &mut out));
            encoder.end(&mut out);
            encoder.losses().iter().for_each(|lost| losses.answer(lost));
        });
        notes.usage = read.usage;
        if let (Some(keep), StreamEncoder::Responses(encoder)) = (keep, &encoder)
            && let Some(response) = encoder.completed()
        {
            put(*keep, known, response);
        }
        rename(head, reading, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(out.into())
    }

    /// A stream as a whole answer.
    pub fn whole(&self, making: Making<'_>, gathered: Gathered) -> Bytes {
        let Making { client, model, reading, keep, notes, head } = making;
        let read = gathered.into_answer();
        let Named { context, known } = self.name(client, model, reading, &read);
        let mut body = Vec::new();
        note(notes, reading, |losses| {
            body = dialect::encode_answer(client.dialect, &read, &context, losses);
        });
        notes.usage = read.usage;
        if let Some(keep) = keep {
            put(*keep, known, &body);
        }
        rename(head, reading, HeaderValue::from_static("application/json"));
        body.into()
    }

    /// Reads a stream to its end. `taken` is what has come of it.
    pub async fn gather(
        &self,
        source: &mut Source,
        dialect: Dialect,
        timeouts: &Timeouts,
        (first_token, total): (Instant, Instant),
        taken: &mut u64,
    ) -> Result<Gathered, Error> {
        self.must_bend()?;
        let mut reader = Reader::new(dialect);
        let mut deadline = first_token;
        loop {
            let data = match timeout_at(deadline, poll_fn(|context| source.poll_data(context))).await {
                Ok(Some(Ok(data))) => data,
                Ok(None) => break,
                // What comes behind the last word changes nothing.
                Ok(Some(Err(_))) | Err(_) if reader.closed => break,
                Ok(Some(Err(error))) => return Err(error),
                Err(_) if *taken == 0 => return Err(late(*timeouts, total)),
                Err(_) => return Err(silent(*timeouts, total)),
            };
            *taken += data.len() as u64;
            if !reader.closed {
                reader.read(&data)?;
                let patience = if reader.closed { END } else { timeouts.idle };
                deadline = (Instant::now() + patience).min(total);
            }
            if source.ended() {
                break;
            }
        }
        reader.finish()
    }

    /// What the answer says of the request. One that passes into no other dialect keeps its own names.
    fn name(&self, client: Client, model: &str, reading: &mut Reading, read: &Answer<'_>) -> Named {
        if let Reading::Conversation(translation) = reading {
            return Named { context: std::mem::take(&mut translation.context), known: false };
        }
        let envelope = envelope::read(&self.body, self.call.required()).unwrap_or_default();
        let id = read.id.as_deref().and_then(|id| form::bare_id(client.dialect, id));
        let model = read.model.as_deref().or(envelope.model.as_deref()).unwrap_or(model);
        let echo = || {
            let text = std::str::from_utf8(&self.body).unwrap_or_default();
            responses::echo(&Json::parse(text).unwrap_or(Json::Null))
        };
        let context = Context {
            id: id.map_or_else(|| client.id.hex(), str::to_owned),
            request_id: client.id.text(),
            model: model.to_owned(),
            created: read.created.unwrap_or_else(translate::seconds),
            include_usage: envelope.include_usage,
            echo: (self.call == Call::Responses).then(echo),
        };
        Named { context, known: id.is_some() }
    }
}

struct Named {
    context: Context,
    /// The target knows the answer by the id that the client sees.
    known: bool,
}

fn note(notes: &mut Notes, reading: &mut Reading, make: impl FnOnce(&mut Losses)) {
    if let Reading::Conversation(translation) = reading {
        make(&mut translation.losses);
        notes.of(&translation.losses);
        return;
    }
    let dialect = answer::dialect_of(reading);
    let mut losses = Losses::new(dialect, dialect);
    make(&mut losses);
    notes.dropped = (!losses.is_empty()).then(|| losses.noted().join(", "));
}

fn put(keep: Keep, known: bool, response: &[u8]) {
    let keep = if known { keep } else { keep.of_several() };
    if let Ok(response) = std::str::from_utf8(response) {
        keep.put(response);
    }
}

/// Of the head, what was said of the other form holds no more.
fn rename(head: &mut response::Parts, reading: &Reading, kind: HeaderValue) {
    if !matches!(reading, Reading::Same { .. }) {
        answer::clean(&mut head.headers);
    }
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, kind);
}

/// Reads the events of a stream that is to become a whole answer.
struct Reader {
    framing: Framing,
    decoder: StreamDecoder,
    gathered: Gathered,
    /// The last word has been said.
    closed: bool,
}

impl Reader {
    fn new(dialect: Dialect) -> Reader {
        Reader {
            framing: Framing::of(dialect),
            decoder: StreamDecoder::new(dialect),
            gathered: Gathered::new(MOST_BYTES),
            closed: false,
        }
    }

    fn read(&mut self, data: &[u8]) -> Result<(), Error> {
        let Reader { framing, decoder, gathered, .. } = self;
        let mut failed = None;
        let open = framing
            .read(data, &mut |name, data| one_event(decoder, gathered, &mut failed, name, data))
            .map_err(|message| Error::new(Code::UpstreamInvalidAnswer, format!("{message}.")))?;
        self.closed = !open;
        self.check(failed)
    }

    fn finish(mut self) -> Result<Gathered, Error> {
        if self.closed {
            return Ok(self.gathered);
        }
        let Reader { framing, decoder, gathered, .. } = &mut self;
        let mut failed = None;
        let mut closed = false;
        framing.finish(&mut |name, data| {
            let open = one_event(decoder, gathered, &mut failed, name, data);
            closed |= !open;
            open
        });
        let ended = closed || decoder.end(&mut |event| take(gathered, &mut failed, event));
        self.check(failed)?;
        if !ended {
            return Err(Error::new(Code::UpstreamCut, "the stream ended without its last event."));
        }
        Ok(self.gathered)
    }

    fn check(&self, failed: Option<Error>) -> Result<(), Error> {
        match failed {
            Some(error) => Err(error),
            None if self.gathered.is_too_long() => Err(too_long(MOST_BYTES)),
            None => Ok(()),
        }
    }
}

/// False when no more need be read.
fn one_event(
    decoder: &mut StreamDecoder,
    gathered: &mut Gathered,
    failed: &mut Option<Error>,
    name: &str,
    data: &[u8],
) -> bool {
    // A comment.
    if data.is_empty() {
        return true;
    }
    let open = decoder.event(name, data, &mut |event| take(gathered, failed, event));
    open && failed.is_none() && !gathered.is_too_long()
}

fn take(gathered: &mut Gathered, failed: &mut Option<Error>, event: Event<'_>) {
    match event {
        Event::Failed(told) => *failed = Some(failure_of(&told)),
        event => gathered.take(event),
    }
}

fn failure_of(told: &Failure<'_>) -> Error {
    reported(failure::classify_failure(told), &told.message)
}
