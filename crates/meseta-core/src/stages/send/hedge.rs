//! A second target is asked when the first one is slow to begin. Whoever begins first answers; the other call is cancelled,
//! and what it used is still in the record.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::attempts::Track;
use crate::error::Code;
use crate::handle::Journey;
use crate::health::budget::Amount;
use crate::plan::Choice;
use crate::pool::Hedge;
use crate::stages::Stage;
use crate::stages::pick::pick_second;
use crate::stages::send::{Answer, Lost, Sending, send};
use crate::stages::translate::{Translated, translate};
use crate::trip::Trip;

pub(crate) async fn hedge(trip: &mut Trip, journey: &mut Journey, sending: Sending) -> Result<Answer, Lost> {
    trip.enter(Stage::Send);
    let Some(after) = patience(trip, journey, &sending) else { return send(sending).await };
    let first_track = sending.track.clone();
    let choice = sending.choice.clone();
    let began = Instant::now();
    let mut first = Box::pin(send(sending));
    if let Ok(result) = timeout(after, &mut first).await {
        return result;
    }
    let Some(second) = second(trip, journey, &choice) else { return first.await };
    let second_track = second.track.clone();
    let mut second = Box::pin(send(second));
    tokio::select! {
        biased;
        result = &mut first => match result {
            Ok(answer) => {
                drop(second);
                overtaken(&second_track);
                Ok(answer)
            }
            Err(lost) => other(journey, lost, second).await,
        },
        result = &mut second => match result {
            Ok(answer) => {
                drop(first);
                overtaken(&first_track);
                // Otherwise one that is always overtaken would never look slow.
                let (after, now) = (began.elapsed(), Instant::now());
                choice.member.target.health.waited(after, now);
                trip.worker.shared.paces.observe(&choice.member, after, now);
                Ok(answer)
            }
            Err(lost) => other(journey, lost, first).await,
        },
    }
}

/// One of the two failed: the other one has the word, and the plan knows of both.
async fn other(
    journey: &mut Journey,
    lost: Lost,
    left: impl Future<Output = Result<Answer, Lost>>,
) -> Result<Answer, Lost> {
    journey.plan.note(lost);
    left.await
}

/// How long the first target may be silent; `None` where nobody is asked beside it.
fn patience(trip: &Trip, journey: &Journey, sending: &Sending) -> Option<Duration> {
    let hedge = journey.plan.policy.hedge.as_ref()?;
    // What may have effects is not asked for twice on purpose.
    if journey.ask.envelope.acts || journey.plan.members().count() < 2 {
        return None;
    }
    hedge.cap.spent(expected_cost(trip, hedge, &sending.choice), Instant::now());
    let own = || sending.choice.member.target.health.quantile(0.95);
    Some(hedge.after.or_else(own)?.max(hedge.minimum))
}

/// The call beside the first, if there is a target for it and the pool's hedges may still cost something.
fn second(trip: &mut Trip, journey: &mut Journey, first: &Choice) -> Option<Sending> {
    let picked = pick_second(trip, &mut journey.plan, first)?;
    let track = picked.track.clone();
    let may_cost =
        journey.plan.policy.hedge.as_ref().is_some_and(|hedge| {
            hedge.cap.reserve(expected_cost(trip, hedge, &picked.choice), Instant::now())
        });
    let translated = may_cost.then(|| translate(trip, journey, picked));
    match translated {
        Some(Ok(Translated::Ready(sending))) => Some(*sending),
        // It would cost too much, or there is nothing to ask.
        Some(Ok(Translated::Answered(_))) | None => {
            trip.attempts.forget(&track);
            journey.plan.unbegin();
            None
        }
        Some(Err(lost)) => {
            journey.plan.note(lost);
            None
        }
    }
}

/// What asking costs whether or not the answer is used: the prompt. In dollars where every member of the pool has a
/// price, else in tokens: what one of them earns in money, another one could not spend in tokens.
fn expected_cost(trip: &Trip, hedge: &Hedge, choice: &Choice) -> Amount {
    let tokens = trip.ask.tokens;
    #[expect(clippy::cast_precision_loss, reason = "a count of tokens is below 2^53")]
    match choice.member.target.input_price().filter(|_| hedge.in_dollars) {
        Some(price) => Amount::Dollars(tokens as f64 * price / 1e6),
        None => Amount::Tokens(tokens),
    }
}

fn overtaken(track: &Track) {
    let now = track.now();
    track.note(|attempt| {
        attempt.code = Some(Code::UpstreamHedgeLost);
        attempt.ended = Some(now);
    });
}
