//! A conversation that agents answer: who is asked, in which order, and what becomes of their answers.

pub(crate) mod chain;
pub(crate) mod history;
pub(crate) mod hop;
mod merge;
pub(crate) mod parallel;
mod reply;
pub(crate) mod supervise;
mod thread;

use std::sync::Arc;

use http::Response;
use meseta_wire::dialect::{Context, Dialect};
use meseta_wire::json::Json;

use crate::agents::Orchestration;
use crate::error::Error;
use crate::handle::Outbound;
use crate::orchestrate::hop::Hop;
use crate::orchestrate::reply::Reply;
use crate::orchestrate::thread::Thread;
use crate::stages::read::Ask;
use crate::stages::relay::Body;
use crate::stages::translate;
use crate::trip::{Ended, Trip};

/// A conversation, and what the listener says of it.
pub(crate) struct Errand {
    ask: Ask,
    rules: Arc<Orchestration>,
    /// As the client sent it, within the bounds of what agents may see.
    thread: Thread,
}

impl Errand {
    pub fn of(mut ask: Ask, rules: Arc<Orchestration>) -> Result<Errand, Error> {
        history::bound(&mut ask, &rules.history)?;
        let thread = Thread::of(ask.call.dialect(), ask.body.clone());
        Ok(Errand { ask, rules, thread })
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

/// An answer that has been read, as it came.
fn as_it_is(reply: Reply) -> Outbound {
    let (response, outcome) = reply.into_response();
    Outbound::Inner(response, Ended::with(outcome))
}

fn own(response: Response<Body>) -> Outbound {
    Outbound::Inner(response, Ended::default())
}
