//! Agents: services that answer conversations, as the plane knows them.

mod descent;
pub(crate) mod lineage;
pub(crate) mod open_turns;
mod orchestration;
pub(crate) mod room;
pub(crate) mod runs;
pub(crate) mod trails;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use descent::Descent;
pub(crate) use lineage::{CONTEXT, ContextKey, Lineage};
pub(crate) use orchestration::Orchestration;

use crate::document::{AgentDocument, Digest, SnapshotError, refuse};
use crate::pool::Pool;
use crate::target::Target;

/// An agent of the snapshot, compiled.
pub(crate) struct Agent {
    pub id: Arc<str>,
    /// Its instances; without `hold` never empty.
    pub pool: Arc<Pool>,
    pub hold: Option<Hold>,
    pub token: Option<Digest>,
    pub tenant: Arc<str>,
}

/// Requests wait for an instance that is about to be started.
#[derive(Clone, Copy)]
pub(crate) struct Hold {
    pub requests: u32,
    pub patience: Duration,
}

impl Agent {
    /// `before` is the agent of that id in the snapshot that this one takes over from.
    pub fn compile(
        document: AgentDocument,
        targets: &HashMap<String, Arc<Target>>,
        before: Option<&Agent>,
    ) -> Result<Agent, SnapshotError> {
        let AgentDocument { id, mut pool, hold, token_sha256: token, tenant } = document;
        if id.is_empty() || id.len() > 64 {
            return refuse("an agent's id has 1 to 64 characters");
        }
        for member in &mut pool.members {
            // What it is sent where the client names no model.
            member.model = Some(id.clone());
        }
        if pool.members.is_empty() && hold.is_none() {
            return refuse(format!("the agent {id} has no instance and nobody may wait for one"));
        }
        let pool = Pool::compile_agent(pool, targets, before.map(|agent| &*agent.pool))?;
        Ok(Agent {
            id: id.into(),
            pool: Arc::new(pool),
            hold: hold.map(|hold| Hold { requests: hold.requests, patience: Duration::from_millis(hold.ms) }),
            token,
            tenant: tenant.into(),
        })
    }
}
