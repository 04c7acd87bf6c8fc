//! The next target of the plan that may be asked now, with a place at it. Waits where that is better than failing.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::attempts::Track;
use crate::health::{self, Place, Ticket};
use crate::log::{Attempt, Reason};
use crate::plan::{Choice, Nobody, Plan};
use crate::pool::Member;
use crate::stages::Stage;
use crate::stages::send::{Failed, late_for_client};
use crate::trip::Trip;

/// A target, a place at it that is given back when this is dropped, and the call's entry in the record.
pub(crate) struct Picked {
    pub choice: Choice,
    pub ticket: Ticket,
    pub track: Track,
}

impl Picked {
    fn new(trip: &Trip, plan: &mut Plan, choice: Choice, ticket: Ticket, reason: Reason) -> Picked {
        plan.begin();
        let Member { target, model, .. } = &choice.member;
        let attempt = Attempt::begin(target.clone(), model.clone(), choice.key, reason, trip.now());
        Picked { track: trip.attempts.begin(attempt, trip.started), choice, ticket }
    }
}

pub(crate) async fn pick(trip: &mut Trip, plan: &mut Plan) -> Result<Picked, Failed> {
    trip.enter(Stage::Pick);
    loop {
        let now = Instant::now();
        match plan.take(trip.ask.tokens, &trip.worker.dice, now) {
            Ok((choice, ticket)) => return Ok(Picked::new(trip, plan, choice, ticket, plan.reason())),
            Err(nobody) => {
                if let Some(picked) = wait(trip, plan, &nobody).await? {
                    return Ok(picked);
                }
            }
        }
    }
}

/// Another target beside the one that is slow, if one can be asked at once.
pub(crate) fn pick_second(trip: &Trip, plan: &mut Plan, first: &Choice) -> Option<Picked> {
    let (choice, ticket) = plan.take_beside(first, trip.ask.tokens, &trip.worker.dice, Instant::now())?;
    Some(Picked::new(trip, plan, choice, ticket, Reason::Hedge))
}

/// The pause before the next call.
pub(crate) async fn rest(pause: Duration) {
    if !pause.is_zero() {
        sleep(pause).await;
    }
}

/// Waits for a place, or for the end of a rate limit if that is near; else goes on to the next name of the plan. `None`
/// says to look again.
async fn wait(trip: &mut Trip, plan: &mut Plan, nobody: &Nobody) -> Result<Option<Picked>, Failed> {
    let queues = plan.queues(&nobody.full);
    if !queues.is_empty() {
        let (numbers, places): (Vec<usize>, Vec<Place<'_>>) = queues.into_iter().unzip();
        let patience = places.iter().map(|place| place.settings.queue_time).max().unwrap_or_default();
        let patience = trip.left().map_or(patience, |left| left.min(patience));
        let deadline = tokio::time::Instant::now() + patience;
        if let Ok((at, ticket)) = health::wait(&places, trip.ask.tokens, deadline).await
            && let Some(choice) = numbers.get(at).and_then(|number| plan.choice(*number, ticket.key()))
        {
            return Ok(Some(Picked::new(trip, plan, choice, ticket, plan.reason())));
        }
        if trip.left().is_some_and(|left| left.is_zero()) {
            return Err(late_for_client().into());
        }
    } else if let Some(until) = nobody.limited
        && plan.waits_until(until, trip.left())
    {
        rest(until.saturating_duration_since(Instant::now())).await;
        return Ok(None);
    }
    plan.move_on(nobody)?;
    Ok(None)
}
