//! One cell: a request is sent, and what the client sees and what the providers gave is compared.

use meseta_sim::{End, Recorded};
use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};

use crate::case::{Case, Fault, Pool, Seen};
use crate::support::dialects::tools;
use crate::support::http1::{Client, Reply};
use crate::support::until;
use crate::world::{ASKED, World};
use crate::{events, heard};

pub const TEXT: &str = "one two three four five six seven";

/// Characters of an answer in a message.
const SHOWN: usize = 300;

pub struct Cell {
    pub case: &'static Case,
    pub client: Dialect,
    pub stream: bool,
    /// Nothing stands beside the faulty target.
    pub alone: bool,
}

impl Cell {
    pub fn name(&self) -> String {
        let how = if self.stream { "streamed" } else { "whole" };
        let with = if self.alone { "alone" } else { "with a healthy target" };
        format!("{}, {} {how}, {with}", self.case.name, self.client.as_str())
    }

    /// What is not as it must be.
    pub fn play(&self) -> Vec<String> {
        let world = World::of(self);
        let mut client = Client::connect(world.address());
        let (path, body) = self.request();
        client.post(path, "content-type: application/json\r\n", body.to_string());
        let Some(reply) = client.try_reply() else {
            return vec!["the connection ended without an answer".to_owned()];
        };
        let expected = self.case.expected(self.stream, self.alone).expect("a cell has an expectation");
        let mut problems = self.compare(&reply, expected);
        if reply.broken {
            problems.push("the answer has no end".to_owned());
        }
        problems.extend(self.bill(&world, expected));
        if world.plane.stats().panics > 0 {
            problems.push("a thread of the plane panicked".to_owned());
        }
        problems
    }

    fn request(&self) -> (&'static str, Json) {
        let messages = json!([{"role": "user", "content": TEXT}]);
        let stream = self.stream;
        let (path, mut body) = match self.client {
            Dialect::OpenaiResponses => ("/v1/responses", json!({"input": TEXT, "store": false})),
            Dialect::AnthropicMessages => ("/v1/messages", json!({"max_tokens": 500, "messages": messages})),
            _ => ("/v1/chat/completions", json!({"messages": messages})),
        };
        body["model"] = json!(ASKED);
        body["stream"] = json!(stream);
        if let Fault::Calling(_) = self.case.fault {
            body["tools"] = tools(self.client);
        }
        (path, body)
    }

    fn compare(&self, reply: &Reply, expected: Seen) -> Vec<String> {
        let text = reply.text();
        // The end of an answer says most.
        let end: String = text.chars().skip(text.chars().count().saturating_sub(SHOWN)).collect();
        let unlike =
            |what: &str| vec![format!("{what:.SHOWN$} instead of {expected:?}: {} {end:?}", reply.status)];
        let expected = match expected {
            Seen::Failed(words) if events_in(reply) => Seen::Broken(words),
            Seen::Failed(words) => Seen::Error(0, words),
            other => other,
        };
        if let Seen::Error(status, words) = expected {
            let right = if status == 0 { reply.status >= 400 } else { reply.status == status };
            if !right || !text.contains(words) || events_in(reply) {
                return unlike("another error");
            }
            return own_shape(self.client, &reply.body).err().into_iter().collect();
        }
        if reply.status != 200 {
            return unlike("an error");
        }
        let heard = if self.stream {
            match events::read(self.client, &reply.body) {
                Ok(events) => heard::streamed(self.client, &events),
                Err(problem) => return unlike(&problem),
            }
        } else {
            match serde_json::from_slice(&reply.body) {
                Ok(body) => heard::whole(self.client, &body),
                Err(problem) => return unlike(&problem.to_string()),
            }
        };
        let mut problems = Vec::new();
        match expected {
            Seen::Broken(words) => {
                if heard.failed.is_none() || !text.contains(words) {
                    problems.extend(unlike("no such error in the stream"));
                }
                if !TEXT.starts_with(&heard.text) {
                    problems.extend(unlike("words that nobody said"));
                }
            }
            Seen::Answer { .. } | Seen::Resumed => {
                let calling = matches!(self.case.fault, Fault::Calling(_));
                let (wanted, calls) = if calling { ("", 1) } else { (TEXT, 0) };
                if heard.failed.is_some() || heard.text != wanted || heard.calls.len() != calls {
                    problems.extend(unlike("another answer"));
                }
                let told = reply.header("x-meseta-attempts").and_then(|count| count.parse().ok());
                let attempts = match expected {
                    Seen::Answer { attempts } => attempts,
                    // The head went out before the stream broke.
                    _ => Some(1),
                };
                if attempts.is_some() && told != attempts {
                    problems.push(format!("{told:?} attempts are told, not {attempts:?}"));
                }
            }
            Seen::Error(..) | Seen::Failed(_) => {}
        }
        problems
    }

    /// Nothing that was said is paid for twice.
    fn bill(&self, world: &World, expected: Seen) -> Vec<String> {
        let (faulty, healthy) = (world.faulty.requests(), world.healthy.requests());
        let mut problems = Vec::new();
        if faulty.is_empty() && !matches!(self.case.fault, Fault::Absent) {
            problems.push("the faulty target was not asked".to_owned());
        }
        if expected == Seen::Resumed && faulty.len() != 1 {
            problems.push(format!("the faulty target was asked {} times", faulty.len()));
        }
        let paid = |requests: &[Recorded]| {
            requests.iter().filter(|request| request.end == End::Complete && request.status == 200).count()
        };
        let answers = paid(&faulty) + paid(&healthy);
        // An answer that took one attempt was broken off when there was nothing more to tell.
        let wanted = match expected {
            Seen::Answer { attempts } => usize::from(attempts != Some(1)),
            Seen::Resumed => 1,
            Seen::Error(..) | Seen::Broken(_) | Seen::Failed(_) => 0,
        };
        if answers != wanted {
            problems.push(format!("{answers} whole answers were paid for, not {wanted}: {healthy:?}"));
        }
        let expects_help = !self.alone && self.case.pool != Pool::Keys && wanted == 1;
        if healthy.len() != usize::from(expects_help) {
            problems.push(format!("the healthy target was asked {} times", healthy.len()));
        }
        // A call that nobody waits for must be ended: what it would go on to say is paid for.
        for simulator in [&world.faulty, &world.healthy] {
            until("no call goes on", || simulator.stats().in_flight == 0);
        }
        problems
    }
}

fn events_in(reply: &Reply) -> bool {
    reply.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// The error is one that the client's SDK knows.
fn own_shape(client: Dialect, body: &[u8]) -> Result<(), String> {
    let json: Json =
        serde_json::from_slice(body).map_err(|error| format!("the error is no JSON: {error}"))?;
    let error = &json["error"];
    let right = error["message"].is_string()
        && match client {
            Dialect::AnthropicMessages => json["type"] == "error" && error["type"].is_string(),
            _ => error.get("type").is_some() && error.get("code").is_some(),
        };
    if right { Ok(()) } else { Err(format!("the error has another dialect's shape: {json}")) }
}
