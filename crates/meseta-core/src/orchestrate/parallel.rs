//! All agents at once. Enough answers in time become one; whoever is then still at work is cancelled.

use std::sync::Arc;

use meseta_wire::usage::Usage;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::orchestrate::merge::{Answers, merge};
use crate::orchestrate::{Errand, as_it_is, read_hop, told};
use crate::trip::Trip;

pub(crate) async fn parallel(trip: &mut Trip, errand: &Errand) -> Result<Outbound, Error> {
    let (rules, chosen) = (&errand.rules, &errand.lineup.agents);
    // Without a quorum all are waited for, and one answer is better than none.
    let (needed, enough) = match rules.quorum {
        0 => (1, chosen.len()),
        quorum => (quorum.min(chosen.len()), quorum.min(chosen.len())),
    };
    let deadline = Instant::now() + rules.deadline;
    // Dropped with this request, whatever ends it, and all hops with it.
    let mut hops = JoinSet::new();
    for (number, id) in chosen.iter().enumerate() {
        let hop = errand.to_agent(trip, id, &errand.thread)?;
        hops.spawn_local(async move { (number, read_hop(hop).await) });
    }
    let mut said: Vec<Option<String>> = vec![None; chosen.len()];
    let mut used: Option<Usage> = None;
    let mut failed: Option<Result<Outbound, Error>> = None;
    let mut answered = 0;
    // Who can no longer be enough is not waited for: agents act, and for nothing then.
    while answered < enough && answered + hops.len() >= needed {
        let Ok(Some(joined)) = timeout_at(deadline, hops.join_next()).await else { break };
        let Ok((number, reply)) = joined else { continue };
        let id = &chosen[number];
        // An error is the agent's own to tell; of several the first one is told.
        let reply = match reply {
            Ok(reply) if reply.is_success() => reply,
            other => {
                failed.get_or_insert_with(|| other.and_then(|reply| told(reply, id)));
                continue;
            }
        };
        match reply.said(errand.dialect(), id) {
            // A tool is the client's to run, and nobody can go on before that.
            Ok(heard) if !heard.calls.is_empty() => {
                let others = answers(chosen, said);
                missing(trip, chosen, std::slice::from_ref(id));
                errand.wait(trip, std::slice::from_ref(id), others)(&heard.calls);
                return Ok(as_it_is(reply));
            }
            Ok(heard) => {
                said[number] = Some(heard.text);
                reply.add_usage(&mut used);
                answered += 1;
            }
            Err(error) => {
                failed.get_or_insert(Err(error));
            }
        }
    }
    drop(hops);
    if answered < needed {
        return failed.unwrap_or_else(|| {
            Err(Error::new(
                Code::AgentLate,
                format!(
                    "{answered} of {needed} agents answered within the listener's `parallel.deadline` of {} ms.",
                    rules.deadline.as_millis()
                ),
            ))
        });
    }
    let answers = answers(chosen, said);
    let ids: Vec<Arc<str>> = answers.iter().map(|(id, _)| id.clone()).collect();
    missing(trip, chosen, &ids);
    Ok(merge(trip, errand, &rules.merge, &answers, used).await)
}

/// In the order of the choice.
fn answers(chosen: &[Arc<str>], said: Vec<Option<String>>) -> Answers {
    chosen.iter().zip(said).filter_map(|(id, said)| said.map(|said| (id.clone(), said))).collect()
}

fn missing(trip: &mut Trip, chosen: &[Arc<str>], ids: &[Arc<str>]) {
    trip.ask.agents = ids.to_vec();
    trip.ask.missing = chosen.iter().filter(|id| !ids.contains(id)).cloned().collect();
}
