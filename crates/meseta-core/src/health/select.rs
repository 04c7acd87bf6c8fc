//! In which order a pool's members are asked. Pure: all that it goes by is handed in.

use std::time::Instant;

use crate::document::Select;

use super::Standing;
use super::random::{fraction, mix};

/// What a recovering member gets of its weight, so that it is found again.
const TRIAL_SHARE: f64 = 0.1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub weight: f64,
    /// A group with a higher number is asked when nobody of a lower one can answer.
    pub priority: u32,
    pub standing: Standing,
    pub price: Option<f64>,
    /// What tells this member from others, the same on every replica and after a reload.
    pub key_hash: u64,
}

/// All candidates by their index, best first. `random` decides all that chance decides, `turn` counts requests.
pub(crate) fn order(
    select: Select,
    candidates: &[Candidate],
    session: Option<u64>,
    random: u64,
    turn: u64,
) -> Vec<usize> {
    let draw = Draw { select, session, random, turn };
    let (mut open, mut closed): (Vec<Entry>, Vec<Entry>) = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| Entry::new(index, candidate))
        .partition(|entry| entry.share > 0.0);
    // Stable: those of a group stay in the order of the configuration.
    open.sort_by_key(|entry| entry.candidate.priority);
    let (mut first, mut later) = (Vec::with_capacity(candidates.len()), Vec::new());
    for group in open.chunk_by_mut(|one, other| one.candidate.priority == other.candidate.priority) {
        let best = group.iter().map(|entry| entry.share).fold(0.0, f64::max);
        // A group of which nobody is wholly back gets its part of the traffic; the next groups carry the rest.
        let priority = group.first().map_or(0, |entry| entry.candidate.priority);
        let list = if draw.chance(mix(u64::from(priority))) < best { &mut first } else { &mut later };
        draw.arrange(group, best, list);
    }
    closed.sort_by_key(|entry| (entry.frees_up(), entry.candidate.priority));
    first.append(&mut later);
    first.extend(closed.iter().map(|entry| entry.index));
    first
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    index: usize,
    candidate: &'a Candidate,
    /// Of its usual traffic; nothing when it cannot take any now.
    share: f64,
    weight: f64,
    in_flight: f64,
    /// Seconds to the first token.
    latency: Option<f64>,
}

impl Entry<'_> {
    fn new(index: usize, candidate: &Candidate) -> Entry<'_> {
        let (share, in_flight, latency) = match candidate.standing {
            Standing::Ready { share, in_flight, latency } => {
                // A share that grows with time is never nothing, or its member would be taken for a closed one.
                (f64::from(share.clamp(0.01, 1.0)), f64::from(in_flight), latency)
            }
            Standing::Trial => (TRIAL_SHARE, 0.0, None),
            Standing::Resting { .. } | Standing::Limited { .. } | Standing::Full | Standing::Spent => {
                (0.0, 0.0, None)
            }
        };
        let weight = if candidate.weight.is_finite() { candidate.weight.max(0.0) } else { 0.0 };
        Entry { index, candidate, share, weight, in_flight, latency: latency.map(|time| time.as_secs_f64()) }
    }

    /// A slot frees up soonest, without a time that can be known; one whose keys are all spent never does.
    fn frees_up(&self) -> (u8, Option<Instant>) {
        match self.candidate.standing {
            Standing::Resting { until } | Standing::Limited { until } => (1, Some(until)),
            Standing::Spent => (2, None),
            _ => (0, None),
        }
    }
}

struct Draw {
    select: Select,
    session: Option<u64>,
    random: u64,
    turn: u64,
}

impl Draw {
    /// A number between 0 and 1 that belongs to `what` in this draw.
    fn chance(&self, what: u64) -> f64 {
        fraction(mix(self.random ^ what))
    }

    /// The smallest number is the winner of a draw in which everybody wins by weight (Efraimidis and Spirakis); with
    /// chances that a session and a member decide it is weighted rendezvous hashing.
    fn ticket(chance: f64, weight: f64) -> f64 {
        if weight > 0.0 { -chance.ln() / weight } else { f64::INFINITY }
    }

    fn lot(&self, entry: &Entry, weight: f64) -> f64 {
        Draw::ticket(self.chance(entry.index as u64 + 1), weight)
    }

    fn arrange(&self, group: &mut [Entry], best: f64, list: &mut Vec<usize>) {
        let session = match self.select {
            Select::Weighted => None,
            Select::SessionHash => self.session,
            _ => return self.arrange_by_merit(group, best, list),
        };
        if let Some(session) = session {
            self.arrange_by_session(group, best, session, list);
        } else {
            by(group, |entry| self.lot(entry, entry.weight * entry.share));
            list.extend(group.iter().map(|entry| entry.index));
        }
    }

    fn arrange_by_session(&self, group: &mut [Entry], best: f64, session: u64, list: &mut Vec<usize>) {
        by(group, |entry| Draw::ticket(fraction(mix(session ^ mix(entry.candidate.key_hash))), entry.weight));
        // While a member comes back, more and more of its own sessions return to it, and those stay.
        in_and_out(group, list, |entry| match entry.candidate.standing {
            Standing::Trial => self.chance(entry.index as u64 + 1) < entry.share / best,
            _ => fraction(mix(mix(session) ^ entry.candidate.key_hash)) < entry.share / best,
        });
    }

    fn arrange_by_merit(&self, group: &mut [Entry], best: f64, list: &mut Vec<usize>) {
        match self.select {
            Select::LeastBusy => self.by_load(group),
            Select::Cheapest => {
                self.by_load(group);
                by(group, |entry| {
                    entry.candidate.price.filter(|price| !price.is_nan()).unwrap_or(f64::INFINITY)
                });
            }
            _ => {}
        }
        let start = list.len();
        let inside =
            in_and_out(group, list, |entry| self.chance(mix(entry.index as u64 + 1)) < entry.share / best);
        let Some(chosen) = list.get_mut(start..start + inside) else { return };
        match self.select {
            Select::RoundRobin => {
                let count = (chosen.len() as u64).max(1);
                // The remainder is below the length.
                #[allow(clippy::cast_possible_truncation)]
                chosen.rotate_left((self.turn % count) as usize);
            }
            Select::LeastLatency => self.by_latency(group, chosen),
            _ => {}
        }
    }

    /// Equally busy ones are drawn by weight.
    fn by_load(&self, group: &mut [Entry]) {
        by(group, |entry| self.lot(entry, entry.weight));
        by(group, load);
    }

    /// The better of two drawn ones first, so that not all the world goes to the best at once.
    fn by_latency(&self, group: &[Entry], chosen: &mut [usize]) {
        let entries = || group.iter().filter(|entry| chosen.contains(&entry.index));
        let measured: Vec<f64> = entries().filter_map(|entry| entry.latency).collect();
        #[allow(clippy::cast_precision_loss)]
        let usual =
            if measured.is_empty() { 1.0 } else { measured.iter().sum::<f64>() / measured.len() as f64 };
        // One that was never measured is asked first, by one call; what it is worth to others is not known yet.
        let mut scored: Vec<(f64, usize)> = entries()
            .map(|entry| match entry.latency {
                None if entry.in_flight == 0.0 => (-1.0, entry.index),
                latency => (latency.unwrap_or(usual) * (entry.in_flight + 1.0), entry.index),
            })
            .collect();
        // Drawn before they are sorted, so that equal ones take turns.
        scored.sort_by_key(|(_, index)| mix(self.random ^ mix(*index as u64)));
        let new = scored.iter().position(|(score, _)| *score < 0.0);
        if let Some(winner) = new.or(match scored.as_slice() {
            [one, other, ..] => Some(usize::from(other.0 < one.0)),
            _ => None,
        }) && let Some(front) = scored.get_mut(..=winner)
        {
            front.rotate_right(1);
        }
        if let Some((_, rest)) = scored.split_first_mut() {
            rest.sort_by(|one, other| one.0.total_cmp(&other.0));
        }
        for (place, (_, index)) in chosen.iter_mut().zip(scored) {
            *place = index;
        }
    }
}

/// Keeps the order of those who take part in this draw and puts the others behind them. How many take part.
fn in_and_out(group: &[Entry], list: &mut Vec<usize>, takes_part: impl Fn(&Entry) -> bool) -> usize {
    let (inside, outside): (Vec<&Entry>, Vec<&Entry>) = group.iter().partition(|entry| takes_part(entry));
    list.extend(inside.iter().chain(&outside).map(|entry| entry.index));
    inside.len()
}

fn load(entry: &Entry) -> f64 {
    if entry.weight > 0.0 { entry.in_flight / entry.weight } else { f64::INFINITY }
}

/// Stable, smallest first.
fn by(group: &mut [Entry], value: impl Fn(&Entry) -> f64) {
    group.sort_by(|one, other| value(one).total_cmp(&value(other)));
}

#[cfg(test)]
mod tests;
