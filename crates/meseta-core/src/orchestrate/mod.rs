//! A conversation that agents answer: who is asked, in which order, and what becomes of their answers.

mod chain;
mod hop;
mod merge;
mod parallel;
mod reply;
mod supervise;
mod thread;

use std::sync::Arc;

use http::{HeaderName, Response};
use meseta_wire::dialect::{Context, Dialect};
use meseta_wire::json::Json;

use crate::agents::Orchestration;
use crate::decision;
use crate::document::{HistoryMode, Strategy};
use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::orchestrate::hop::Hop;
use crate::orchestrate::reply::Reply;
use crate::orchestrate::thread::Thread;
use crate::stages::Stage;
use crate::stages::read::Ask;
use crate::stages::relay::Body;
use crate::stages::translate;
use crate::trip::{Ended, Trip};

/// Exactly this agent of the listener is to answer.
const AGENT: HeaderName = HeaderName::from_static("x-meseta-agent");

/// A conversation, and what the listener says of it.
struct Errand {
    ask: Ask,
    rules: Arc<Orchestration>,
    /// As the client sent it, within the bounds of what agents may see.
    thread: Thread,
}

pub(crate) async fn orchestrate(
    trip: &mut Trip,
    rules: Arc<Orchestration>,
    ask: Ask,
    decide: bool,
) -> Result<Outbound, Error> {
    if !matches!(ask.call, Call::Chat | Call::Responses | Call::Messages) {
        return Err(Error::new(
            Code::RouteNotFound,
            "Agents answer conversations: POST /v1/chat/completions, /v1/responses or /v1/messages.",
        ));
    }
    let errand = Errand::of(ask, rules);
    trip.enter(Stage::Choose);
    let chosen = errand.choose(trip, &errand.thread, &[]).await?;
    if decide {
        return Ok(decision::of_agents(trip, &chosen));
    }
    trip.enter(Stage::Orchestrate);
    trip.ask.agents.clone_from(&chosen);
    match errand.rules.strategy {
        // One agent is asked in the same way by all of them, but for one that decides after each answer.
        Strategy::Chain => chain::chain(trip, &errand, &chosen).await,
        Strategy::Parallel if chosen.len() == 1 => chain::chain(trip, &errand, &chosen).await,
        Strategy::Parallel => parallel::parallel(trip, &errand, &chosen).await,
        Strategy::Supervise => supervise::supervise(trip, &errand, chosen).await,
    }
}

impl Errand {
    fn of(ask: Ask, rules: Arc<Orchestration>) -> Errand {
        let mut thread = Thread::of(ask.call.dialect(), ask.body.clone());
        if rules.history.mode == HistoryMode::Off {
            thread.forget_past();
        }
        Errand { ask, rules, thread }
    }

    fn dialect(&self) -> Dialect {
        self.ask.call.dialect()
    }

    /// Who is to answer, in their order; never nobody, unless some have `answered` already.
    async fn choose(
        &self,
        trip: &mut Trip,
        _thread: &Thread,
        answered: &[Arc<str>],
    ) -> Result<Vec<Arc<str>>, Error> {
        if let Some(named) = self.ask.headers.get(AGENT) {
            if !answered.is_empty() {
                return Ok(Vec::new());
            }
            let named = String::from_utf8_lossy(named.as_bytes());
            return match self.rules.agents.iter().find(|id| ***id == *named) {
                Some(id) => Ok(vec![id.clone()]),
                None => Err(unknown(&self.rules, &named)),
            };
        }
        let _ = trip;
        Ok(if answered.is_empty() { vec![self.rules.default.clone()] } else { Vec::new() })
    }

    /// A hop to an agent with the conversation as it is now.
    fn to_agent(&self, trip: &Trip, id: &str, thread: &Thread) -> Result<Hop, Error> {
        Hop::to_agent(trip, &self.ask, self.rules.depth, id, thread.body())
    }

    /// A hop to a model that answers the client.
    fn to_model(&self, trip: &Trip, name: &str, mut thread: Thread) -> Result<Hop, Error> {
        thread.set("model", name.to_owned().into());
        Hop::to_model(trip, &self.ask, self.ask.call, name, thread.body())
    }

    /// What an answer of our own says of the request.
    fn context(&self, trip: &Trip) -> Context {
        // UTF-8 was checked when the envelope was read.
        let text = std::str::from_utf8(&self.ask.body).unwrap_or_default();
        translate::context(trip, &self.ask, "meseta", &Json::parse(text).unwrap_or(Json::Null))
    }
}

/// Asks, and reads the answer to its end.
async fn read(hop: Hop) -> Result<Reply, Error> {
    let ended = hop.ended();
    let response = hop.go().await;
    Reply::read(response, &ended).await
}

/// What the client gets is what the hop gets, as it comes.
async fn pass_on(hop: Hop) -> Outbound {
    let ended = hop.ended();
    Outbound::Inner(hop.go().await, ended)
}

/// An answer that has been read, as it came.
fn as_it_is(reply: Reply) -> Outbound {
    let (response, outcome) = reply.into_response();
    Outbound::Inner(response, Ended::with(outcome))
}

fn own(response: Response<Body>) -> Outbound {
    Outbound::Inner(response, Ended::default())
}

fn unknown(rules: &Orchestration, named: &str) -> Error {
    let shown: String = named.chars().filter(|character| !character.is_control()).take(100).collect();
    let known = rules.agents.iter().map(|id| &**id).collect::<Vec<_>>().join(", ");
    Error::new(Code::AgentNotFound, format!("This listener has no agent named '{shown}'. It has: {known}."))
        .with_param("x-meseta-agent")
}
