//! What the simulator has seen, counted for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::record::{Course, End};

/// One look at the counters. Requests to `/sim/stats` are not counted, their connections are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    pub requests: u64,
    /// Connections accepted since the start.
    pub connections: u64,
    /// Requests whose client left before the end of the answer.
    pub aborted: u64,
    /// Requests whose answer has not ended.
    pub in_flight: u64,
    /// Requests by the version of HTTP they came in.
    pub by_protocol: ByProtocol,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ByProtocol {
    pub h1: u64,
    pub h2: u64,
}

#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    aborted: AtomicU64,
    in_flight: AtomicU64,
    h1: AtomicU64,
    h2: AtomicU64,
}

impl Counters {
    pub fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub fn request(self: &Arc<Self>, http2: bool) -> Flight {
        if http2 { &self.h2 } else { &self.h1 }.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        Flight { counters: Arc::clone(self), course: None, spoilt: false, finished: false }
    }

    pub fn read(&self) -> Stats {
        let by_protocol = ByProtocol { h1: self.h1.load(Relaxed), h2: self.h2.load(Relaxed) };
        Stats {
            requests: by_protocol.h1 + by_protocol.h2,
            connections: self.connections.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            by_protocol,
        }
    }
}

/// One request under way. It travels with the answer; dropped before the answer's end, the client has left.
#[derive(Debug)]
pub struct Flight {
    counters: Arc<Counters>,
    /// Where it is recorded, if it is.
    course: Option<Arc<Course>>,
    /// What is sent is not the answer, or not all of it.
    spoilt: bool,
    finished: bool,
}

impl Flight {
    pub fn record(&mut self, course: Option<Arc<Course>>) {
        self.course = course;
    }

    pub fn course(&self) -> Option<&Course> {
        self.course.as_deref()
    }

    /// The simulator breaks the answer off, or sends something else.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// The answer is at its end, or the simulator itself broke it off: whatever comes, nobody aborted.
    pub fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.counters.in_flight.fetch_sub(1, Relaxed);
            self.ends(if self.spoilt { End::Broken } else { End::Complete });
        }
    }

    fn ends(&self, end: End) {
        if let Some(course) = &self.course {
            course.ends(end);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.finished {
            self.ends(End::Cancelled);
            self.counters.aborted.fetch_add(1, Relaxed);
            self.counters.in_flight.fetch_sub(1, Relaxed);
        }
    }
}
