//! The agents that are to answer a conversation.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderName;
use meseta_select::turns::Turns;
use meseta_wire::json::Json;

use crate::agents::Orchestration;
use crate::agents::open_turns::{OpenTurn, Place};
use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::log;
use crate::stages::choose::{Lineup, chooser};
use crate::stages::read::Ask;
use crate::trip::Trip;

/// Exactly this agent of the listener is to answer.
const AGENT: HeaderName = HeaderName::from_static("x-meseta-agent");
/// The same, said by the model's name, for clients that send no headers of their own.
pub(crate) const PREFIX: &str = "agent/";

pub(crate) async fn agents(trip: &mut Trip, rules: &Orchestration, ask: &Ask) -> Result<Lineup, Error> {
    if !matches!(ask.call, Call::Chat | Call::Responses | Call::Messages) {
        return Err(Error::new(
            Code::RouteNotFound,
            "Agents answer conversations: POST /v1/chat/completions, /v1/responses or /v1/messages.",
        ));
    }
    if let Some(named) = named(ask) {
        return match rules.agents.iter().find(|id| ***id == *named) {
            Some(id) => Ok(Lineup { agents: vec![id.clone()], asked: String::new(), resumed: None }),
            None => Err(unknown(rules, &named)),
        };
    }
    // Pay only for what is used: nothing is read where it makes no difference.
    let read = if rules.cascade.is_settled() { &[] } else { &*ask.body };
    let json = std::str::from_utf8(read).ok().and_then(|text| Json::parse(text).ok()).unwrap_or(Json::Null);
    let turns = Turns::read(ask.call.dialect(), &json);
    let asked = turns.current().0.into_owned();
    if let Some(turn) = resumed(trip, rules, ask, &turns) {
        return Ok(Lineup { agents: turn.agents.clone(), asked, resumed: Some(turn) });
    }
    let mut agents = chooser::run(trip, ask, &rules.cascade, &turns).await.names;
    if agents.is_empty() {
        agents.push(rules.default.clone());
    }
    Ok(Lineup { agents, asked, resumed: None })
}

/// The turn whose tool the client has run. It is gone on with, and nobody chooses again.
fn resumed(trip: &mut Trip, rules: &Orchestration, ask: &Ask, turns: &Turns<'_>) -> Option<Arc<OpenTurn>> {
    if turns.user_turn || turns.results.is_empty() {
        return None;
    }
    // Who continues a stored response does not say again what was asked, and its name is proof enough.
    let asked = turns.current().0;
    let asked = ask.envelope.previous_response_id.is_none().then_some(&*asked);
    let place = place(trip, ask);
    let turn = trip.worker.shared.open_turns.find(&place, &turns.results, asked, Instant::now())?;
    // A reload may have taken one of them away.
    if !turn.agents.iter().all(|id| rules.agents.contains(id)) {
        return None;
    }
    trip.decisions.push(log::Decision {
        step: "replayed",
        chosen: turn.agents.clone(),
        why: "the result of a tool that it called".to_owned(),
        candidates: Vec::new(),
        passed: Vec::new(),
        micros: 0,
    });
    Some(turn)
}

/// Where turns are remembered that wait for a tool.
pub(crate) fn place(trip: &Trip, ask: &Ask) -> Place {
    Place { caller: ask.caller.conversations(), listener: trip.door.name.load().as_ref().clone() }
}

/// Who is to go on, as a model judges from all that has been said in `thread`; `None` where no model judges.
pub(crate) async fn next(
    trip: &mut Trip,
    rules: &Orchestration,
    ask: &Ask,
    thread: &Bytes,
) -> Option<Vec<Arc<str>>> {
    if named(ask).is_some() {
        return None;
    }
    let text = std::str::from_utf8(thread).unwrap_or_default();
    let json = Json::parse(text).ok()?;
    let turns = Turns::read(ask.call.dialect(), &json);
    chooser::ask_again(trip, ask, &rules.cascade, &turns).await
}

fn named(ask: &Ask) -> Option<String> {
    if let Some(named) = ask.headers.get(AGENT) {
        return Some(String::from_utf8_lossy(named.as_bytes()).into_owned());
    }
    ask.envelope.model.as_deref()?.strip_prefix(PREFIX).map(str::to_owned)
}

fn unknown(rules: &Orchestration, named: &str) -> Error {
    let shown: String = named.chars().filter(|character| !character.is_control()).take(100).collect();
    let known = rules.agents.iter().map(|id| &**id).collect::<Vec<_>>().join(", ");
    Error::new(Code::AgentNotFound, format!("This listener has no agent named '{shown}'. It has: {known}."))
        .with_param("x-meseta-agent")
}
