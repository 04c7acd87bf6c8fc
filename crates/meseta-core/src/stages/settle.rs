//! What the request used, once it is over, however it ended.

use meseta_wire::usage::Usage;

use crate::error::Code;
use crate::log::Attempt;
use crate::stages::Stage;
use crate::trip::Trip;

pub(crate) fn settle(trip: &mut Trip) {
    let now = trip.enter(Stage::Settle);
    let outcome = trip.outcome;
    let asked = trip.ask.tokens;
    let mut used = 0_u64;
    trip.attempts.each(|attempt| {
        // A call that nobody ended was cut off together with the request, and ends as it did.
        if attempt.ended.is_none() {
            attempt.ended = Some(now);
            attempt.code = outcome.and_then(|outcome| outcome.code);
        }
        // What an agent uses are the models that it calls, each by a request of its own.
        if attempt.usage.is_none() && attempt.may_have_cost() && !attempt.target.is_agent() {
            attempt.usage = Some(reckon(asked, attempt));
            attempt.estimated = true;
        }
        attempt.bill();
        if let Some(cost) = attempt.cost.filter(|_| trip.lineage.is_some()) {
            trip.worker.shared.runs.add(trip.root(), cost);
        }
        if let (Some(ended), Some(usage), false) = (&trip.ended, attempt.usage, attempt.estimated) {
            ended.used(usage);
        }
        let usage = attempt.usage.unwrap_or_default();
        used = used.saturating_add(usage.input).saturating_add(usage.output);
    });
    if let Some(turn) = trip.turn.take() {
        let mut answered = None;
        trip.attempts.each(|attempt| {
            if gave_the_answer(attempt) {
                let told = attempt.usage.filter(|_| !attempt.estimated);
                answered = Some((attempt.target.clone(), attempt.model.clone(), told));
            }
        });
        if let Some((target, model, told)) = answered {
            let sessions = &trip.worker.shared.sessions;
            turn.answered(sessions, &trip.snapshot.sessions, (&target, &model), told.as_ref());
        }
    }
    if let Some(mut pass) = trip.pass.take() {
        pass.settle(used);
    }
}

/// Its provider has read the prompt, also where the client then left.
fn gave_the_answer(attempt: &Attempt) -> bool {
    attempt.status.is_some_and(|status| (200..300).contains(&status))
        && attempt.code.is_none_or(|code| code == Code::ClientDisconnected)
}

/// What a call used of which the provider said nothing, cut off in the middle perhaps: the whole prompt, and a token for
/// every piece of the answer that came, or for every four bytes of a whole one.
fn reckon(asked: u64, attempt: &Attempt) -> Usage {
    let output = if attempt.pieces > 0 { attempt.pieces } else { attempt.response_bytes / 4 };
    Usage { input: asked, output, ..Usage::default() }
}
