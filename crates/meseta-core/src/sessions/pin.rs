//! What is kept of a session: who answered last, what its cache holds, and what leaving it has cost so far.
//!
//! Other replicas read it as JSON, so times are of the wall clock (milliseconds since 1970), and what comes from there is
//! checked like anything else that comes from outside.

use std::time::{SystemTime, UNIX_EPOCH};

use meseta_wire::usage::Usage;
use serde::{Deserialize, Serialize};

use crate::document::{CacheMarks, SessionSettings};
use crate::snapshot::{Member, Target};

/// Targets that a session has been at before and whose caches may still be warm.
pub(super) const VISITS: usize = 8;

const VERSION: u32 = 1;

/// Names are no longer than this in what other replicas have written.
const NAME_BYTES: usize = 256;
const MOST_TOKENS: u64 = 1_000_000_000_000;
const MOST_MONEY: f64 = 1e9;
/// How far the clocks of two replicas may differ.
const SKEW_MS: u64 = 60_000;

/// A target and the model id that it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(crate) struct Place {
    pub target: String,
    pub model: String,
}

impl Place {
    pub fn new(target: &str, model: &str) -> Place {
        Place { target: target.to_owned(), model: model.to_owned() }
    }

    pub fn of(member: &Member) -> Place {
        Place::new(&member.target.name, &member.model)
    }

    pub fn is(&self, member: &Member) -> bool {
        *self.target == *member.target.name && *self.model == *member.model
    }

    fn is_sound(&self) -> bool {
        self.target.len() <= NAME_BYTES && self.model.len() <= NAME_BYTES
    }
}

/// What the configuration says of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub rates: Rates,
    /// How long its cache stays warm: `sessions.idle_ms`, or else the target's `prompt_cache.window_ms`. Nothing is ever
    /// warm where it is 0.
    pub window_ms: u64,
    /// The shortest prefix that it keeps.
    pub minimum_tokens: u64,
    /// Whether it keeps prompts unasked (`prompt_cache.marks: none`); otherwise only what is marked.
    pub automatic: bool,
}

impl Facts {
    pub fn of(target: &Target, settings: &SessionSettings) -> Facts {
        let rates = target
            .price
            .as_ref()
            .map_or_else(Rates::default, |price| Rates { input: price.input, cached: price.cached_input });
        let cache = target.prompt_cache;
        Facts {
            rates,
            window_ms: settings.idle_ms.unwrap_or(cache.window_ms),
            minimum_tokens: cache.minimum_tokens,
            automatic: cache.marks == CacheMarks::None,
        }
    }

    /// The tokens of a prompt that lie in the cache after an answer.
    pub fn kept(&self, usage: &Usage) -> u64 {
        let told = usage.cached.saturating_add(usage.cache_write);
        if self.automatic && usage.input >= self.minimum_tokens { told.max(usage.input) } else { told }
    }
}

/// USD per million tokens of input.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub input: Option<f64>,
    pub cached: Option<f64>,
}

/// A place where the session has been, as it was left.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Visit {
    pub place: Place,
    pub last_used: u64,
    pub cached_tokens: u64,
}

impl Visit {
    pub fn is_warm(&self, window_ms: u64, now: u64) -> bool {
        window_ms > 0
            && now.saturating_sub(self.last_used) <= window_ms
            && self.last_used <= now.saturating_add(SKEW_MS)
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Pin {
    /// Who answered last, when, and what its cache holds.
    pub anchor: Visit,
    /// Who answered first in this warm episode: what it would have cost to stay there is the budget's measure.
    pub default: Place,
    /// See [`crate::sessions::Opening`]. `None` where the request was not looked at.
    pub prefix: Option<u64>,
    /// The last prompt's length, as its provider counted it; 0 when none has.
    pub context_tokens: u64,
    /// USD that this episode would have cost so far at the default, whose cache is warm.
    pub baseline: f64,
    /// USD that its switches have cost beyond that.
    pub spent: f64,
    /// The latest first, at most [`VISITS`], never the anchor.
    pub history: Vec<Visit>,
}

/// The time of the wall, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Deserialize, Serialize)]
struct Stored<P> {
    v: u32,
    pin: P,
}

impl Pin {
    /// Whether the anchor's cache still holds the beginning of this request.
    pub fn is_warm(&self, prefix: Option<u64>, window_ms: u64, now: u64) -> bool {
        self.has_prefix(prefix) && self.anchor.is_warm(window_ms, now)
    }

    pub(super) fn has_prefix(&self, prefix: Option<u64>) -> bool {
        // A session that is named need not be read.
        self.prefix.is_none() || prefix.is_none() || self.prefix == prefix
    }

    /// The length of the next prompt, if nobody knows better: it is no shorter than the last one.
    pub fn context(&self, estimate: u64) -> u64 {
        if self.context_tokens > 0 { self.context_tokens } else { estimate }
    }

    /// Moves the anchor. The place that is left goes into the history, the one that is gone to comes out of it.
    pub(super) fn move_to(&mut self, place: &Place) {
        if self.anchor.place == *place {
            return;
        }
        let found = self.history.iter().position(|visit| visit.place == *place);
        let next = match found {
            Some(at) => self.history.remove(at),
            None => Visit { place: place.clone(), last_used: 0, cached_tokens: 0 },
        };
        let left = std::mem::replace(&mut self.anchor, next);
        self.history.insert(0, left);
        self.history.truncate(VISITS);
    }

    /// For other replicas.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Stored { v: VERSION, pin: self }).unwrap_or_default()
    }

    /// What another replica has written, if it is what one could have.
    pub(super) fn from_json(json: &[u8], now: u64) -> Option<Pin> {
        let stored: Stored<Pin> = serde_json::from_slice(json).ok()?;
        (stored.v == VERSION && stored.pin.is_sound(now)).then_some(stored.pin)
    }

    fn is_sound(&self, now: u64) -> bool {
        let money = |amount: f64| (0.0..=MOST_MONEY).contains(&amount);
        let visit = |visit: &Visit| {
            visit.place.is_sound()
                && visit.cached_tokens <= MOST_TOKENS
                && visit.last_used <= now.saturating_add(SKEW_MS)
        };
        visit(&self.anchor)
            && self.default.is_sound()
            && self.context_tokens <= MOST_TOKENS
            && money(self.baseline)
            && money(self.spent)
            && self.history.len() <= VISITS
            && self.history.iter().all(visit)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn pin(target: &str, now: u64) -> Pin {
        Pin {
            anchor: Visit { place: Place::new(target, "m"), last_used: now, cached_tokens: 0 },
            default: Place::new(target, "m"),
            prefix: Some(1),
            context_tokens: 0,
            baseline: 0.0,
            spent: 0.0,
            history: Vec::new(),
        }
    }

    #[test]
    fn warm_is_within_the_window_and_of_the_same_prefix() {
        let pin = pin("a", 1_000_000);
        assert!(pin.is_warm(Some(1), 300_000, 1_300_000));
        assert!(!pin.is_warm(Some(1), 300_000, 1_300_001));
        assert!(!pin.is_warm(Some(2), 300_000, 1_000_000));
        assert!(pin.is_warm(None, 300_000, 1_000_000), "a named session need not be read");
        assert!(!pin.is_warm(Some(1), 0, 1_000_000), "a provider without a cache is never warm");
        assert!(!pin.is_warm(Some(1), 300_000, 900_000), "a pin from the far future is no pin");
    }

    #[test]
    fn what_a_cache_holds_depends_on_who_keeps_it() {
        let usage = |input, cached, cache_write| Usage { input, cached, cache_write, ..Usage::default() };
        let automatic = Facts { automatic: true, minimum_tokens: 1024, ..Facts::default() };
        assert_eq!(automatic.kept(&usage(5000, 2048, 0)), 5000);
        assert_eq!(automatic.kept(&usage(1000, 0, 0)), 0);
        let marked = Facts { minimum_tokens: 1024, ..Facts::default() };
        assert_eq!(marked.kept(&usage(5000, 3000, 1500)), 4500);
        assert_eq!(marked.kept(&usage(5000, 0, 0)), 0);
    }

    #[test]
    fn what_a_hostile_neighbour_writes_is_no_pin() {
        let now = 1_000_000;
        let good = String::from_utf8(pin("a", now).to_json()).unwrap();
        assert_eq!(Pin::from_json(good.as_bytes(), now), Some(pin("a", now)));
        for (from, to) in [
            ("\"baseline\":0.0", "\"baseline\":-1.0"),
            ("\"spent\":0.0", "\"spent\":1e300"),
            ("\"v\":1", "\"v\":2"),
            ("\"last_used\":1000000", "\"last_used\":18446744073709551615"),
            ("\"cached_tokens\":0", "\"cached_tokens\":18446744073709551615"),
            ("\"context_tokens\":0", "\"context_tokens\":-1"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert_eq!(Pin::from_json(bad.as_bytes(), now), None, "{bad}");
        }
        let long = good.replace("\"m\"", &format!("\"{}\"", "x".repeat(NAME_BYTES + 1)));
        assert_eq!(Pin::from_json(long.as_bytes(), now), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pin::from_json(&bytes, 1);
        }

        #[test]
        fn a_walk_keeps_the_history_short_and_without_the_anchor(steps in proptest::collection::vec(0_u8..12, 1..60)) {
            let mut pin = pin("start", 0);
            for (at, step) in steps.iter().enumerate() {
                pin.move_to(&Place::new(&step.to_string(), "m"));
                pin.anchor.last_used = at as u64;
                prop_assert!(pin.history.len() <= VISITS);
                prop_assert!(pin.history.iter().all(|visit| visit.place != pin.anchor.place));
                let mut places: Vec<_> = pin.history.iter().map(|visit| &visit.place.target).collect();
                places.sort();
                places.dedup();
                prop_assert_eq!(places.len(), pin.history.len());
                prop_assert!(pin.history.is_sorted_by_key(|visit| std::cmp::Reverse(visit.last_used)));
            }
            prop_assert!(pin.to_json().len() < 4096);
        }
    }
}
