//! What the suites share: a plane with the simulated provider behind it, and clients on bare sockets.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod dialects;
pub mod http1;
pub mod http2;
pub mod log;
pub mod provider;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use meseta_core::Plane;
use meseta_sim::Simulator;
use serde_json::{Value as Json, json};

/// What takes longer than this hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A plane on a free port, and the provider that it calls.
pub struct House {
    pub plane: Plane,
    pub simulator: Simulator,
    pub document: Json,
}

impl House {
    pub fn start() -> House {
        House::with(|_| {})
    }

    /// With changes to the document of [`document`].
    pub fn with(change: impl FnOnce(&mut Json)) -> House {
        let simulator = Simulator::start("127.0.0.1", 0, None).expect("a simulator");
        let mut document = document(&simulator.url());
        change(&mut document);
        let plane = Plane::start(&document.to_string(), 2).unwrap_or_else(|error| panic!("{error}"));
        House { plane, simulator, document }
    }

    pub fn address(&self) -> SocketAddr {
        self.plane.stats().listeners[0].address
    }

    pub fn connect(&self) -> http1::Client {
        http1::Client::connect(self.address())
    }

    /// One chat request on a connection of its own.
    pub fn chat(&self, request: &Json) -> http1::Reply {
        self.connect().chat(request)
    }

    /// Whatever happened before, the next client is served, no thread panicked and nothing is left under way.
    pub fn well(&self, after: &str) {
        let reply = self.chat(&ask("sim/echo", "still there"));
        assert_eq!((reply.status, reply.content().as_str()), (200, "still there"), "after {after}");
        until(&format!("nothing under way after {after}"), || {
            self.plane.stats().in_flight == 0 && self.simulator.stats().in_flight == 0
        });
        assert_eq!(self.plane.stats().panics, 0, "after {after}");
    }

    /// Requests that have reached the provider.
    pub fn reached(&self) -> u64 {
        self.simulator.stats().requests
    }
}

/// One listener without keys, every model of the simulator below `sim/`, no log.
pub fn document(provider: &str) -> Json {
    json!({
        "format": 4,
        "listeners": [listener("models", 0)],
        "targets": [target(provider)],
        "pools": [],
        "names": {},
        "wildcards": {"sim": "sim/*"},
        "default": null,
        "catalog": [{"id": "sim/echo", "owned_by": "sim"}],
        "log": null,
        "responses": null,
        "retry_budget": {"percent": 20.0, "minimum_per_second": 10},
        "admission": null,
        "sessions": {
            "implicit": false,
            "max_entries": 1_000,
            "idle_ms": null,
            "tenant_header": null,
            "budget": null,
            "cache_marks": false,
            "minimum_prefix_tokens": 1_024,
        },
        "shared": null,
        "agents": [],
        "preferences": [],
        "chooser": {"rules": [], "embedded": null, "model": null, "user_turns_only": false},
        "histories": null,
        "context_key": null,
        "latencies": {},
    })
}

pub fn listener(name: &str, port: u16) -> Json {
    json!({
        "name": name,
        "type": "model",
        "address": "127.0.0.1",
        "port": port,
        "auth": {"type": "none"},
        "tls": null,
        "limits": {
            "body_bytes": 1_048_576,
            "head_bytes": 16_384,
            "head_count": 64,
            "connections": 512,
            "streams_per_connection": 128,
        },
        "timeouts": {"head_ms": 60_000, "body_ms": 60_000},
        "orchestration": null,
    })
}

pub fn target(base_url: &str) -> Json {
    json!({
        "name": "sim/*",
        "provider": "sim",
        "model": "*",
        "dialects": ["openai_chat"],
        "base_url": base_url,
        "paths": {
            "chat_completions": "/chat/completions",
            "responses": "/responses",
            "responses_input_tokens": "/responses/input_tokens",
            "messages": "/messages",
            "messages_count_tokens": "/messages/count_tokens",
            "generate_content": "/models/{model}:generateContent",
            "stream_generate_content": "/models/{model}:streamGenerateContent?alt=sse",
            "gemini_count_tokens": "/models/{model}:countTokens",
            "converse": "/model/{model}/converse",
            "converse_stream": "/model/{model}/converse-stream",
            "bedrock_count_tokens": "/model/{model}/count-tokens",
            "embeddings": "/embeddings",
        },
        "query": "",
        "credentials": [{"type": "none"}],
        "headers": {},
        "default_headers": {},
        "forward_headers": ["x-sim"],
        "http_version": "auto",
        "ask_stream_usage": true,
        "max_output_tokens": 8192,
        "quirks": {
            "max_tokens_field": "max_completion_tokens",
            "developer_role": true,
            "cache_control": false,
            "reasoning": "reasoning_effort",
            "json_schema": true,
            "drop": [],
        },
        "timeouts": {"connect_ms": 20_000, "first_token_ms": 60_000, "idle_ms": 60_000, "total_ms": 120_000},
        "limits": {"concurrency": 0, "queue": 0, "queue_ms": 0},
        "health": {
            "failures": 5,
            "error_percent": 50,
            "minimum_requests": 20,
            "window_ms": 30_000,
            "rest_ms": 10_000,
            "rest_max_ms": 300_000,
            "ramp_ms": 15_000,
        },
        "probe": null,
        "price": null,
        "prompt_cache": {"window_ms": 0, "minimum_tokens": 1_024, "marks": "none"},
    })
}

/// Several targets under one name, with everything as it is when nobody says otherwise.
pub fn pool(name: &str, members: &[(&str, Option<&str>)]) -> Json {
    let members: Vec<Json> = members
        .iter()
        .map(|(target, model)| json!({"target": target, "model": model, "weight": 1.0, "priority": 0}))
        .collect();
    json!({
        "name": name,
        "select": "priority",
        "members": members,
        "fallback": [],
        "retry": {"attempts": 3, "base_ms": 10, "max_ms": 500, "on": ["rate_limit", "error", "timeout"]},
        "hedge": null,
        "resume": "text",
        "affinity": true,
        "timeouts": null,
    })
}

/// What a listener takes as its keys.
pub fn keys(digests: &[&str]) -> Json {
    let keys: Vec<Json> = digests
        .iter()
        .enumerate()
        .map(|(at, sha256)| {
            json!({"sha256": sha256, "tenant": format!("tenant-{at}"), "priority": "normal", "concurrency": 0})
        })
        .collect();
    json!({"type": "keys", "keys": keys})
}

/// A chat request with one message of the user.
pub fn ask(model: &str, text: &str) -> Json {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// The same request, streamed.
pub fn streamed(model: &str, text: &str) -> Json {
    let mut request = ask(model, text);
    request["stream"] = json!(true);
    request
}

/// Waits for what another thread is about to make true.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A folder of the test's own, removed with its contents at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("meseta-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An agent with instances at these base URLs; each is a target of the document too.
pub fn add_agent(document: &mut Json, id: &str, urls: &[&str]) {
    let mut members = Vec::new();
    for (number, url) in (1..).zip(urls) {
        let name = format!("agent/{id}/{number}");
        members.push(json!({"target": name, "model": null, "weight": 1.0, "priority": 0}));
        let mut target = target(url);
        target["name"] = json!(name);
        target["provider"] = json!("agent");
        target["paths"] = json!({"chat_completions": "/chat/completions"});
        target["ask_stream_usage"] = json!(false);
        target["forward_headers"] = json!([]);
        document["targets"].as_array_mut().expect("targets").push(target);
    }
    let mut pool = pool(&format!("agent/{id}"), &[]);
    pool["members"] = json!(members);
    pool["select"] = json!("least_busy");
    pool["retry"] = json!({"attempts": 2, "base_ms": 10, "max_ms": 500, "on": ["rate_limit", "error"]});
    pool["resume"] = json!("off");
    pool["affinity"] = json!(false);
    let agent = json!({"id": id, "pool": pool, "hold": null, "token_sha256": null, "tenant": "default"});
    document["agents"].as_array_mut().expect("agents").push(agent);
}

/// A listener for these agents, without a chooser: the first one answers unless a rule says otherwise.
pub fn agent_listener(strategy: &str, ids: &[&str]) -> Json {
    let mut listener = listener("agents", 0);
    let agents: Vec<Json> = ids
        .iter()
        .map(|id| json!({"id": id, "description": format!("Knows {id}."), "examples": []}))
        .collect();
    listener["type"] = json!("agent");
    listener["orchestration"] = json!({
        "strategy": strategy,
        "agents": agents,
        "default": ids[0],
        "most": 4,
        "rules": [],
        "depth": 4,
        "parallel": {
            "deadline_ms": 20_000, "quorum": 0,
            "merge": {"type": "template", "text": "{agent}: {answer}\n"},
        },
        "supervise": {"steps": 6, "ms": 20_000, "usd": null, "final": null},
        "history": {"mode": "pass", "messages": 0, "tokens": 0},
    });
    listener
}
