//! One file per verb of a request's walk. `handle.rs` calls them in this order; the log, the spans and the page
//! docs/concepts/life-of-a-request.md use the same names, and a test compares them.

pub(crate) mod admit;
pub(crate) mod choose;
pub(crate) mod identify;
pub(crate) mod orchestrate;
pub(crate) mod pick;
pub(crate) mod read;
pub(crate) mod record;
pub(crate) mod relay;
pub(crate) mod send;
pub(crate) mod settle;
pub(crate) mod translate;

/// The verbs, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Identify,
    Read,
    Admit,
    Choose,
    Orchestrate,
    Pick,
    Translate,
    Send,
    Relay,
    Settle,
    Record,
}

pub const STAGES: usize = 11;

impl Stage {
    pub const ALL: [Stage; STAGES] = [
        Stage::Identify,
        Stage::Read,
        Stage::Admit,
        Stage::Choose,
        Stage::Orchestrate,
        Stage::Pick,
        Stage::Translate,
        Stage::Send,
        Stage::Relay,
        Stage::Settle,
        Stage::Record,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Identify => "identify",
            Stage::Read => "read",
            Stage::Admit => "admit",
            Stage::Choose => "choose",
            Stage::Orchestrate => "orchestrate",
            Stage::Pick => "pick",
            Stage::Translate => "translate",
            Stage::Send => "send",
            Stage::Relay => "relay",
            Stage::Settle => "settle",
            Stage::Record => "record",
        }
    }
}
