//! The order of a preference's models: the first is asked, the others are its fallbacks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Instant;

use crate::pool::Member;
use crate::select::paces::{Paces, Trial};
use crate::select::settings::Prefer;
use crate::snapshot::Named;

/// What is known of how fast models are.
pub(crate) struct Speeds<'s> {
    /// What others have measured, by the models' names.
    pub told: &'s BTreeMap<String, f64>,
    pub own: &'s Paces,
    /// What this request may find out.
    pub trial: Trial,
    pub now: Instant,
}

/// The models in the order in which they are to be asked. Those of which nothing is known stay behind the others, as they
/// were written; one that `find` does not know is left out. Where the fastest is wanted and nobody tells who that is, a model
/// that was not measured, or long ago, may go first, so that it is.
pub(crate) fn rank<'m>(
    models: &'m [String],
    prefer: Prefer,
    speeds: &Speeds<'_>,
    find: impl Fn(&str) -> Option<Named>,
) -> Vec<(&'m str, Named)> {
    let mut ranked: Vec<(&str, Named, Merit)> = models
        .iter()
        .filter_map(|name| {
            let named = find(name)?;
            let merit = match prefer {
                Prefer::None => Merit::Unknown,
                Prefer::Cheapest => Merit::of(None, price(&named)),
                Prefer::Fastest => {
                    Merit::of(told(speeds.told, name, &named), speeds.own.median(members(&named)))
                }
            };
            Some((name.as_str(), named, merit))
        })
        .collect();
    // What others say goes before what we measure, so where they say something there is nothing to find out.
    let is_told = ranked.iter().any(|(_, _, merit)| matches!(merit, Merit::Told(_)));
    let tried = if prefer == Prefer::Fastest && !is_told && ranked.len() > 1 {
        let due = |(_, named, _): &(&str, Named, Merit)| {
            speeds.own.try_out(members(named), speeds.trial, speeds.now)
        };
        ranked.iter().position(due).map(|at| ranked.remove(at))
    } else {
        None
    };
    ranked.sort_by(|(_, _, one), (_, _, other)| one.order(*other));
    tried.into_iter().chain(ranked).map(|(name, named, _)| (name, named)).collect()
}

/// What speaks for a model; less is better. What others have measured may have any unit, so it goes before our own
/// measurements and is never compared with them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Merit {
    Told(f64),
    Own(f64),
    Unknown,
}

impl Merit {
    fn of(told: Option<f64>, own: Option<f64>) -> Merit {
        told.map(Merit::Told).or(own.map(Merit::Own)).unwrap_or(Merit::Unknown)
    }

    fn order(self, other: Merit) -> Ordering {
        match (self, other) {
            (Merit::Told(one), Merit::Told(other)) | (Merit::Own(one), Merit::Own(other)) => {
                one.total_cmp(&other)
            }
            (Merit::Unknown, Merit::Unknown) => Ordering::Equal,
            (Merit::Told(_), _) | (_, Merit::Unknown) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

/// Which member of a pool answers is not known yet: it is as good as the best of them.
fn members(named: &Named) -> &[Member] {
    match named {
        Named::Pool(pool) => pool.members.as_slice(),
        Named::Model(member) => std::slice::from_ref(member),
    }
}

/// Of a million tokens in and a million out.
fn price(named: &Named) -> Option<f64> {
    let of = |member: &Member| {
        let price = member.target.price.as_ref()?;
        Some(price.input? + price.output?)
    };
    members(named).iter().filter_map(of).min_by(f64::total_cmp)
}

/// By the model's name, or by the bare id that providers know.
fn told(latencies: &BTreeMap<String, f64>, name: &str, named: &Named) -> Option<f64> {
    let by_id = || match named {
        Named::Model(member) => latencies.get(&*member.model),
        Named::Pool(_) => None,
    };
    latencies.get(name).or_else(by_id).copied().filter(|latency| latency.is_finite())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::health::Health;
    use crate::pool::Pool;
    use crate::target::Target;

    fn target(name: &str, price: &Value) -> Arc<Target> {
        let document = json!({
            "name": name, "provider": "sim", "model": format!("id-{name}"), "dialects": ["openai_chat"],
            "base_url": "http://127.0.0.1:1/v1", "paths": {"chat_completions": "/chat/completions"}, "query": "",
            "credentials": [{"type": "none"}], "headers": {}, "default_headers": {}, "forward_headers": [],
            "http_version": "auto", "ask_stream_usage": true, "max_output_tokens": 8192,
            "quirks": {"max_tokens_field": "max_tokens", "developer_role": true, "cache_control": false,
                "reasoning": "none", "json_schema": true, "drop": []},
            "timeouts": {"connect_ms": 1, "first_token_ms": 1, "idle_ms": 1, "total_ms": 1},
            "limits": {"concurrency": 0, "queue": 0, "queue_ms": 0},
            "health": {"failures": 5, "error_percent": 50, "minimum_requests": 20, "window_ms": 30_000,
                "rest_ms": 10_000, "rest_max_ms": 300_000, "ramp_ms": 15_000},
            "probe": null, "price": price,
            "prompt_cache": {"window_ms": 0, "minimum_tokens": 1024, "marks": "none"},
        });
        Arc::new(Target::compile(serde_json::from_value(document).unwrap(), &Health::new()).unwrap())
    }

    fn priced(input: f64, output: Option<f64>) -> Value {
        json!({"input": input, "cached_input": null, "cache_write": null, "output": output, "source": "test"})
    }

    /// Targets by their names, each with the id `id-NAME`, and how fast they are.
    struct Street {
        targets: Vec<Arc<Target>>,
        paces: Paces,
        now: Instant,
    }

    impl Street {
        fn of(targets: impl Into<Vec<Arc<Target>>>) -> Street {
            Street { targets: targets.into(), paces: Paces::default(), now: Instant::now() }
        }

        fn member(&self, name: &str) -> Option<Member> {
            let target = self.targets.iter().find(|target| &*target.name == name)?;
            Some(Member::plain(target.clone(), format!("id-{name}").into()))
        }

        fn takes(&self, name: &str, milliseconds: u64) {
            self.paces.observe(&self.member(name).unwrap(), Duration::from_millis(milliseconds), self.now);
        }

        /// What is asked first, second and so on; `pool` is a pool of all.
        fn ranked(
            &self,
            written: &[&str],
            prefer: Prefer,
            told: &[(&str, f64)],
            trial: Trial,
        ) -> Vec<String> {
            let models: Vec<String> = written.iter().map(|name| (*name).to_owned()).collect();
            let told: BTreeMap<String, f64> =
                told.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            let find = |name: &str| {
                if name == "pool" { Some(self.pool()) } else { self.member(name).map(Named::Model) }
            };
            let speeds = Speeds { told: &told, own: &self.paces, trial, now: self.now };
            rank(&models, prefer, &speeds, find).into_iter().map(|(name, _)| name.to_owned()).collect()
        }

        fn pool(&self) -> Named {
            let by_name: HashMap<String, Arc<Target>> =
                self.targets.iter().map(|target| (target.name.to_string(), target.clone())).collect();
            let members: Vec<Value> = by_name
                .keys()
                .map(|name| json!({"target": name, "model": null, "weight": 1.0, "priority": 0}))
                .collect();
            let document = json!({
                "name": "pool", "select": "priority", "members": members, "fallback": [], "hedge": null,
                "retry": {"attempts": 1, "base_ms": 1, "max_ms": 1, "on": []}, "resume": "text",
                "affinity": false, "timeouts": null,
            });
            let pool = Pool::compile(serde_json::from_value(document).unwrap(), &by_name, None).unwrap();
            Named::Pool(Arc::new(pool))
        }

        /// Who is asked by so many requests in a row, each of which is answered after the time that its model takes.
        fn asked(
            &mut self,
            written: &[&str],
            trial: Trial,
            requests: usize,
            times: &[(&str, u64)],
        ) -> Vec<String> {
            let ask = |_| {
                let first = self.ranked(written, Prefer::Fastest, &[], trial).remove(0);
                let (_, time) = times.iter().find(|(name, _)| *name == first).unwrap();
                self.takes(&first, *time);
                self.now += Duration::from_secs(1);
                first
            };
            (0..requests).map(ask).collect()
        }
    }

    fn plain(names: &[&str]) -> Vec<Arc<Target>> {
        names.iter().map(|name| target(name, &Value::Null)).collect()
    }

    #[test]
    fn the_cheapest_goes_first_and_what_has_no_price_last() {
        let street = Street::of([
            target("half", &priced(0.1, None)),
            target("dear", &priced(1.0, Some(5.0))),
            target("none", &Value::Null),
            target("cheap", &priced(3.0, Some(1.0))),
        ]);
        let ranked = |written: &[&str], prefer| street.ranked(written, prefer, &[], Trial::NewAndOld);
        let written = ["none", "dear", "gone", "half", "cheap"];
        assert_eq!(ranked(&written, Prefer::Cheapest), ["cheap", "dear", "none", "half"]);
        assert_eq!(ranked(&written, Prefer::None), ["none", "dear", "half", "cheap"]);
        // A pool is as cheap as the cheapest of its members; of equals, the first that is written.
        assert_eq!(ranked(&["dear", "pool", "cheap"], Prefer::Cheapest), ["pool", "cheap", "dear"]);
    }

    #[test]
    fn the_fastest_goes_first_by_what_is_told_and_then_by_what_was_measured() {
        let mut street = Street::of(plain(&["new", "slow", "quick", "told"]));
        let times = [("slow", 900), ("quick", 90)];
        street.asked(&["slow", "quick"], Trial::New, 6, &times);
        let ranked = |written: &[&str], told: &[(&str, f64)]| {
            street.ranked(written, Prefer::Fastest, told, Trial::Nobody)
        };
        let written = ["new", "slow", "quick", "told"];
        assert_eq!(ranked(&written, &[]), ["quick", "slow", "new", "told"]);
        // Milliseconds, say: no number to compare with our own seconds.
        let told = [("told", 450.0), ("id-slow", 300.0), ("new", f64::NAN)];
        assert_eq!(ranked(&written, &told), ["slow", "told", "quick", "new"]);
        assert_eq!(ranked(&["new", "slow", "pool"], &[]), ["pool", "slow", "new"]);
        // Where others tell, nobody is tried.
        assert_eq!(
            street.ranked(&written, Prefer::Fastest, &told, Trial::NewAndOld),
            ranked(&written, &told)
        );
    }

    #[test]
    fn each_is_measured_and_then_the_fastest_is_asked() {
        let mut street = Street::of(plain(&["slow", "quick"]));
        let times = [("slow", 900), ("quick", 90)];
        let asked = street.asked(&["slow", "quick"], Trial::New, 10, &times);
        assert_eq!(asked, [&["slow"; 3][..], &["quick"; 7]].concat());
        // Of a pool, too, somebody is tried; and a model that has no rival is as fast as it is.
        let mut street = Street::of(plain(&["slow", "quick"]));
        assert_eq!(street.ranked(&["quick", "pool"], Prefer::Fastest, &[], Trial::New), ["quick", "pool"]);
        assert_eq!(street.ranked(&["quick", "pool"], Prefer::Fastest, &[], Trial::New), ["pool", "quick"]);
        assert_eq!(street.asked(&["slow"], Trial::New, 4, &times), ["slow"; 4]);
    }

    #[test]
    fn one_call_at_a_time_measures_a_model() {
        let mut street = Street::of(plain(&["one", "other"]));
        let written = ["one", "other"];
        let ranked = |street: &Street, trial| street.ranked(&written, Prefer::Fastest, &[], trial);
        assert_eq!(ranked(&street, Trial::Nobody), ["one", "other"]);
        assert_eq!(ranked(&street, Trial::New), ["one", "other"]);
        assert_eq!(ranked(&street, Trial::New), ["other", "one"]);
        for _ in 0..3 {
            assert_eq!(ranked(&street, Trial::New), ["one", "other"], "both are being measured");
        }
        // One that is never heard of again is tried again after a while.
        street.now += Duration::from_secs(60);
        street.takes("one", 100);
        assert_eq!(ranked(&street, Trial::New), ["one", "other"]);
        assert_eq!(ranked(&street, Trial::New), ["other", "one"]);
    }

    #[test]
    fn what_was_measured_long_ago_is_measured_again() {
        let mut street = Street::of(plain(&["was slow", "quick"]));
        let written = ["was slow", "quick"];
        street.asked(&written, Trial::New, 6, &[("was slow", 900), ("quick", 90)]);
        let times = [("was slow", 20), ("quick", 90)];
        assert_eq!(street.asked(&written, Trial::NewAndOld, 290, &times), ["quick"; 290]);
        street.now += Duration::from_secs(10);
        // A share of the requests may find out, and the first of them does, alone.
        assert_eq!(street.asked(&written, Trial::New, 1, &times), ["quick"]);
        assert_eq!(street.ranked(&written, Prefer::Fastest, &[], Trial::NewAndOld), ["was slow", "quick"]);
        assert_eq!(street.ranked(&written, Prefer::Fastest, &[], Trial::NewAndOld), ["quick", "was slow"]);
        // What it is now counts, and not what it was.
        street.takes("was slow", 20);
        assert_eq!(street.asked(&written, Trial::NewAndOld, 10, &times), ["was slow"; 10]);
    }
}
