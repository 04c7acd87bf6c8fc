//! Which tool call a piece of a stream belongs to.
//!
//! Servers disagree: some give every call the number 0 and tell them apart by ids, some give no number, some repeat the
//! id in every piece.

use super::arguments::Arguments;
use super::ids;
use super::stream_decoder::broken;
use crate::conversation::Failure;
use crate::fingerprint;

/// A provider that calls more tools at once than this is broken.
const MOST_CALLS: usize = 256;
/// Arguments that come before the name of their tool; only odd servers do that.
pub(super) const MOST_HELD: usize = 16 * 1024;
/// Longer ids are replaced.
const LONGEST_ID: usize = 256;

/// The calls of a stream. Nothing says that a call is complete, but an object that is whole takes no more: such a call ends
/// when something else begins, so that clients who see one block after the other need not wait. The others stay open
/// until the end of the stream, because pieces of several calls may alternate.
#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

/// What a piece says about its call.
pub(super) struct Key<'p> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<&'p str>,
    /// The piece names a tool.
    pub(super) named: bool,
}

pub(super) struct Call {
    /// The provider's number for it.
    index: u64,
    /// Of its id: enough to tell calls apart.
    id: Option<u64>,
    pub(super) custom: bool,
    /// As far as they are told. The input of a custom tool is free text, which is never known to be whole.
    pub(super) arguments: Arguments,
    pub(super) state: CallState,
}

pub(super) enum CallState {
    /// Not told yet: the name is missing.
    Held {
        id: String,
        arguments: String,
    },
    Open(u32),
    /// Its arguments were whole. What still comes for it is passed over: no more can belong to it.
    Ended,
}

impl Calls {
    /// The call of a piece; a new one if it is none that is known.
    pub(super) fn of(
        &mut self,
        key: &Key<'_>,
        custom: bool,
        answer_id: &str,
    ) -> Result<&mut Call, Failure<'static>> {
        let fingerprint = key.id.map(fingerprint::of);
        let whole = key.index.is_none() && key.id.is_none() && key.named;
        let found = self.0.iter().rposition(|call| {
            let same_index = key.index.is_none_or(|index| call.index == index);
            let same_id = fingerprint.is_none() || call.id.is_none() || call.id == fingerprint;
            same_index && same_id && !whole
        });
        let number = self.0.len();
        if found.is_none() {
            if number >= MOST_CALLS {
                return Err(broken("The provider called more than 256 tools at once."));
            }
            let id = key
                .id
                .filter(|id| id.len() <= LONGEST_ID)
                .map_or_else(|| ids::missing_call_id(answer_id, number), str::to_owned);
            self.0.push(Call {
                index: key.index.unwrap_or(number as u64),
                id: fingerprint,
                custom,
                arguments: Arguments::default(),
                state: CallState::Held { id, arguments: String::new() },
            });
        }
        self.0.get_mut(found.unwrap_or(number)).ok_or_else(|| broken("The provider's call was lost."))
    }

    /// Ends the calls whose arguments are whole and tells their blocks; `but` is the block that is beginning.
    pub(super) fn end_whole(&mut self, but: u32) -> impl Iterator<Item = u32> {
        self.0.iter_mut().filter_map(move |call| match call.state {
            CallState::Open(block) if block != but && !call.custom && call.arguments.are_whole() => {
                call.state = CallState::Ended;
                Some(block)
            }
            _ => None,
        })
    }

    /// Whether there was any call with a name.
    pub(super) fn any(&self) -> bool {
        self.0.iter().any(|call| !matches!(call.state, CallState::Held { .. }))
    }

    /// Forgets the calls and tells the blocks that were open.
    pub(super) fn end(&mut self) -> impl Iterator<Item = u32> + use<> {
        std::mem::take(&mut self.0).into_iter().filter_map(|call| match call.state {
            CallState::Open(block) => Some(block),
            CallState::Held { .. } | CallState::Ended => None,
        })
    }
}
