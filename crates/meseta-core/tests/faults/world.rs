//! A plane with a faulty and a healthy provider behind it.

use std::net::{SocketAddr, TcpListener};

use meseta_core::Plane;
use meseta_sim::Simulator;
use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};

use crate::case::{Fault, Pool};
use crate::play::Cell;
use crate::support::{document, target};

/// The name that clients ask for.
pub const ASKED: &str = "asked";
/// No target takes longer than this for its first token or between two.
const PATIENCE_MS: u64 = 1000;

pub struct World {
    pub plane: Plane,
    pub faulty: Simulator,
    pub healthy: Simulator,
}

impl World {
    pub fn of(cell: &Cell) -> World {
        let faulty = start(&faulty_script(&cell.case.fault));
        let directives = match cell.case.pool {
            Pool::Repeating(mode) => format!("continue={mode}"),
            Pool::Hedged(directives) if !directives.is_empty() => directives.to_owned(),
            _ => "continue=rest".to_owned(),
        };
        let healthy = start(&json!([{"reply": {"directives": directives}}]));
        let document = snapshot(cell, &faulty.url(), &healthy.url());
        let plane = Plane::start(&document.to_string(), 1).unwrap_or_else(|error| panic!("{error}"));
        World { plane, faulty, healthy }
    }

    pub fn address(&self) -> SocketAddr {
        self.plane.stats().listeners[0].address
    }
}

fn start(script: &Json) -> Simulator {
    let simulator = Simulator::start("127.0.0.1", 0, Some(&script.to_string())).expect("a simulator");
    simulator.clear_requests();
    simulator
}

fn faulty_script(fault: &Fault) -> Json {
    match fault {
        Fault::Ordered(directives) => json!([{"reply": {"directives": directives}}]),
        Fault::Calling(directives) => {
            let calls = json!([{"name": "weather", "arguments": {"city": "Oslo"}}]);
            json!([{"reply": {"tool_calls": calls, "directives": directives}}])
        }
        Fault::Absent => json!([]),
        Fault::Key(directives) => json!([{"when": {"key": "worn"}, "reply": {"directives": directives}}]),
    }
}

/// The one place that knows what a document with pools looks like.
fn snapshot(cell: &Cell, faulty: &str, healthy: &str) -> Json {
    let nowhere = nowhere();
    let faulty = match cell.case.fault {
        Fault::Absent => nowhere.as_str(),
        _ => faulty,
    };
    let mut document = document(faulty);
    // The faulty one speaks the client's own dialect, the healthy one another.
    let other = match cell.client {
        Dialect::OpenaiChat => Dialect::AnthropicMessages,
        _ => Dialect::OpenaiChat,
    };
    let mut broken = provider("faulty", faulty, cell.client);
    if cell.case.pool == Pool::Keys {
        let key =
            |key: &str| json!({"type": "header", "name": "authorization", "value": format!("Bearer {key}")});
        broken["credentials"] = json!([key("worn"), key("fresh")]);
    }
    document["targets"] = json!([broken, provider("healthy", healthy, other)]);
    document["wildcards"] = json!({});
    document["catalog"] = json!([]);
    let member = |target: &str, priority: u64| json!({"target": target, "model": null, "weight": 1, "priority": priority});
    let second = (!cell.alone).then(|| member("healthy", 1));
    let (members, fallback) = match cell.case.pool {
        Pool::Resumed | Pool::Repeating(_) | Pool::Cut | Pool::Hedged(_) => {
            (std::iter::once(member("faulty", 0)).chain(second).collect(), json!([]))
        }
        Pool::Fallback(cause) if !cell.alone => {
            (vec![member("faulty", 0)], json!([{"name": "spare", "on": [cause]}]))
        }
        Pool::Fallback(_) | Pool::Keys => (vec![member("faulty", 0)], json!([])),
    };
    let resume = if cell.case.pool == Pool::Cut { "off" } else { "text" };
    // A hedge may cost as much as all that was asked without it: a cell is one request.
    let hedge = match cell.case.pool {
        Pool::Hedged(_) => json!({"after_ms": 50, "minimum_ms": 50, "spend_percent": 100.0}),
        _ => Json::Null,
    };
    let pool = |name: &str, members: Vec<Json>, fallback: Json| {
        json!({
            "name": name,
            "select": "priority",
            "members": members,
            "fallback": fallback,
            "retry": {"attempts": 3, "base_ms": 1, "max_ms": 5, "on": ["rate_limit", "error", "timeout"]},
            "hedge": hedge,
            "resume": resume,
            "affinity": false,
            "timeouts": null,
        })
    };
    document["pools"] =
        json!([pool(ASKED, members, fallback), pool("spare", vec![member("healthy", 0)], json!([]))]);
    document
}

fn provider(name: &str, url: &str, dialect: Dialect) -> Json {
    let mut target = target(url);
    let path = match dialect {
        Dialect::OpenaiResponses => "responses",
        Dialect::AnthropicMessages => "messages",
        _ => "chat_completions",
    };
    if let Some(known) = target["paths"].as_object_mut() {
        known.retain(|name, _| name == path);
    }
    target["name"] = json!(name);
    target["provider"] = json!(name);
    target["model"] = json!("echo");
    target["dialects"] = json!([dialect.as_str()]);
    target["default_headers"] = json!({"anthropic-version": "2023-06-01"});
    target["timeouts"] = json!({
        "connect_ms": 5000,
        "first_token_ms": PATIENCE_MS,
        "idle_ms": PATIENCE_MS,
        "total_ms": 15_000,
    });
    target
}

/// The address of a port that nobody listens on any more.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/v1", listener.local_addr().expect("an address"))
}
