//! One agent, then whoever is needed next, until nobody is: after each answer the choice is made again. Steps, time and
//! money end it, and then the final answer is due with what there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meseta_wire::usage::Usage;

use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::orchestrate::merge::{ONE_AFTER_THE_OTHER, by_template, write};
use crate::orchestrate::{Errand, as_it_is, read_hop, told};
use crate::stages::choose::next_agents;
use crate::trip::Trip;

/// How a model is told to write the final answer.
const FINAL: &str = "Answer my last question now, from what the agents above have said. Do not mention the agents. \
                     If something is missing, say what.";

/// What whoever judges hears of an agent that failed.
const FAILED: &str = "(gave no answer)";

pub(crate) async fn supervise(trip: &mut Trip, errand: &Errand) -> Result<Outbound, Error> {
    let rules = errand.rules.clone();
    let limits = &rules.supervise;
    let over = Instant::now() + Duration::from_millis(limits.ms);
    let watched = limits.usd.map(|usd| (trip.worker.shared.runs.watch(trip.root()), usd * 1e6));
    // What the agents see, and what whoever chooses sees.
    let (mut thread, mut judged) = (errand.thread.clone(), errand.thread.clone());
    let mut answers = errand.said().to_vec();
    for (id, text) in &answers {
        judged.follows(id, text);
    }
    let mut used: Option<Usage> = None;
    let mut failed: Vec<Arc<str>> = Vec::new();
    let mut first_failure: Option<Result<Outbound, Error>> = None;
    let mut next = errand.lineup.agents.clone();
    for _ in 0..limits.steps {
        // Who failed is not asked again in this turn.
        next.retain(|id| !failed.contains(id));
        let Some(id) = next.first().cloned() else { break };
        let left = over.saturating_duration_since(Instant::now());
        let spent = watched.as_ref().is_some_and(|(watched, most)| watched.cost() >= *most);
        if left.is_zero() || (spent && !answers.is_empty()) {
            break;
        }
        let reply = read_hop(errand.to_agent(trip, &id, &thread)?.within(left)).await;
        let heard = match reply {
            Ok(reply) if reply.is_success() => match reply.said(errand.dialect(), &id) {
                Ok(heard) => Ok((heard, reply)),
                Err(error) => Err(Err(error)),
            },
            Ok(reply) => Err(told(reply, &id)),
            Err(error) => Err(Err(error)),
        };
        match heard {
            Ok((heard, reply)) if !heard.calls.is_empty() => {
                errand.wait(trip, &next, answers)(&heard.calls);
                return Ok(as_it_is(reply));
            }
            Ok((heard, reply)) => {
                let again = answers.iter().rev().find(|(agent, _)| *agent == id);
                // It has nothing to add, whoever is asked for it.
                if again.is_some_and(|(_, before)| *before == heard.text) {
                    break;
                }
                thread.answered(&id, &heard.text);
                judged.follows(&id, &heard.text);
                reply.add_usage(&mut used);
                answers.push((id, heard.text));
            }
            // What the others say is worth more than the error of one.
            Err(failure) => {
                judged.follows(&id, FAILED);
                failed.push(id);
                first_failure.get_or_insert(failure);
            }
        }
        trip.ask.agents = answers.iter().map(|(id, _)| id.clone()).collect();
        trip.ask.missing.clone_from(&failed);
        // Without a model to judge, those that were chosen at first have their turns.
        next = match next_agents(trip, &rules, &errand.ask, &judged.body()).await {
            Some(judged) => judged,
            None => next.split_off(1),
        };
    }
    if answers.is_empty() {
        trip.ask.agents = std::mem::take(&mut trip.ask.missing);
        return first_failure.unwrap_or_else(|| {
            Err(Error::new(
                Code::AgentLate,
                format!("No agent answered within the listener's `supervise.timeout` of {} ms.", limits.ms),
            ))
        });
    }
    Ok(match &limits.r#final {
        Some(model) => write(trip, errand, model, FINAL, &answers, used).await,
        None => by_template(trip, errand, ONE_AFTER_THE_OTHER, &answers, used),
    })
}
