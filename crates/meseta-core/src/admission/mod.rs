//! Who may come in, and in which order, when the plane is full. Under its limit a request walks in; above it, tenants take
//! turns by tokens, so that one of them cannot keep the others out, however much it sends.
//!
//! The gate is asked from all worker threads. A place is a [`Pass`]: it is given back when it is dropped, and goes to the
//! next one in the same step. Its promise is that no place is lost and none is given twice, also when a request is
//! abandoned in the very moment in which its turn comes.

mod book;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::document::{self, Priority};
use crate::shared::Load;
use book::{Applicant, Book, Limits, Obstacle, Ticket};

/// The plane's limits. The default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdmissionSettings {
    /// How many requests may be in at once; zero means no limit.
    pub concurrency: u32,
    /// The same for one tenant that has no limit of its own.
    pub tenant_concurrency: u32,
    /// How many may wait.
    pub queue: u32,
    /// How long one may wait.
    pub queue_wait: Duration,
}

/// On whose account a request comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenant {
    /// Empty for callers that no key names.
    pub name: Arc<str>,
    pub priority: Priority,
    /// How many of the tenant's requests may be in at once; zero means `tenant_concurrency`.
    pub concurrency: u32,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The plane's places are taken, and it may not wait (longer).
    PlaneFull,
    /// The tenant's places are taken, and it may not wait (longer).
    TenantFull,
    /// As many wait as may.
    QueueFull,
    /// It waited, and made room for a higher class, or for a tenant with a shorter line.
    Shed,
    /// Its deadline would pass, or has passed, while it waits.
    TooLate,
}

impl Reason {
    pub const ALL: &[Reason] =
        &[Reason::PlaneFull, Reason::TenantFull, Reason::QueueFull, Reason::Shed, Reason::TooLate];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::PlaneFull => "plane_full",
            Reason::TenantFull => "tenant_full",
            Reason::QueueFull => "queue_full",
            Reason::Shed => "shed",
            Reason::TooLate => "too_late",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub reason: Reason,
    /// Whole seconds, 1 to 60: when there is likely to be room, by how long requests have been staying in and by how
    /// many wait.
    pub retry_after: Duration,
}

/// What the gate says of itself.
#[derive(Clone, Debug)]
pub struct GateStats {
    pub in_flight: u64,
    pub waiting: usize,
    /// Let in since the start.
    pub admitted: u64,
    /// The twenty with the most requests waiting and in flight.
    pub tenants: Vec<TenantStats>,
    /// Refused since the start, for each reason.
    pub refused: Vec<(&'static str, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantStats {
    pub name: Arc<str>,
    pub in_flight: u64,
    pub waiting: usize,
}

const TENANTS_SHOWN: usize = 20;

/// No wait is reckoned to be longer, so that no clock overflows.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

pub(crate) struct Gate {
    state: Mutex<State>,
}

struct State {
    settings: AdmissionSettings,
    book: Book<oneshot::Sender<Verdict>>,
    /// How long requests have been staying in: a moving mean, in seconds. Zero before the first one has left.
    stay: f64,
    admitted: u64,
    refused: [u64; Reason::ALL.len()],
}

impl From<document::AdmissionSettings> for AdmissionSettings {
    fn from(document: document::AdmissionSettings) -> AdmissionSettings {
        AdmissionSettings {
            concurrency: document.concurrency,
            tenant_concurrency: document.tenant_concurrency,
            queue: document.queue,
            queue_wait: Duration::from_millis(document.queue_ms),
        }
    }
}

type Verdict = Result<Pass, Refused>;

/// A verdict on its way to who waits for it. Verdicts are sent when the lock is free again, because one that nobody takes
/// is a place that must be given back.
type Letters = Vec<(oneshot::Sender<Verdict>, Verdict)>;

impl Gate {
    pub fn new(settings: AdmissionSettings) -> Arc<Gate> {
        let state = State {
            book: Book::new(settings.limits()),
            settings,
            stay: 0.0,
            admitted: 0,
            refused: [0; Reason::ALL.len()],
        };
        Arc::new(Gate { state: Mutex::new(state) })
    }

    /// Takes new settings. Who is in stays in, who waits keeps its place; where there is more room now, they come in.
    pub fn configure(self: &Arc<Gate>, settings: AdmissionSettings) {
        self.change(|state, _| {
            state.settings = settings;
            state.book.set_limits(settings.limits());
        });
    }

    /// What is in, for the other replicas.
    pub fn load(&self) -> Load {
        let state = self.lock();
        let mut load = Load::new(state.book.in_flight());
        let tenants: Vec<_> =
            state.book.tenants().map(|(name, in_flight, _)| (name.clone(), in_flight)).collect();
        drop(state);
        for (name, in_flight) in tenants {
            load.add(&name, in_flight);
        }
        load
    }

    /// What the other replicas have in: the limits are for all of them together.
    pub fn others(self: &Arc<Gate>, load: Load) {
        self.change(|state, _| state.book.set_others(load));
    }

    /// Comes back with a pass as soon as it is this request's turn. While there is room it does not wait. It may be
    /// dropped at any time; then the request has never been there.
    ///
    /// `tokens` is what the request is expected to use, input and output together.
    pub async fn enter(
        self: &Arc<Gate>,
        tenant: &Tenant,
        tokens: u64,
        deadline: Option<Instant>,
    ) -> Result<Pass, Refused> {
        let applicant = Applicant {
            tenant: tenant.name.clone(),
            class: tenant.priority,
            concurrency: tenant.concurrency,
            tokens,
        };
        match self.ask(applicant, deadline)? {
            Asked::In(pass) => Ok(pass),
            Asked::Queued(place) => place.wait().await,
        }
    }

    fn ask(self: &Arc<Gate>, applicant: Applicant, deadline: Option<Instant>) -> Result<Asked, Refused> {
        self.change(|state, letters| {
            let now = Instant::now();
            let Some(obstacle) = state.book.obstacle(&applicant) else {
                state.book.admit(&applicant);
                state.admitted += 1;
                return Ok(Asked::In(self.pass(applicant, now)));
            };
            let settings = state.settings;
            if settings.queue == 0 || settings.queue_wait.is_zero() {
                return Err(state.refuse(obstacle.into(), &applicant));
            }
            if deadline.is_some_and(|deadline| now + state.shortest_wait(&applicant, obstacle) >= deadline) {
                return Err(state.refuse(Reason::TooLate, &applicant));
            }
            if state.book.waiting() >= settings.queue as usize {
                // Who could not come in anyway pushes nobody out.
                let evicted = match obstacle {
                    Obstacle::Plane => state.book.evict_for(&applicant),
                    Obstacle::Tenant => None,
                };
                let Some(evicted) = evicted else {
                    return Err(state.refuse(Reason::QueueFull, &applicant));
                };
                let refused = state.refuse(Reason::Shed, &evicted.applicant);
                letters.push((evicted.waiter, Err(refused)));
            }
            let (sender, verdict) = oneshot::channel();
            let ticket = state.book.join(&applicant, sender);
            let patience = now + settings.queue_wait.min(LONGEST_WAIT);
            let until = deadline.map_or(patience, |deadline| deadline.min(patience));
            let late = deadline == Some(until);
            Ok(Asked::Queued(Place { gate: self.clone(), applicant, ticket, verdict, until, late }))
        })
    }

    pub fn stats(&self) -> GateStats {
        let state = self.lock();
        let mut tenants: Vec<TenantStats> = state
            .book
            .tenants()
            .map(|(name, in_flight, waiting)| TenantStats { name: name.clone(), in_flight, waiting })
            .collect();
        let (in_flight, waiting, admitted) = (state.book.in_flight(), state.book.waiting(), state.admitted);
        let refused = Reason::ALL.iter().map(|reason| reason.as_str()).zip(state.refused).collect();
        drop(state);
        tenants.sort_unstable_by(|one, other| {
            (other.waiting, other.in_flight, &one.name).cmp(&(one.waiting, one.in_flight, &other.name))
        });
        tenants.truncate(TENANTS_SHOWN);
        GateStats { in_flight, waiting, admitted, tenants, refused }
    }

    fn pass(self: &Arc<Gate>, applicant: Applicant, since: Instant) -> Pass {
        Pass {
            gate: self.clone(),
            tenant: applicant.tenant,
            class: applicant.class,
            charged: applicant.tokens,
            since,
        }
    }

    /// Changes the state, lets in whoever can come in by that, and tells them.
    fn change<T>(self: &Arc<Gate>, change: impl FnOnce(&mut State, &mut Letters) -> T) -> T {
        let mut letters = Letters::new();
        let mut state = self.lock();
        let result = change(&mut state, &mut letters);
        while let Some(grant) = state.book.next() {
            state.admitted += 1;
            letters.push((grant.waiter, Ok(self.pass(grant.applicant, Instant::now()))));
        }
        drop(state);
        for (waiter, verdict) in letters {
            // A pass that comes back unread is dropped here, and so handed on.
            let _ = waiter.send(verdict);
        }
        result
    }

    /// A panic while the lock was held leaves numbers that are still sound enough to serve with.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdmissionSettings {
    fn limits(self) -> Limits {
        Limits { plane: self.concurrency, tenant: self.tenant_concurrency }
    }
}

impl From<Obstacle> for Reason {
    fn from(obstacle: Obstacle) -> Reason {
        match obstacle {
            Obstacle::Plane => Reason::PlaneFull,
            Obstacle::Tenant => Reason::TenantFull,
        }
    }
}

/// The weight of the newest stay in the mean.
const NEWEST: f64 = 1.0 / 16.0;

impl State {
    fn left(&mut self, stay: Duration) {
        let stay = stay.as_secs_f64();
        self.stay = if self.stay == 0.0 { stay } else { self.stay + (stay - self.stay) * NEWEST };
    }

    fn refuse(&mut self, reason: Reason, applicant: &Applicant) -> Refused {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count += 1;
        }
        let (class, tenant) = (applicant.class, &applicant.tenant);
        let wait = match reason {
            Reason::TenantFull => {
                self.wait(self.book.tenant_waiting(tenant, class) + 1, self.book.tenant_in_flight(tenant))
            }
            _ => self.wait(
                self.book.waiting_above(class) + self.book.waiting_in(class) + 1,
                self.book.in_flight(),
            ),
        };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Refused { reason, retry_after: Duration::from_secs(seconds.clamp(1, 60)) }
    }

    /// How long a newcomer waits if everything goes well for it: only its own tenant's requests and those of higher
    /// classes are surely before it.
    fn shortest_wait(&self, applicant: &Applicant, obstacle: Obstacle) -> Duration {
        let own = self.book.tenant_waiting(&applicant.tenant, applicant.class) + 1;
        match obstacle {
            Obstacle::Tenant => self.wait(own, self.book.tenant_in_flight(&applicant.tenant)),
            Obstacle::Plane => {
                self.wait(own + self.book.waiting_above(applicant.class), self.book.in_flight())
            }
        }
    }

    /// How long until so many have come in, when `places` requests are in and leave as fast as they have been leaving.
    fn wait(&self, ahead: usize, places: u64) -> Duration {
        #[allow(clippy::cast_precision_loss)] // An estimate.
        let seconds = self.stay * ahead as f64 / places.max(1) as f64;
        Duration::try_from_secs_f64(seconds).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
    }
}

enum Asked {
    In(Pass),
    Queued(Place),
}

/// A place in a line; dropped, it is given up.
struct Place {
    gate: Arc<Gate>,
    applicant: Applicant,
    ticket: Ticket,
    verdict: oneshot::Receiver<Verdict>,
    until: Instant,
    /// What comes at `until` is the request's deadline, not the end of our patience.
    late: bool,
}

impl Place {
    async fn wait(mut self) -> Verdict {
        let verdict = match timeout_at(self.until, &mut self.verdict).await {
            Ok(verdict) => verdict,
            Err(_) => match self.give_up() {
                Some(refused) => return Err(refused),
                // A verdict was reached in this moment, and is on its way.
                None => (&mut self.verdict).await,
            },
        };
        verdict.unwrap_or_else(|_| {
            // Nobody throws a waiter away without a verdict; should it happen, this one was not let in.
            Err(self.gate.lock().refuse(Reason::PlaneFull, &self.applicant))
        })
    }

    fn give_up(&self) -> Option<Refused> {
        self.gate.change(|state, _| {
            let applicant = &self.applicant;
            state.book.withdraw(&applicant.tenant, applicant.class, self.ticket)?;
            let reason = match state.book.obstacle(applicant) {
                _ if self.late => Reason::TooLate,
                Some(Obstacle::Tenant) => Reason::TenantFull,
                _ => Reason::PlaneFull,
            };
            Some(state.refuse(reason, applicant))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A verdict that is here or still comes is dropped with the receiver, and a pass in it is handed on.
        let Applicant { tenant, class, .. } = &self.applicant;
        self.gate.change(|state, _| state.book.withdraw(tenant, *class, self.ticket));
    }
}

/// The right to be in. Dropped, it goes to the next one.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    tenant: Arc<str>,
    class: Priority,
    charged: u64,
    since: Instant,
}

impl Pass {
    /// Corrects the tenant's account to what the request has used. May be called again when more is known.
    pub fn settle(&mut self, used: u64) {
        let Pass { gate, tenant, class, charged, .. } = self;
        gate.change(|state, _| state.book.settle(tenant, *class, *charged, used));
        *charged = used;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let stay = self.since.elapsed();
        self.gate.change(|state, _| {
            state.left(stay);
            state.book.release(&self.tenant);
        });
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pass").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}
