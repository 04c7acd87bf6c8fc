//! One agent, then whoever is needed next, until nobody is: after each answer the choice is made again. Steps, time and
//! money end it, and then the final answer is due with what there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::document::Merge;
use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::orchestrate::merge::{merge, write};
use crate::orchestrate::{Errand, as_it_is, read_hop};
use crate::stages::choose::next_agents;
use crate::trip::Trip;

/// How a model is told to write the final answer.
const FINAL: &str = "Answer my last question now, from what the agents above have said. Do not mention the agents. \
                     If something is missing, say what.";

/// Without a model for it, the answers stand one after the other.
const ONE_AFTER_THE_OTHER: &str = "{answer}\n\n";

pub(crate) async fn supervise(
    trip: &mut Trip,
    errand: &Errand,
    chosen: Vec<Arc<str>>,
) -> Result<Outbound, Error> {
    let rules = errand.rules.clone();
    let limits = &rules.supervise;
    let over = Instant::now() + Duration::from_millis(limits.ms);
    let watched = limits.usd.map(|usd| (trip.worker.shared.runs.watch(trip.root()), usd * 1e6));
    // What the agents see, and what whoever chooses sees.
    let (mut thread, mut judged) = (errand.thread.clone(), errand.thread.clone());
    let mut answers: Vec<(Arc<str>, String)> = Vec::new();
    let mut next = chosen;
    for _ in 0..limits.steps {
        let Some(id) = next.first().cloned() else { break };
        let left = over.saturating_duration_since(Instant::now());
        let spent = watched.as_ref().is_some_and(|(watched, most)| watched.cost() >= *most);
        if !answers.is_empty() && (left.is_zero() || spent) {
            break;
        }
        let reply = read_hop(errand.to_agent(trip, &id, &thread)?.within(left)).await;
        let said = match reply {
            Ok(reply) if !reply.is_success() => {
                if answers.is_empty() {
                    return Ok(as_it_is(reply));
                }
                break;
            }
            Ok(reply) => {
                let said = reply.said(errand.dialect())?;
                if said.calls {
                    return Ok(as_it_is(reply));
                }
                said
            }
            Err(error) if answers.is_empty() => return Err(error),
            // What the others said is worth more than the error of one.
            Err(_) => break,
        };
        thread.answered(&id, &said.text);
        judged.follows(&id, &said.text);
        answers.push((id, said.text));
        let answered: Vec<Arc<str>> = answers.iter().map(|(id, _)| id.clone()).collect();
        trip.ask.agents.clone_from(&answered);
        // Without a model to judge, those that were chosen at first have their turns.
        next = match next_agents(trip, &rules, &errand.ask, &judged.body()).await {
            Some(judged) => judged,
            None => next.split_off(1),
        };
    }
    match (&limits.r#final, answers.is_empty()) {
        (_, true) => Err(Error::new(
            Code::AgentLate,
            format!("No agent answered within the listener's `supervise.time` of {} ms.", limits.ms),
        )),
        (Some(model), false) => write(trip, errand, model, FINAL, &answers).await,
        (None, false) => {
            merge(trip, errand, &Merge::Template { text: ONE_AFTER_THE_OTHER.to_owned() }, &answers).await
        }
    }
}
