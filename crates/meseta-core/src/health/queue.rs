//! Who waits for a slot: in turn for each target, at several targets at once, served by the first that has one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::target::{Call, TargetHealth};
use super::ticket::Ticket;
use super::{Settings, Standing};

/// A rest or a limit that ends is looked at no more often than this.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a waiting call looks for itself whether something became free that nobody handed over.
const LOOK: Duration = Duration::from_millis(100);

/// A target to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub target: &'a Arc<TargetHealth>,
    pub settings: &'a Arc<Settings>,
    /// As in [`Call`].
    pub spent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Every target has as many waiting as it may have.
    QueueFull,
    /// Nothing became free in time, or nothing will.
    TimedOut,
}

/// Waits until one of the targets takes the call: which one, and the ticket. Who is dropped has left all queues.
pub(crate) async fn wait(
    places: &[Place<'_>],
    tokens: u64,
    deadline: tokio::time::Instant,
) -> Result<(usize, Ticket), Refused> {
    let now = now();
    let (sender, mut receiver) = oneshot::channel();
    let line = Line { waiter: Arc::new(Waiter { sender: Mutex::new(Some(sender)) }), places };
    let mut end = None;
    let mut joined = Vec::new();
    let mut full = false;
    for (index, place) in places.iter().enumerate() {
        let call = Call { tokens, spent: place.spent, last_resort: false };
        let until = now.checked_add(place.settings.queue_time).unwrap_or(now).min(deadline.into_std());
        let entry =
            Entry { waiter: line.waiter.clone(), index, settings: place.settings.clone(), call, until };
        match place.target.join(entry, now) {
            Joined::Served => break,
            Joined::Waiting { look_again } => {
                end = end.max(Some(until));
                joined.push((place, call, look_again));
            }
            Joined::Full => full = true,
            Joined::Hopeless => {}
        }
    }
    let end = end.unwrap_or(now);
    loop {
        let wake = joined.iter().map(|(.., look_again)| *look_again).min();
        let wake = wake.map_or(end, |wake| wake.min(end));
        tokio::select! {
            biased;
            granted = &mut receiver => return granted.map_err(|_| Refused::TimedOut),
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        let now = self::now();
        if now >= end {
            break;
        }
        for (place, call, look_again) in &mut joined {
            *look_again = place.target.look(place.settings, *call, now);
        }
    }
    // Between the end of time and this claim somebody may still have handed over a ticket.
    if line.waiter.claim().is_none()
        && let Ok(granted) = receiver.await
    {
        return Ok(granted);
    }
    Err(if full && joined.is_empty() { Refused::QueueFull } else { Refused::TimedOut })
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One waiting call; it stands in several queues.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Taken by the first that serves it, or by the waiting call itself when it leaves.
    sender: Mutex<Option<oneshot::Sender<(usize, Ticket)>>>,
}

pub(super) struct Claim(oneshot::Sender<(usize, Ticket)>);

impl Waiter {
    /// Who has the claim must serve it: nobody else can.
    pub fn claim(&self) -> Option<Claim> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take().map(Claim)
    }

    fn gone(&self) -> bool {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Claim {
    pub fn grant(self, index: usize, ticket: Ticket) -> Granted {
        Granted { claim: self, index, ticket }
    }
}

/// A ticket on its way to a waiting call.
pub(super) struct Granted {
    claim: Claim,
    index: usize,
    ticket: Ticket,
}

impl Granted {
    /// With no target locked: a ticket that comes back, as its call has just gone away, frees its slot again.
    pub fn deliver(all: Vec<Granted>) {
        for Granted { claim: Claim(sender), index, ticket } in all {
            drop(sender.send((index, ticket)));
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub waiter: Arc<Waiter>,
    /// Which of its places this is, for the waiting call.
    pub index: usize,
    pub settings: Arc<Settings>,
    pub call: Call,
    pub until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
}

impl Queue {
    /// The first that is still there.
    pub fn pop(&mut self, now: Instant) -> Option<Entry> {
        loop {
            let entry = self.entries.pop_front()?;
            if entry.until > now && !entry.waiter.gone() {
                return Some(entry);
            }
        }
    }

    pub fn put_back(&mut self, entries: Vec<Entry>) {
        for entry in entries.into_iter().rev() {
            self.entries.push_front(entry);
        }
    }

    pub fn waiting(&self, now: Instant) -> usize {
        self.entries.iter().filter(|entry| entry.until > now && !entry.waiter.gone()).count()
    }

    fn remove(&mut self, waiter: &Arc<Waiter>) {
        self.entries.retain(|entry| !Arc::ptr_eq(&entry.waiter, waiter));
    }
}

enum Joined {
    Served,
    /// A slot comes by itself; a rest or a limit that ends must be looked at.
    Waiting {
        look_again: Instant,
    },
    Full,
    /// It rests or is limited for longer than the call may wait, or the call has used all its keys.
    Hopeless,
}

impl TargetHealth {
    /// In one step, so that no slot becomes free unseen between asking and waiting.
    fn join(self: &Arc<Self>, entry: Entry, now: Instant) -> Joined {
        let (waiter, settings, call, until) =
            (entry.waiter.clone(), entry.settings.clone(), entry.call, entry.until);
        let mut state = self.lock();
        state.queue.entries.push_back(entry);
        let granted = self.serve(&mut state, now);
        state.align(&settings, now);
        let joined = if waiter.gone() {
            Joined::Served
        } else {
            match state.standing(&settings, call, now) {
                Standing::Resting { until: ends } | Standing::Limited { until: ends } if ends > until => {
                    Joined::Hopeless
                }
                Standing::Spent => Joined::Hopeless,
                _ if state.queue.waiting(now) > settings.queue => Joined::Full,
                standing => Joined::Waiting { look_again: look_again(standing, now) },
            }
        };
        if !matches!(joined, Joined::Waiting { .. }) {
            state.queue.remove(&waiter);
        }
        drop(state);
        Granted::deliver(granted);
        joined
    }

    /// Serves those whose time has come, and says when to look again.
    fn look(self: &Arc<Self>, settings: &Settings, call: Call, now: Instant) -> Instant {
        let mut state = self.lock();
        let granted = self.serve(&mut state, now);
        state.align(settings, now);
        let standing = state.standing(settings, call, now);
        drop(state);
        Granted::deliver(granted);
        look_again(standing, now)
    }
}

fn look_again(standing: Standing, now: Instant) -> Instant {
    match standing {
        Standing::Resting { until } | Standing::Limited { until } => until.max(now + PAUSE),
        // Whoever leaves a slot hands it on; but none of those who waited then may have been allowed to take it.
        _ => now + LOOK,
    }
}

/// A waiting call's places in the queues. Dropped, it has left them.
struct Line<'a> {
    waiter: Arc<Waiter>,
    places: &'a [Place<'a>],
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        drop(self.waiter.claim());
        for place in self.places {
            place.target.lock().queue.remove(&self.waiter);
        }
    }
}

#[cfg(test)]
mod tests;
