//! The target that a session stays with: the one whose cache holds the beginning of its conversation.

use std::sync::Arc;
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
/// `routed` says that the plan is what the conversation was brought to, and another one may follow from its next turn:
/// with a budget, leaving the model of the turn before is weighed too.
pub(super) async fn stay(trip: &mut Trip, ask: &Ask, name: &str, plan: &mut Plan, routed: bool) {
    let (policy, snapshot) = (plan.policy.clone(), trip.snapshot.clone());
    let settings = &snapshot.sessions;
    let by_hash = policy.select == Select::SessionHash;
    let budget = Budget::of(settings.budget.map(Budget::from), &ask.headers);
    let across = routed && budget.is_some();
    // Pay only for what is used: nothing is read for a request whose target is no question.
    if !across && (!(policy.affinity || by_hash) || !plan.has_others()) {
        return;
    }
    let tenant = Tenant::of(trip.ask.tenant.as_deref(), settings.tenant_header.as_deref(), &ask.headers);
    let explicit = Session::explicit(tenant, &ask.headers);
    let implicit = explicit.is_none() && (settings.implicit || by_hash) && !cache_is_off(&ask.headers);
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
    if !(policy.affinity || across) || !matches!(ask.call, Call::Chat | Call::Responses | Call::Messages) {
        return;
    }
    let prefix = opening.map(|opening| opening.prefix);
    // What a conversation is brought to changes with it: its turns share one pin.
    let key = PinKey::new(&session, if across { "" } else { name });
    let sessions = &trip.worker.shared.sessions;
    let before = sessions.recall(&key, now()).await;
    let warm = before
        .as_ref()
        .filter(|pin| pin.is_warm(prefix, facts(&snapshot, &pin.anchor.place).window_ms, now()));
    let judgement = warm.and_then(|pin| {
        let judged = judge(trip, plan, pin, budget.as_ref());
        if judged.is_none() && across { judge_across(trip, plan, pin, budget.as_ref()) } else { judged }
    });
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

/// The same where the plan leads to another model than the session is at: one that is too dear to leave goes first.
fn judge_across(trip: &Trip, plan: &mut Plan, pin: &Pin, budget: Option<&Budget>) -> Option<Judgement> {
    let anchor = &pin.anchor.place;
    let favourite = plan.favourite(trip.ask.tokens, &trip.worker.dice, Instant::now())?;
    let candidate = plan.place(favourite)?;
    let facts = |place: &Place| facts(&trip.snapshot, place);
    let judgement = decide(pin, &candidate, pin.context(trip.ask.tokens), &facts, budget, now());
    if judgement.decision == Decision::Stay && candidate != *anchor {
        let name: Arc<str> = match anchor.target.strip_suffix('*') {
            Some(prefix) => format!("{prefix}{}", anchor.model).into(),
            None => anchor.target.as_str().into(),
        };
        let named = trip.snapshot.find(&name)?;
        let others: Vec<Arc<str>> = plan.names().cloned().collect();
        *plan = Plan::new(trip.snapshot.clone(), name, named);
        plan.then(others.into_iter());
    }
    Some(judgement)
}

fn facts(snapshot: &Snapshot, place: &Place) -> Facts {
    let target = snapshot.targets.iter().find(|target| *target.name == *place.target);
    target.map_or_else(Facts::default, |target| Facts::of(target, &snapshot.sessions))
}
