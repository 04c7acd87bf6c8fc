//! What was chosen, by which step, and why the steps before it passed.

use std::sync::Arc;

/// Who may decide, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The operator's rules.
    Rules,
    /// There is no choice.
    Only,
    Embedded,
    /// What the model has answered to the same question before, or to whoever asked it just now.
    Cached,
    Model,
    Default,
}

impl Step {
    pub const ALL: [Step; 6] =
        [Step::Rules, Step::Only, Step::Embedded, Step::Cached, Step::Model, Step::Default];

    pub fn as_str(self) -> &'static str {
        match self {
            Step::Rules => "rules",
            Step::Only => "only",
            Step::Embedded => "embedded",
            Step::Cached => "cached",
            Step::Model => "model",
            Step::Default => "default",
        }
    }
}

/// Why a step passed the question on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The configuration has no such step.
    Off,
    /// No rule holds.
    NoMatch,
    /// Nobody has said a word: there may be an image, or the conversation is kept elsewhere.
    NoText,
    /// Not sure enough.
    Abstained,
    /// The model says that nothing fits.
    Nobody,
    /// Not within the deadline.
    Late,
    /// The model could not be asked, or answered with an error.
    Failed,
    /// The model has failed so often that it is not asked for a while.
    Resting,
    /// The model's answer could not be understood.
    Unreadable,
}

impl Reason {
    pub const ALL: [Reason; 9] = [
        Reason::Off,
        Reason::NoMatch,
        Reason::NoText,
        Reason::Abstained,
        Reason::Nobody,
        Reason::Late,
        Reason::Failed,
        Reason::Resting,
        Reason::Unreadable,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Off => "off",
            Reason::NoMatch => "no_match",
            Reason::NoText => "no_text",
            Reason::Abstained => "abstained",
            Reason::Nobody => "nobody",
            Reason::Late => "late",
            Reason::Failed => "failed",
            Reason::Resting => "resting",
            Reason::Unreadable => "unreadable",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// In the order in which they are to be asked. Empty where nothing fits and there is no default.
    pub names: Vec<Arc<str>>,
    pub step: Step,
    /// The rule that held, if one did.
    pub rule: Option<Arc<str>>,
    /// That each of the names fits what asks for it, where the embedded chooser decided.
    pub probabilities: Vec<f32>,
    /// What the embedded chooser thought of the turn as a whole, the likeliest first.
    pub candidates: Vec<(Arc<str>, f32)>,
    pub passed: Vec<(Step, Reason)>,
    /// That choosing took.
    pub micros: u64,
}
