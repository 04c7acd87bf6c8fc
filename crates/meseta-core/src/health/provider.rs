//! What a provider says of a failure and of its limits. Stands in for the types of the same names in `meseta_wire`.

use std::time::Duration;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    RateLimit,
    ContextLength,
    ContentPolicy,
    Error,
    Timeout,
    Credential,
    Invalid,
}

/// What the headers of an answer say of the provider's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProviderLimits {
    pub retry_after: Option<Duration>,
    pub requests: Option<Window>,
    pub tokens: Option<Window>,
    pub should_retry: Option<bool>,
}

/// One limit: how much is left until it starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub limit: Option<u64>,
    pub remaining: u64,
    pub reset: Option<Duration>,
}
