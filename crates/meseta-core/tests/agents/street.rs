//! A plane with a listener for agents, and agents behind it that answer what a test tells them.

use meseta_core::Plane;
use meseta_sim::Simulator;
use serde_json::{Value as Json, json};

use crate::support::http1::{Client, Reply};
use crate::support::provider::{Provider, says};
use crate::support::{Folder, add_agent, agent_listener, document, log};

pub struct Street {
    pub plane: Plane,
    pub document: Json,
    agents: Vec<(String, Provider)>,
    _simulator: Simulator,
    folder: Folder,
}

impl Street {
    /// One agent for each of the ids, which says its id; all of them on one listener.
    pub fn of(strategy: &str, ids: &[&str], change: impl FnOnce(&mut Json)) -> Street {
        let simulator = Simulator::start("127.0.0.1", 0, None).expect("a simulator");
        let folder = Folder::new();
        let mut document = document(&simulator.url());
        let mut agents = Vec::new();
        for id in ids {
            let said = says(&format!("I am {id}."));
            let agent = Provider::start(move |_| said.clone());
            add_agent(&mut document, id, &[&agent.url()]);
            agents.push(((*id).to_owned(), agent));
        }
        document["listeners"].as_array_mut().expect("listeners").push(agent_listener(strategy, ids));
        document["log"] = log::settings(&folder.file("log.db"));
        change(&mut document);
        // One worker, so that rows stand in the order in which requests came.
        let plane = Plane::start(&document.to_string(), 1).unwrap_or_else(|error| panic!("{error}"));
        Street { plane, document, agents, _simulator: simulator, folder }
    }

    pub fn agent(&self, id: &str) -> &Provider {
        let found = self.agents.iter().find(|(known, _)| known == id);
        &found.unwrap_or_else(|| panic!("no agent {id}")).1
    }

    /// Exchanges the snapshot for a changed one.
    pub fn change(&mut self, change: impl FnOnce(&mut Json)) {
        change(&mut self.document);
        self.plane.swap(&self.document.to_string()).unwrap_or_else(|error| panic!("{error}"));
    }

    /// On the listener for agents.
    pub fn client(&self) -> Client {
        Client::connect(self.address("agents"))
    }

    pub fn address(&self, listener: &str) -> std::net::SocketAddr {
        let stats = self.plane.stats();
        let found = stats.listeners.iter().find(|open| open.name == listener);
        found.unwrap_or_else(|| panic!("no listener {listener}")).address
    }

    pub fn ask(&self, headers: &str, text: &str) -> Reply {
        self.post("/v1/chat/completions", headers, &chat(text))
    }

    pub fn post(&self, path: &str, headers: &str, body: &Json) -> Reply {
        let mut client = self.client();
        client.post(path, headers, body.to_string());
        client.reply()
    }

    /// Of the log, once everything that came is recorded.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        log::lines(&self.plane, &self.folder.file("log.db"), sql)
    }
}

/// A chat request that names a model, as clients of agents do.
pub fn chat(text: &str) -> Json {
    json!({"model": "gpt-5", "messages": [{"role": "user", "content": text}]})
}

/// What an agent was sent, as JSON.
pub fn body(request: &str) -> Json {
    let (_, body) = request.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).expect("a JSON body")
}

pub fn orchestration(document: &mut Json) -> &mut Json {
    let listeners = document["listeners"].as_array_mut().expect("listeners");
    &mut listeners.iter_mut().find(|listener| listener["name"] == "agents").expect("it is there")["orchestration"]
}
