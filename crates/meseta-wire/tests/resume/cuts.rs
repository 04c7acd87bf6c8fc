//! Every answer is cut after every event, and another provider goes on in another dialect.

use std::panic::{AssertUnwindSafe, catch_unwind};

use meseta_wire::conversation::{Event, Finish};
use meseta_wire::dialect::{Context, Dialect, StreamDecoder, StreamEncoder};
use meseta_wire::eventstream::Frames;
use meseta_wire::resume::{Facts, Partial, Resumed, Resumption, Unsound};
use meseta_wire::sse;

use crate::client::{Heard, hear};
use crate::sample::{Whole, all, numbered, stream};

const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

/// What the new target says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    GoesOn,
    BeginsAnew,
    RepeatsAWord,
}

/// Decoded events of a stream.
fn decode(dialect: Dialect, raw: &[u8], take: &mut dyn FnMut(Event<'_>)) {
    let mut decoder = StreamDecoder::new(dialect);
    if dialect == Dialect::BedrockConverse {
        let mut frames = Frames::default();
        frames.push(raw);
        while let Ok(Some(frame)) = frames.next() {
            let (name, data) = frame.event();
            decoder.event(&name, data, take);
        }
    } else {
        let mut rest = raw;
        while let Some(end) = sse::event_end(rest) {
            decoder.event("", &sse::event_data(&rest[..end]), take);
            rest = &rest[end..];
        }
    }
    if !raw.is_empty() {
        decoder.end(take);
    }
}

/// Like [`decode`], of a stream that is not over.
fn decode_part(dialect: Dialect, raw: &[Vec<u8>], take: &mut dyn FnMut(Event<'_>)) {
    let mut decoder = StreamDecoder::new(dialect);
    for event in raw {
        if dialect == Dialect::BedrockConverse {
            let mut frames = Frames::default();
            frames.push(event);
            let frame = frames.next().expect("a frame").expect("a whole frame");
            let (name, data) = frame.event();
            decoder.event(&name, data, take);
        } else {
            decoder.event("", &sse::event_data(event), take);
        }
    }
}

fn context() -> Context {
    Context {
        id: "ours".to_owned(),
        request_id: "req_ours".to_owned(),
        model: "asked".to_owned(),
        created: 1_800_000_000,
        include_usage: true,
        echo: None,
    }
}

/// What is left of the answer, as a provider tells it that was given the text without the white space at its end.
fn rest(whole: &Whole, partial: &Partial, style: Style) -> Whole {
    let told = partial.text();
    let told = told.trim_end();
    let from = match style {
        Style::GoesOn => told.len(),
        Style::BeginsAnew => 0,
        Style::RepeatsAWord => {
            let mut tail = told.char_indices().rev().skip(20).map(|(at, _)| at);
            tail.find(|at| told[..*at].ends_with(' ')).unwrap_or(0)
        }
    };
    Whole { text: whole.text[from..].to_owned(), ..whole.clone() }
}

struct Cut<'c> {
    whole: &'c Whole,
    client: Dialect,
    from: Dialect,
    to: Dialect,
    style: Style,
    passed: bool,
}

impl Cut<'_> {
    /// The client's stream until the break, what it holds, and the encoder that goes on.
    fn resume(&self, raw: &[Vec<u8>], plan: &Resumption, partial: Partial, out: &mut Vec<u8>) -> Resumed {
        if self.passed {
            out.extend(raw.concat());
            let bytes = raw.concat();
            return Resumed::passed(self.client, context(), &bytes, partial, plan, out).expect("in order");
        }
        let mut encoder = StreamEncoder::new(self.client, context());
        decode_part(self.from, raw, &mut |event| encoder.event(&event, out));
        Resumed::live(encoder, partial, plan, out)
    }

    fn play(&self, raw: &[Vec<u8>]) -> Result<Heard, Unsound> {
        let partial = Partial::read(self.from, &raw.concat());
        let facts = Facts { tools: !self.whole.calls.is_empty(), ..Facts::default() };
        let plan = partial.plan(&facts);
        let rest = match &plan {
            Resumption::Unsound(why) => return Err(*why),
            Resumption::Fresh => Some(self.whole.clone()),
            Resumption::Continue => Some(rest(self.whole, &partial, self.style)),
            Resumption::Finish(_) => None,
        };
        let mut out = Vec::new();
        let mut resumed = self.resume(raw, &plan, partial, &mut out);
        if let Some(rest) = rest {
            decode(self.to, &stream(self.to, &rest).concat(), &mut |event| {
                assert!(resumed.event(&event, &mut out), "the rest was refused");
            });
        }
        resumed.end(Some(&plan), &mut out);
        let heard = hear(self.client, &out);
        self.check(&plan, &heard, resumed.told());
        Ok(heard)
    }

    fn check(&self, plan: &Resumption, heard: &Heard, told: &Partial) {
        assert_eq!(heard.text, told.text(), "what was told is known");
        if matches!(plan, Resumption::Finish(_)) {
            assert!(self.whole.text.starts_with(&heard.text), "{:?}", heard.text);
            assert!(self.whole.calls.starts_with(&heard.calls), "{:?}", heard.calls);
            let expected = if heard.calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
            assert_eq!(heard.finish, Some(expected));
            assert!(!heard.calls.is_empty() || heard.text == self.whole.text, "the text is not whole");
        } else {
            assert_eq!(heard.text, self.whole.text);
            assert_eq!(heard.calls, self.whole.calls);
            let usage = heard.usage.expect("usage");
            assert!(usage.input == 30 && usage.output >= 20, "{usage:?}");
        }
    }
}

/// Runs all cuts of all answers for one client; counts them by what was done.
fn cut_everything(client: Dialect) {
    let mut unsound = 0;
    let mut sound = 0;
    for (number, whole) in all().iter().enumerate() {
        for from in Dialect::ALL {
            let raw = stream(from, whole);
            for passed in [false, true] {
                if passed && from != client {
                    continue;
                }
                for length in 0..=raw.len() {
                    // Every pair of dialects meets many cuts.
                    let to = Dialect::ALL[(number + length) % 5];
                    let style = Style::GoesOn;
                    let cut = Cut { whole, client, from, to, style, passed };
                    let place = format!(
                        "{}: {client:?} was told {length} of {} events by {from:?} and goes on with {to:?}; passed: {passed}",
                        whole.name,
                        raw.len()
                    );
                    let played = catch_unwind(AssertUnwindSafe(|| cut.play(&raw[..length]).map(|_| ())));
                    match played.unwrap_or_else(|_| panic!("{place}")) {
                        Ok(()) => sound += 1,
                        Err(why) => {
                            assert_eq!(why, Unsound::HalfCall, "{place}");
                            assert!(!whole.calls.is_empty(), "{place}");
                            unsound += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(sound > 1_000 && unsound > 100, "{sound} sound, {unsound} unsound");
}

#[test]
fn a_chat_stream_goes_on() {
    cut_everything(Dialect::OpenaiChat);
}

#[test]
fn a_responses_stream_goes_on() {
    cut_everything(Dialect::OpenaiResponses);
}

#[test]
fn a_messages_stream_goes_on() {
    cut_everything(Dialect::AnthropicMessages);
}

/// What is said again is told once. The text must be long enough for a repetition to be known from chance.
#[test]
fn repetitions_are_told_once() {
    let text = numbered(24, |number| format!("Word{number} is not word{}, ", number * 7));
    let whole = Whole { name: "repeated".to_owned(), text, ..Whole::default() };
    for client in CLIENTS {
        for from in [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
            let raw = stream(from, &whole);
            for length in 0..=raw.len() {
                for style in [Style::BeginsAnew, Style::RepeatsAWord] {
                    let to = Dialect::ALL[length % 5];
                    let cut = Cut { whole: &whole, client, from, to, style, passed: from == client };
                    cut.play(&raw[..length]).expect("text alone is sound");
                }
            }
        }
    }
}

/// A second break is like the first: what was told by then is known.
#[test]
fn a_stream_that_breaks_twice_goes_on_twice() {
    let whole = all().pop().expect("an answer");
    for client in CLIENTS {
        let raw = stream(client, &whole);
        for first in (4..raw.len() / 2).step_by(5) {
            let bytes = raw[..first].concat();
            let partial = Partial::read(client, &bytes);
            let plan = partial.plan(&Facts::default());
            let mut out = bytes.clone();
            let second = rest(&whole, &partial, Style::GoesOn);
            let mut resumed =
                Resumed::passed(client, context(), &bytes, partial, &plan, &mut out).expect("in order");
            let pieces = stream(Dialect::GeminiGenerateContent, &second);
            let half = &pieces[..pieces.len() / 2];
            decode_part(Dialect::GeminiGenerateContent, half, &mut |event| {
                resumed.event(&event, &mut out);
            });
            let plan = resumed.told().plan(&Facts::default());
            assert!(matches!(plan, Resumption::Fresh | Resumption::Continue), "{plan:?}");
            let third = match plan {
                Resumption::Fresh => whole.clone(),
                _ => rest(&whole, resumed.told(), Style::GoesOn),
            };
            resumed.again(&plan, &mut out);
            decode(
                Dialect::BedrockConverse,
                &stream(Dialect::BedrockConverse, &third).concat(),
                &mut |event| {
                    assert!(resumed.event(&event, &mut out));
                },
            );
            resumed.end(None, &mut out);
            assert_eq!(hear(client, &out).text, whole.text, "{client:?} after {first}");
        }
    }
}
