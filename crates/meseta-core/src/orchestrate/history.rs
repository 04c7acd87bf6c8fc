//! The conversation behind a request to agents: what Meseta keeps of it, and how much of it agents are shown.

use http::{Method, StatusCode};
use meseta_wire::history::{self, Bounds, JoinError};

use crate::agents::Orchestration;
use crate::document::{HistoryDocument, HistoryMode};
use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::histories::{HistoryError, Turn, is_session_name};
use crate::stages::identify::Caller;
use crate::stages::read::Ask;
use crate::trip::Trip;

/// Puts what is kept before what the request says, and has the turn kept with its answer.
pub(crate) async fn recall(
    trip: &mut Trip,
    ask: &mut Ask,
    rules: &Orchestration,
    decide: bool,
) -> Result<(), Error> {
    // What an agent asks in the course of a turn is no turn of the client's.
    if rules.history.mode != HistoryMode::Keep || trip.lineage.is_some() {
        return Ok(());
    }
    let shared = trip.worker.shared.clone();
    let Some(histories) = &shared.histories else { return Ok(()) };
    if decide && trip.ask.session.is_none() {
        return Ok(());
    }
    if ask.envelope.previous_response_id.is_some() {
        return Err(Error::new(
            Code::RequestUnsupported,
            "This listener keeps the conversation by its session: leave out `previous_response_id`.",
        )
        .with_param("previous_response_id"));
    }
    let session = trip.ask.session.get_or_insert_with(|| format!("session_{}", trip.id.hex())).clone();
    let scope = ask.caller.conversations();
    let kept = histories.read(scope.clone(), &session).await.map_err(|error| failed(&error))?;
    let joined = history::join(ask.call.dialect(), &ask.body, &kept.messages, Bounds::default())
        .map_err(|error| unjoined(&error))?;
    if let Some(body) = joined.body {
        replace(ask, body)?;
    }
    trip.kept =
        Some(Box::new(Turn { caller: scope, session, seen: kept.version, new: joined.new, agent: None }));
    Ok(())
}

/// Leaves out what agents are not shown.
pub(super) fn bound(ask: &mut Ask, settings: &HistoryDocument) -> Result<(), Error> {
    let HistoryDocument { mode, messages, tokens } = *settings;
    let bounds = if mode == HistoryMode::Off { Bounds::LAST_TURN } else { Bounds { messages, tokens } };
    if bounds == Bounds::default() {
        return Ok(());
    }
    let joined =
        history::join(ask.call.dialect(), &ask.body, &[], bounds).map_err(|error| unjoined(&error))?;
    if let Some(body) = joined.body {
        replace(ask, body)?;
    }
    Ok(())
}

/// Shows or deletes a kept conversation.
pub(crate) async fn session(
    trip: &Trip,
    caller: &Caller,
    name: &str,
    method: &Method,
) -> Result<Outbound, Error> {
    let none = || Error::new(Code::SessionNotFound, "No conversation of this name is kept for this caller.");
    let shared = trip.worker.shared.clone();
    let histories = shared.histories.as_ref().filter(|_| is_session_name(name)).ok_or_else(none)?;
    let scope = caller.conversations();
    if *method == Method::DELETE {
        let there = histories.delete(scope, name).await.map_err(|error| failed(&error))?;
        let document = meseta_wire::object! { "id" => name, "object" => "session", "deleted" => true };
        return if there { Ok(Outbound::Own(StatusCode::OK, document.to_vec())) } else { Err(none()) };
    }
    let shown = histories.show(scope, name).await.map_err(|error| failed(&error))?;
    shown.map(|document| Outbound::Own(StatusCode::OK, document)).ok_or_else(none)
}

fn replace(ask: &mut Ask, body: Vec<u8>) -> Result<(), Error> {
    ask.replace(body).map_err(|refusal| {
        Error::new(Code::PlaneInternal, format!("A joined request is malformed: {refusal}."))
    })
}

fn failed(error: &HistoryError) -> Error {
    match error {
        HistoryError::Name => {
            Error::new(Code::RequestInvalidHeader, format!("{error}.")).with_param("x-meseta-session")
        }
        _ => Error::new(Code::PlaneStoreFailed, format!("{error}.")),
    }
}

fn unjoined(error: &JoinError) -> Error {
    match error {
        JoinError::Malformed(malformed) => Error::new(Code::RequestInvalidField, format!("{malformed}.")),
        JoinError::Refused(_) => Error::new(Code::RequestUnsupported, error.to_string()),
    }
}
