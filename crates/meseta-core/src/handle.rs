//! One request, top to bottom. Each verb is the file of that name in `stages/`, and the only retry loop is here.

use std::rc::Rc;
use std::sync::Arc;

use std::time::Instant;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use meseta_wire::resume::Partial;

use crate::continuation::{Continued, recall, stored};
use crate::deadline::Hints;
use crate::decision;
use crate::endpoint::{Call, Endpoint};
use crate::error::Error;
use crate::models;
use crate::orchestrate::history;
use crate::plan::{Next, Plan, Terms};
use crate::respond;
use crate::serve::{Door, Worker};
use crate::snapshot::Resume;
use crate::stages::admit::admit;
use crate::stages::choose::{Chosen, choose};
use crate::stages::identify::identify;
use crate::stages::orchestrate::orchestrate;
use crate::stages::pick::{self, pick};
use crate::stages::read::{Ask, discard, read};
use crate::stages::relay::{Body, relay};
use crate::stages::send::{Answer, AnswerBody, Failed, Lost, hedge};
use crate::stages::translate::{IDEMPOTENCY_KEY, Translated, translate};
use crate::trip::{Ended, Trip};

pub(crate) async fn handle(
    worker: Rc<Worker>,
    door: Arc<Door>,
    request: Request<Incoming>,
) -> Response<Body> {
    let snapshot = worker.shared.snapshot.load_full();
    let (mut head, mut body) = request.into_parts();
    let mut trip = Trip::begin(worker, snapshot, door, head.method.clone(), head.uri.path());
    match travel(&mut trip, &mut head, &mut body).await {
        Err(error) => {
            Box::pin(discard(&head.headers, &mut body, &error)).await;
            respond::failure(trip, &error)
        }
        other => answer(trip, other),
    }
}

/// What becomes of a request, as a response.
pub(crate) fn answer(trip: Trip, outbound: Result<Outbound, Error>) -> Response<Body> {
    match outbound {
        // `settle` and `record` follow when the trip is dropped: with the answer's last byte, or when the client leaves.
        Ok(Outbound::Answer(answer, onward)) => relay(trip, *answer, onward),
        Ok(Outbound::Own(status, document)) => respond::json(trip, status, document),
        Ok(Outbound::Inner(inner, ended)) => respond::inner(trip, inner, ended),
        Err(error) => respond::failure(trip, &error),
    }
}

/// What goes back: a target's answer, or a document of our own.
pub(crate) enum Outbound {
    /// The request and its plan go along with a stream that another target could take up.
    Answer(Box<Answer>, Option<Box<Journey>>),
    Own(StatusCode, Vec<u8>),
    /// The answer to a request that was made for this one, and where it leaves how it ended.
    Inner(Response<Body>, Ended),
}

/// A request on its way: what was asked, and who may still answer it.
pub(crate) struct Journey {
    pub ask: Ask,
    pub continued: Option<Continued>,
    pub plan: Plan,
    /// What the client was told of it, if that is more than nothing: the request is for the rest.
    pub told: Option<Box<Partial>>,
    /// The request may arrive at a provider twice.
    repeatable: bool,
}

async fn travel(trip: &mut Trip, head: &mut Parts, body: &mut Incoming) -> Result<Outbound, Error> {
    let snapshot = trip.snapshot.clone();
    let endpoint = Endpoint::find(&head.method, head.uri.path())?;
    if let Endpoint::Health | Endpoint::Ready = endpoint {
        trip.recorded = false;
        let (status, document) = models::health(&endpoint, trip);
        return Ok(Outbound::Own(status, document));
    }
    let listener = trip.listener(&snapshot)?;
    trip.hints = Hints::read(&head.headers)?;
    let caller = identify(trip, listener, &head.headers)?;
    let rules = snapshot.orchestration(&listener.name);
    let decide = matches!(endpoint, Endpoint::Decision(_));
    let call = match endpoint {
        Endpoint::Call(call) | Endpoint::Decision(call) => call,
        Endpoint::Response(id) => return stored(trip, caller, head, id, Method::GET).await,
        Endpoint::DeleteResponse(id) => {
            return stored(trip, caller, head, id, Method::DELETE).await;
        }
        Endpoint::Session(name) => return history::session(trip, &caller, name, &head.method).await,
        Endpoint::Model(id) => {
            return Ok(Outbound::Own(StatusCode::OK, models::one(&snapshot, &head.headers, id)?));
        }
        _ => {
            let catalog = rules.map_or(&snapshot.catalog, |rules| &rules.catalog);
            return Ok(Outbound::Own(StatusCode::OK, models::list(catalog, &head.headers)));
        }
    };
    let mut ask = read(trip, listener, caller, call, &mut head.headers, body).await?;
    admit(trip, &ask).await?;
    if let Some(rules) = rules {
        history::recall(trip, &mut ask, rules, decide).await?;
    }
    let plan = match choose(trip, &mut ask, rules, decide).await? {
        chosen if decide => return Ok(decision::own(trip, &chosen)),
        // Boxed, so that the way to a model carries none of it.
        Chosen::Agents(rules, lineup) => return Box::pin(orchestrate(trip, ask, rules, lineup)).await,
        Chosen::Models(plan) => plan,
    };
    let continued = recall(trip, &ask).await?;
    let mut journey = Journey::new(ask, continued, *plan);
    match walk(trip, &mut journey).await {
        Ok(outbound) => Ok(outbound.with(journey)),
        Err(failed) => failed.into_outbound(trip.acted),
    }
}

/// Asks one target after another until one begins to answer: the only loop of its kind.
pub(crate) async fn walk(trip: &mut Trip, journey: &mut Journey) -> Result<Outbound, Failed> {
    loop {
        let picked = pick(trip, &mut journey.plan).await?;
        let sent = match translate(trip, journey, picked) {
            Ok(Translated::Ready(sending)) => hedge(trip, journey, *sending).await,
            Ok(Translated::Answered(document)) => {
                trip.attempts.take();
                trip.answer.dropped = Some("input_tokens: estimated".to_owned());
                return Ok(Outbound::Own(StatusCode::OK, document));
            }
            Err(lost) => Err(lost),
        };
        let lost = match sent {
            Ok(answer) => return Ok(Outbound::Answer(Box::new(answer), None)),
            Err(lost) => lost,
        };
        match journey.next(trip, lost) {
            Next::After(pause) => pick::rest(pause).await,
            Next::GiveUp(failed) => return Err(failed),
        }
    }
}

impl Journey {
    pub fn new(ask: Ask, continued: Option<Continued>, plan: Plan) -> Journey {
        // A client that names its request does not mind: the provider knows the name.
        let repeatable = !ask.envelope.acts || ask.headers.contains_key(IDEMPOTENCY_KEY);
        Journey { ask, continued, plan, told: None, repeatable }
    }

    /// An agent may do anything, and twice.
    pub fn to_agent(ask: Ask, continued: Option<Continued>, plan: Plan) -> Journey {
        Journey { repeatable: false, ..Journey::new(ask, continued, plan) }
    }

    /// Whether another target could take the stream up if this one broke off.
    fn may_resume(&self, answer: &Answer) -> bool {
        let conversation = matches!(self.ask.call, Call::Chat | Call::Responses | Call::Messages);
        let stream = matches!(&answer.body, AnswerBody::Begun(begun, _) if begun.events);
        conversation && stream && self.plan.resume == Resume::Text
    }

    pub fn may_repeat(&self) -> bool {
        self.repeatable
    }

    /// What to do now that a call failed.
    pub fn next(&mut self, trip: &mut Trip, lost: Lost) -> Next {
        let may_repeat = self.may_repeat();
        trip.acted |= !may_repeat && lost.failed.may_have_acted;
        let left = [trip.left(), self.plan.policy.left(trip.started)];
        let terms = Terms { may_repeat, left: left.into_iter().flatten().min() };
        let budget = || trip.worker.shared.retry_budget.load().withdraw(Instant::now());
        self.plan.spend(&lost.choice, *lost.failed, &terms, &trip.worker.dice, budget)
    }
}

impl Outbound {
    /// A stream that another target could take up keeps what is needed for that.
    pub fn with(self, journey: Journey) -> Outbound {
        match self {
            Outbound::Answer(answer, _) if journey.may_resume(&answer) => {
                Outbound::Answer(answer, Some(Box::new(journey)))
            }
            outbound => outbound,
        }
    }
}
