//! What a running plane says of itself.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::log::{LogStats, Writer};
use crate::plane::{Plane, lock};

pub use crate::admission::{GateStats, TenantStats};
pub use crate::shared::Stats as SharedStats;

#[derive(Debug)]
pub struct Stats {
    pub snapshot: String,
    pub listeners: Vec<ListenerStats>,
    pub requests: u64,
    pub in_flight: usize,
    pub errors: u64,
    pub connections: usize,
    pub refused_connections: u64,
    pub panics: u64,
    /// Answers of the Responses API that should have been kept and could not be.
    pub unkept_responses: u64,
    pub log: LogStats,
    pub sessions: SessionStats,
    /// Who waits and who is in; `None` where nobody is counted.
    pub admission: Option<GateStats>,
    /// What became of the questions whom to ask: a step, what it did, and how often.
    pub choices: Vec<(&'static str, &'static str, u64)>,
    /// How the shared store does; `None` when there is none.
    pub shared: Option<SharedStats>,
}

#[derive(Debug)]
pub struct SessionStats {
    /// Sessions that are pinned to a target.
    pub pins: usize,
    /// Requests of sessions by what was decided of their pins.
    pub decisions: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
pub struct ListenerStats {
    pub name: String,
    pub address: SocketAddr,
    pub tls: bool,
    pub connections: usize,
}

impl Plane {
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let listeners: Vec<ListenerStats> = lock(&self.sockets)
            .iter()
            .map(|socket| ListenerStats {
                name: socket.door.name.load().to_string(),
                address: socket.bound,
                tls: socket.door.tls.load().is_some(),
                connections: socket.door.connections.load(Ordering::Relaxed),
            })
            .collect();
        Stats {
            snapshot: self.shared.snapshot.load().hash.to_string(),
            connections: self.desks.iter().map(|desk| desk.connections.load(Ordering::Relaxed)).sum(),
            listeners,
            requests: counters.requests.load(Ordering::Relaxed),
            in_flight: counters.in_flight.load(Ordering::Relaxed),
            errors: counters.errors.load(Ordering::Relaxed),
            refused_connections: counters.refused_connections.load(Ordering::Relaxed),
            panics: counters.panics.load(Ordering::Relaxed),
            unkept_responses: counters.unkept.load(Ordering::Relaxed),
            log: lock(&self.log).as_ref().map(Writer::stats).unwrap_or_default(),
            sessions: SessionStats {
                pins: self.shared.sessions.len(),
                decisions: self.shared.sessions.decisions().collect(),
            },
            admission: {
                let limited = self.shared.snapshot.load().admission.is_some();
                Some(self.shared.gate.stats()).filter(|gate| limited || gate.admitted > 0)
            },
            choices: self.shared.choices.read().collect(),
            shared: self.shared.sessions.shared(),
        }
    }
}
