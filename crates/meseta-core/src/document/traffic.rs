//! The part of the document that says how traffic is spread, limited and kept alive.

use serde::{Deserialize, Serialize};

/// A name that clients may send as a model, and the targets behind it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PoolDocument {
    pub name: String,
    pub select: Select,
    pub members: Vec<MemberDocument>,
    pub fallback: Vec<FallbackDocument>,
    pub retry: RetryDocument,
    pub hedge: Option<HedgeDocument>,
    pub resume: Resume,
    /// Whether a session stays where its prompt cache is warm.
    pub affinity: bool,
    pub timeouts: Option<PoolTimeouts>,
}

/// How the next target is chosen among those that can answer.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    Weighted,
    RoundRobin,
    LeastLatency,
    LeastBusy,
    Cheapest,
    Priority,
    SessionHash,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MemberDocument {
    pub target: String,
    /// Of a wildcard: the model id that it is sent.
    pub model: Option<String>,
    pub weight: f64,
    /// A group with a higher number is asked when nobody of a lower one can answer.
    pub priority: u32,
}

/// Who is asked when nobody of the pool could answer, for certain causes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackDocument {
    pub name: String,
    pub on: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetryDocument {
    /// The first one included.
    pub attempts: u32,
    pub base_ms: u64,
    pub max_ms: u64,
    pub on: Vec<String>,
}

/// A second target is asked when the first one is slow to begin.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HedgeDocument {
    /// 0: the 95th percentile of the target's own time to first token.
    pub after_ms: u64,
    pub minimum_ms: u64,
    /// What hedges may cost beside what is spent anyway.
    pub spend_percent: f64,
}

/// What happens when a stream breaks after its first token.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    Text,
    Off,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PoolTimeouts {
    pub first_token_ms: u64,
    pub total_ms: u64,
}

/// Retries of all requests together, as a share of them, so that an outage is not multiplied.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetryBudgetSettings {
    pub percent: f64,
    pub minimum_per_second: u32,
}

/// How many requests the plane has under way at once. 0 is no limit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionSettings {
    pub concurrency: u32,
    pub tenant_concurrency: u32,
    pub queue: u32,
    pub queue_ms: u64,
}

/// Who goes first when not everybody can be served. The highest first: what is lower makes room for it in a full queue.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

impl Priority {
    pub(crate) const ALL: &[Priority] = &[Priority::High, Priority::Normal, Priority::Low];
    pub(crate) const COUNT: usize = Self::ALL.len();
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// Requests without a session of their own get one from how their conversation begins.
    pub implicit: bool,
    pub max_entries: usize,
    /// Replaces the target's own `prompt_cache.window_ms`.
    pub idle_ms: Option<u64>,
    pub tenant_header: Option<String>,
    pub budget: Option<BudgetSettings>,
    pub cache_marks: bool,
    pub minimum_prefix_tokens: u64,
}

/// What a session may spend on changes of target.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSettings {
    pub percent: f64,
    pub replenish_on_rebind: bool,
    pub cache_read_discount: f64,
}

/// Where replicas share what they know.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SharedSettings {
    /// May hold a password.
    pub url: String,
    pub prefix: String,
    pub timeout_ms: u64,
}

impl std::fmt::Debug for SharedSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SharedSettings(***)")
    }
}

/// Calls to one target at once; 0 is no limit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsDocument {
    pub concurrency: u32,
    pub queue: u32,
    pub queue_ms: u64,
}

/// When a target is left alone for a while, and how it comes back.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HealthDocument {
    pub failures: u32,
    pub error_percent: u32,
    pub minimum_requests: u32,
    pub window_ms: u64,
    pub rest_ms: u64,
    pub rest_max_ms: u64,
    pub ramp_ms: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    pub kind: ProbeKind,
    pub interval_ms: u64,
    pub timeout_ms: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A connection, TLS included.
    Connect,
    /// The list of models, which costs nothing.
    Models,
    /// An answer of one token.
    Completion,
}

/// US dollars per million tokens; `None` where nobody said.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub input: Option<f64>,
    pub cached_input: Option<f64>,
    pub cache_write: Option<f64>,
    pub output: Option<f64>,
    /// Who said so.
    pub source: String,
}

/// What the provider keeps of a prompt.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PromptCache {
    /// How long after its last use; 0 where it keeps none.
    pub window_ms: u64,
    pub minimum_tokens: u64,
    pub marks: CacheMarks,
}

/// Where a request says what is worth keeping.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMarks {
    None,
    Messages,
    ChatParts,
    Converse,
}
