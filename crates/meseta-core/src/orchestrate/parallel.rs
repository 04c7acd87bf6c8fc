//! All agents at once. Enough answers in time become one; whoever is then still at work is cancelled.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::orchestrate::merge::merge;
use crate::orchestrate::reply::Reply;
use crate::orchestrate::{Errand, as_it_is, read_hop};
use crate::trip::Trip;

pub(crate) async fn parallel(trip: &Trip, errand: &Errand, chosen: &[Arc<str>]) -> Result<Outbound, Error> {
    let rules = &errand.rules;
    let enough = if rules.quorum == 0 { chosen.len() } else { rules.quorum.min(chosen.len()) };
    let deadline = Instant::now() + rules.deadline;
    // Dropped with this request, whatever ends it, and all hops with it.
    let mut hops = JoinSet::new();
    for (number, id) in chosen.iter().enumerate() {
        let hop = errand.to_agent(trip, id, &errand.thread)?.within(rules.deadline);
        hops.spawn_local(async move { (number, read_hop(hop).await) });
    }
    let mut said: Vec<Option<String>> = vec![None; chosen.len()];
    let mut failed: Option<Result<Reply, Error>> = None;
    let mut answered = 0;
    while answered < enough {
        let Ok(Some(joined)) = timeout_at(deadline, hops.join_next()).await else { break };
        let Ok((number, reply)) = joined else { continue };
        // An error is the agent's own to tell; of several the first one is told.
        let reply = match reply {
            Ok(reply) if reply.is_success() => reply,
            other => {
                failed.get_or_insert(other);
                continue;
            }
        };
        match reply.said(errand.dialect()) {
            // A tool is the client's to run, and nobody can go on before that.
            Ok(heard) if heard.calls => return Ok(as_it_is(reply)),
            Ok(heard) => {
                said[number] = Some(heard.text);
                answered += 1;
            }
            Err(error) => {
                failed.get_or_insert(Err(error));
            }
        }
    }
    if answered < enough {
        return match failed {
            Some(reply) => Ok(as_it_is(reply?)),
            None => Err(Error::new(
                Code::AgentLate,
                format!(
                    "{answered} of {enough} agents answered within the listener's `parallel.deadline` of {} ms.",
                    rules.deadline.as_millis()
                ),
            )),
        };
    }
    drop(hops);
    let answers: Vec<(Arc<str>, String)> =
        chosen.iter().zip(said).filter_map(|(id, said)| said.map(|said| (id.clone(), said))).collect();
    merge(trip, errand, &rules.merge, &answers).await
}
