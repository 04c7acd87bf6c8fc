//! Whether there is room for the request now, and whose turn it is if there is not.

use std::time::Duration;

use tokio::time::Instant;

use crate::admission::{Reason, Refused};
use crate::error::{Code, Error};
use crate::stages::Stage;
use crate::stages::read::Ask;
use crate::trip::Trip;

pub(crate) async fn admit(trip: &mut Trip, ask: &Ask) -> Result<(), Error> {
    let tenant = &ask.caller.tenant;
    // What is asked for a run is part of the request that the run began with, which has its place: a run that waited for
    // itself would never end.
    if trip.lineage.is_some() {
        return Ok(());
    }
    // Pay only for what is used: without a limit there is nothing to count.
    if trip.snapshot.admission.is_none() && tenant.concurrency == 0 {
        return Ok(());
    }
    trip.enter(Stage::Admit);
    let before = trip.now();
    let tokens = trip.ask.tokens.saturating_add(ask.envelope.max_output_tokens.unwrap_or_default());
    let deadline = trip.left().map(|left| Instant::now() + left);
    let entered = trip.worker.shared.gate.enter(tenant, tokens, deadline).await;
    trip.ask.waited = trip.now().saturating_sub(before);
    trip.pass = Some(entered.map_err(|refused| turned_away(&refused, &tenant.name))?);
    Ok(())
}

fn turned_away(refused: &Refused, tenant: &str) -> Error {
    let seconds = refused.retry_after.as_secs();
    let (code, message) = match refused.reason {
        Reason::PlaneFull => (
            Code::PlaneOverloaded,
            format!("As many requests are under way as the plane takes. Try again in {seconds} s."),
        ),
        Reason::QueueFull => (
            Code::PlaneOverloaded,
            format!("The plane is full, and so is the queue before it. Try again in {seconds} s."),
        ),
        Reason::TenantFull => (
            Code::LimitConcurrency,
            format!(
                "The tenant '{tenant}' has as many requests under way as it may. Try again in {seconds} s."
            ),
        ),
        Reason::Shed => (
            Code::PlaneShed,
            format!(
                "The plane is full and this request made room for one that goes before it. Try again in {seconds} s."
            ),
        ),
        Reason::TooLate => (
            Code::RequestDeadline,
            "The request would have waited for longer than its client does.".to_owned(),
        ),
    };
    let after = (refused.reason != Reason::TooLate).then_some(refused.retry_after);
    Error::new(code, message).with_retry_after(after.map(|after| after.max(Duration::from_secs(1))))
}
