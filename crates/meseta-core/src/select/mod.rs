//! Choosing (interim: the settings alone).
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    pub name: String,
    pub priority: i64,
    pub r#use: Vec<String>,
    pub when: Conditions,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    pub headers: BTreeMap<String, String>,
    pub tags: Vec<String>,
    pub tenants: Vec<String>,
    pub text: Option<String>,
    pub min_tokens: Option<u64>,
    pub max_tokens: Option<u64>,
    pub tools: Option<bool>,
    pub images: Option<bool>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChooserDocument {
    pub rules: Vec<RuleSettings>,
    pub embedded: Option<EmbeddedDocument>,
    pub model: Option<ModelDocument>,
    pub user_turns_only: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedDocument {
    pub weights: String,
    pub tokenizer: String,
    pub threshold: f32,
    pub margin: f32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDocument {
    pub model: String,
    pub prompt: String,
    pub deadline_ms: u64,
    pub context_tokens: u64,
    pub cache_entries: usize,
    pub cache_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceDocument {
    pub name: String,
    pub description: String,
    pub examples: Vec<String>,
    pub models: Vec<String>,
    pub prefer: String,
}
