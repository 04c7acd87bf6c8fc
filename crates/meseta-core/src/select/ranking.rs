//! The order of a preference's models: the first is asked, the others are its fallbacks.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::pool::Member;
use crate::select::settings::Prefer;
use crate::snapshot::Named;

/// The models in the order in which they are to be asked. Those of which nothing is known stay behind the others, as they
/// were written; one that `find` does not know is left out.
pub(crate) fn rank<'m>(
    models: &'m [String],
    prefer: Prefer,
    latencies: &BTreeMap<String, f64>,
    find: impl Fn(&str) -> Option<Named>,
) -> Vec<(&'m str, Named)> {
    let mut ranked: Vec<(&str, Named, Merit)> = models
        .iter()
        .filter_map(|name| {
            let named = find(name)?;
            let merit = match prefer {
                Prefer::None => Merit::Unknown,
                Prefer::Cheapest => Merit::of(None, least(&named, price)),
                Prefer::Fastest => Merit::of(told(latencies, name, &named), least(&named, measured)),
            };
            Some((name.as_str(), named, merit))
        })
        .collect();
    ranked.sort_by(|(_, _, one), (_, _, other)| one.order(*other));
    ranked.into_iter().map(|(name, named, _)| (name, named)).collect()
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

/// Of a pool, the best that it has: which of its members answers is not known yet.
fn least(named: &Named, of: impl Fn(&Member) -> Option<f64>) -> Option<f64> {
    let members = match named {
        Named::Pool(pool) => pool.members.as_slice(),
        Named::Model(member) => std::slice::from_ref(member),
    };
    members.iter().filter_map(of).min_by(f64::total_cmp)
}

/// A million tokens in and a million out.
fn price(member: &Member) -> Option<f64> {
    let price = member.target.price.as_ref()?;
    Some(price.input? + price.output?)
}

/// Seconds to the first token of half of the calls.
fn measured(member: &Member) -> Option<f64> {
    member.target.health.quantile(0.5).map(|usual| usual.as_secs_f64())
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
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};

    use super::*;
    use crate::health::Health;
    use crate::pool::Pool;
    use crate::target::Target;

    fn target(name: &str, price: &Value) -> Arc<Target> {
        let document = json!({
            "name": name, "provider": "sim", "model": "m", "dialects": ["openai_chat"],
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

    fn takes(target: &Target, milliseconds: u64) {
        for _ in 0..20 {
            target.health.waited(Duration::from_millis(milliseconds), Instant::now());
        }
    }

    /// What is asked first, second and so on of the targets, each by its name and the id `id-NAME`, and of a pool of all.
    fn ranked(
        targets: &[Arc<Target>],
        written: &[&str],
        prefer: Prefer,
        told: &[(&str, f64)],
    ) -> Vec<String> {
        let models: Vec<String> = written.iter().map(|name| (*name).to_owned()).collect();
        let told: BTreeMap<String, f64> =
            told.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let by_name: HashMap<String, Arc<Target>> =
            targets.iter().map(|target| (target.name.to_string(), target.clone())).collect();
        let find = |name: &str| {
            if name == "pool" {
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
                return Some(Named::Pool(Arc::new(pool)));
            }
            let target = by_name.get(name)?;
            Some(Named::Model(Member::plain(target.clone(), format!("id-{name}").into())))
        };
        rank(&models, prefer, &told, find).into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn the_cheapest_goes_first_and_what_has_no_price_last() {
        let targets = [
            target("half", &priced(0.1, None)),
            target("dear", &priced(1.0, Some(5.0))),
            target("none", &Value::Null),
            target("cheap", &priced(3.0, Some(1.0))),
        ];
        let written = ["none", "dear", "gone", "half", "cheap"];
        assert_eq!(ranked(&targets, &written, Prefer::Cheapest, &[]), ["cheap", "dear", "none", "half"]);
        assert_eq!(ranked(&targets, &written, Prefer::None, &[]), ["none", "dear", "half", "cheap"]);
        // A pool is as cheap as the cheapest of its members; of equals, the first that is written.
        assert_eq!(
            ranked(&targets, &["dear", "pool", "cheap"], Prefer::Cheapest, &[]),
            ["pool", "cheap", "dear"]
        );
    }

    #[test]
    fn the_fastest_goes_first_by_what_is_told_and_then_by_what_was_measured() {
        let targets = ["new", "slow", "quick", "told"].map(|name| target(name, &Value::Null));
        takes(&targets[1], 900);
        takes(&targets[2], 90);
        let written = ["new", "slow", "quick", "told"];
        assert_eq!(ranked(&targets, &written, Prefer::Fastest, &[]), ["quick", "slow", "new", "told"]);
        // Milliseconds, say: no number to compare with our own seconds.
        let told = [("told", 450.0), ("id-slow", 300.0), ("new", f64::NAN)];
        assert_eq!(ranked(&targets, &written, Prefer::Fastest, &told), ["slow", "told", "quick", "new"]);
        assert_eq!(ranked(&targets, &["new", "slow", "pool"], Prefer::Fastest, &[]), ["pool", "slow", "new"]);
    }
}
