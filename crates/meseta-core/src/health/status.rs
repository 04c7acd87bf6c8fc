//! A target's health as people see it. Plain data: the control plane reads it through [`crate::Plane::health`].

use std::time::{Duration, Instant};

use super::breaker::{Breaker, Mode};
use meseta_wire::failure::Cause;

/// What a target, or one of its keys, is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    Resting,
    Trial,
    Ramping,
    Limited,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Resting => "resting",
            State::Trial => "trial",
            State::Ramping => "ramping",
            State::Limited => "limited",
        }
    }

    /// A limit is told before a slow return, and a rest before a limit.
    pub(super) fn of(breaker: &Breaker, limited: bool, now: Instant) -> State {
        match breaker.mode(now) {
            Mode::Resting => State::Resting,
            Mode::Trial => State::Trial,
            _ if limited => State::Limited,
            Mode::Ramping => State::Ramping,
            Mode::Closed => State::Ready,
        }
    }
}

/// One target at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStatus {
    pub name: String,
    pub state: State,
    /// How long ago the breaker last changed; `None` when it never has.
    pub since: Option<Duration>,
    /// How long from now until the state ends by itself.
    pub until: Option<Duration>,
    /// In a row.
    pub failures: u32,
    /// In the window.
    pub requests: u32,
    pub errors: u32,
    pub in_flight: u32,
    pub waiting: usize,
    /// Of the first token, as are the quantiles.
    pub latency: Option<Duration>,
    pub p50: Option<Duration>,
    pub p95: Option<Duration>,
    /// Of the last failure.
    pub cause: Option<Cause>,
    pub probe: Option<ProbeStatus>,
    pub keys: Vec<KeyStatus>,
}

/// One of a target's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyStatus {
    /// Its place in the configuration, from 1, as in the log.
    pub number: usize,
    pub state: State,
    pub until: Option<Duration>,
    pub failures: u32,
    pub in_flight: u32,
    pub cause: Option<Cause>,
}

/// The last probe of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeStatus {
    pub ago: Duration,
    /// `None` when it went well.
    pub cause: Option<Cause>,
}
