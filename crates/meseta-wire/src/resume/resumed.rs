//! A client's stream that goes on with another target's answer.

use crate::conversation::{Block, Delta, Event, Failure, FailureKind, Finish};
use crate::dialect::{Context, Dialect, StreamEncoder};
use crate::responses;
use crate::usage::Usage;

use super::joiner::Joiner;
use super::partial::{Partial, Stage, each_event};
use super::plan::{Resumption, Unsound};

/// More blocks of one answer are not told at once.
const MOST_OPEN: usize = 1_024;

/// Writes what another target says behind what the client has been told. What it has been told then is kept, so that a
/// stream that breaks once more can be resumed once more.
pub struct Resumed {
    encoder: StreamEncoder,
    told: Partial,
    mode: Mode,
    /// Blocks of the target's that have not ended.
    places: Vec<(u32, Place)>,
    /// Our number of the next block.
    next: u32,
    /// The text that was being told and waits for its rest.
    open_text: Option<u32>,
    /// Tokens that were produced before.
    output: u64,
    /// The client has seen the last word.
    closed: bool,
}

enum Mode {
    /// All that comes is told.
    Through,
    /// The first text goes on from what was told.
    Joining(Box<Joiner>),
    /// Nothing more is told.
    Over,
}

/// Where a block of the target's goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Told(u32),
    /// A text that begins with its first word: it may say nothing new.
    Waiting,
    Dropped,
}

impl Resumed {
    /// A stream that an encoder has written: it goes on.
    pub fn live(
        encoder: StreamEncoder,
        told: Partial,
        resumption: &Resumption,
        out: &mut Vec<u8>,
    ) -> Resumed {
        let mut resumed = Resumed {
            encoder,
            told,
            mode: Mode::Over,
            places: Vec::new(),
            next: 0,
            open_text: None,
            output: 0,
            closed: false,
        };
        resumed.again(resumption, out);
        resumed
    }

    /// A stream whose events were passed on as the target sent them, `raw` being all of them. What comes behind them is
    /// written as the target would have written it: the same ids, model and numbers.
    pub fn passed(
        client: Dialect,
        context: Context,
        raw: &[u8],
        mut told: Partial,
        resumption: &Resumption,
        out: &mut Vec<u8>,
    ) -> Result<Resumed, Unsound> {
        // The client has seen the reason, be it all of the end or not.
        if told.finish.is_some() {
            told.stage = told.stage.max(Stage::Finished);
        }
        let encoder = if client == Dialect::OpenaiResponses {
            let mut resume = responses::Resume::new(context);
            let mut in_order = true;
            each_event(client, raw, |_, data| {
                in_order = resume.event(data);
                in_order
            });
            let text = told.blocks.iter().rfind(|block| block.goes_on()).map(|block| block.index);
            let encoder = resume.finish(text, out).filter(|_| in_order).ok_or(Unsound::Disorder)?;
            for block in told.blocks.iter_mut().filter(|block| !block.goes_on()) {
                block.ended = true;
            }
            StreamEncoder::Responses(Box::new(encoder))
        } else {
            let mut encoder = StreamEncoder::new(client, context);
            if let StreamEncoder::Chat(encoder) = &mut encoder {
                encoder.speak_as(told.id.as_deref(), told.model.as_deref(), told.created);
            }
            let mut seen = Vec::new();
            told.replay(&mut |event| {
                seen.clear();
                encoder.event(&event, &mut seen);
            });
            encoder
        };
        let closed = told.stage == Stage::Closed;
        Ok(Resumed { closed, ..Resumed::live(encoder, told, resumption, out) })
    }

    /// Another target goes on, after the last one broke off, too.
    pub fn again(&mut self, resumption: &Resumption, out: &mut Vec<u8>) {
        self.places.clear();
        self.output = self.told.output_tokens();
        self.next = self.told.blocks.iter().map(|told| told.index.saturating_add(1)).max().unwrap_or(0);
        let text = self.told.blocks.iter().rfind(|told| told.goes_on()).map(|told| told.index);
        self.open_text = text;
        // Nobody else can go on with these.
        let open = self.told.blocks.iter().filter(|told| !told.ended && Some(told.index) != text);
        for index in open.map(|told| told.index).collect::<Vec<_>>() {
            self.say(&Event::BlockEnd { index }, out);
        }
        self.mode = match resumption {
            Resumption::Fresh => Mode::Through,
            Resumption::Continue => Mode::Joining(Box::new(Joiner::new(&self.told.text()))),
            Resumption::Finish(_) | Resumption::Unsound(_) => Mode::Over,
        };
    }

    /// What the client has been told by now.
    pub fn told(&self) -> &Partial {
        &self.told
    }

    /// Appends what the client is to see of an event of the new target. Returns false once nothing more is told: after a
    /// failure, which may be that the new target began anew and said something else.
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        if matches!(self.mode, Mode::Over) {
            return false;
        }
        match event {
            Event::Begin { .. } if self.told.stage > Stage::Waiting => {}
            Event::Begin { .. } | Event::Ping => self.say(event, out),
            Event::BlockBegin { index, block } => self.begin(*index, block, out),
            Event::Delta { index, delta } => return self.delta(*index, delta, out),
            Event::BlockEnd { index } => self.block_end(*index, out),
            Event::Finish { finish, usage } => self.finish(finish, *usage, out),
            Event::Failed(failure) => return self.fail(failure, out),
        }
        true
    }

    /// Ends a stream to which nothing is missing, or whose new target has said its last word.
    pub fn end(&mut self, resumption: Option<&Resumption>, out: &mut Vec<u8>) {
        if let (Some(Resumption::Finish(finish)), false) = (resumption, self.told.stage >= Stage::Finished) {
            self.close(out);
            self.say(&Event::Finish { finish: finish.clone(), usage: self.told.usage }, out);
        }
        self.mode = Mode::Over;
        if !std::mem::replace(&mut self.closed, true) {
            self.encoder.end(out);
        }
    }

    /// The answer will not be whole.
    pub fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) -> bool {
        self.mode = Mode::Over;
        self.encoder.event(&Event::Failed(failure.clone()), out);
        false
    }

    /// What has been written so far, for those who keep it.
    pub fn encoder(&self) -> &StreamEncoder {
        &self.encoder
    }

    fn say(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.told.take(event);
        self.encoder.event(event, out);
    }

    fn begin(&mut self, index: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        if self.places.len() >= MOST_OPEN {
            self.fail(&failure("The target that went on began more blocks than there can be."), out);
            return;
        }
        let joining = matches!(self.mode, Mode::Joining(_));
        let place = match (block, self.open_text) {
            (Block::Text, Some(open)) => {
                self.open_text = None;
                Place::Told(open)
            }
            (Block::Text, None) if joining => Place::Waiting,
            // The answer has begun; what leads to its rest is not part of it.
            (Block::Thought { .. } | Block::RedactedThought(_), _) if joining => Place::Dropped,
            _ => {
                self.settle(out);
                Place::Told(self.open(block, out))
            }
        };
        self.places.push((index, place));
    }

    fn open(&mut self, block: &Block<'_>, out: &mut Vec<u8>) -> u32 {
        let index = self.next;
        self.next = self.next.saturating_add(1);
        self.say(&Event::BlockBegin { index, block: block.clone() }, out);
        index
    }

    fn delta(&mut self, theirs: u32, delta: &Delta<'_>, out: &mut Vec<u8>) -> bool {
        let Some((_, place)) = self.places.iter().rfind(|(index, _)| *index == theirs).copied() else {
            return true;
        };
        let (joined, passes) = match (&mut self.mode, delta) {
            _ if place == Place::Dropped => return true,
            (Mode::Joining(joiner), Delta::Text(text)) => (joiner.push(text), joiner.passes()),
            _ => {
                if let Place::Told(index) = place {
                    self.say(&Event::Delta { index, delta: delta.clone() }, out);
                }
                return true;
            }
        };
        let Ok(text) = joined else {
            let message = "The stream broke, and the target that was to go on began anew with other words.";
            return self.fail(&failure(message), out);
        };
        self.text(theirs, &text, out);
        // A text that still waits needs to be waited for.
        if passes && self.places.iter().all(|(_, place)| *place != Place::Waiting) {
            self.mode = Mode::Through;
        }
        true
    }

    /// Tells text of a block, which begins with it if it has not begun before.
    fn text(&mut self, theirs: u32, text: &str, out: &mut Vec<u8>) {
        let Some(at) = self.places.iter().rposition(|(index, _)| *index == theirs) else { return };
        let index = match self.places.get(at) {
            _ if text.is_empty() => return,
            Some((_, Place::Told(index))) => *index,
            Some((_, Place::Waiting)) => {
                let index = self.open(&Block::Text, out);
                if let Some((_, place)) = self.places.get_mut(at) {
                    *place = Place::Told(index);
                }
                index
            }
            Some((_, Place::Dropped)) | None => return,
        };
        self.say(&Event::Delta { index, delta: Delta::Text(text.into()) }, out);
    }

    fn block_end(&mut self, theirs: u32, out: &mut Vec<u8>) {
        let Some(at) = self.places.iter().rposition(|(index, _)| *index == theirs) else { return };
        if let Some((_, place)) = self.places.get(at)
            && *place != Place::Dropped
            && let Mode::Joining(joiner) = &mut self.mode
        {
            let rest = joiner.end();
            self.text(theirs, &rest, out);
            self.mode = Mode::Through;
        }
        if let (_, Place::Told(index)) = self.places.remove(at) {
            self.say(&Event::BlockEnd { index }, out);
        }
    }

    /// What follows is not the text that was being told.
    fn settle(&mut self, out: &mut Vec<u8>) {
        if let Mode::Joining(joiner) = &mut self.mode {
            let rest = joiner.end();
            let text = |(_, place): &&(u32, Place)| *place != Place::Dropped;
            if let Some(theirs) = self.places.iter().rfind(text).map(|(index, _)| *index) {
                self.text(theirs, &rest, out);
            }
            self.mode = Mode::Through;
        }
        if let Some(index) = self.open_text.take() {
            self.say(&Event::BlockEnd { index }, out);
        }
    }

    /// Ends all blocks.
    fn close(&mut self, out: &mut Vec<u8>) {
        self.settle(out);
        self.places.clear();
        let open = self.told.blocks.iter().filter(|told| !told.ended);
        for index in open.map(|told| told.index).collect::<Vec<_>>() {
            self.say(&Event::BlockEnd { index }, out);
        }
    }

    fn finish(&mut self, finish: &Finish<'_>, usage: Option<Usage>, out: &mut Vec<u8>) {
        self.close(out);
        let usage = usage.map(|usage| Usage { output: usage.output.saturating_add(self.output), ..usage });
        self.say(&Event::Finish { finish: finish.clone(), usage }, out);
    }
}

impl super::Told {
    /// A text that may get more.
    fn goes_on(&self) -> bool {
        matches!(self.block, Block::Text) && !self.ended && !self.complete
    }
}

fn failure(message: &'static str) -> Failure<'static> {
    Failure { message: message.into(), kind: FailureKind::Server, ..Failure::default() }
}
