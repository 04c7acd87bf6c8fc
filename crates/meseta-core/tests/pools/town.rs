//! A plane with several providers behind it, each of which can fail in a way of its own.

use meseta_core::Plane;
use meseta_sim::Simulator;
use serde_json::{Value as Json, json};

use crate::support::http1::{Client, Reply};
use crate::support::{Folder, ask, document, log, target};

pub struct Town {
    pub plane: Plane,
    providers: Vec<(String, Simulator)>,
    folder: Folder,
}

impl Town {
    /// One target for each of the names, each with a provider of its own; what is below `sim/` is at the last one's.
    pub fn of(names: &[&str], change: impl FnOnce(&mut Json)) -> Town {
        let providers: Vec<(String, Simulator)> = names
            .iter()
            .map(|name| {
                let simulator = Simulator::start("127.0.0.1", 0, None).expect("a simulator");
                simulator.clear_requests();
                ((*name).to_owned(), simulator)
            })
            .collect();
        let folder = Folder::new();
        let mut document = document(&providers[providers.len() - 1].1.url());
        let known: Vec<Json> =
            providers.iter().map(|(name, simulator)| named(name, &simulator.url())).collect();
        document["targets"].as_array_mut().expect("targets").extend(known);
        for name in names {
            document["names"][name] = json!(name);
        }
        document["log"] = log::settings(&folder.file("log.db"));
        change(&mut document);
        let plane = Plane::start(&document.to_string(), 1).unwrap_or_else(|error| panic!("{error}"));
        Town { plane, providers, folder }
    }

    pub fn provider(&self, name: &str) -> &Simulator {
        let found = self.providers.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no provider {name}")).1
    }

    /// From now on the provider does what the directives say.
    pub fn order(&self, name: &str, directives: &str) {
        self.provider(name)
            .set_faults(&json!({ "directives": directives }).to_string())
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// The provider does so for its next calls, then all is well.
    pub fn order_times(&self, name: &str, times: u64, directives: &str) {
        let script = json!([{"reply": {"directives": directives}, "times": times}]);
        self.provider(name).set_script(&script.to_string()).unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn heal(&self, name: &str) {
        self.provider(name).clear_faults();
    }

    /// How many calls have reached the provider.
    pub fn reached(&self, name: &str) -> u64 {
        self.provider(name).stats().requests
    }

    pub fn client(&self) -> Client {
        Client::connect(self.plane.stats().listeners[0].address)
    }

    pub fn ask(&self, model: &str) -> Reply {
        self.client().chat(&ask(model, "hello"))
    }

    pub fn post(&self, path: &str, headers: &str, body: &Json) -> Reply {
        let mut client = self.client();
        client.post(path, headers, body.to_string());
        client.reply()
    }

    /// The same chat with headers, each with its line end.
    pub fn ask_with(&self, model: &str, headers: &str) -> Reply {
        self.post("/v1/chat/completions", headers, &ask(model, "hello"))
    }

    /// What the log says of every call of the newest request: one line each, with the columns of the query.
    pub fn calls(&self, columns: &str) -> Vec<String> {
        self.rows(&format!(
            "SELECT {columns} FROM attempts WHERE request_id = (SELECT max(id) FROM requests) ORDER BY number"
        ))
    }

    /// Once everything that came is recorded.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        log::lines(&self.plane, &self.folder.file("log.db"), sql)
    }
}

/// A target with one model.
fn named(name: &str, url: &str) -> Json {
    let mut target = target(url);
    target["name"] = json!(name);
    target["provider"] = json!(name);
    target["model"] = json!("echo");
    target
}

/// The target of the document with that name.
pub fn at<'a>(document: &'a mut Json, name: &str) -> &'a mut Json {
    let targets = document["targets"].as_array_mut().expect("targets");
    targets.iter_mut().find(|target| target["name"] == name).unwrap_or_else(|| panic!("no target {name}"))
}

/// A pool of these targets.
pub fn pool(name: &str, members: &[&str]) -> Json {
    let members: Vec<(&str, Option<&str>)> = members.iter().map(|member| (*member, None)).collect();
    crate::support::pool(name, &members)
}

/// Which target has answered.
pub fn who(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-meseta-model").expect("who answered")
}

pub fn no_retries() -> Json {
    json!({"percent": 0.0, "minimum_per_second": 0})
}
