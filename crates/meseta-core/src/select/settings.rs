//! What the resolved document says of choosing.

use meseta_select::route::Route;
use meseta_select::rules::RuleSettings;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChooserDocument {
    /// Of model listeners; an agent listener has its own.
    pub rules: Vec<RuleSettings>,
    pub embedded: Option<EmbeddedDocument>,
    pub model: Option<AskedModelDocument>,
    /// Between two turns of a user's, a session stays with what was chosen for the first of them.
    pub user_turns_only: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedDocument {
    pub weights: String,
    pub tokenizer: String,
    /// The probability below which nothing is chosen.
    pub threshold: f32,
    /// The lead over the second below which nothing is chosen.
    pub margin: f32,
}

/// A model that is asked where the steps before it abstain.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AskedModelDocument {
    /// A name that clients could send.
    pub model: String,
    pub prompt: PromptKind,
    /// For all of it; the question passes on then.
    pub deadline_ms: u64,
    pub context_tokens: u64,
    /// 0 keeps no answers.
    pub cache_entries: usize,
    pub cache_ms: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// For any model.
    Structured,
    /// For Plano-Orchestrator's weights.
    Plano,
}

/// Models for what is said of a prompt.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceDocument {
    pub name: String,
    pub description: String,
    pub examples: Vec<String>,
    /// Never empty.
    pub models: Vec<String>,
    pub prefer: Prefer,
}

impl PreferenceDocument {
    pub fn route(&self) -> Route {
        Route {
            name: self.name.clone(),
            description: self.description.clone(),
            examples: self.examples.clone(),
        }
    }
}

/// Which of a preference's models goes first.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// As they are written.
    #[default]
    None,
    Cheapest,
    Fastest,
}
