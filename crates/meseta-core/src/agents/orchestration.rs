//! What an agent listener does, compiled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::agents::Agent;
use crate::document::{
    HistoryDocument, Merge, OrchestrationDocument, SnapshotError, Strategy, SuperviseDocument, refuse,
};

pub(crate) struct Orchestration {
    pub strategy: Strategy,
    /// Ids, in the order of the file.
    pub agents: Vec<Arc<str>>,
    pub default: Arc<str>,
    pub depth: usize,
    pub deadline: Duration,
    /// 0 wants all.
    pub quorum: usize,
    pub merge: Merge,
    pub supervise: SuperviseDocument,
    pub history: HistoryDocument,
}

impl Orchestration {
    pub fn compile(
        listener: &str,
        document: &OrchestrationDocument,
        known: &HashMap<Arc<str>, Arc<Agent>>,
    ) -> Result<Orchestration, SnapshotError> {
        let place = format!("the listener {listener}");
        if document.agents.is_empty() {
            return refuse(format!("{place} has no agents"));
        }
        if document.most == 0 || document.depth == 0 || document.supervise.steps == 0 {
            return refuse(format!("{place}: most, depth and supervise.steps are at least 1"));
        }
        let listed = |id: &str| document.agents.iter().any(|agent| agent.id == id);
        let agents = document
            .agents
            .iter()
            .map(|agent| match known.get(agent.id.as_str()) {
                Some(found) => Ok(found.id.clone()),
                None => refuse(format!("{place} names the agent {}, which is not there", agent.id)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let named = document.rules.iter().flat_map(|rule| &rule.r#use).chain([&document.default]);
        if let Some(missing) = named.into_iter().find(|id| !listed(id)) {
            return refuse(format!("{place} chooses the agent {missing}, which it does not list"));
        }
        if document.supervise.usd.is_some_and(|usd| !(usd.is_finite() && usd >= 0.0)) {
            return refuse(format!("{place}: supervise.usd is out of range"));
        }
        Ok(Orchestration {
            strategy: document.strategy,
            agents,
            default: document.default.as_str().into(),
            depth: document.depth,
            deadline: Duration::from_millis(document.parallel.deadline_ms),
            quorum: document.parallel.quorum,
            merge: document.parallel.merge.clone(),
            supervise: document.supervise.clone(),
            history: document.history,
        })
    }
}
