//! The course of an answer: what is sent, when, and where it goes wrong.

use std::time::Duration;

use bytes::Bytes;

use crate::answer::FILLER;
use crate::directives::{Cut, Directives, ErrorKind, Place};
use crate::failure::Failure;
use crate::link::Ending;

/// How long a stalled answer keeps its connection.
const STALL: Duration = Duration::from_secs(600);

const FILLER_BLOCK: usize = 16 << 10;
static FILLER_BYTES: [u8; FILLER_BLOCK] = filler_block();

/// One step of an answer's body.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Bytes, and how many tokens the client gets with them.
    Send(Bytes, u64),
    Wait(Duration),
    /// The answer ends here without having been said: what is sent behind this is an error.
    Fail,
    End(Ending),
}

/// A server-sent event or a frame, and how many tokens the client gets with it.
#[derive(Debug)]
pub struct Event {
    pub bytes: Bytes,
    pub tokens: u64,
}

/// A stream in some dialect, which knows how an error ends it where it is.
pub trait Events: Iterator<Item = Event> + Send {
    /// The next event has a token.
    fn speaks(&mut self) -> bool;
    fn fail(&mut self, kind: ErrorKind, failure: &Failure) -> Bytes;
}

/// A part of a whole answer.
#[derive(Debug)]
pub enum Piece {
    Ready(Bytes),
    /// So many bytes of `FILLER`, made as they are sent.
    Filler(u64),
}

impl Piece {
    pub fn length(&self) -> u64 {
        match self {
            Self::Ready(bytes) => bytes.len() as u64,
            Self::Filler(bytes) => *bytes,
        }
    }

    fn parts(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        match self {
            Self::Ready(bytes) => Box::new(std::iter::once(bytes)),
            Self::Filler(bytes) => Box::new(filler(bytes)),
        }
    }
}

/// The course of a streamed answer. Places are counted in tokens.
pub fn streamed(
    events: Box<dyn Events>,
    directives: &Directives,
    failure: Failure,
) -> impl Iterator<Item = Step> + Send + 'static {
    let troubles = [
        directives.stall.map(|at| (at, Trouble::Stall)),
        directives.cut.map(|(cut, at)| (at, Trouble::Cut(cut))),
        directives.error.map(|(kind, at)| (at, Trouble::Error(kind, failure))),
    ];
    let trouble = troubles.into_iter().flatten().min_by_key(|(at, _)| *at);
    let pace = directives.pace.unwrap_or_default();
    wait(directives.head_then).chain(Streamed {
        events: Some(events),
        ahead: None,
        trouble,
        pause: directives.preamble_then,
        pace,
        sent: 0,
        planned: Vec::new(),
    })
}

/// The course of a whole answer. Places are counted in bytes of the body.
pub fn whole(pieces: Vec<Piece>, directives: &Directives) -> impl Iterator<Item = Step> + Send + 'static {
    let length = pieces.iter().map(Piece::length).sum::<u64>();
    let cut = directives.cut.map(|(cut, at)| (cut, at.bytes(length))).filter(|(_, at)| *at < length);
    let cut = cut.map(|(cut, at)| match cut {
        Cut::Fin => (at, vec![Step::End(Ending::Fin)]),
        Cut::Reset => (at, vec![Step::End(Ending::Reset)]),
        Cut::Frame => (at + (length - at) / 2, vec![Step::End(Ending::Fin)]),
    });
    let stall = directives.stall.map(|at| at.bytes(length)).filter(|at| *at < length);
    let stall = stall.map(|at| (at, stalled()));
    let (mut left, last) =
        cut.into_iter().chain(stall).min_by_key(|(at, _)| *at).unwrap_or_else(|| (length, Vec::new()));
    let parts = pieces.into_iter().flat_map(Piece::parts).map_while(move |mut part| {
        if left == 0 {
            return None;
        }
        part.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= part.len() as u64;
        Some(Step::Send(part, 0))
    });
    wait(directives.head_then).chain(parts).chain(last)
}

/// So many bytes of filler, in blocks that share their memory. Blocks begin with a word's first letter.
pub fn filler(bytes: u64) -> impl Iterator<Item = Bytes> + Send {
    let block = FILLER_BLOCK as u64;
    (0..bytes.div_ceil(block)).map(move |index| {
        let length = (bytes - index * block).min(block);
        Bytes::from_static(&FILLER_BYTES[..usize::try_from(length).unwrap_or(FILLER_BLOCK)])
    })
}

const fn filler_block() -> [u8; FILLER_BLOCK] {
    let word = FILLER.as_bytes();
    let mut block = [0; FILLER_BLOCK];
    let mut at = 0;
    while at < block.len() {
        block[at] = word[at % word.len()];
        at += 1;
    }
    block
}

impl Place {
    fn bytes(self, length: u64) -> u64 {
        match self {
            Self::Head | Self::Preamble => 0,
            Self::Tokens(bytes) => bytes,
            Self::Last => length.saturating_sub(1),
        }
    }
}

fn wait(time: Option<Duration>) -> impl Iterator<Item = Step> + Send + 'static {
    time.into_iter().map(Step::Wait)
}

fn stalled() -> Vec<Step> {
    vec![Step::Wait(STALL), Step::End(Ending::Fin)]
}

enum Trouble {
    Stall,
    Cut(Cut),
    Error(ErrorKind, Failure),
}

struct Streamed {
    /// None once nothing more is to be told.
    events: Option<Box<dyn Events>>,
    /// The next of them, where one must know whether it is the last.
    ahead: Option<Event>,
    /// The first thing to go wrong, and where.
    trouble: Option<(Place, Trouble)>,
    /// The time between the preamble and the first token, until it has passed.
    pause: Option<Duration>,
    pace: Duration,
    sent: u64,
    /// Steps already decided, the next one last.
    planned: Vec<Step>,
}

impl Iterator for Streamed {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(step) = self.planned.pop() {
            return Some(step);
        }
        let here = match self.sent {
            0 if !self.is_due(Place::Head) && self.events.as_mut().is_some_and(|events| events.speaks()) => {
                Place::Preamble
            }
            0 => Place::Head,
            sent => Place::Tokens(sent),
        };
        if self.is_due(here) {
            let (_, trouble) = self.trouble.take()?;
            return self.go_wrong(trouble);
        }
        if let Some(pause) = self.pause.take_if(|_| here == Place::Preamble) {
            return Some(Step::Wait(pause));
        }
        let event = self.event()?;
        if self.ends_badly() {
            self.ahead = Some(event);
            let (_, trouble) = self.trouble.take()?;
            return self.go_wrong(trouble);
        }
        let wait = event.tokens > 0 && self.sent > 0 && !self.pace.is_zero();
        self.sent += event.tokens;
        let send = Step::Send(event.bytes, event.tokens);
        if wait {
            self.planned.push(send);
            return Some(Step::Wait(self.pace));
        }
        Some(send)
    }
}

impl Streamed {
    fn is_due(&self, here: Place) -> bool {
        self.trouble.as_ref().is_some_and(|(at, _)| *at <= here)
    }

    fn event(&mut self) -> Option<Event> {
        self.ahead.take().or_else(|| self.events.as_mut()?.next())
    }

    /// Whether something goes wrong before the last event, and that is the one just taken.
    fn ends_badly(&mut self) -> bool {
        if !matches!(self.trouble, Some((Place::Last, _))) {
            return false;
        }
        self.ahead = self.events.as_mut().and_then(Iterator::next);
        self.ahead.is_none()
    }

    fn go_wrong(&mut self, trouble: Trouble) -> Option<Step> {
        let ahead = self.ahead.take();
        // Nothing is told any more, but for the half of an event and for an error.
        let events = self.events.take();
        match trouble {
            Trouble::Stall => self.planned = stalled(),
            Trouble::Cut(Cut::Fin) => self.planned = vec![Step::End(Ending::Fin)],
            Trouble::Cut(Cut::Reset) => self.planned = vec![Step::End(Ending::Reset)],
            Trouble::Cut(Cut::Frame) => {
                let next = ahead.or_else(|| events?.next());
                let next = next.map(|event| Step::Send(event.bytes.slice(..event.bytes.len() / 2), 0));
                self.planned = next.into_iter().chain([Step::End(Ending::Fin)]).collect();
            }
            Trouble::Error(kind, failure) => {
                let error = events.map(|mut events| events.fail(kind, &failure));
                let error = error.into_iter().map(|error| Step::Send(error, 0));
                self.planned = std::iter::once(Step::Fail).chain(error).collect();
            }
        }
        self.planned.reverse();
        self.planned.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps as a word: a digit per event sent, `w` for a wait, and how it ended.
    fn course(steps: impl Iterator<Item = Step>) -> String {
        steps
            .map(|step| match step {
                Step::Send(bytes, _) => String::from_utf8_lossy(&bytes).into_owned(),
                Step::Fail => "fail".to_owned(),
                Step::Wait(STALL) => "stall".to_owned(),
                Step::Wait(_) => "w".to_owned(),
                Step::End(ending) => format!("{ending:?}"),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    struct Known(std::iter::Peekable<std::vec::IntoIter<Event>>);

    impl Iterator for Known {
        type Item = Event;

        fn next(&mut self) -> Option<Event> {
            self.0.next()
        }
    }

    impl Events for Known {
        fn speaks(&mut self) -> bool {
            self.0.peek().is_some_and(|event| event.tokens > 0)
        }

        fn fail(&mut self, kind: ErrorKind, failure: &Failure) -> Bytes {
            Bytes::from(format!("{kind:?}:{}", failure.message))
        }
    }

    fn events() -> Box<dyn Events> {
        let event = |(text, tokens): (&'static str, u64)| Event {
            bytes: Bytes::from_static(text.as_bytes()),
            tokens,
        };
        let told = [("role", 0), ("aa", 1), ("bb", 1), ("cc", 1), ("done", 0)].map(event);
        Box::new(Known(Vec::from(told).into_iter().peekable()))
    }

    #[test]
    fn a_stream_goes_wrong_after_so_many_tokens() {
        for (directives, expected) in [
            ("", "role aa bb cc done"),
            ("pace=1ms;head_then=1ms", "w role aa w bb w cc done"),
            ("cut=fin@0", "Fin"),
            ("cut=fin@2", "role aa bb Fin"),
            ("cut=rst@3", "role aa bb cc Reset"),
            ("cut=frame@1", "role aa b Fin"),
            ("cut=fin@4", "role aa bb cc done"),
            ("stall=1", "role aa stall Fin"),
            ("stall=1;cut=rst", "Reset"),
            ("error=sse@1", "role aa fail Plain:oops"),
            ("error=failed", "fail Failed:oops"),
            ("preamble_then=1ms", "role w aa bb cc done"),
            ("preamble_then=1ms;pace=1ms;cut=fin@2", "role w aa w bb Fin"),
            ("cut=fin@preamble", "role Fin"),
            ("cut=frame@preamble", "role a Fin"),
            ("stall=preamble", "role stall Fin"),
            ("error=sse@preamble;cut=fin@1", "role fail Plain:oops"),
            ("cut=fin@last", "role aa bb cc Fin"),
            ("cut=frame@last", "role aa bb cc do Fin"),
            ("stall=last;pace=1ms", "role aa w bb w cc stall Fin"),
        ] {
            let directives = Directives::parse(directives).expect("valid");
            let failure = Failure::request(None, "oops");
            assert_eq!(course(streamed(events(), &directives, failure)), expected);
        }
    }

    #[test]
    fn a_whole_answer_goes_wrong_after_so_many_bytes() {
        let pieces = || {
            vec![
                Piece::Ready(Bytes::from_static(b"<<")),
                Piece::Filler(6),
                Piece::Ready(Bytes::from_static(b">>")),
            ]
        };
        for (directives, expected) in [
            ("", "<< sim si >>"),
            ("head_then=1ms", "w << sim si >>"),
            ("cut=fin", "Fin"),
            ("cut=fin@1", "< Fin"),
            ("cut=rst@4", "<< si Reset"),
            ("cut=frame@4", "<< sim s Fin"),
            ("cut=fin@last", "<< sim si > Fin"),
            ("cut=fin@10", "<< sim si >>"),
            ("stall=9", "<< sim si > stall Fin"),
        ] {
            let directives = Directives::parse(directives).expect("valid");
            assert_eq!(course(whole(pieces(), &directives)), expected, "{directives:?}");
        }
    }

    #[test]
    fn filler_is_as_long_as_asked() {
        for bytes in [0, 1, 4, 16 << 10, (16 << 10) + 1, 100_000] {
            assert_eq!(filler(bytes).map(|part| part.len() as u64).sum::<u64>(), bytes);
        }
    }
}
