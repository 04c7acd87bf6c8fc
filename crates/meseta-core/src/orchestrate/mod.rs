//! A conversation that agents answer: who is asked, in which order, and what becomes of their answers.

pub(crate) mod chain;
pub(crate) mod history;
pub(crate) mod hop;
mod merge;
mod overheard;
pub(crate) mod parallel;
mod reply;
pub(crate) mod supervise;
mod thread;

use std::sync::Arc;
use std::time::Instant;

use http::Response;
use meseta_wire::dialect::{Context, Dialect};
use meseta_wire::history::AnswerReader;
use meseta_wire::json::Json;

use crate::agents::Orchestration;
use crate::agents::open_turns::OpenTurn;
use crate::error::Error;
use crate::handle::Outbound;
use crate::orchestrate::hop::Hop;
use crate::orchestrate::merge::Answers;
use crate::orchestrate::reply::Reply;
use crate::orchestrate::thread::Thread;
use crate::stages::choose::{Lineup, place_of_turns};
use crate::stages::read::Ask;
use crate::stages::relay::Body;
use crate::stages::send::content_type_is;
use crate::stages::translate;
use crate::trip::{Ended, Trip};

pub(crate) use overheard::Overheard;

/// A conversation, and what the listener says of it.
pub(crate) struct Errand {
    ask: Ask,
    rules: Arc<Orchestration>,
    pub lineup: Lineup,
    /// As the client sent it, within the bounds of what agents may see.
    thread: Thread,
}

impl Errand {
    pub fn of(trip: &Trip, mut ask: Ask, rules: Arc<Orchestration>, lineup: Lineup) -> Result<Errand, Error> {
        history::bound(&mut ask, &rules.history)?;
        let thread = Thread::of(ask.call.dialect(), ask.body.clone());
        let mut errand = Errand { ask, rules, lineup, thread };
        // A conversation that Meseta keeps has it already.
        if trip.kept.is_none() {
            for (agent, text) in errand.lineup.resumed.iter().flat_map(|turn| &turn.said) {
                errand.thread.answered(agent, text);
            }
        }
        Ok(errand)
    }

    /// What agents had said in this turn before a tool was called.
    fn said(&self) -> &[(Arc<str>, String)] {
        self.lineup.resumed.as_ref().map_or(&[], |turn| &turn.said)
    }

    /// Remembers that the turn goes on with these agents when the client has run the tools that are called.
    fn wait(&self, trip: &Trip, agents: &[Arc<str>], said: Answers) -> impl FnOnce(&[String]) + 'static {
        let turn = OpenTurn { agents: agents.to_vec(), said };
        let (worker, place) = (trip.worker.clone(), place_of_turns(trip, &self.ask));
        let (asked, resumed) = (self.lineup.asked.clone(), self.lineup.resumed.clone());
        move |calls| {
            worker.shared.open_turns.keep(&place, calls, &asked, turn, resumed.as_ref(), Instant::now());
        }
    }

    /// The same for an answer that streams through.
    fn overhear(&self, trip: &Trip, outbound: Outbound, agent: &Arc<str>, said: Answers) -> Outbound {
        let Outbound::Inner(response, ended) = outbound else { return outbound };
        let streamed = content_type_is(response.headers(), b"text/event-stream");
        let reader = AnswerReader::new(self.dialect(), streamed, reply::MOST_BYTES);
        let wait = self.wait(trip, std::slice::from_ref(agent), said);
        let response = response.map(|body| Body::Overheard(Box::new(Overheard::new(body, reader, wait))));
        Outbound::Inner(response, ended)
    }

    fn dialect(&self) -> Dialect {
        self.ask.call.dialect()
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
pub(crate) async fn read_hop(hop: Hop) -> Result<Reply, Error> {
    let ended = hop.ended();
    let response = hop.go().await;
    Reply::read(response, &ended).await
}

/// What the client gets is what the hop gets, as it comes.
async fn pass_on(hop: Hop) -> Outbound {
    let ended = hop.ended();
    Outbound::Inner(hop.go().await, ended)
}

/// An answer that is none, as its agent told it. Half an answer is an error of the plane's: it would look like a whole one.
fn told(reply: Reply, agent: &str) -> Result<Outbound, Error> {
    match reply.broken() {
        Some(code) => Err(Error::new(code, format!("The answer of the agent '{agent}' broke off."))),
        None => Ok(as_it_is(reply)),
    }
}

/// An answer that has been read, as it came.
fn as_it_is(reply: Reply) -> Outbound {
    let (response, outcome) = reply.into_response();
    Outbound::Inner(response, Ended::with(outcome))
}

fn own(response: Response<Body>) -> Outbound {
    Outbound::Inner(response, Ended::default())
}
