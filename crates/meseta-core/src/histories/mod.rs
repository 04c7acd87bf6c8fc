//! Kept conversations (interim: the settings alone).
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HistoriesDocument {
    pub path: String,
    pub keep_hours: u64,
    pub max_bytes: u64,
    pub max_message_bytes: u64,
}
