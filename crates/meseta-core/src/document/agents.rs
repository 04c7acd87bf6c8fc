//! The part of the document that says which agents there are, who is chosen among them, and in which order they work.

use meseta_select::rules::RuleSettings;
use serde::{Deserialize, Serialize};

use crate::document::{Digest, PoolDocument};

/// A service that answers conversations, behind as many instances as run at present.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AgentDocument {
    pub id: String,
    /// Its instances. Without `hold` there is at least one.
    pub pool: PoolDocument,
    /// Requests wait for an instance, which is about to be started.
    pub hold: Option<HoldDocument>,
    /// A caller with this key is the agent.
    pub token_sha256: Option<Digest>,
    /// For whom a call of the agent counts.
    pub tenant: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HoldDocument {
    /// How many may wait.
    pub requests: u32,
    pub ms: u64,
}

/// What a listener of type `agent` does with a conversation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OrchestrationDocument {
    pub strategy: Strategy,
    /// Who can be chosen. Never empty.
    pub agents: Vec<ListedAgent>,
    /// Who is asked when nobody was chosen.
    pub default: String,
    /// How many one choice may name.
    pub most: usize,
    pub rules: Vec<RuleSettings>,
    /// How many agents may stand behind each other when agents call agents.
    pub depth: usize,
    pub parallel: ParallelDocument,
    pub supervise: SuperviseDocument,
    pub history: HistoryDocument,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One after the other; each sees what those before it said.
    Chain,
    /// All at once; their answers are put together.
    Parallel,
    /// One, then whoever is needed next, until nobody is.
    Supervise,
}

/// An agent as a listener describes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListedAgent {
    pub id: String,
    pub description: String,
    pub examples: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ParallelDocument {
    pub deadline_ms: u64,
    /// How many answers are enough; 0 wants all of them.
    pub quorum: usize,
    pub merge: Merge,
}

/// How several answers become one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Merge {
    /// `{agent}` and `{answer}` in the text stand for each of them; what it makes of each is put one after the other.
    Template { text: String },
    /// A model writes the answer, told to by the prompt.
    Model { model: String, prompt: String },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SuperviseDocument {
    /// Agents' answers, each counted.
    pub steps: u32,
    pub ms: u64,
    /// What the calls of the whole run may cost before the final answer is due.
    pub usd: Option<f64>,
    /// The model that writes the final answer; without one the answers stand as they are.
    pub r#final: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryDocument {
    pub mode: HistoryMode,
    /// Of the thread that an agent gets; 0 is no limit.
    pub messages: usize,
    pub tokens: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryMode {
    /// Agents get the current turn alone.
    Off,
    /// Agents get what the client sends.
    Pass,
    /// Meseta keeps the conversation; clients send the new turn.
    Keep,
}

/// Signs what agents are told of the run that they work for.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct SigningKey(Digest);

impl SigningKey {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.0
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SigningKey(***)")
    }
}
