//! What would be done with a request, for those who only want to know: `POST /routing/v1/…` makes no call but that of a
//! chooser that is a model. The fields are Plano's, and how the choice was made besides.

use http::StatusCode;
use serde::Serialize;

use crate::dice::Dice;
use crate::handle::Outbound;
use crate::log;
use crate::sessions::{Decision, Judgement};
use crate::stages::choose::Chosen;
use crate::trip::Trip;

#[derive(Serialize)]
struct Document<'a> {
    /// Who would be asked, the first one first.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<Vec<&'a str>>,
    /// The preference that the conversation matched.
    route: Option<&'a str>,
    /// The client's, or one that it can go on with.
    trace_id: Option<&'a str>,
    session_id: Option<&'a str>,
    /// The session has a target whose cache is warm.
    pinned: bool,
    /// A warm session would leave its target.
    switched: bool,
    decisions: Vec<Made<'a>>,
}

/// How one choice was made.
#[derive(Serialize)]
struct Made<'a> {
    step: &'a str,
    chosen: Vec<&'a str>,
    why: &'a str,
    candidates: Vec<Candidate<'a>>,
    passed: Vec<Passed<'a>>,
    duration_us: u32,
}

#[derive(Serialize)]
struct Candidate<'a> {
    name: &'a str,
    probability: f32,
}

#[derive(Serialize)]
struct Passed<'a> {
    step: &'a str,
    why: &'a str,
}

pub(crate) fn own(trip: &mut Trip, chosen: &Chosen) -> Outbound {
    // Whoever asks first and calls then can have both under one trace.
    trip.ask.trace.get_or_insert_with(|| new_trace(&trip.worker.dice));
    let trip = &*trip;
    let (mut models, mut agents) = (None, None);
    match chosen {
        Chosen::Models(plan) => models = Some(plan.names().map(|name| &**name).collect()),
        Chosen::Agents(_, lineup) => agents = Some(lineup.agents.iter().map(|id| &**id).collect()),
    }
    let judged = trip.turn.as_ref().and_then(|turn| turn.judgement.as_ref());
    let switched = |judgement: &Judgement| matches!(judgement.decision, Decision::Switch { .. });
    let document = Document {
        models,
        agents,
        route: trip.ask.route.as_deref(),
        trace_id: trip.ask.trace.as_deref(),
        session_id: trip.ask.session.as_deref(),
        pinned: judged.is_some(),
        switched: judged.is_some_and(switched),
        decisions: trip.decisions.iter().map(made).collect(),
    };
    Outbound::Own(StatusCode::OK, serde_json::to_vec(&document).unwrap_or_default())
}

/// A trace id as W3C's `traceparent` has it: 32 hexadecimal digits, not all of them 0.
fn new_trace(dice: &Dice) -> String {
    format!("{:016x}{:016x}", dice.roll(), dice.roll().max(1))
}

fn made(decision: &log::Decision) -> Made<'_> {
    Made {
        step: decision.step,
        chosen: decision.chosen.iter().map(|name| &**name).collect(),
        why: &decision.why,
        candidates: decision
            .candidates
            .iter()
            .map(|(name, probability)| Candidate { name, probability: *probability })
            .collect(),
        passed: decision.passed.iter().map(|(step, why)| Passed { step, why }).collect(),
        duration_us: decision.micros,
    }
}
