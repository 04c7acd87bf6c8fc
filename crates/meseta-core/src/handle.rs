//! One request, top to bottom. Each verb is the file of that name in `stages/`, and the only retry loop is here.

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::continuation::{recall, stored};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::models;
use crate::respond;
use crate::serve::{Door, Worker};
use crate::stages::choose::choose;
use crate::stages::identify::identify;
use crate::stages::pick::pick;
use crate::stages::read::{discard, read};
use crate::stages::relay::{Body, relay};
use crate::stages::send::{Answer, send};
use crate::stages::translate::{Translated, translate};
use crate::trip::Trip;

pub(crate) async fn handle(
    worker: Rc<Worker>,
    door: Arc<Door>,
    request: Request<Incoming>,
) -> Response<Body> {
    let snapshot = worker.shared.snapshot.load_full();
    let (head, mut body) = request.into_parts();
    let mut trip = Trip::begin(worker, snapshot, door, head.method.clone(), head.uri.path());
    match travel(&mut trip, &head, &mut body).await {
        // `settle` and `record` follow when the trip is dropped: with the answer's last byte, or when the client leaves.
        Ok(Outbound::Answer(answer)) => relay(trip, answer),
        Ok(Outbound::Own(status, document)) => respond::json(trip, status, document),
        Err(error) => {
            Box::pin(discard(&head.headers, &mut body, &error)).await;
            respond::failure(trip, &error)
        }
    }
}

/// What goes back: a target's answer, or a document of our own.
pub(crate) enum Outbound {
    Answer(Answer),
    Own(StatusCode, Vec<u8>),
}

async fn travel(trip: &mut Trip, head: &Parts, body: &mut Incoming) -> Result<Outbound, Error> {
    let snapshot = trip.snapshot.clone();
    let endpoint = Endpoint::find(&head.method, head.uri.path())?;
    if let Endpoint::Health | Endpoint::Ready = endpoint {
        trip.recorded = false;
        let (status, document) = models::health(&endpoint, trip);
        return Ok(Outbound::Own(status, document));
    }
    let listener = trip.listener(&snapshot)?;
    let caller = identify(trip, listener, &head.headers)?;
    let call = match endpoint {
        Endpoint::Call(call) => call,
        Endpoint::Response(id) => return stored(trip, caller, head, id, Method::GET).await,
        Endpoint::DeleteResponse(id) => {
            return stored(trip, caller, head, id, Method::DELETE).await;
        }
        Endpoint::Model(id) => {
            return Ok(Outbound::Own(StatusCode::OK, models::one(&snapshot, &head.headers, id)?));
        }
        _ => return Ok(Outbound::Own(StatusCode::OK, models::list(&snapshot, &head.headers))),
    };
    let ask = read(trip, listener, caller, call, &head.headers, body).await?;
    let continued = recall(trip, &ask).await?;
    let mut plan = choose(trip, &ask)?;
    loop {
        let choice = pick(trip, &mut plan)?;
        let wire = match translate(trip, &ask, continued.as_ref(), &choice)? {
            Translated::Wire(wire) => wire,
            Translated::Answered(document) => {
                trip.attempts.clear();
                trip.answer.dropped = Some("input_tokens: estimated".to_owned());
                return Ok(Outbound::Own(StatusCode::OK, document));
            }
        };
        match send(trip, choice, *wire).await {
            Ok(answer) => return Ok(Outbound::Answer(answer)),
            Err(error) => plan.spend(error)?,
        }
    }
}
