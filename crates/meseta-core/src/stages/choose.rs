//! From the model name that the client wrote to a plan of targets, and to the one that its session stays with.

mod agents;
mod chooser;
mod inline;
mod models;
mod session;

use std::sync::Arc;

use crate::agents::Orchestration;
use crate::agents::open_turns::OpenTurn;
use crate::error::{Code, Error};
use crate::plan::Plan;
use crate::snapshot::{Named, Snapshot};
use crate::stages::Stage;
use crate::stages::read::Ask;
use crate::trip::Trip;

pub(crate) use agents::{PREFIX as AGENT_PREFIX, next as next_agents, place as place_of_turns};

/// Who is to answer.
pub(crate) enum Chosen {
    Models(Box<Plan>),
    Agents(Arc<Orchestration>, Lineup),
}

/// Which agents are to answer a turn.
pub(crate) struct Lineup {
    /// In their order; never nobody.
    pub agents: Vec<Arc<str>>,
    /// What the user asked.
    pub asked: String,
    /// The turn that goes on, where the client brings the result of a tool.
    pub resumed: Option<Arc<OpenTurn>>,
}

/// `rules` are those of a listener for agents; with `decide`, nobody will be asked.
pub(crate) async fn choose(
    trip: &mut Trip,
    ask: &mut Ask,
    rules: Option<&Arc<Orchestration>>,
    decide: bool,
) -> Result<Chosen, Error> {
    trip.enter(Stage::Choose);
    match rules {
        Some(rules) => Ok(Chosen::Agents(rules.clone(), Box::pin(agents::agents(trip, rules, ask)).await?)),
        None => model(trip, ask, decide).await.map(Box::new).map(Chosen::Models),
    }
}

async fn model(trip: &mut Trip, ask: &mut Ask, decide: bool) -> Result<Plan, Error> {
    inline::take(ask, &trip.snapshot)?;
    let snapshot = trip.snapshot.clone();
    let asked = ask.envelope.model.as_deref().unwrap_or_default();
    // Plano's own clients send "none" where they want the default.
    let unnamed = matches!(asked, "" | "none");
    // Before anything is chosen: a name that is not there is a mistake whatever the conversation is about.
    let found =
        if unnamed { None } else { Some(snapshot.find(asked).ok_or_else(|| not_found(&snapshot, asked))?) };
    let mut preferred = models::models(trip, ask, decide).await.into_iter();
    if let Some((name, named)) = preferred.next() {
        let mut plan = plan(trip, &name, named);
        plan.then(preferred.map(|(name, _)| name));
        session::stay(trip, ask, &name, &mut plan, true).await;
        return Ok(plan);
    }
    let default = || snapshot.default.as_deref().and_then(|name| Some((name, snapshot.find(name)?)));
    let Some((name, named)) = found.map(|named| (asked, named)).or_else(default) else {
        return Err(Error::new(
            Code::ModelMissing,
            "The request names no model and none of the configuration's models is the default one. \
             GET /v1/models lists what there is.",
        )
        .with_param("model"));
    };
    let mut plan = plan(trip, name, named);
    let name = plan.name().clone();
    session::stay(trip, ask, &name, &mut plan, false).await;
    Ok(plan)
}

/// The plan of a name that was found.
pub(crate) fn plan(trip: &mut Trip, name: &str, named: Named) -> Plan {
    let name: Arc<str> = match &named {
        Named::Pool(pool) => pool.policy.name.clone(),
        Named::Model(_) => name.into(),
    };
    if let Named::Pool(pool) = &named {
        trip.ask.pool = Some(pool.policy.name.clone());
    }
    // What a client's SDK sends again is a retry itself, and earns none.
    // A model by its own name is asked once; what little it retries all the same, the budget's minimum pays for.
    if trip.hints.retries == 0 && matches!(named, Named::Pool(_)) {
        trip.worker.shared.retry_budget.load().deposit(std::time::Instant::now());
    }
    Plan::new(trip.snapshot.clone(), name, named)
}

pub(crate) fn not_found(snapshot: &Snapshot, asked: &str) -> Error {
    let shown: String = asked.chars().filter(|character| !character.is_control()).take(100).collect();
    let mut message = format!("There is no model named '{shown}'.");
    if let Some(nearest) = nearest(snapshot, asked) {
        message.push_str(&format!(" Did you mean '{nearest}'?"));
    }
    message.push_str(" GET /v1/models lists what there is.");
    Error::new(Code::ModelNotFound, message).with_param("model")
}

/// The name with the fewest edits from what was asked, if those are few.
fn nearest<'a>(snapshot: &'a Snapshot, asked: &str) -> Option<&'a str> {
    const LONGEST: usize = 80;
    if asked.len() > LONGEST {
        return None;
    }
    snapshot
        .names()
        .filter(|name| name.len() <= LONGEST)
        .map(|name| (edits(name, asked), name))
        .min()
        .filter(|(edits, name)| *edits * 3 <= name.len())
        .map(|(_, name)| name)
}

/// Levenshtein's distance over bytes.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in right.bytes().enumerate() {
            let substitution = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = substitution.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(edits("gpt-5-mini", "gpt-5-mini"), 0);
        assert_eq!(edits("gpt-5-mini", "gpt5-mini"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
