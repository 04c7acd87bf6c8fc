//! When a session may leave a warm target: Plano's routing budget, with the arithmetic that its documentation promises.
//!
//! Every warm turn adds to the baseline what the context costs at the cached rate of the place where the episode began.
//! A switch costs what the context costs at the candidate, less what it costs at the anchor, whose cache is warm; what the
//! candidate still holds from an earlier visit is cheap there too. Switches may cost a share of the baseline and no more.

use http::{HeaderMap, HeaderName};

use crate::document::BudgetSettings;
use crate::sessions::pin::{Facts, Pin, Place, Rates};

const PERCENT: HeaderName = HeaderName::from_static("x-plano-max-switch-spend-pct");

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    /// 0 to 100, of the baseline.
    pub percent: f64,
    /// Whether a session that has gone cold begins again with nothing spent and nothing saved.
    pub replenish_on_rebind: bool,
    /// The cached rate as a share of the input's, where the price says none.
    pub cache_read_discount: f64,
}

impl From<BudgetSettings> for Budget {
    fn from(settings: BudgetSettings) -> Budget {
        let BudgetSettings { percent, replenish_on_rebind, cache_read_discount } = settings;
        Budget { percent, replenish_on_rebind, cache_read_discount }
    }
}

impl Budget {
    /// The budget of one request: the configured one, or what the client's header makes of it. The header also makes one
    /// where none is configured; one that is no number from 0 to 100 counts for nothing, as in Plano.
    pub fn of(configured: Option<Budget>, headers: &HeaderMap) -> Option<Budget> {
        let asked = headers
            .get(PERCENT)
            .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok())
            .filter(|percent| (0.0..=100.0).contains(percent));
        let Some(percent) = asked else { return configured };
        let base =
            configured.unwrap_or(Budget { percent, replenish_on_rebind: true, cache_read_discount: 0.1 });
        Some(Budget { percent, ..base })
    }

    fn rates(&self, rates: Rates) -> Option<(f64, f64)> {
        let sound = |rate: &f64| rate.is_finite() && *rate >= 0.0;
        let input = rates.input.filter(sound)?;
        Some((input, rates.cached.filter(sound).unwrap_or(input * self.cache_read_discount)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision {
    Stay,
    /// `cost` in USD, negative where the switch saves; one that is `free` takes nothing from the budget.
    Switch {
        cost: f64,
        free: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The candidate is where the session is.
    SameTarget,
    /// Without a budget a warm session stays.
    NoBudget,
    /// The switch costs nothing, or saves.
    Free,
    WithinBudget,
    OverBudget,
    /// The price of the candidate or of the anchor is not known: nobody can say that it is too dear.
    Unpriced,
}

impl Reason {
    pub const ALL: &[Reason] = &[
        Reason::SameTarget,
        Reason::NoBudget,
        Reason::Free,
        Reason::WithinBudget,
        Reason::OverBudget,
        Reason::Unpriced,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::SameTarget => "same_target",
            Reason::NoBudget => "no_budget",
            Reason::Free => "free",
            Reason::WithinBudget => "within_budget",
            Reason::OverBudget => "over_budget",
            Reason::Unpriced => "unpriced",
        }
    }
}

/// A decision, and what [`crate::sessions::Sessions::used`] needs to book it once the answer is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub decision: Decision,
    pub reason: Reason,
    /// USD that a switch to the candidate costs, also where it was not allowed; `None` where a price is missing.
    pub cost: Option<f64>,
    pub candidate: Place,
    /// USD that this turn adds to the baseline.
    pub turn: f64,
}

/// Decides for one turn of a warm session. `candidate` is whom the router would ask, `context` the prompt's length in
/// tokens ([`Pin::context`]), `facts` what the configuration says of a place.
pub(crate) fn decide(
    pin: &Pin,
    candidate: &Place,
    context: u64,
    facts: &dyn Fn(&Place) -> Facts,
    budget: Option<&Budget>,
    now: u64,
) -> Judgement {
    let judgement = |decision, reason, cost, turn| Judgement {
        decision,
        reason,
        cost,
        candidate: candidate.clone(),
        turn,
    };
    let anchor = &pin.anchor.place;
    let Some(budget) = budget else {
        let reason = if candidate == anchor { Reason::SameTarget } else { Reason::NoBudget };
        return judgement(Decision::Stay, reason, None, 0.0);
    };
    let at_anchor = budget.rates(facts(anchor).rates);
    // A target that has lost its price, or is gone, is measured by the one that took its place.
    let (_, default_cached) = budget.rates(facts(&pin.default).rates).or(at_anchor).unwrap_or_default();
    let turn = price(context, default_cached);
    let left = budget.percent / 100.0 * (pin.baseline + turn) - pin.spent;
    if candidate == anchor {
        return judgement(Decision::Stay, Reason::SameTarget, Some(0.0), turn);
    }
    let there = facts(candidate);
    let (Some((input, cached)), Some((_, anchor_cached))) = (budget.rates(there.rates), at_anchor) else {
        return judgement(Decision::Switch { cost: 0.0, free: true }, Reason::Unpriced, None, turn);
    };
    let held = pin
        .history
        .iter()
        .find(|visit| visit.place == *candidate && visit.is_warm(there.window_ms, now))
        .map_or(0, |visit| visit.cached_tokens.min(context));
    let cost = price(context - held, input) + price(held, cached) - price(context, anchor_cached);
    let (decision, reason) = if cost <= 0.0 {
        (Decision::Switch { cost, free: true }, Reason::Free)
    } else if cost <= left {
        (Decision::Switch { cost, free: false }, Reason::WithinBudget)
    } else {
        (Decision::Stay, Reason::OverBudget)
    };
    judgement(decision, reason, Some(cost), turn)
}

/// USD for so many tokens at a rate per million.
fn price(tokens: u64, rate: f64) -> f64 {
    // Counts of tokens are far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    let millions = tokens as f64 / 1e6;
    millions * rate
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sessions::pin::Visit;
    use crate::sessions::pin::tests::pin;

    const NOW: u64 = 1_000_000;

    fn budget(percent: f64) -> Budget {
        Budget { percent, replenish_on_rebind: true, cache_read_discount: 0.1 }
    }

    fn rates(input: f64, cached: f64) -> Rates {
        Rates { input: Some(input), cached: Some(cached) }
    }

    fn facts(anchor: Rates, candidate: Rates) -> impl Fn(&Place) -> Facts {
        move |place| Facts {
            rates: if place.target == "anchor" { anchor } else { candidate },
            window_ms: 300_000,
            ..Facts::default()
        }
    }

    #[test]
    fn the_worked_example_of_planos_guide() {
        // 100k tokens of context at 0.30 USD cached are 0.03 a turn; the candidate reads them anew for 0.50.
        let facts = facts(rates(3.0, 0.3), rates(5.0, 0.5));
        let mut pin = pin("anchor", NOW);
        let first = (1..=100).find(|_| {
            let judged =
                decide(&pin, &Place::new("candidate", "m"), 100_000, &facts, Some(&budget(25.0)), NOW);
            assert!((judged.turn - 0.03).abs() < 1e-12);
            assert!((judged.cost.unwrap() - 0.47).abs() < 1e-12);
            pin.baseline += judged.turn;
            matches!(judged.decision, Decision::Switch { free: false, .. })
        });
        assert_eq!(first, Some(63));
    }

    #[test]
    fn without_a_budget_a_warm_session_stays() {
        let facts = facts(rates(3.0, 0.3), rates(0.0, 0.0));
        let judged = decide(&pin("anchor", NOW), &Place::new("candidate", "m"), 1000, &facts, None, NOW);
        assert_eq!((judged.decision, judged.reason), (Decision::Stay, Reason::NoBudget));
    }

    #[test]
    fn a_price_that_is_not_known_stands_in_nobodys_way() {
        let known = rates(3.0, 0.3);
        for (anchor, candidate) in [(known, Rates::default()), (Rates::default(), known)] {
            let facts = facts(anchor, candidate);
            let to = Place::new("candidate", "m");
            let judged = decide(&pin("anchor", NOW), &to, 1000, &facts, Some(&budget(0.0)), NOW);
            assert_eq!(judged.decision, Decision::Switch { cost: 0.0, free: true });
            assert_eq!((judged.reason, judged.cost), (Reason::Unpriced, None));
        }
    }

    #[test]
    fn the_way_back_is_cheap_while_its_cache_is_warm() {
        let facts = facts(rates(3.0, 0.3), rates(3.0, 0.3));
        let to = Place::new("candidate", "m");
        let mut pin = pin("anchor", NOW);
        let cost = |pin: &Pin, now| decide(pin, &to, 100_000, &facts, Some(&budget(25.0)), now).cost.unwrap();
        assert!((cost(&pin, NOW) - 0.27).abs() < 1e-12);
        pin.history.push(Visit { place: to.clone(), last_used: NOW, cached_tokens: 60_000 });
        assert!((cost(&pin, NOW) - 0.108).abs() < 1e-12);
        assert!((cost(&pin, NOW + 300_001) - 0.27).abs() < 1e-12, "its cache has gone cold");
        pin.history[0].cached_tokens = 500_000;
        assert!(cost(&pin, NOW).abs() < 1e-12, "no more than the context is held");
    }

    #[test]
    fn a_cached_rate_that_is_missing_is_a_share_of_the_input() {
        let input = |input| Rates { input: Some(input), cached: None };
        let facts = facts(input(3.0), input(5.0));
        let to = Place::new("candidate", "m");
        let judged = decide(&pin("anchor", NOW), &to, 100_000, &facts, Some(&budget(25.0)), NOW);
        assert!((judged.turn - 0.03).abs() < 1e-12);
    }

    #[test]
    fn the_header_changes_a_budget_and_makes_one() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(PERCENT, value.parse().unwrap());
            headers
        };
        let configured = Budget { percent: 20.0, replenish_on_rebind: false, cache_read_discount: 0.5 };
        assert_eq!(Budget::of(Some(configured), &headers("5")), Some(Budget { percent: 5.0, ..configured }));
        assert_eq!(Budget::of(None, &headers("12.5")), Some(budget(12.5)));
        assert_eq!(Budget::of(None, &HeaderMap::new()), None);
        for nonsense in ["", "101", "-1", "NaN", "inf", "a lot"] {
            assert_eq!(Budget::of(Some(configured), &headers(nonsense)), Some(configured), "{nonsense}");
            assert_eq!(Budget::of(None, &headers(nonsense)), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn paid_switches_never_cost_more_than_their_share(
            percent in 0.0..=100.0_f64,
            prices in proptest::collection::vec((0.01..30.0_f64, 0.0..3.0_f64), 4),
            turns in proptest::collection::vec((0_usize..4, 0_u64..300_000), 1..80),
        ) {
            let facts = |place: &Place| {
                let at: usize = place.target.parse().unwrap_or(0);
                Facts { rates: rates(prices[at].0, prices[at].1), window_ms: 300_000, ..Facts::default() }
            };
            let mut pin = pin("0", NOW);
            for (target, context) in turns {
                let place = Place::new(&target.to_string(), "m");
                let judged = decide(&pin, &place, context, &facts, Some(&budget(percent)), NOW);
                pin.baseline += judged.turn;
                match judged.decision {
                    Decision::Stay => {}
                    Decision::Switch { cost, free } => {
                        prop_assert_eq!(free, cost <= 0.0);
                        if !free {
                            pin.spent += cost;
                        }
                        pin.move_to(&place);
                        pin.anchor.last_used = NOW;
                        pin.anchor.cached_tokens = context;
                    }
                }
                prop_assert!(pin.spent <= percent / 100.0 * pin.baseline + 1e-9);
            }
        }
    }
}
