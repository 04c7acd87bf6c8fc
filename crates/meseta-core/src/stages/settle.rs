//! What the request used, once it is over, however it ended.

use meseta_wire::usage::Usage;

use crate::log::Attempt;
use crate::stages::Stage;
use crate::trip::Trip;

pub(crate) fn settle(trip: &mut Trip) {
    trip.enter(Stage::Settle);
    let now = trip.now();
    let outcome = trip.outcome;
    let asked = trip.ask.tokens;
    let mut used = 0_u64;
    trip.attempts.each(|attempt| {
        // A call that nobody ended was cut off together with the request, and ends as it did.
        if attempt.ended.is_none() {
            attempt.ended = Some(now);
            attempt.code = outcome.and_then(|outcome| outcome.code);
        }
        if attempt.usage.is_none() && attempt.may_have_cost() {
            attempt.usage = Some(reckon(asked, attempt));
            attempt.estimated = true;
        }
        attempt.bill();
        let usage = attempt.usage.unwrap_or_default();
        used = used.saturating_add(usage.input).saturating_add(usage.output);
    });
    if let Some(mut pass) = trip.pass.take() {
        pass.settle(used);
    }
}

/// What a call used of which the provider said nothing, cut off in the middle perhaps: the whole prompt, and a token for
/// every piece of the answer that came, or for every four bytes of a whole one.
fn reckon(asked: u64, attempt: &Attempt) -> Usage {
    let output = if attempt.pieces > 0 { attempt.pieces } else { attempt.response_bytes / 4 };
    Usage { input: asked, output, ..Usage::default() }
}
