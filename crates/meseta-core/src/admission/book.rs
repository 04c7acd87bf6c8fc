//! Who is in, who waits, and whose turn it is: the state behind the gate's lock. It knows no clock and no task.
//!
//! Between the tenants of one class it is start-time fair queueing by tokens (Goyal, Vin and Cheng, 1996): a tenant's
//! virtual time advances by the tokens of what it was granted, and the line with the smallest one is next. Whoever had
//! nothing to wait for begins at the present virtual time: it has saved nothing up, and it owes nothing.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::admission::Priority;
use crate::shared::Load;

/// So many grants may pass a class over while it has somebody ready; the next one is its own. So the lowest class gets
/// one grant in 16, or in 17 while two classes are due at once.
const PASSED_OVER: u32 = 15;

/// What one request may be charged with. A client that asks for more output than any model has would only be
/// punishing itself, but sums must stay far from the end of the numbers.
const TOKENS: u64 = 100_000_000;

/// How many may be in. Zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub plane: u32,
    /// For tenants that bring no limit of their own.
    pub tenant: u32,
}

/// What keeps a request out for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Plane,
    /// The tenant's own limit, or one of its own that came first and is held back by it.
    Tenant,
}

/// A request as the book sees it.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    pub tenant: Arc<str>,
    pub class: Priority,
    /// The tenant's own limit; zero means the plane's for tenants.
    pub concurrency: u32,
    pub tokens: u64,
}

/// A place in a line.
pub(super) type Ticket = u64;

/// Somebody whose turn has come: it is counted as in.
pub(super) struct Grant<W> {
    pub applicant: Applicant,
    pub waiter: W,
}

pub(super) struct Book<W> {
    limits: Limits,
    /// What the other replicas have in, for whom the limits hold too.
    others: Load,
    in_flight: u64,
    /// Only of tenants that have somebody in or waiting.
    accounts: HashMap<Arc<str>, Account<W>>,
    classes: [Class; Priority::COUNT],
    /// Counts grants: among equals, who was served longest ago is next.
    grants: u64,
    tickets: Ticket,
}

struct Account<W> {
    in_flight: u64,
    /// At the other replicas.
    elsewhere: u64,
    lines: [Line<W>; Priority::COUNT],
}

/// Whether a tenant has nobody in and nobody waiting.
#[derive(PartialEq, Eq)]
enum Idle {
    Yes,
    No,
}

/// The waiting requests of one tenant in one class, first come first served.
struct Line<W> {
    virtual_time: u64,
    last_grant: u64,
    waiters: VecDeque<Waiting<W>>,
    /// As it stands in the class's `ready`.
    listed: Option<Tag>,
    /// As it stands in the class's `lengths`.
    counted: usize,
}

struct Waiting<W> {
    ticket: Ticket,
    concurrency: u32,
    tokens: u64,
    waiter: W,
}

/// Virtual time, then the number of the last grant.
type Tag = (u64, u64);

#[derive(Default)]
struct Class {
    /// Where the last grant began.
    virtual_time: u64,
    /// Lines whose first request could go in if there were room in the plane, in the order of their turn.
    ready: BTreeSet<(Tag, Arc<str>)>,
    /// All lines with somebody in them, by length.
    lengths: BTreeSet<(usize, Arc<str>)>,
    waiting: usize,
    passed_over: u32,
}

impl Class {
    /// Where a line begins that was not ready before. Corrected accounts can be behind the last grant; nobody may have to
    /// wait for them to catch up.
    fn present(&self) -> u64 {
        self.ready.first().map_or(self.virtual_time, |((first, _), _)| (*first).min(self.virtual_time))
    }
}

impl<W> Account<W> {
    fn new(elsewhere: u64) -> Account<W> {
        let line =
            || Line { virtual_time: 0, last_grant: 0, waiters: VecDeque::new(), listed: None, counted: 0 };
        Account { in_flight: 0, elsewhere, lines: [line(), line(), line()] }
    }

    /// Brings the classes up to date with this account, whatever has happened to it.
    fn relist(
        &mut self,
        tenant: &Arc<str>,
        limits: Limits,
        others: &Load,
        classes: &mut [Class; Priority::COUNT],
    ) -> Idle {
        let mut idle = self.in_flight == 0;
        for (line, class) in self.lines.iter_mut().zip(classes) {
            let length = line.waiters.len();
            if length == 0 && line.counted == 0 {
                continue;
            }
            idle &= length == 0;
            if length != line.counted {
                class.lengths.remove(&(line.counted, tenant.clone()));
                if length > 0 {
                    class.lengths.insert((length, tenant.clone()));
                }
                class.waiting = (class.waiting + length).saturating_sub(line.counted);
                line.counted = length;
            }
            let first = line.waiters.front();
            let room = |concurrency| room(limits, others, self.elsewhere, concurrency);
            let ready = first.is_some_and(|first| self.in_flight < room(first.concurrency));
            if ready && line.listed.is_none() {
                line.virtual_time = line.virtual_time.max(class.present());
            }
            let tag = ready.then_some((line.virtual_time, line.last_grant));
            if tag != line.listed {
                if let Some(listed) = line.listed {
                    class.ready.remove(&(listed, tenant.clone()));
                }
                if let Some(tag) = tag {
                    class.ready.insert((tag, tenant.clone()));
                }
                line.listed = tag;
            }
        }
        if idle { Idle::Yes } else { Idle::No }
    }
}

impl<W> Book<W> {
    pub fn new(limits: Limits) -> Book<W> {
        Book {
            limits,
            others: Load::default(),
            in_flight: 0,
            accounts: HashMap::new(),
            classes: Default::default(),
            grants: 0,
            tickets: 0,
        }
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub fn waiting(&self) -> usize {
        self.classes.iter().map(|class| class.waiting).sum()
    }

    /// How many wait in classes that go before this one.
    pub fn waiting_above(&self, class: Priority) -> usize {
        self.classes.iter().take(class as usize).map(|class| class.waiting).sum()
    }

    pub fn waiting_in(&self, class: Priority) -> usize {
        self.classes[class as usize].waiting
    }

    pub fn tenant_in_flight(&self, tenant: &str) -> u64 {
        self.accounts.get(tenant).map_or(0, |account| account.in_flight)
    }

    /// The length of a tenant's line.
    pub fn tenant_waiting(&self, tenant: &str, class: Priority) -> usize {
        self.accounts.get(tenant).map_or(0, |account| account.lines[class as usize].waiters.len())
    }

    /// Every tenant with its requests in flight and waiting.
    pub fn tenants(&self) -> impl Iterator<Item = (&Arc<str>, u64, usize)> {
        self.accounts.iter().map(|(name, account)| {
            (name, account.in_flight, account.lines.iter().map(|line| line.waiters.len()).sum())
        })
    }

    fn has_room(&self) -> bool {
        self.limits.plane == 0 || self.in_flight < self.others.room(self.limits.plane, self.others.total())
    }

    pub fn obstacle(&self, applicant: &Applicant) -> Option<Obstacle> {
        if let Some(account) = self.accounts.get(&applicant.tenant) {
            let first = account.lines[applicant.class as usize].waiters.is_empty();
            let room = room(self.limits, &self.others, account.elsewhere, applicant.concurrency);
            if account.in_flight >= room || (!first && self.has_room()) {
                return Some(Obstacle::Tenant);
            }
        }
        (!self.has_room()).then_some(Obstacle::Plane)
    }

    /// Lets a request in that nothing keeps out. Whoever is ready has been let in before, so nobody is overtaken.
    pub fn admit(&mut self, applicant: &Applicant) {
        if !self.accounts.contains_key(&applicant.tenant) {
            let elsewhere = self.others.of(&applicant.tenant);
            self.accounts.insert(applicant.tenant.clone(), Account::new(elsewhere));
        }
        let Some(account) = self.accounts.get_mut(&applicant.tenant) else { return };
        let (line, class) = place(account, &mut self.classes, applicant.class);
        line.virtual_time = line.virtual_time.max(class.present());
        charge(line, class, &mut self.grants, applicant.tokens);
        account.in_flight += 1;
        self.in_flight += 1;
        // Its lines in other classes may have reached the tenant's limit.
        account.relist(&applicant.tenant, self.limits, &self.others, &mut self.classes);
    }

    pub fn join(&mut self, applicant: &Applicant, waiter: W) -> Ticket {
        self.tickets += 1;
        let others = &self.others;
        let account = self
            .accounts
            .entry(applicant.tenant.clone())
            .or_insert_with(|| Account::new(others.of(&applicant.tenant)));
        account.lines[applicant.class as usize].waiters.push_back(Waiting {
            ticket: self.tickets,
            concurrency: applicant.concurrency,
            tokens: applicant.tokens,
            waiter,
        });
        self.relist(&applicant.tenant);
        self.tickets
    }

    /// Takes a waiter out of its line; `None` when it is not there any more.
    pub fn withdraw(&mut self, tenant: &Arc<str>, class: Priority, ticket: Ticket) -> Option<W> {
        let line = &mut self.accounts.get_mut(tenant)?.lines[class as usize];
        // Tickets of a line rise.
        let at = line.waiters.binary_search_by_key(&ticket, |waiting| waiting.ticket).ok()?;
        let waiting = line.waiters.remove(at)?;
        self.relist(tenant);
        Some(waiting.waiter)
    }

    /// Makes room in a full queue: the newest of the longest line goes, in the lowest class that is below the
    /// newcomer's; else in the newcomer's own class, if that line stays no shorter than the newcomer's becomes.
    pub fn evict_for(&mut self, newcomer: &Applicant) -> Option<Grant<W>> {
        let own = newcomer.class as usize;
        let lower = Priority::ALL.iter().rev().find(|class| {
            let at = **class as usize;
            at > own && self.classes[at].waiting > 0
        });
        let class = *lower.unwrap_or(&newcomer.class);
        let (length, tenant) = self.classes[class as usize].lengths.last()?.clone();
        if lower.is_none() && length <= self.tenant_waiting(&newcomer.tenant, class) + 1 {
            return None;
        }
        let waiting = self.accounts.get_mut(&tenant)?.lines[class as usize].waiters.pop_back()?;
        self.relist(&tenant);
        Some(waiting.granted(tenant, class))
    }

    /// The next one whose turn it is, while there is room.
    pub fn next(&mut self) -> Option<Grant<W>> {
        if !self.has_room() {
            return None;
        }
        let priority = self.turn()?;
        let (_, tenant) = self.classes[priority as usize].ready.first()?.clone();
        let account = self.accounts.get_mut(&tenant)?;
        let (line, class) = place(account, &mut self.classes, priority);
        let waiting = line.waiters.pop_front()?;
        charge(line, class, &mut self.grants, waiting.tokens);
        account.in_flight += 1;
        self.in_flight += 1;
        for (class, at) in self.classes.iter_mut().zip(Priority::ALL) {
            if *at == priority {
                class.passed_over = 0;
            } else if !class.ready.is_empty() {
                class.passed_over = class.passed_over.saturating_add(1);
            }
        }
        self.relist(&tenant);
        Some(waiting.granted(tenant, priority))
    }

    /// The class whose turn it is: one that has been passed over often enough, else the highest.
    fn turn(&self) -> Option<Priority> {
        let ready =
            || Priority::ALL.iter().copied().filter(|class| !self.classes[*class as usize].ready.is_empty());
        let passed_over = |class: &Priority| self.classes[*class as usize].passed_over;
        ready()
            .filter(|class| passed_over(class) >= PASSED_OVER)
            .max_by_key(passed_over)
            .or_else(|| ready().next())
    }

    /// A request has left.
    pub fn release(&mut self, tenant: &Arc<str>) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            account.in_flight = account.in_flight.saturating_sub(1);
            self.in_flight = self.in_flight.saturating_sub(1);
            if account.relist(tenant, self.limits, &self.others, &mut self.classes) == Idle::Yes {
                self.accounts.remove(tenant);
            }
        }
    }

    /// Corrects the account of a request that is in: it was charged with one number of tokens and used another.
    pub fn settle(&mut self, tenant: &Arc<str>, class: Priority, charged: u64, used: u64) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            let line = &mut account.lines[class as usize];
            line.virtual_time = line.virtual_time.saturating_sub(price(charged)).saturating_add(price(used));
            account.relist(tenant, self.limits, &self.others, &mut self.classes);
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        if limits == self.limits {
            return;
        }
        self.limits = limits;
        self.relist_all();
    }

    pub fn set_others(&mut self, others: Load) {
        if others == self.others {
            return;
        }
        self.others = others;
        for (tenant, account) in &mut self.accounts {
            account.elsewhere = self.others.of(tenant);
        }
        self.relist_all();
    }

    fn relist_all(&mut self) {
        let tenants: Vec<Arc<str>> = self.accounts.keys().cloned().collect();
        for tenant in tenants {
            self.relist(&tenant);
        }
    }

    /// Brings everything up to date with a tenant's account, and forgets it when it is idle.
    fn relist(&mut self, tenant: &Arc<str>) {
        if let Some(account) = self.accounts.get_mut(tenant)
            && account.relist(tenant, self.limits, &self.others, &mut self.classes) == Idle::Yes
        {
            self.accounts.remove(tenant);
        }
    }
}

impl<W> Waiting<W> {
    fn granted(self, tenant: Arc<str>, class: Priority) -> Grant<W> {
        let Waiting { concurrency, tokens, waiter, .. } = self;
        Grant { applicant: Applicant { tenant, class, concurrency, tokens }, waiter }
    }
}

/// How many a tenant may have in here, by its own limit or the one of all tenants.
fn room(limits: Limits, others: &Load, elsewhere: u64, concurrency: u32) -> u64 {
    let limit = if concurrency == 0 { limits.tenant } else { concurrency };
    if limit == 0 { u64::MAX } else { others.room(limit, elsewhere) }
}

fn place<'a, W>(
    account: &'a mut Account<W>,
    classes: &'a mut [Class; Priority::COUNT],
    class: Priority,
) -> (&'a mut Line<W>, &'a mut Class) {
    (&mut account.lines[class as usize], &mut classes[class as usize])
}

fn charge<W>(line: &mut Line<W>, class: &mut Class, grants: &mut u64, tokens: u64) {
    class.virtual_time = line.virtual_time;
    line.virtual_time = line.virtual_time.saturating_add(price(tokens));
    *grants += 1;
    line.last_grant = *grants;
}

/// A request without tokens still takes a turn.
fn price(tokens: u64) -> u64 {
    tokens.clamp(1, TOKENS)
}
