//! Whether an agent may be asked by those who are on the way to it: agents that ask each other must come to an end.

use std::sync::Arc;

use crate::agents::trails::Trail;
use crate::error::{Code, Error};
use crate::trip::Trip;

/// So many calls may be under way to one agent without anybody knowing for whom, for each call of the same trace of which
/// that is known. More is a circle that grows rather than agents that ask another one many things at once.
const MOST_GUESSED: usize = 32;

/// Who is on the way to an agent.
pub(crate) struct Descent {
    /// The one that is asked stands at the end.
    pub agents: Vec<Arc<str>>,
    guessed: bool,
}

impl Descent {
    /// An agent that tells nothing of the run is taken to work for one of the calls of the same trace that it has under way.
    /// It has the benefit of the doubt: a trace may have many of them, and strangers may use its name.
    pub fn to(outer: &Trip, id: &Arc<str>, depth: usize) -> Result<Descent, Error> {
        let fits = |behind: &[Arc<str>]| behind.len() < depth && !behind.contains(id);
        let trails = &outer.worker.shared.trails;
        let found = match (&outer.lineage, &outer.ask.caller, &outer.ask.trace) {
            (None, Some(caller), Some(trace)) => trails.way(trace, caller, fits).map(|way| (trace, way)),
            _ => None,
        };
        let guessed = found.is_some();
        if let Some((trace, _)) = &found {
            let (guessed, known) = trails.guessed_and_known(trace, id);
            if guessed >= MOST_GUESSED * known.max(1) {
                return Err(Error::new(
                    Code::AgentDepth,
                    format!(
                        "{guessed} calls of agents to '{id}' are under way in one trace, and nobody can tell for whom. Have agents send on the header x-meseta-context that they are given."
                    ),
                ));
            }
        }
        let mut agents = found.map_or_else(|| outer.agents().to_vec(), |(_, way)| way);
        if agents.contains(id) {
            let way = agents.iter().chain([id]).map(|id| &**id).collect::<Vec<_>>().join(" > ");
            return Err(Error::new(
                Code::AgentCycle,
                format!(
                    "The agents would go in a circle: {way}. Let the agent answer by itself, or ask another one."
                ),
            ));
        }
        if agents.len() >= depth {
            return Err(Error::new(
                Code::AgentDepth,
                format!(
                    "Agents have called agents {depth} times on the way here, and that is the listener's `depth`."
                ),
            ));
        }
        agents.push(id.clone());
        Ok(Descent { agents, guessed })
    }

    /// The call to the agent begins; `trip` is its own.
    pub fn begin(&self, trip: &Trip) -> Option<Trail> {
        let trace = trip.ask.trace.as_deref()?;
        Some(trip.worker.shared.trails.enter(trace, trip.id, self.agents.clone(), self.guessed))
    }
}
