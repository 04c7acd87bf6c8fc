//! The calls that one request made to targets, while they are under way. Several may be at once: a hedge runs beside the
//! call that it stands in for. Whatever becomes of a call, its entry is here when the request is recorded.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::log::Attempt;

#[derive(Clone, Default)]
pub(crate) struct Attempts(Rc<RefCell<Vec<Attempt>>>);

impl Attempts {
    /// Adds a call; its entry is written by the track alone.
    pub fn begin(&self, attempt: Attempt, started: Instant) -> Track {
        let mut attempts = self.0.borrow_mut();
        attempts.push(attempt);
        Track { attempts: self.clone(), number: attempts.len() - 1, started }
    }

    /// Takes back the call that was begun last, of which nothing came.
    pub fn forget(&self, track: &Track) {
        let mut attempts = self.0.borrow_mut();
        if track.number + 1 == attempts.len() {
            attempts.pop();
        }
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Every entry, for whoever settles them.
    pub fn each(&self, mut with: impl FnMut(&mut Attempt)) {
        self.0.borrow_mut().iter_mut().for_each(&mut with);
    }

    pub fn take(&self) -> Vec<Attempt> {
        self.0.take()
    }
}

/// One of the calls.
#[derive(Clone)]
pub(crate) struct Track {
    attempts: Attempts,
    number: usize,
    /// When the request began: every time in the entry counts from there.
    started: Instant,
}

impl Track {
    pub fn note(&self, with: impl FnOnce(&mut Attempt)) {
        // Taken from under us only when the request is already recorded.
        if let Some(attempt) = self.attempts.0.borrow_mut().get_mut(self.number) {
            with(attempt);
        }
    }

    /// Microseconds since the request began.
    pub fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX - 1)
    }
}
