//! Runs the cascade for a request, and writes down how it chose.

use std::sync::Arc;

use bytes::Bytes;
use meseta_select::turns::Turns;

use crate::endpoint::Call;
use crate::log;
use crate::orchestrate::hop::Hop;
use crate::orchestrate::read_hop;
use crate::select::{Cascade, Decision, Question, Reason, Step, Unanswered};
use crate::stages::read::Ask;
use crate::trip::Trip;

/// What the cascade chooses for the conversation. Never fails; nobody is chosen where nothing fits and nothing is default.
pub(super) async fn run(trip: &mut Trip, ask: &Ask, cascade: &Cascade, turns: &Turns<'_>) -> Decision {
    let shared = trip.worker.shared.clone();
    let decision = {
        let trip = &*trip;
        let header = |name: &str, is: &dyn Fn(&str) -> bool| {
            ask.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(is)
        };
        let tenant = trip.ask.tenant.as_deref();
        let question = Question { turns, header: &header, tenant, tokens: trip.ask.tokens };
        cascade
            .choose(&question, &shared.answers, &shared.choices, async |body| {
                // Boxed where it begins: no choice that asks nobody carries a whole walk with it.
                Box::pin(ask_model(trip, ask, body)).await
            })
            .await
    };
    note(trip, &decision);
    decision
}

/// What a model says of what is still to be done; `None` where none is asked or it does not answer.
pub(super) async fn ask_again(
    trip: &mut Trip,
    ask: &Ask,
    cascade: &Cascade,
    turns: &Turns<'_>,
) -> Option<Vec<Arc<str>>> {
    let shared = trip.worker.shared.clone();
    let decision = {
        let trip = &*trip;
        let question = Question {
            turns,
            header: &|_, _| false,
            tenant: trip.ask.tenant.as_deref(),
            tokens: trip.ask.tokens,
        };
        cascade
            .go_on(&question, &shared.answers, &shared.choices, async |body| {
                Box::pin(ask_model(trip, ask, body)).await
            })
            .await
    };
    if decision.passed.iter().any(|(step, why)| *step == Step::Model && *why == Reason::Off) {
        return None;
    }
    note(trip, &decision);
    let nobody = decision.passed.iter().any(|(_, why)| *why == Reason::Nobody);
    (nobody || !decision.names.is_empty()).then_some(decision.names)
}

/// The model that chooses is asked as any model is, with a row of its own in the log.
async fn ask_model(trip: &Trip, ask: &Ask, body: Bytes) -> Result<Bytes, Unanswered> {
    let Some(model) = trip.snapshot.chooser_model.clone() else { return Err(Unanswered::Failed) };
    let hop = Hop::to_model(trip, ask, Call::Chat, &model, body).map_err(|_| Unanswered::Failed)?;
    match read_hop(hop).await {
        Ok(reply) if reply.is_success() => Ok(reply.into_bytes()),
        _ if trip.left().is_some_and(|left| left.is_zero()) => Err(Unanswered::Abandoned),
        Ok(reply) if matches!(reply.status(), 400 | 422) => Err(Unanswered::Refused),
        _ => Err(Unanswered::Failed),
    }
}

fn note(trip: &mut Trip, decision: &Decision) {
    let probability = |probability: &f32| format!("{probability:.3}");
    let why = match &decision.rule {
        Some(rule) => rule.to_string(),
        None => decision.probabilities.iter().map(probability).collect::<Vec<_>>().join(", "),
    };
    trip.decisions.push(log::Decision {
        step: decision.step.as_str(),
        chosen: decision.names.clone(),
        why,
        candidates: decision.candidates.clone(),
        passed: decision.passed.iter().map(|(step, reason)| (step.as_str(), reason.as_str())).collect(),
        micros: u32::try_from(decision.micros).unwrap_or(u32::MAX),
    });
}
