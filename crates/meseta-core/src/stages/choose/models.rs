//! The models that a conversation is brought to by what it is about: the operator's rules and the routing preferences.

use std::sync::Arc;
use std::time::Instant;

use meseta_select::route::Route;
use meseta_select::turns::Turns;
use meseta_wire::json::Json;

use crate::endpoint::Call;
use crate::log;
use crate::select::{PreferenceDocument, Speeds, Trial, rank};
use crate::sessions::{Choice, Session, Tenant, cache_is_off, opening};
use crate::snapshot::{Named, Snapshot};
use crate::stages::choose::chooser;
use crate::stages::read::Ask;
use crate::trip::Trip;

/// Of the requests that a preference for the fastest model has, one in so many may measure again what is old.
const REMEASURED: u64 = 10;

/// Names in the order in which they are to be asked, each with what it stands for. Nobody where nothing fits. With `decide`,
/// nobody will be asked.
pub(super) async fn models(trip: &mut Trip, ask: &Ask, decide: bool) -> Vec<(Arc<str>, Named)> {
    // Pay only for what is used: nothing is read where there is nothing to choose from.
    if are_chosen(&trip.snapshot, ask) { Box::pin(chosen(trip, ask, decide)).await } else { Vec::new() }
}

fn are_chosen(snapshot: &Snapshot, ask: &Ask) -> bool {
    let nothing = preferences(snapshot, ask).is_empty() && snapshot.models.has_no_rules();
    !nothing && matches!(ask.call, Call::Chat | Call::Responses | Call::Messages)
}

/// The request's own go before those of the configuration.
fn preferences<'a>(snapshot: &'a Snapshot, ask: &'a Ask) -> &'a [PreferenceDocument] {
    ask.preferences.as_deref().unwrap_or(&snapshot.preferences)
}

async fn chosen(trip: &mut Trip, ask: &Ask, decide: bool) -> Vec<(Arc<str>, Named)> {
    let snapshot = trip.snapshot.clone();
    let preferences = preferences(&snapshot, ask);
    let text = std::str::from_utf8(&ask.body).unwrap_or_default();
    let json = Json::parse(text).unwrap_or(Json::Null);
    let turns = Turns::read(ask.call.dialect(), &json);
    let place = snapshot.user_turns_only.then(|| place(trip, ask, &json)).flatten();
    if !turns.user_turn
        && let Some(place) = place
        && let Some(choice) = trip.worker.shared.last_choices.last(place, Instant::now())
    {
        let found = find(trip, choice.names.iter().cloned());
        // That nothing fitted holds for the whole turn too; names that a reload took away are chosen anew.
        if choice.names.is_empty() || !found.is_empty() {
            replay(trip, &choice, &found);
            return found;
        }
    }
    let decision = if ask.preferences.is_some() {
        let routes: Vec<Route> = preferences.iter().map(PreferenceDocument::route).collect();
        let cascade = snapshot.models.over(routes);
        chooser::run(trip, ask, &cascade, &turns).await
    } else {
        chooser::run(trip, ask, &snapshot.models, &turns).await
    };
    let mut found: Vec<(Arc<str>, Named)> = Vec::new();
    for name in &decision.names {
        match preferences.iter().find(|preference| *preference.name == **name) {
            Some(preference) => {
                if trip.ask.route.is_none() {
                    trip.ask.route = Some(name.clone());
                }
                let trial = match trip.worker.dice.roll() % REMEASURED {
                    _ if decide => Trial::Nobody,
                    0 => Trial::NewAndOld,
                    _ => Trial::New,
                };
                let own = &trip.worker.shared.paces;
                let speeds = Speeds { told: &snapshot.latencies, own, trial, now: Instant::now() };
                let find = |name: &str| snapshot.find(name);
                let ranked = rank(&preference.models, preference.prefer, &speeds, find);
                found.extend(ranked.into_iter().map(|(name, named)| (name.into(), named)));
            }
            None => found.extend(find(trip, std::iter::once(name.clone()))),
        }
    }
    if let Some(place) = place {
        let names = found.iter().map(|(name, _)| name.clone()).collect();
        let choice = Choice { names, route: trip.ask.route.clone() };
        let most = trip.snapshot.sessions.max_entries;
        trip.worker.shared.last_choices.keep(place, choice, most, Instant::now());
    }
    found
}

fn find(trip: &Trip, names: impl Iterator<Item = Arc<str>>) -> Vec<(Arc<str>, Named)> {
    names.filter_map(|name| trip.snapshot.find(&name).map(|named| (name, named))).collect()
}

/// The session's place among those whose choices are remembered; another model asked for is another place.
fn place(trip: &Trip, ask: &Ask, body: &Json<'_>) -> Option<u64> {
    let header = trip.snapshot.sessions.tenant_header.as_deref();
    let tenant = Tenant::of(trip.ask.tenant.as_deref(), header, &ask.headers);
    let session = Session::explicit(tenant, &ask.headers).or_else(|| {
        let implicit = !cache_is_off(&ask.headers);
        implicit.then(|| opening(tenant, ask.call.dialect(), body).session).flatten()
    })?;
    let lane = ask.envelope.model.as_deref().unwrap_or_default();
    Some(lane.bytes().fold(session.hash(), |hash, byte| crate::health::random::mix(hash ^ u64::from(byte))))
}

/// An agent goes on by itself: it stays with what was chosen for the user's turn.
fn replay(trip: &mut Trip, choice: &Choice, found: &[(Arc<str>, Named)]) {
    trip.ask.route.clone_from(&choice.route);
    trip.decisions.push(log::Decision {
        step: "replayed",
        chosen: found.iter().map(|(name, _)| name.clone()).collect(),
        why: "not a turn of the user".to_owned(),
        candidates: Vec::new(),
        passed: Vec::new(),
        micros: 0,
    });
}
