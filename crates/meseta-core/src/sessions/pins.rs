//! Where each session is pinned: a bounded table of this process, and through the shared store that of its neighbours.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use meseta_wire::usage::Usage;

use crate::document::hex;
use crate::sessions::budget::{Budget, Decision, Judgement, Reason};
use crate::sessions::key::{Scope, Session, digest, front};
use crate::sessions::pin::{Facts, Pin, Place, Visit};
use crate::shared::{self, SharedState};

/// Pins that are looked at for their age whenever one is written: more than one, so that the old leave faster than the new
/// come.
const SWEPT: usize = 4;

/// The longest that the shared store keeps a pin.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A session and the name that it asked for: one conversation may talk to several models, each with a cache of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PinKey {
    scope: Scope,
    digest: [u8; 16],
}

impl PinKey {
    pub fn new(session: &Session, requested: &str) -> PinKey {
        let digest = digest(&[session.scope.bytes(), session.bytes(), requested.as_bytes()]);
        PinKey { scope: session.scope, digest: front(&digest) }
    }

    /// In the shared store.
    fn name(&self) -> String {
        format!("pin:{}:{}", self.scope, hex(&self.digest))
    }
}

/// One answer of a session.
pub(crate) struct Used<'a> {
    /// Who gave it.
    pub place: &'a Place,
    pub prefix: Option<u64>,
    /// `None` when the provider told none.
    pub usage: Option<&'a Usage>,
    /// Of [`crate::sessions::decide`], where the session was warm.
    pub judgement: Option<&'a Judgement>,
    pub budget: Option<&'a Budget>,
    /// What the configuration says of `place`.
    pub facts: Facts,
}

#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    shared: ArcSwapOption<SharedState>,
    /// Requests of sessions by what became of their pins; the last is of those that had no warm one.
    decisions: [AtomicU64; Reason::ALL.len() + 1],
}

impl Sessions {
    /// From now on the replicas of `shared` know the pins too.
    pub fn share(&self, shared: SharedState) {
        self.shared.store(Some(shared.into()));
    }

    /// Lets the shared store go, whose thread ends by that.
    pub fn unshare(&self) {
        self.shared.store(None);
    }

    pub fn shared(&self) -> Option<shared::Stats> {
        self.shared.load().as_ref().map(|shared| shared.stats())
    }

    pub fn len(&self) -> usize {
        self.lock(|table| table.pins.len())
    }

    /// Counts what was decided for a request; `None` where no warm target of the pool had the session.
    pub fn count(&self, reason: Option<Reason>) {
        let at = reason.map_or(Reason::ALL.len(), |reason| reason as usize);
        if let Some(count) = self.decisions.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each was decided so far.
    pub fn decisions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Reason::ALL.iter().map(|reason| reason.as_str()).chain(["cold"]);
        names.zip(&self.decisions).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// What is known of a session, whether it is warm or not ([`Pin::is_warm`]). Of what this replica and its neighbours
    /// know, the latest counts. Waits for the neighbours no longer than the shared store's time-out.
    pub async fn recall(&self, key: &PinKey, now: u64) -> Option<Pin> {
        let own = self.lock(|table| table.pins.get(key).map(|entry| entry.pin.clone()));
        let Some(shared) = self.shared.load_full() else { return own };
        let theirs = shared.get(&key.name()).await.and_then(|json| Pin::from_json(&json, now));
        match (own, theirs) {
            (Some(own), Some(theirs)) if own.anchor.last_used >= theirs.anchor.last_used => Some(own),
            (own, theirs) => theirs.or(own),
        }
    }

    /// Books an answer of a session that was recalled as `before`. `max_entries` is the size of the table. Answers of one
    /// session at the same time are booked one after the other here; of two replicas the later one stands.
    pub fn used(
        &self,
        key: PinKey,
        before: Option<Pin>,
        used: &Used<'_>,
        max_entries: usize,
        now: u64,
    ) -> Pin {
        let pin = self.lock(|table| {
            let own = table.pins.get(&key).map(|entry| entry.pin.clone());
            let latest = match (own, before) {
                (Some(own), Some(before)) if before.anchor.last_used > own.anchor.last_used => Some(before),
                (own, before) => own.or(before),
            };
            let pin = booked(latest, used, now);
            table.put(key, pin.clone(), now.saturating_add(used.facts.window_ms));
            table.sweep(max_entries, now);
            pin
        });
        let warm = Duration::from_millis(used.facts.window_ms).min(LONGEST);
        if let Some(shared) = self.shared.load().as_ref().filter(|_| !warm.is_zero()) {
            shared.put(&key.name(), pin.to_json(), warm);
        }
        pin
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The pin after an answer.
fn booked(before: Option<Pin>, used: &Used<'_>, now: u64) -> Pin {
    // A session that was warm when its request came does not go cold by the time that the answer takes.
    let goes_on = |pin: &Pin| {
        pin.has_prefix(used.prefix)
            && (used.judgement.is_some() || pin.anchor.is_warm(used.facts.window_ms, now))
    };
    let mut pin = match before {
        Some(pin) if goes_on(&pin) => went_on(pin, used),
        before => begun(before.as_ref(), used),
    };
    pin.prefix = used.prefix.or(pin.prefix);
    pin.anchor.last_used = now;
    if let Some(usage) = used.usage {
        pin.anchor.cached_tokens = used.facts.kept(usage);
        pin.context_tokens = usage.input;
    }
    pin
}

fn went_on(mut pin: Pin, used: &Used<'_>) -> Pin {
    if let Some(judged) = used.judgement {
        pin.baseline += judged.turn;
        // Money is spent where the router's wish was granted and came true, not where another target had to help out.
        if let Decision::Switch { cost, free: false } = judged.decision
            && judged.candidate == *used.place
        {
            pin.spent += cost;
        }
    }
    if pin.anchor.place != *used.place {
        pin.move_to(used.place);
    }
    pin
}

/// A new episode: no cache of the old one is of use.
fn begun(before: Option<&Pin>, used: &Used<'_>) -> Pin {
    let carried = before.filter(|_| used.budget.is_some_and(|budget| !budget.replenish_on_rebind));
    let (baseline, spent) = carried.map_or((0.0, 0.0), |pin| (pin.baseline, pin.spent));
    Pin {
        anchor: Visit { place: used.place.clone(), last_used: 0, cached_tokens: 0 },
        default: used.place.clone(),
        prefix: None,
        context_tokens: 0,
        baseline,
        spent,
        history: Vec::new(),
    }
}

#[derive(Default)]
struct Table {
    pins: HashMap<PinKey, Entry>,
    /// By when they were written, the oldest first.
    order: BTreeMap<u64, PinKey>,
    written: u64,
}

struct Entry {
    pin: Pin,
    place: u64,
    expires: u64,
}

impl Table {
    fn put(&mut self, key: PinKey, pin: Pin, expires: u64) {
        self.written += 1;
        let entry = Entry { pin, place: self.written, expires };
        if let Some(old) = self.pins.insert(key, entry) {
            self.order.remove(&old.place);
        }
        self.order.insert(self.written, key);
    }

    /// Lets the oldest go while there are too many, and a few of those whose time is over.
    fn sweep(&mut self, max_entries: usize, now: u64) {
        let mut looked = 0;
        while let Some((place, key)) = self.order.first_key_value().map(|(place, key)| (*place, *key)) {
            let over = self.pins.get(&key).is_none_or(|entry| entry.expires < now);
            looked += 1;
            if self.pins.len() <= max_entries && (!over || looked > SWEPT) {
                return;
            }
            self.order.remove(&place);
            self.pins.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::sessions::budget::{Reason, decide};
    use crate::sessions::key::Tenant;
    use crate::sessions::pin::Rates;

    const WINDOW: u64 = 300_000;

    fn key(session: &str, requested: &str) -> PinKey {
        let mut headers = HeaderMap::new();
        headers.insert("x-meseta-session", session.parse().unwrap());
        PinKey::new(&Session::explicit(Tenant::Nobody, &headers).unwrap(), requested)
    }

    fn facts(_: &Place) -> Facts {
        Facts {
            rates: Rates { input: Some(3.0), cached: Some(0.3) },
            window_ms: WINDOW,
            minimum_tokens: 1024,
            automatic: true,
        }
    }

    fn used<'a>(place: &'a Place, usage: &'a Usage) -> Used<'a> {
        Used {
            place,
            prefix: Some(1),
            usage: Some(usage),
            judgement: None,
            budget: None,
            facts: facts(place),
        }
    }

    fn answer(sessions: &Sessions, key: PinKey, place: &Place, now: u64) -> Pin {
        let usage = Usage { input: 100_000, ..Usage::default() };
        let before = sessions.lock(|table| table.pins.get(&key).map(|entry| entry.pin.clone()));
        sessions.used(key, before, &used(place, &usage), 100, now)
    }

    #[test]
    fn one_conversation_has_a_pin_for_each_name_that_it_asks_for() {
        assert_ne!(key("s", "smart"), key("s", "fast"));
        assert_ne!(key("s", "smart").name(), key("t", "smart").name());
        assert!(key("s", "smart").name().starts_with("pin:"));
    }

    #[tokio::test]
    async fn an_answer_pins_its_session() {
        let sessions = Sessions::default();
        let (a, b) = (Place::new("a", "m"), Place::new("b", "m"));
        assert_eq!(sessions.recall(&key("s", "smart"), 1000).await, None);
        answer(&sessions, key("s", "smart"), &a, 1000);
        let pin = sessions.recall(&key("s", "smart"), 2000).await.unwrap();
        assert_eq!((&pin.anchor.place, pin.anchor.cached_tokens, pin.context(7)), (&a, 100_000, 100_000));
        // Another target had to help out: the session goes with it, and nothing is charged.
        let pin = answer(&sessions, key("s", "smart"), &b, 3000);
        assert_eq!((&pin.anchor.place, pin.spent), (&b, 0.0));
        assert_eq!(pin.history.first().map(|visit| &visit.place), Some(&a));
        assert_eq!(pin.default, a);
        // Back again, within the window: what it held is still there.
        let pin = answer(&sessions, key("s", "smart"), &a, 4000);
        assert_eq!((&pin.anchor.place, pin.history.len()), (&a, 1));
        // Cold: a new episode.
        let pin = answer(&sessions, key("s", "smart"), &b, 4000 + WINDOW + 1);
        assert_eq!((&pin.default, pin.history.len()), (&b, 0));
    }

    #[test]
    fn a_new_prefix_begins_a_new_episode() {
        let sessions = Sessions::default();
        let (place, usage) = (Place::new("a", "m"), Usage::default());
        let mut turn = used(&place, &usage);
        let first = sessions.used(key("s", "smart"), None, &turn, 100, 1000);
        turn.prefix = Some(2);
        let other = Place::new("b", "m");
        turn.place = &other;
        let second = sessions.used(key("s", "smart"), Some(first), &turn, 100, 2000);
        assert_eq!((&second.default, second.prefix, second.history.len()), (&other, Some(2), 0));
    }

    #[test]
    fn turns_and_switches_are_booked_and_carried_over_a_cold_spell_if_so_configured() {
        for replenish_on_rebind in [true, false] {
            let budget = Budget { percent: 100.0, replenish_on_rebind, cache_read_discount: 0.1 };
            let sessions = Sessions::default();
            let (a, b) = (Place::new("a", "m"), Place::new("b", "m"));
            let mut pin = answer(&sessions, key("s", "smart"), &a, 1000);
            let usage = Usage { input: 100_000, ..Usage::default() };
            let mut now = 1000;
            let mut stayed = 0;
            loop {
                now += 1000;
                let judged = decide(&pin, &b, pin.context(0), &facts, Some(&budget), now);
                let switched = judged.reason == Reason::WithinBudget;
                let place = if switched { &b } else { &a };
                let turn = Used { judgement: Some(&judged), budget: Some(&budget), ..used(place, &usage) };
                pin = sessions.used(key("s", "smart"), Some(pin), &turn, 100, now);
                if switched {
                    break;
                }
                stayed += 1;
            }
            // 0.30 - 0.03 against 0.03 a turn: the ninth turn pays for it.
            assert_eq!(stayed, 8);
            assert!((pin.baseline - 0.27).abs() < 1e-9 && (pin.spent - 0.27).abs() < 1e-9);
            let cold = Used { budget: Some(&budget), ..used(&a, &usage) };
            let pin = sessions.used(key("s", "smart"), Some(pin), &cold, 100, now + WINDOW + 1);
            assert_eq!(pin.spent > 0.0, !replenish_on_rebind);
        }
    }

    #[test]
    fn a_switch_is_paid_for_only_where_it_came_true() {
        let budget = Budget { percent: 100.0, replenish_on_rebind: true, cache_read_discount: 0.1 };
        let [a, b, c] = ["a", "b", "c"].map(|target| Place::new(target, "m"));
        let usage = Usage { input: 100_000, ..Usage::default() };
        for (answered, spent) in [(&a, 0.0), (&b, 0.27), (&c, 0.0)] {
            let sessions = Sessions::default();
            let mut pin = answer(&sessions, key("s", "smart"), &a, 1000);
            pin.baseline = 1.0;
            pin.anchor.last_used = 1001;
            let judged = decide(&pin, &b, pin.context(0), &facts, Some(&budget), 2000);
            assert_eq!(judged.reason, Reason::WithinBudget);
            let turn = Used { judgement: Some(&judged), budget: Some(&budget), ..used(answered, &usage) };
            let pin = sessions.used(key("s", "smart"), Some(pin), &turn, 100, 2000);
            assert!((pin.spent - spent).abs() < 1e-9, "{answered:?} {}", pin.spent);
            assert!((pin.baseline - 1.03).abs() < 1e-9, "the turn counts, whoever answered it");
        }
    }

    #[test]
    fn the_old_leave() {
        let sessions = Sessions::default();
        let place = Place::new("a", "m");
        for at in 0..10 {
            answer(&sessions, key(&at.to_string(), "smart"), &place, 1000);
        }
        assert_eq!(sessions.len(), 10);
        for at in 0..4 {
            answer(&sessions, key("new", "smart"), &place, 2000 + WINDOW + at);
        }
        assert_eq!(sessions.len(), 1);
    }

    proptest! {
        #[test]
        fn the_table_never_grows_beyond_its_bound(
            steps in proptest::collection::vec((0_u8..40, 0_u64..50_000), 1..200),
            most in 1_usize..20,
        ) {
            let sessions = Sessions::default();
            let (place, usage) = (Place::new("a", "m"), Usage::default());
            let mut now = 1;
            for (session, later) in steps {
                now += later;
                let key = key(&session.to_string(), "smart");
                sessions.used(key, None, &used(&place, &usage), most, now);
                sessions.lock(|table| {
                    assert!(table.pins.len() <= most);
                    assert_eq!(table.pins.len(), table.order.len());
                    assert!(table.pins.contains_key(&key), "the newest is always there");
                });
            }
        }
    }
}
