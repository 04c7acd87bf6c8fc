//! The agents at work: one after the other, all at once, or one and then whoever is needed next.

use std::sync::Arc;

use crate::agents::Orchestration;
use crate::document::Strategy;
use crate::error::Error;
use crate::handle::Outbound;
use crate::health::random::mix;
use crate::orchestrate::Errand;
use crate::orchestrate::chain::chain;
use crate::orchestrate::parallel::parallel;
use crate::orchestrate::supervise::supervise;
use crate::stages::Stage;
use crate::stages::choose::Lineup;
use crate::stages::read::Ask;
use crate::trip::Trip;

pub(crate) async fn orchestrate(
    trip: &mut Trip,
    ask: Ask,
    rules: Arc<Orchestration>,
    lineup: Lineup,
) -> Result<Outbound, Error> {
    trip.enter(Stage::Orchestrate);
    trip.ask.agents.clone_from(&lineup.agents);
    // A run that nobody traces yet has a trace of its own.
    let root = trip.root().0.cast_unsigned();
    trip.ask.trace.get_or_insert_with(|| format!("{:016x}{root:016x}", mix(root)));
    let strategy = rules.strategy;
    let errand = Errand::of(trip, ask, rules, lineup)?;
    match strategy {
        Strategy::Parallel if errand.lineup.agents.len() > 1 => parallel(trip, &errand).await,
        Strategy::Chain | Strategy::Parallel => chain(trip, &errand).await,
        Strategy::Supervise => supervise(trip, &errand).await,
    }
}
