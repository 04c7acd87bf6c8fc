//! Ends calls to providers that are past their time though nobody reads them.
//!
//! A body is polled only while its client takes what it is sent. One that does not read would otherwise hold its call to
//! the provider, and pay for it, for as long as it likes.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use tokio::time::Instant;

use crate::stages::send::Begun;

/// A call under way; `None` once it is over.
pub(crate) type Call = Rc<RefCell<Option<Begun>>>;

/// The calls of one worker that are being relayed.
#[derive(Default)]
pub(crate) struct Overdue {
    calls: RefCell<Vec<Weak<RefCell<Option<Begun>>>>>,
}

impl Overdue {
    pub fn watch(&self, begun: Begun) -> Call {
        let call = Rc::new(RefCell::new(Some(begun)));
        let mut calls = self.calls.borrow_mut();
        // Before the list grows, those that are over leave it: it stays in proportion to the calls under way.
        if calls.len() == calls.capacity() {
            calls.retain(|call| call.strong_count() > 0);
            let room = calls.len().max(32);
            calls.reserve(room);
        }
        calls.push(Rc::downgrade(&call));
        call
    }

    /// Drops every call whose total time is over. The worker calls it every few seconds.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.calls.borrow_mut().retain(|call| {
            let Some(call) = call.upgrade() else { return false };
            let mut call = call.borrow_mut();
            call.take_if(|begun| begun.total <= now);
            call.is_some()
        });
    }
}
