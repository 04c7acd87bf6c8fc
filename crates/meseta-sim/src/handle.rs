//! One request, from its head to the response: what is asked, what is answered, how it is delivered.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use serde_json::Value;

use crate::answer::{Answer, Question};
use crate::body::read;
use crate::control::control;
use crate::delivery::Delivery;
use crate::dialect::responses::Store;
use crate::dialect::{Dialect, parse};
use crate::directives::Directives;
use crate::failure::Failure;
use crate::faults::Faults;
use crate::fingerprint::Fingerprint;
use crate::link::Link;
use crate::prompt::Ask;
use crate::record::{Course, Recorder};
use crate::reply::{Reply, perform, refuse};
use crate::route::Route;
use crate::script::{Asked, Script};
use crate::stats::{Counters, Flight};
use crate::talk;
use crate::usage::Usage;

pub use crate::reply::respond;

/// What all connections of one simulator share.
#[derive(Debug, Default)]
pub struct House {
    script: RwLock<Arc<Script>>,
    faults: RwLock<Arc<Faults>>,
    pub counters: Arc<Counters>,
    pub recorder: Recorder,
    pub store: Store,
}

impl House {
    pub fn playing(script: Script) -> Self {
        Self { script: RwLock::new(Arc::new(script)), ..Self::default() }
    }

    pub fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn break_down(&self, faults: Arc<Faults>) {
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Requests under way end with the script they began with.
    pub fn play(&self, script: Arc<Script>) {
        *self.script.write().unwrap_or_else(PoisonError::into_inner) = script;
    }
}

/// A request that is being answered.
pub struct Visit<'a> {
    pub house: &'a House,
    pub head: &'a Parts,
    pub body: &'a [u8],
    pub dialect: Dialect,
    pub fingerprint: Fingerprint,
    pub course: Option<&'a Course>,
}

/// What is said to a request, and how.
pub struct Decided {
    pub directives: Directives,
    pub answer: Answer,
    pub usage: Option<Usage>,
}

pub async fn handle(
    request: Request<Incoming>,
    near: bool,
    house: Arc<House>,
    link: Arc<Link>,
) -> Response<Delivery> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if path.starts_with("/sim/") {
        let body = if head.method == Method::PUT { read(&head, body).await } else { Ok(Bytes::new()) };
        return match body {
            Ok(body) => control(&house, &head.method, &head.uri, near, &body),
            Err(failure) => {
                let body = Dialect::OpenAi.body(&failure, "");
                respond(failure.status, Delivery::uncounted(body))
            }
        };
    }
    let mut flight = house.counters.request(head.version == Version::HTTP_2);
    let route = Route::of(path);
    let dialect = route.as_ref().map_or(Dialect::OpenAi, Route::dialect);
    let allowed = route.as_ref().map(Route::allowed);
    match answer(&house, &head, body, route, &mut flight).await {
        Ok(reply) => perform(reply, flight, link).await,
        Err(failure) => {
            let mut response = refuse(dialect, Fingerprint::of(path.as_bytes()), &failure, flight);
            if let Some(allowed) = allowed.filter(|_| failure.status == StatusCode::METHOD_NOT_ALLOWED) {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            }
            response
        }
    }
}

async fn answer(
    house: &House,
    head: &Parts,
    body: Incoming,
    route: Option<Route>,
    flight: &mut Flight,
) -> Result<Reply, Failure> {
    let path = head.uri.path();
    let Some(route) = route else {
        flight.record(house.recorder.note(head, b""));
        let message = format!(
            "There is nothing at {path}. Try /v1/chat/completions, /v1/embeddings, /v1/models, /v1/responses, \
             /v1/messages, /v1beta/models/NAME:generateContent or /model/NAME/converse."
        );
        return Err(Failure::not_found(None, "unknown_url", message));
    };
    if !route.answers(&head.method) {
        flight.record(house.recorder.note(head, b""));
        let message = format!("{path} answers {}, not {}.", route.allowed(), head.method);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Failure {
            status,
            code: Some("method_not_supported"),
            ..Failure::request(None, message)
        });
    }
    let body = if head.method == Method::POST { read(head, body).await? } else { Bytes::new() };
    flight.record(house.recorder.note(head, &body));
    let dialect = route.dialect();
    let named_by_path = matches!(dialect, Dialect::Gemini | Dialect::Bedrock);
    let fingerprint = if named_by_path {
        Fingerprint::of(&[path.as_bytes(), &body].concat())
    } else {
        Fingerprint::of(&body)
    };
    let visit = Visit { house, head, body: &body, dialect, fingerprint, course: flight.course() };
    talk::answer(&visit, route)
}

impl Visit<'_> {
    /// The body as a JSON document.
    pub fn json(&self) -> Result<Value, Failure> {
        parse(self.body)
    }

    /// What is said to a conversation. `model` has directives behind its name.
    pub fn decide(&self, model: Option<&str>, ask: &dyn Ask, choices: u64) -> Result<Decided, Failure> {
        let (name, ordered) = self.named(model)?;
        let script = self.house.script();
        let rule = script.play(&Asked { model: name, text: ask.last(), key: self.key() }, true);
        let directives = self.directives(ordered, rule.map(|rule| rule.directives.as_str()))?;
        let (head, body, fingerprint) = (self.head, self.body, self.fingerprint);
        let question = Question { name, ask, directives: &directives, rule, head, body, fingerprint };
        let answer = question.answer()?;
        let counted =
            (!directives.no_usage).then(|| Usage::of(ask.prompt_tokens(), &answer, choices, &directives));
        Ok(Decided { directives, answer, usage: counted })
    }

    /// A reply that is no conversation: only rules that say nothing apply to it.
    pub fn plain(
        &self,
        model: Option<&str>,
        text: &str,
        json: impl FnOnce(&str, &Directives) -> Vec<u8>,
    ) -> Result<Reply, Failure> {
        let (name, ordered) = self.named(model)?;
        let script = self.house.script();
        let rule = script.play(&Asked { model: name, text, key: self.key() }, false);
        let directives = self.directives(ordered, rule.map(|rule| rule.directives.as_str()))?;
        let body = json(name, &directives);
        Ok(Reply::plain(self.dialect, self.fingerprint, directives, || body))
    }

    fn named<'b>(&self, model: Option<&'b str>) -> Result<(&'b str, &'b str), Failure> {
        let (name, ordered) = split_model(model)?;
        if let Some(course) = self.course {
            course.asks(name);
        }
        Ok((name, ordered))
    }

    /// Directives from the model's name, from the script over those, from the faults that are switched on over both,
    /// from the header over all.
    pub fn directives(&self, ordered: &str, scripted: Option<&str>) -> Result<Directives, Failure> {
        let mut directives = Directives::default();
        let bad =
            |param| move |error: crate::directives::BadDirective| bad_directive(param, &error.to_string());
        directives.read(ordered).map_err(bad("model"))?;
        directives.read(scripted.unwrap_or("")).map_err(bad("script"))?;
        directives.read(self.house.faults().next()).map_err(bad("faults"))?;
        for value in self.head.headers.get_all("x-sim") {
            let text = std::str::from_utf8(value.as_bytes());
            let text = text.map_err(|_| bad_directive("x-sim", "The header x-sim is not UTF-8."))?;
            directives.read(text).map_err(bad("x-sim"))?;
        }
        if directives.auth && self.key().is_none() {
            let refused = matches!(self.dialect, Dialect::Gemini | Dialect::Bedrock);
            let status = if refused { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
            return Err(Failure {
                code: Some("invalid_api_key"),
                status,
                ..Failure::request(None, "The request has no key. Send one in the header of the provider.")
            });
        }
        Ok(directives)
    }

    /// The key that the request came with, without the word before it.
    fn key(&self) -> Option<&str> {
        let names: &[&str] = match self.dialect {
            Dialect::OpenAi => &["authorization", "api-key"],
            Dialect::Anthropic => &["authorization", "x-api-key"],
            Dialect::Gemini => &["authorization", "x-goog-api-key"],
            Dialect::Bedrock => &["authorization"],
        };
        let sent = names.iter().find_map(|name| self.head.headers.get(*name));
        let query = || crate::route::parameter(self.head.uri.query(), "key");
        match sent {
            Some(value) => {
                let value = value.to_str().unwrap_or_default();
                Some(value.strip_prefix("Bearer ").unwrap_or(value))
            }
            None if self.dialect == Dialect::Gemini => query(),
            None => None,
        }
    }
}

/// The plain name and the directives behind it.
pub fn split_model(model: Option<&str>) -> Result<(&str, &str), Failure> {
    let model = model.filter(|model| !model.is_empty());
    let model =
        model.ok_or_else(|| Failure::request(Some("model"), "The field model is missing or empty."))?;
    let (name, ordered) = model.split_once(';').unwrap_or((model, ""));
    match name.trim() {
        "" => Err(Failure::request(Some("model"), "The model has directives but no name before them.")),
        "unknown" => {
            let message =
                "The model unknown does not exist: it is the one name that the simulator does not answer to.";
            Err(Failure::not_found(Some("model"), "model_not_found", message.to_owned()))
        }
        name => Ok((name, ordered)),
    }
}

fn bad_directive(param: &'static str, message: &str) -> Failure {
    Failure { code: Some("invalid_directive"), ..Failure::request(Some(param), message) }
}
