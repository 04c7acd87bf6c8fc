//! A request that the plane makes for another one: to an agent, or to a model that chooses or writes for it. It is a walk of
//! its own, with a row of its own in the log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use meseta_wire::envelope;
use tokio::time::Instant;

use crate::agents::room::Seat;
use crate::agents::{Agent, CONTEXT, Descent, Lineage};
use crate::continuation::recall;
use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::handle::{Journey, Outbound, answer, walk};
use crate::health::backoff::backoff;
use crate::plan::Plan;
use crate::stages::choose::{not_found, plan};
use crate::stages::identify::{RUN, SESSION, TAGS, TRACE};
use crate::stages::read::Ask;
use crate::stages::relay::Body;
use crate::trip::{Ended, Trip, now_ms};

const DEADLINE: HeaderName = HeaderName::from_static("x-meseta-deadline");

/// The longest pause before an agent that nobody reached is tried again; it doubles up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A hop that is ready to go. It owns all it needs, so that several may go at once.
pub(crate) struct Hop {
    trip: Trip,
    ask: Ask,
    to: To,
}

enum To {
    Agent(Arc<Agent>),
    Model(Arc<str>),
}

impl Hop {
    /// To an agent, with the conversation as `body` says it. An error is one that no other instance could change.
    pub fn to_agent(outer: &Trip, ask: &Ask, depth: usize, id: &str, body: Bytes) -> Result<Hop, Error> {
        let snapshot = outer.worker.shared.snapshot.load_full();
        let Some(agent) = snapshot.agent(id).cloned() else {
            return Err(Error::new(Code::AgentNotFound, format!("There is no agent named '{id}' any more.")));
        };
        let descent = Descent::to(outer, &agent.id, depth)?;
        let mut trip = outer.hop();
        trip.ask.agent = Some(agent.id.clone());
        let mut told = HeaderMap::with_capacity(4);
        trip.trail = descent.begin(&trip);
        let deadline = trip.left().map(|left| now_ms().saturating_add(millis(left)));
        let lineage = Lineage {
            root: outer.root(),
            parent: trip.id,
            agents: descent.agents,
            deadline,
            tenant: trip.ask.tenant.clone(),
            session: trip.ask.session.clone(),
            run: trip.ask.run.clone(),
        };
        if let Some(context) = outer.worker.shared.context_key.sign(&lineage, now_ms()) {
            told.insert(CONTEXT, context);
        }
        let mut tell = |name: HeaderName, value: Option<&str>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                told.insert(name, value);
            }
        };
        tell(SESSION, trip.ask.session.as_deref());
        tell(RUN, trip.ask.run.as_deref());
        tell(TAGS, trip.ask.tags.as_deref());
        tell(DEADLINE, trip.left().map(|left| format!("{}ms", millis(left).max(1))).as_deref());
        if !ask.headers.contains_key(TRACE)
            && let Some(trace) = &trip.ask.trace
        {
            // Agents that hand on a trace have one to hand on.
            tell(TRACE, Some(&format!("00-{trace}-{:016x}-01", trip.id.0)));
        }
        let mut inner = inner(ask, ask.call, body)?;
        inner.headers = ask.headers.clone();
        inner.told = told;
        trip.ask.model.clone_from(&inner.envelope.model);
        trip.ask.stream = inner.envelope.stream;
        Ok(Hop { trip, ask: inner, to: To::Agent(agent) })
    }

    /// To a model, or a pool of them, by its name. The credential is the configuration's own.
    pub fn to_model(outer: &Trip, ask: &Ask, call: Call, name: &str, body: Bytes) -> Result<Hop, Error> {
        let mut trip = outer.hop();
        trip.dialect = call.dialect();
        let mut inner = inner(ask, call, body)?;
        inner.caller.credential_is_ours = true;
        trip.ask.model = Some(name.to_owned());
        trip.ask.stream = inner.envelope.stream;
        Ok(Hop { trip, ask: inner, to: To::Model(name.into()) })
    }

    /// Nobody waits for it for longer than that.
    pub fn within(mut self, limit: Duration) -> Hop {
        let total = self.trip.hints.total.map_or(limit, |total| total.min(limit));
        self.trip.hints.total = Some(total);
        self
    }

    /// Tells how the hop ended, once its answer has been read or dropped.
    pub fn ended(&self) -> Ended {
        self.trip.ended.clone().unwrap_or_default()
    }

    pub async fn go(self) -> Response<Body> {
        let Hop { mut trip, ask, to } = self;
        let gone = match &to {
            To::Agent(agent) => to_agent(&mut trip, ask, agent).await,
            To::Model(name) => to_model(&mut trip, ask, name).await,
        };
        answer(trip, gone)
    }
}

/// What the inner request asks.
fn inner(ask: &Ask, call: Call, body: Bytes) -> Result<Ask, Error> {
    // Most requests go to one agent as they came, and have been read.
    let envelope = if call == ask.call && std::ptr::eq(&raw const *body, &raw const *ask.body) {
        ask.envelope.clone()
    } else {
        envelope::read(&body, call.required()).map_err(|refusal| {
            Error::new(Code::PlaneInternal, format!("A request of the plane's own is malformed: {refusal}."))
        })?
    };
    Ok(Ask {
        caller: ask.caller.clone(),
        call,
        headers: HeaderMap::new(),
        told: HeaderMap::new(),
        body,
        envelope,
        preferences: None,
    })
}

type Gone = Result<Outbound, Error>;

async fn to_model(trip: &mut Trip, ask: Ask, name: &Arc<str>) -> Gone {
    let snapshot = trip.snapshot.clone();
    let Some(named) = snapshot.find(name) else { return Err(not_found(&snapshot, name)) };
    let plan = plan(trip, name, named);
    let mut journey = Journey::new(ask, None, plan);
    match walk(trip, &mut journey).await {
        Ok(outbound) => Ok(outbound.with(journey)),
        Err(failed) => failed.into_outbound(trip.acted),
    }
}

/// Waits for an instance where that is what the agent is set up for, and asks again where nobody was reached: an agent may
/// act, so whatever may have arrived is not sent a second time.
async fn to_agent(trip: &mut Trip, ask: Ask, agent: &Arc<Agent>) -> Gone {
    let shared = trip.worker.shared.clone();
    shared.rooms.note(&agent.id);
    let continued = recall(trip, &ask).await?;
    let model: Option<Arc<str>> =
        ask.envelope.model.as_deref().filter(|model| !model.is_empty()).map(Into::into);
    let deadline = agent.hold.map(|hold| {
        let patience = trip.left().map_or(hold.patience, |left| left.min(hold.patience));
        (hold, Instant::now() + patience)
    });
    let mut journey: Option<Journey> = None;
    let mut given = Some((ask, continued));
    let mut seat: Option<Seat> = None;
    // In a row, since the instances were last exchanged.
    let mut unreached = 0_u32;
    loop {
        let swaps = shared.rooms.swaps();
        let snapshot = shared.snapshot.load_full();
        let Some(agent) = snapshot.agent(&agent.id).cloned() else {
            return Err(Error::new(
                Code::AgentNotFound,
                format!("There is no agent named '{}' any more.", agent.id),
            ));
        };
        if !agent.pool.members.is_empty() {
            trip.snapshot = snapshot.clone();
            let plan = Plan::of_agent(snapshot, &agent.pool, model.as_ref());
            let journey = match (&mut journey, given.take()) {
                (Some(journey), _) => {
                    journey.plan = plan;
                    journey
                }
                (none, Some((ask, continued))) => none.insert(Journey::to_agent(ask, continued, plan)),
                (None, None) => {
                    return Err(Error::new(Code::PlaneInternal, "A request was lost on its way."));
                }
            };
            match walk(trip, journey).await {
                Ok(outbound) => return Ok(outbound),
                Err(failed) if deadline.is_some() && failed.nobody_was_reached() => unreached += 1,
                Err(failed) => return failed.into_outbound(trip.acted),
            }
        }
        let Some((hold, until)) = deadline else {
            return Err(unavailable(&agent.id, "has no instance"));
        };
        // Kept while the instances are tried again, so that no more wait than may.
        let Some(waiting) = seat.take().or_else(|| shared.rooms.seat(&agent.id, hold)) else {
            let state = if unreached > 0 { "cannot be reached" } else { "has no instance" };
            return Err(unavailable(&agent.id, &format!("{state}, and as many requests as may wait do so")));
        };
        let at_work = || {
            let snapshot = shared.snapshot.load();
            snapshot.agent(&agent.id).is_some_and(|agent| !agent.pool.members.is_empty())
        };
        // One that Meseta does not run comes back without a word.
        let again = unreached.checked_sub(1).map(|times| {
            let pause = backoff(times, FIRST_PAUSE, LONGEST_PAUSE, trip.worker.dice.roll());
            until.min(Instant::now() + pause)
        });
        if waiting.wait(swaps, again.unwrap_or(until), at_work).await {
            unreached = 0;
        } else if Instant::now() < until {
            seat = Some(waiting);
        } else {
            let state = if unreached > 0 { "could not be reached" } else { "had no instance" };
            return Err(unavailable(&agent.id, &format!("{state} for as long as requests wait")));
        }
    }
}

fn unavailable(id: &str, why: &str) -> Error {
    Error::new(
        Code::AgentUnavailable,
        format!("The agent '{id}' {why}. `meseta agents list` says how its instances do."),
    )
    .with_retry_after(Some(Duration::from_secs(1)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
