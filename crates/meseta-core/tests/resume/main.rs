//! Streams that break after they have begun: another target goes on, the client sees one answer, and the record says who
//! told which part of it.

mod ending;
#[path = "../matrix/events.rs"]
mod events;
mod going_on;
#[path = "../matrix/heard.rs"]
#[allow(dead_code, reason = "the matrix of conversations hears more than this asks for")]
mod heard;
mod limits;
mod records;
#[path = "../support/mod.rs"]
mod support;

use heard::Heard;
use meseta_core::log::Value;
use meseta_sim::{Recorded, Simulator};
use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};
use support::dialects::{short, speaking};
use support::http1::{Client, Reply};
use support::{Folder, House, PATIENCE, pool, until};

const TEXT: &str = "one two three four five six seven eight";
const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

/// A plane whose pool `asked` has the given members: a dialect, and the model with what the simulator is told.
struct Resuming {
    house: House,
    folder: Folder,
}

fn provider(dialect: Dialect, url: &str) -> Json {
    let mut target = speaking(dialect, url);
    target["timeouts"]["idle_ms"] = json!(1_000);
    target["price"] = json!({
        "input": 1.0, "cached_input": null, "cache_write": null, "output": 1.0, "source": "config",
    });
    target
}

impl Resuming {
    fn start(members: &[(Dialect, &str)]) -> Resuming {
        Resuming::with(members, |_| {})
    }

    fn with(members: &[(Dialect, &str)], change: impl FnOnce(&mut Json)) -> Resuming {
        let folder = Folder::new();
        let house = House::with(|document| {
            let url = document["targets"][0]["base_url"].as_str().expect("an address").to_owned();
            let providers = Dialect::ALL.map(|dialect| provider(dialect, &url));
            document["targets"].as_array_mut().expect("targets").extend(providers);
            for dialect in Dialect::ALL {
                document["wildcards"][short(dialect)] = json!(format!("{}/*", short(dialect)));
            }
            let names: Vec<String> =
                members.iter().map(|(dialect, _)| format!("{}/*", short(*dialect))).collect();
            let members: Vec<(&str, Option<&str>)> =
                names.iter().zip(members).map(|(name, (_, model))| (name.as_str(), Some(*model))).collect();
            let mut pool = pool("asked", &members);
            for (number, member) in pool["members"].as_array_mut().expect("members").iter_mut().enumerate() {
                member["priority"] = json!(number);
            }
            document["pools"] = json!([pool]);
            document["retry_budget"]["minimum_per_second"] = json!(1_000);
            document["log"] = support::log::settings(&folder.file("log.db"));
            change(document);
        });
        house.simulator.clear_requests();
        Resuming { house, folder }
    }

    fn simulator(&self) -> &Simulator {
        &self.house.simulator
    }

    fn ask(&self, client: Dialect) -> Heard {
        self.call(client, "", |_| {}).0
    }

    /// What the client hears, and the events as they came.
    fn call(
        &self,
        client: Dialect,
        headers: &str,
        change: impl FnOnce(&mut Json),
    ) -> (Heard, Vec<events::Data>) {
        let mut connection = self.house.connect();
        send(&mut connection, client, headers, change);
        listen(client, &connection.reply())
    }

    fn requests(&self) -> Vec<Recorded> {
        self.simulator().requests()
    }

    /// Rows of the log, once everything is in it.
    fn rows(self, sql: &str) -> Vec<Vec<Value>> {
        until("nothing is under way", || {
            self.house.plane.stats().in_flight == 0 && self.simulator().stats().in_flight == 0
        });
        assert_eq!(self.house.plane.stats().panics, 0);
        assert!(self.house.plane.stop(PATIENCE));
        support::log::query(&self.folder.file("log.db"), sql)
    }
}

fn send(connection: &mut Client, client: Dialect, headers: &str, change: impl FnOnce(&mut Json)) {
    let messages = json!([{"role": "user", "content": TEXT}]);
    let (path, mut body) = match client {
        Dialect::OpenaiResponses => ("/v1/responses", json!({"input": TEXT})),
        Dialect::AnthropicMessages => ("/v1/messages", json!({"max_tokens": 500, "messages": messages})),
        _ => {
            ("/v1/chat/completions", json!({"messages": messages, "stream_options": {"include_usage": true}}))
        }
    };
    body["model"] = json!("asked");
    body["stream"] = json!(true);
    change(&mut body);
    connection.post(path, headers, body.to_string());
}

fn listen(client: Dialect, reply: &Reply) -> (Heard, Vec<events::Data>) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.broken, "{}", reply.text());
    let events =
        events::read(client, &reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
    (heard::streamed(client, &events), events)
}

fn whole(heard: &Heard, client: Dialect, place: &str) {
    assert_eq!((heard.text.as_str(), heard.failed.as_deref()), (TEXT, None), "{place}");
    let finish = match client {
        Dialect::OpenaiChat => "stop",
        Dialect::OpenaiResponses => "completed",
        _ => "end_turn",
    };
    assert_eq!(heard.finish, finish, "{place}");
    let usage = heard.usage.unwrap_or_else(|| panic!("{place}: no usage"));
    assert!(usage.input > 0 && usage.output >= 8, "{place}: {usage:?}");
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: i64) -> Value {
    Value::Integer(number)
}
