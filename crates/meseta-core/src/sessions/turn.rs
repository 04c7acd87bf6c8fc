//! One request of a session: what was known when its target was chosen, kept until its answer can be booked.

use meseta_wire::usage::Usage;

use crate::sessions::budget::{Budget, Judgement};
use crate::sessions::pin::{Facts, Pin, Place, now};
use crate::sessions::pins::{PinKey, Sessions, Used};
use crate::snapshot::SessionSettings;
use crate::target::Target;

pub(crate) struct Turn {
    pub key: PinKey,
    /// See [`crate::sessions::Opening`]; `None` where nobody looked.
    pub prefix: Option<u64>,
    pub before: Option<Pin>,
    pub judgement: Option<Judgement>,
    pub budget: Option<Budget>,
}

impl Turn {
    /// Pins the session to the target that has answered. `usage` is what its provider said.
    pub fn answered(
        self,
        sessions: &Sessions,
        settings: &SessionSettings,
        (target, model): (&Target, &str),
        usage: Option<&Usage>,
    ) {
        let used = Used {
            place: &Place::new(&target.name, model),
            prefix: self.prefix,
            usage,
            judgement: self.judgement.as_ref(),
            budget: self.budget.as_ref(),
            facts: Facts::of(target, settings),
        };
        sessions.used(self.key, self.before, &used, settings.max_entries, now());
    }
}
