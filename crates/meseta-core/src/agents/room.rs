//! Where requests wait for an agent that has no instance at present, and how the control plane hears of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::agents::Hold;

/// One for the plane: it outlives every snapshot.
pub(crate) struct Rooms {
    of: Mutex<HashMap<Arc<str>, Arc<Room>>>,
    /// Somebody has begun to wait.
    rung: Condvar,
    bell: Mutex<bool>,
    /// How often the snapshot was exchanged.
    swaps: watch::Sender<u64>,
    began: Instant,
}

/// Of one agent.
pub(crate) struct Room {
    waiting: AtomicU32,
    /// Milliseconds since the plane began, and one; 0 when there was no request yet.
    last: AtomicU64,
}

/// An agent at one moment.
#[derive(Clone, Debug)]
pub struct AgentStatus {
    pub id: String,
    /// Requests that wait for an instance.
    pub waiting: u32,
    /// Calls under way.
    pub in_flight: u32,
    /// Since a request last came for it; `None` when none has.
    pub idle: Option<Duration>,
}

impl Default for Rooms {
    fn default() -> Rooms {
        Rooms {
            of: Mutex::default(),
            rung: Condvar::new(),
            bell: Mutex::new(false),
            swaps: watch::Sender::new(0),
            began: Instant::now(),
        }
    }
}

impl Rooms {
    fn room(&self, id: &Arc<str>) -> Arc<Room> {
        let mut rooms = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Room { waiting: AtomicU32::new(0), last: AtomicU64::new(0) });
        rooms.entry(id.clone()).or_insert_with(fresh).clone()
    }

    /// A request comes for the agent.
    pub fn note(&self, id: &Arc<str>) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.room(id).last.store(since + 1, Ordering::Relaxed);
    }

    /// Another snapshot is in force.
    pub fn swapped(&self) {
        self.swaps.send_modify(|swaps| *swaps += 1);
    }

    /// Tells apart what happened before from what happens after.
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }

    /// A place among those who wait for the agent, and word of it to whoever may start an instance. `None` when as many wait
    /// as may.
    pub fn seat(&self, id: &Arc<str>, hold: Hold) -> Option<Seat> {
        let room = self.room(id);
        if room.waiting.fetch_add(1, Ordering::Relaxed) >= hold.requests {
            room.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.ring();
        Some(Seat(room))
    }

    fn ring(&self) {
        *self.bell.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_all();
    }

    /// The agents that requests wait for, as soon as there is one, or nobody when the time is over. Blocks.
    pub fn wanted(&self, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        let mut bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if std::mem::take(&mut *bell) {
                let waited_for = self.waited_for();
                if !waited_for.is_empty() {
                    return waited_for;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Who was wanted before and still is.
                return self.waited_for();
            }
            let woken = self.rung.wait_timeout(bell, left).unwrap_or_else(PoisonError::into_inner);
            bell = woken.0;
        }
    }

    fn waited_for(&self) -> Vec<String> {
        let rooms = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = rooms.iter().filter(|(_, room)| room.waiting.load(Ordering::Relaxed) > 0);
        wanted.map(|(id, _)| id.to_string()).collect()
    }

    /// `in_flight` is known by the agent's targets.
    pub fn status(&self, id: &Arc<str>, in_flight: u32) -> AgentStatus {
        let room = self.room(id);
        let last = room.last.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis);
        AgentStatus {
            id: id.to_string(),
            waiting: room.waiting.load(Ordering::Relaxed),
            in_flight,
            idle: last.map(|last| self.began.elapsed().saturating_sub(last)),
        }
    }

    /// Agents that are gone are forgotten, unless somebody still waits.
    pub fn retain(&self, known: impl Fn(&str) -> bool) {
        let mut rooms = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|id, room| known(id) || room.waiting.load(Ordering::Relaxed) > 0);
    }
}

/// Given back when the request goes on, or leaves.
pub(crate) struct Seat(Arc<Room>);

impl Seat {
    /// Whether the snapshot was exchanged for one of which `ready` says so before that time; `swaps` is from before it was
    /// looked at.
    pub async fn wait(
        &self,
        mut swaps: watch::Receiver<u64>,
        until: tokio::time::Instant,
        ready: impl Fn() -> bool,
    ) -> bool {
        loop {
            match tokio::time::timeout_at(until, swaps.changed()).await {
                Ok(Ok(())) if ready() => return true,
                Ok(Ok(())) => {}
                _ => return false,
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
