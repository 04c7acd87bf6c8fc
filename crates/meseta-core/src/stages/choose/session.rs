//! The target that a session stays with: the one whose cache holds the beginning of its conversation.

use std::time::Instant;

use meseta_wire::json::Json;

use crate::document::Select;
use crate::endpoint::Call;
use crate::plan::Plan;
use crate::sessions::{
    Budget, Decision, Facts, Judgement, Pin, PinKey, Place, Session, Tenant, Turn, cache_is_off, decide, now,
    opening,
};
use crate::snapshot::Snapshot;
use crate::stages::read::Ask;
use crate::trip::Trip;

/// Finds the request's session, if it has one, and has the plan begin with the target that the session stays with.
pub(super) async fn stay(trip: &mut Trip, ask: &Ask, name: &str, plan: &mut Plan) {
    let (policy, snapshot) = (plan.policy.clone(), trip.snapshot.clone());
    let settings = &snapshot.sessions;
    let by_hash = policy.select == Select::SessionHash;
    // Pay only for what is used: nothing is read for a request whose target is no question.
    if !(policy.affinity || by_hash) || !plan.has_others() {
        return;
    }
    let tenant = Tenant::of(trip.ask.tenant.as_deref(), settings.tenant_header.as_deref(), &ask.headers);
    let explicit = Session::explicit(tenant, &ask.headers);
    let implicit = explicit.is_none() && (settings.implicit || by_hash) && !cache_is_off(&ask.headers);
    let budget = Budget::of(settings.budget.map(Budget::from), &ask.headers);
    // Whoever names its session need not be read, but for an account of what its cache is worth.
    let read = implicit || (explicit.is_some() && budget.is_some());
    let text = std::str::from_utf8(&ask.body).ok().filter(|_| read);
    let body = text.and_then(|text| Json::parse(text).ok());
    let opening = body.map(|body| opening(tenant, ask.call.dialect(), &body));
    let implicit = opening.and_then(|opening| opening.session).filter(|_| implicit);
    let Some(session) = explicit.or(implicit) else { return };
    plan.session = Some(session.hash());
    trip.ask.session.get_or_insert_with(|| session.to_string());
    // Only conversations are kept in caches.
    if !policy.affinity || !matches!(ask.call, Call::Chat | Call::Responses | Call::Messages) {
        return;
    }
    let prefix = opening.map(|opening| opening.prefix);
    let key = PinKey::new(&session, name);
    let sessions = &trip.worker.shared.sessions;
    let before = sessions.recall(&key, now()).await;
    let warm = before
        .as_ref()
        .filter(|pin| pin.is_warm(prefix, facts(&snapshot, &pin.anchor.place).window_ms, now()));
    let judgement = warm.and_then(|pin| judge(trip, plan, pin, budget.as_ref()));
    sessions.count(judgement.as_ref().map(|judgement| judgement.reason));
    trip.turn = Some(Box::new(Turn { key, prefix, before, judgement, budget }));
}

/// Whether the session stays. `None` when it cannot, because no member of the pool is the one that it was at.
fn judge(trip: &Trip, plan: &mut Plan, pin: &Pin, budget: Option<&Budget>) -> Option<Judgement> {
    plan.stay_with(&pin.anchor.place);
    let anchor = plan.pinned?;
    let favourite = plan.favourite(trip.ask.tokens, &trip.worker.dice, Instant::now()).unwrap_or(anchor);
    let candidate = plan.place(favourite)?;
    let facts = |place: &Place| facts(&trip.snapshot, place);
    let judgement = decide(pin, &candidate, pin.context(trip.ask.tokens), &facts, budget, now());
    if let Decision::Switch { .. } = judgement.decision {
        plan.pinned = Some(favourite);
    }
    Some(judgement)
}

fn facts(snapshot: &Snapshot, place: &Place) -> Facts {
    let target = snapshot.targets.iter().find(|target| *target.name == *place.target);
    target.map_or_else(Facts::default, |target| Facts::of(target, &snapshot.sessions))
}
