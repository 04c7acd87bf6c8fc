//! One row in the log for the request and one for each attempt. Never waits: a full queue drops the row and counts it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Code;
use crate::log::{Attempt, RequestRow, Row};
use crate::stages::Stage;
use crate::trip::Trip;

pub(crate) fn record(trip: &mut Trip) {
    let duration = trip.enter(Stage::Record);
    let counters = &trip.worker.shared.counters;
    if !trip.is_hop() {
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
    if !trip.is_hop() && trip.outcome.is_some_and(|outcome| outcome.code.is_some()) {
        counters.errors.fetch_add(1, Ordering::Relaxed);
    }
    if !trip.recorded {
        return;
    }
    let worker = trip.worker.clone();
    if let Some(log) = &worker.log {
        log.append(row(trip, duration));
    }
}

fn row(trip: &mut Trip, duration: u32) -> Box<Row> {
    let stages = trip.stages().collect();
    let attempts = trip.attempts.take();
    let answered = answering(&attempts);
    let ask = std::mem::take(&mut trip.ask);
    let request = RequestRow {
        id: trip.id,
        // The clock of the wall is read once, at the end: both ends of the row then agree with each other.
        ended_us: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        duration_us: duration,
        listener: Arc::clone(&**trip.door.name.load()),
        method: trip.method.clone(),
        path: std::mem::take(&mut trip.path),
        model_requested: ask.model,
        model: answered.map(|attempt| attempt.model.clone()),
        target: answered.map(|attempt| attempt.target.clone()),
        stream: ask.stream,
        status: trip.outcome.map_or(0, |outcome| outcome.status),
        code: trip.outcome.and_then(|outcome| outcome.code),
        first_byte_us: trip.answer.first_byte,
        request_bytes: ask.bytes,
        response_bytes: trip.answer.bytes,
        chunks: trip.answer.chunks,
        translated: trip.answer.translated,
        dropped: trip.answer.dropped.take(),
        session: ask.session,
        run: ask.run,
        tags: ask.tags,
        trace: ask.trace,
        tenant: ask.tenant,
        pool: ask.pool,
        waited_us: ask.waited,
        resumed: trip.answer.resumed,
        parent: trip.lineage.as_ref().map(|lineage| lineage.parent),
        root: trip.lineage.as_ref().map(|lineage| lineage.root),
        agent: ask.agent,
        caller: ask.caller,
        route: ask.route,
        agents: ask.agents,
        stages,
        snapshot: trip.snapshot.hash.clone(),
    };
    Box::new(Row { request, attempts, decisions: std::mem::take(&mut trip.decisions) })
}

/// The call that the client's answer is from: the last one that was not merely overtaken.
fn answering(attempts: &[Attempt]) -> Option<&Attempt> {
    attempts.iter().rev().find(|attempt| attempt.code != Some(Code::UpstreamHedgeLost))
}
