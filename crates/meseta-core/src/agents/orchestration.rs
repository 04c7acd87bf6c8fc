//! What an agent listener does, compiled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meseta_select::route::Route;

use crate::agents::Agent;
use crate::document::{
    CatalogEntry, HistoryDocument, Merge, OrchestrationDocument, SnapshotError, Strategy, SuperviseDocument,
    refuse,
};
use crate::select::{Cascade, Offer, SharedSteps};
use crate::stages::choose::AGENT_PREFIX;

pub(crate) struct Orchestration {
    pub strategy: Strategy,
    /// Ids, in the order of the file.
    pub agents: Vec<Arc<str>>,
    pub default: Arc<str>,
    pub cascade: Cascade,
    /// What clients may name as a model to have exactly one agent answer.
    pub catalog: Vec<CatalogEntry>,
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
        steps: &SharedSteps,
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
        let routes = document.agents.iter().map(|agent| Route {
            name: agent.id.clone(),
            description: agent.description.clone(),
            examples: agent.examples.clone(),
        });
        let offer = Offer {
            routes: routes.collect(),
            rules: &document.rules,
            default: Some(&document.default),
            most: document.most,
        };
        let cascade = Cascade::compile(&place, offer, steps, listed)?;
        let entry =
            |id: &Arc<str>| CatalogEntry { id: format!("{AGENT_PREFIX}{id}"), owned_by: "meseta".to_owned() };
        Ok(Orchestration {
            catalog: agents.iter().map(entry).collect(),
            cascade,
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
