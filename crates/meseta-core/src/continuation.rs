//! Conversations that the Responses API keeps: going on from a stored answer, keeping a new one, reading and deleting.
//!
//! Whatever provider answered, the plane keeps the conversation, so that it survives a change of provider. A target that
//! gave the last answer itself, and speaks Responses, is trusted to know it and gets the id alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use http::{Method, StatusCode};
use meseta_wire::dialect::Dialect;
use meseta_wire::json::Json;
use meseta_wire::responses;
use serde::Deserialize;

use crate::conversations::{Caller as Scope, ChainLimits, Entry, StoreError};
use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::log::{Attempt, Reason};
use crate::plan::Choice;
use crate::pool::Member;
use crate::serve::Shared;
use crate::snapshot::{Operation, Target};
use crate::stages::Stage;
use crate::stages::identify::Caller;
use crate::stages::read::Ask;
use crate::stages::send::{Sending, send};
use crate::stages::translate::{self, Reading, Wire};
use crate::trip::Trip;

/// How much of a conversation is joined to a request.
const LIMITS: ChainLimits = ChainLimits { entries: 1_000, bytes: 32 * 1024 * 1024 };

/// A stored answer that a request goes on from, and all before it.
pub(crate) struct Continued {
    /// Oldest first, never empty.
    entries: Vec<Entry>,
}

impl Continued {
    /// Whether the target itself gave the last answer and keeps it.
    pub fn is_at(&self, target: &Target) -> bool {
        target.speaks(Dialect::OpenaiResponses)
            && self.entries.last().is_some_and(|entry| entry.target == *target.name)
    }

    /// The request with the whole conversation in its input.
    pub fn join<'a>(&self, request: &Json<'a>) -> Json<'a> {
        let mut history = Vec::new();
        for entry in &self.entries {
            if let Ok(Json::Array(items)) = Json::parse(&entry.input) {
                history.extend(items.into_iter().map(Json::into_owned));
            }
            if let Ok(answer) = Json::parse(&entry.answer) {
                history.extend(responses::output_items(&answer).into_iter().map(Json::into_owned));
            }
        }
        responses::with_history(request, history)
    }
}

/// Looks up what the request goes on from. `None` when it goes on from nothing, or from an answer that only the
/// provider can know.
pub(crate) async fn recall(trip: &Trip, ask: &Ask) -> Result<Option<Continued>, Error> {
    if ask.call != Call::Responses {
        return Ok(None);
    }
    let Some(id) = ask.envelope.previous_response_id.as_deref() else { return Ok(None) };
    let shared = trip.worker.shared.clone();
    let Some(store) = &shared.conversations else { return Ok(None) };
    match store.chain(ask.caller.scope.clone(), id, LIMITS).await {
        Ok(entries) if entries.is_empty() => Ok(None),
        Ok(entries) => Ok(Some(Continued { entries })),
        // The provider may know it; where it is none that can, `translate` says that it is not there.
        Err(StoreError::NotFound { id: missing }) if missing == id => Ok(None),
        Err(StoreError::NotFound { id: missing }) => Err(unknown_response(&missing)),
        Err(error @ (StoreError::ChainTooLong(_) | StoreError::Cycle { .. })) => {
            Err(Error::new(Code::RequestTooLarge, format!("The conversation behind '{id}': {error}."))
                .with_param("previous_response_id"))
        }
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &StoreError) -> Error {
    Error::new(Code::PlaneStoreFailed, format!("The store of responses: {error}."))
}

/// An answer that is to be kept once it is complete.
pub(crate) struct Keep {
    shared: Arc<Shared>,
    scope: Scope,
    previous: Option<String>,
    target: String,
    input: String,
}

impl Keep {
    /// `None` when the client does not want its answer kept, or nothing is kept at all. `as_is` says that the answer passes
    /// untouched, so that the target knows it by the id that the client sees.
    pub fn of(
        trip: &Trip,
        ask: &Ask,
        continued: Option<&Continued>,
        target: &Target,
        as_is: bool,
    ) -> Option<Keep> {
        if ask.call != Call::Responses || ask.envelope.store == Some(false) {
            return None;
        }
        let shared = trip.worker.shared.clone();
        shared.conversations.as_ref()?;
        // A conversation whose beginning only the provider knows cannot be told to another one: it is not kept.
        if ask.envelope.previous_response_id.is_some() && continued.is_none() {
            return None;
        }
        let json = Json::parse(std::str::from_utf8(&ask.body).ok()?).ok()?;
        let input = Json::Array(responses::input_items(&json)).to_text();
        Some(Keep {
            shared,
            scope: ask.caller.scope.clone(),
            previous: ask.envelope.previous_response_id.clone(),
            target: if as_is { target.name.to_string() } else { String::new() },
            input,
        })
    }

    /// The answer that somebody else has gone on with: no provider knows it as the client does.
    pub fn of_several(mut self) -> Keep {
        self.target.clear();
        self
    }

    /// Keeps the answer. It is in line before the client hears the last of it, so a request that goes on from it finds
    /// it. What cannot be kept is counted; the answer itself is not held up.
    pub fn put(self, answer: &str) {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            id: std::borrow::Cow<'a, str>,
        }
        let Ok(read) = serde_json::from_str::<Answer<'_>>(answer) else { return };
        let entry = Entry {
            id: read.id.into_owned(),
            previous: self.previous,
            target: self.target,
            input: self.input,
            answer: answer.to_owned(),
            created: translate::seconds(),
        };
        let put = self.shared.conversations.as_ref().map(|store| store.put_later(self.scope, entry));
        if let Some(Err(_)) = put {
            self.shared.counters.unkept.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads or deletes a stored answer. One that its provider keeps is asked for there.
pub(crate) async fn stored(
    trip: &mut Trip,
    caller: Caller,
    head: &Parts,
    id: &str,
    method: Method,
) -> Result<Outbound, Error> {
    refuse_stream(head)?;
    let shared = trip.worker.shared.clone();
    let Some(store) = &shared.conversations else { return Err(not_found(id)) };
    let entry = store.get(caller.scope.clone(), id).await.map_err(|error| failed(&error))?;
    let Some(entry) = entry else { return Err(not_found(id)) };
    let delete = method == Method::DELETE;
    let snapshot = trip.snapshot.clone();
    let keeper = snapshot.targets.iter().find(|target| *target.name == *entry.target);
    if let Some(target) = keeper.filter(|target| target.speaks(Dialect::OpenaiResponses)) {
        let model = target.model.clone().unwrap_or_default();
        let address = target
            .address(Operation::Responses, &model)
            .and_then(|address| address.below(id))
            .ok_or_else(|| not_found(id))?;
        let credential = target.credential(0);
        let mut sent = translate::headers(&head.headers, &caller, target, credential, true);
        translate::sign(target, credential, &method, &address, &mut sent, b"")?;
        let attempt = Attempt::begin(target.clone(), model.clone(), 0, Reason::Stored, trip.now());
        let track = trip.attempts.begin(attempt, trip.started);
        let wire = Wire {
            method,
            address: address.into(),
            headers: sent,
            body: bytes::Bytes::new(),
            reading: Reading::Same { dialect: Dialect::OpenaiResponses, hide_usage: false },
            keep: None,
        };
        trip.enter(Stage::Send);
        let choice = Choice::alone(Member::plain(target.clone(), model));
        let answer = match send(Sending::alone(trip, choice, track.clone(), wire.into())).await {
            Ok(answer) => Ok(Outbound::Answer(Box::new(answer), None)),
            Err(lost) => lost.failed.into_outbound(trip.acted),
        };
        // What the answer counts was counted when it was made.
        track.note(|attempt| attempt.usage = None);
        let status = match &answer {
            Ok(Outbound::Answer(answer, _)) => answer.head.status,
            Ok(Outbound::Own(status, _)) => *status,
            Ok(Outbound::Inner(response, _)) => response.status(),
            Err(error) => error.status(),
        };
        // Ours goes last: without it the client could not ask again for what the provider has not deleted.
        if delete && (status.is_success() || status == StatusCode::NOT_FOUND) {
            store.delete(caller.scope, id).await.map_err(|error| failed(&error))?;
        }
        return answer;
    }
    let document = if delete {
        store.delete(caller.scope, id).await.map_err(|error| failed(&error))?;
        meseta_wire::object! { "id" => id, "object" => "response", "deleted" => true }.to_vec()
    } else {
        entry.answer.into_bytes()
    };
    Ok(Outbound::Own(StatusCode::OK, document))
}

fn not_found(id: &str) -> Error {
    let shown: String = id.chars().filter(|character| !character.is_control()).take(100).collect();
    Error::new(Code::ResponseNotFound, format!("There is no stored response '{shown}' for this key."))
        .with_param("response_id")
}

/// The same of an answer that a request wants to go on from: there the request is at fault, not the path.
pub(crate) fn unknown_response(id: &str) -> Error {
    not_found(id).with_param("previous_response_id").with_status(StatusCode::BAD_REQUEST)
}

/// A stored answer is read whole; a client that waits for events would wait in vain.
fn refuse_stream(head: &Parts) -> Result<(), Error> {
    let asked = |query: &str| query.split('&').any(|pair| pair == "stream=true");
    if head.uri.query().is_some_and(asked) {
        let message = "A stored response is read whole: leave out `stream`.";
        return Err(Error::new(Code::RequestUnsupported, message).with_param("stream"));
    }
    Ok(())
}
