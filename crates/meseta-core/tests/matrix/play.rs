//! Sends a case through: a plane and a simulated provider of its own, every pair, whole and streamed.

use meseta_core::Plane;
use meseta_sim::{Recorded, Simulator};
use meseta_wire::dialect::Dialect;
use serde_json::json;

use crate::case::{CLIENTS, Case};
use crate::support::dialects::{short, speaking};
use crate::support::document;
use crate::support::http1::{self, Reply};

/// What a client sent, what the provider got of it, what the client got back.
pub struct Cell {
    pub client: Dialect,
    pub provider: Dialect,
    pub stream: bool,
    /// The name by which the client asked for the model.
    pub model: String,
    /// `None` when the request did not reach the provider.
    pub upstream: Option<Recorded>,
    pub reply: Reply,
    /// What the provider answers to the same body without a plane; for pairs of the same dialect.
    pub direct: Option<Reply>,
    /// A thread of the plane did, while it had this request.
    pub panicked: bool,
}

impl Cell {
    pub fn name(&self) -> String {
        let how = if self.stream { "streamed" } else { "whole" };
        format!("{} > {}, {how}", short(self.client), short(self.provider))
    }

    /// What was noted as left out or changed.
    pub fn dropped(&self) -> Vec<&str> {
        let noted = self.reply.header("x-meseta-dropped").unwrap_or_default();
        noted.split(", ").filter(|path| !path.is_empty()).collect()
    }
}

pub fn play(case: &Case) -> Vec<Cell> {
    let script = json!([{"reply": case.reply}]).to_string();
    let simulator = Simulator::start("127.0.0.1", 0, Some(&script)).expect("a simulator");
    let mut whole = document(&simulator.url());
    whole["targets"] = Dialect::ALL.iter().map(|dialect| speaking(*dialect, &simulator.url())).collect();
    whole["wildcards"] = Dialect::ALL
        .iter()
        .map(|dialect| (short(*dialect).to_owned(), json!(format!("{}/*", short(*dialect)))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let plane = Plane::start(&whole.to_string(), 1).unwrap_or_else(|error| panic!("{error}"));
    let mut client = http1::Client::connect(plane.stats().listeners[0].address);
    let address = ([127, 0, 0, 1], simulator.port()).into();
    let (mut cells, mut panics) = (Vec::new(), 0);
    for speaks in CLIENTS {
        let Ok(body) = case.request(speaks) else { continue };
        for provider in Dialect::ALL {
            for stream in [false, true] {
                simulator.clear_requests();
                let model = format!("{}/{}", short(provider), case.model(provider));
                let sent = request(body, speaks, &model, stream);
                client.post(path(speaks), "content-type: application/json\r\n", &sent);
                let reply = client.try_reply().unwrap_or_default();
                if reply.status == 0 || reply.broken {
                    client = http1::Client::connect(plane.stats().listeners[0].address);
                }
                let upstream = simulator.requests().pop();
                let direct = upstream.as_ref().filter(|_| case.passes(speaks, provider)).map(|seen| {
                    let mut direct = http1::Client::connect(address);
                    direct.post(&seen.path, "anthropic-version: 2023-06-01\r\n", &seen.body);
                    direct.reply()
                });
                // What a provider says of its limits holds for the next call, and here the next one is another play.
                plane.reset_health(None);
                let panicked = plane.stats().panics > panics;
                panics = plane.stats().panics;
                cells.push(Cell {
                    client: speaks,
                    provider,
                    stream,
                    model,
                    upstream,
                    reply,
                    direct,
                    panicked,
                });
            }
        }
    }
    cells
}

fn path(client: Dialect) -> &'static str {
    match client {
        Dialect::OpenaiResponses => "/v1/responses",
        Dialect::AnthropicMessages => "/v1/messages",
        _ => "/v1/chat/completions",
    }
}

/// The case's body with what every request has.
pub fn request(body: &str, client: Dialect, model: &str, stream: bool) -> String {
    let rest = body.strip_prefix('{').expect("a request is an object");
    let stream = match (stream, client) {
        (false, _) => "",
        (true, Dialect::OpenaiChat) => r#""stream": true, "stream_options": {"include_usage": true}, "#,
        (true, _) => r#""stream": true, "#,
    };
    format!(r#"{{"model": "{model}", {stream}{rest}"#)
}
