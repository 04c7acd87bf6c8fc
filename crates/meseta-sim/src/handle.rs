//! One request, from its head to the response: what is asked, what is answered, how it is delivered.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde_json::json;

use crate::answer::Question;
use crate::chat::{CREATED, Completion, Usage};
use crate::delivery::Delivery;
use crate::directives::{Directives, Garbage};
use crate::embeddings::EmbeddingsRequest;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::link::{Ending, Link};
use crate::request::ChatRequest;
use crate::script::Script;
use crate::stats::{Counters, Flight};
use crate::stream::{Event, Piece, streamed, whole};

const MOST_BODY: u64 = 32 << 20;
/// A larger body is read up to here before it is refused: a client that is still sending would not see the refusal.
const MOST_IGNORED: u64 = 256 << 20;

/// What all connections of one simulator share.
#[derive(Debug, Default)]
pub struct House {
    pub script: Script,
    pub counters: Arc<Counters>,
}

/// What will be sent, before anything goes wrong.
struct Reply {
    directives: Directives,
    content: Content,
}

enum Content {
    /// All of it, and the tokens it took to make.
    Whole(StatusCode, Vec<Piece>, u64),
    Events(Box<dyn Iterator<Item = Event> + Send>),
}

pub async fn handle(request: Request<Incoming>, house: Arc<House>, link: Arc<Link>) -> Response<Delivery> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/sim/stats" {
        let stats = serde_json::to_vec(&house.counters.read()).unwrap_or_default();
        return respond(StatusCode::OK, Delivery::uncounted(Bytes::from(stats)));
    }
    let flight = house.counters.request(head.version == Version::HTTP_2);
    match answer(&house, &head, body).await {
        Ok(reply) => perform(reply, flight, link).await,
        Err(failure) => {
            let mut response = respond(failure.status, Delivery::once(failure.body(), flight));
            if failure.status == StatusCode::METHOD_NOT_ALLOWED {
                let allowed = if head.uri.path().starts_with("/v1/models") { "GET" } else { "POST" };
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            }
            response
        }
    }
}

async fn answer(house: &House, head: &Parts, body: Incoming) -> Result<Reply, Failure> {
    let wanted = match head.uri.path() {
        "/v1/chat/completions" | "/v1/embeddings" => Method::POST,
        path if path == "/v1/models" || path.starts_with("/v1/models/") => Method::GET,
        path => {
            let message = format!(
                "There is nothing at {path}. Try /v1/chat/completions, /v1/embeddings or /v1/models."
            );
            return Err(Failure::not_found(None, "unknown_url", message));
        }
    };
    if head.method != wanted {
        let message = format!("{} answers {wanted}, not {}.", head.uri.path(), head.method);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Failure {
            status,
            code: Some("method_not_supported"),
            ..Failure::request(None, message)
        });
    }
    if wanted == Method::GET {
        return models(house, head);
    }
    let body = read(head, body).await?;
    if head.uri.path() == "/v1/embeddings" {
        embeddings(house, head, &body)
    } else {
        chat(house, head, &body)
    }
}

fn chat(house: &House, head: &Parts, body: &[u8]) -> Result<Reply, Failure> {
    let request = ChatRequest::parse(body)?;
    let (name, ordered) = split_model(request.model.as_deref())?;
    let last = request.last().map_or("", |message| &message.content.0);
    let rule = house.script.play(name, last, true);
    let directives = directives(head, ordered, rule.map(|rule| rule.directives.as_str()))?;
    let says = rule.and_then(|rule| rule.says.as_ref());
    let fingerprint = Fingerprint::of(body);
    let question =
        Question { name, request: &request, directives: &directives, says, head, body, fingerprint };
    let answer = question.answer()?;
    let choices = request.choices();
    if directives.body.is_some_and(|bytes| bytes.saturating_mul(choices) > 1 << 30) {
        return Err(Failure::request(Some("n"), "All choices together may have 1 GiB of text."));
    }
    let tokens = answer.tokens;
    let usage = (!directives.no_usage).then(|| usage(&request, &directives, tokens * choices));
    let completion = Completion { fingerprint, model: name, choices, answer, usage };
    let content = match directives.garbage {
        Some(Garbage::Json) => Content::Whole(StatusCode::OK, vec![Piece::Ready(broken_json())], tokens),
        Some(Garbage::Events) => Content::Events(Box::new(broken_events())),
        _ if request.streamed() => Content::Events(Box::new(completion.chunks(request.wants_usage()))),
        _ if directives.error.is_some() => refusal(&directives, StatusCode::INTERNAL_SERVER_ERROR),
        _ => Content::Whole(StatusCode::OK, completion.whole(), tokens),
    };
    Ok(Reply { directives, content })
}

fn usage(request: &ChatRequest<'_>, directives: &Directives, emitted: u64) -> Usage {
    let prompt = request.prompt_tokens();
    let reasoning = directives.reasoning.unwrap_or(0);
    Usage {
        prompt,
        cached: directives.cached.unwrap_or(0).min(prompt),
        completion: emitted + reasoning,
        reasoning,
    }
}

fn embeddings(house: &House, head: &Parts, body: &[u8]) -> Result<Reply, Failure> {
    let request = EmbeddingsRequest::parse(body)?;
    let model = request.model.clone();
    let (name, ordered) = split_model(model.as_deref())?;
    let embeddings = request.check()?;
    let rule = house.script.play(name, &embeddings.text, false);
    let directives = directives(head, ordered, rule.map(|rule| rule.directives.as_str()))?;
    let with_usage = !directives.no_usage;
    Ok(plain(directives, || embeddings.body(name, with_usage)))
}

fn models(house: &House, head: &Parts) -> Result<Reply, Failure> {
    let model =
        |name: &str| json!({"id": name, "object": "model", "created": CREATED, "owned_by": "meseta-sim"});
    let listed = if let Some(name) = head.uri.path().strip_prefix("/v1/models/") {
        model(split_model(Some(name))?.0)
    } else {
        let mut names = house.script.models();
        names.retain(|name| !["echo", "canned"].contains(name));
        let data: Vec<_> = ["echo", "canned"].into_iter().chain(names).map(model).collect();
        json!({"object": "list", "data": data})
    };
    Ok(plain(directives(head, "", None)?, || listed.to_string().into_bytes()))
}

/// A reply that is one JSON document and no chat.
fn plain(directives: Directives, json: impl FnOnce() -> Vec<u8>) -> Reply {
    let body = if directives.garbage.is_some() { broken_json() } else { Bytes::from(json()) };
    Reply { directives, content: Content::Whole(StatusCode::OK, vec![Piece::Ready(body)], 0) }
}

/// The plain name and the directives behind it.
fn split_model(model: Option<&str>) -> Result<(&str, &str), Failure> {
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

/// Directives from the model's name, from the script over those, from the header over both.
fn directives(head: &Parts, ordered: &str, scripted: Option<&str>) -> Result<Directives, Failure> {
    let mut directives = Directives::default();
    let bad = |param| move |error: crate::directives::BadDirective| bad_directive(param, &error.to_string());
    directives.read(ordered).map_err(bad("model"))?;
    directives.read(scripted.unwrap_or("")).map_err(bad("script"))?;
    for value in head.headers.get_all("x-sim") {
        let text = std::str::from_utf8(value.as_bytes());
        let text = text.map_err(|_| bad_directive("x-sim", "The header x-sim is not UTF-8."))?;
        directives.read(text).map_err(bad("x-sim"))?;
    }
    Ok(directives)
}

fn bad_directive(param: &'static str, message: &str) -> Failure {
    Failure { code: Some("invalid_directive"), ..Failure::request(Some(param), message) }
}

/// Sends a reply, as late and as badly as it was told to.
async fn perform(reply: Reply, mut flight: Flight, link: Arc<Link>) -> Response<Delivery> {
    let Reply { directives, mut content } = reply;
    if let Some(status) = directives.status {
        content = refusal(&directives, status);
    }
    let delay = directives.first.unwrap_or_default() + time_to_say(&content, &directives);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if directives.garbage == Some(Garbage::Http) {
        flight.finish();
        link.end(Ending::NotHttp);
        return pending().await;
    }
    match content {
        Content::Whole(status, pieces, _) => {
            let mut response = respond(status, deliver_whole(pieces, &directives, flight, link));
            if let Some(seconds) = directives.retry_after.filter(|_| !status.is_success()) {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Content::Events(events) => {
            let failure = Failure::ordered(StatusCode::INTERNAL_SERVER_ERROR, directives.message.as_deref());
            let error = [b"data: ", &failure.body()[..], b"\n\n"].concat();
            let steps = streamed(events, &directives, Bytes::from(error));
            let mut response = Response::new(Delivery::steps(steps, None, flight, link));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
    }
}

/// Nobody sees a whole answer before its last token is made.
fn time_to_say(content: &Content, directives: &Directives) -> Duration {
    let Content::Whole(StatusCode::OK, _, tokens) = content else { return Duration::ZERO };
    let gaps = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
    directives.pace.unwrap_or_default().saturating_mul(gaps)
}

fn deliver_whole(
    mut pieces: Vec<Piece>,
    directives: &Directives,
    flight: Flight,
    link: Arc<Link>,
) -> Delivery {
    let undisturbed =
        directives.head_then.is_none() && directives.cut.is_none() && directives.stall.is_none();
    match (pieces.pop(), pieces.is_empty() && undisturbed) {
        (Some(Piece::Ready(bytes)), true) => Delivery::once(bytes, flight),
        (last, _) => {
            pieces.extend(last);
            let length = pieces.iter().map(Piece::length).sum();
            Delivery::steps(whole(pieces, directives), Some(length), flight, link)
        }
    }
}

fn refusal(directives: &Directives, status: StatusCode) -> Content {
    let failure = Failure::ordered(status, directives.message.as_deref());
    Content::Whole(status, vec![Piece::Ready(failure.body())], 0)
}

fn broken_json() -> Bytes {
    Bytes::from_static(
        br#"{"id":"chatcmpl-broken","object":"chat.completion","choices":[{"index":0,"message":{"role":"#,
    )
}

fn broken_events() -> impl Iterator<Item = Event> + Send {
    let event = |bytes: &'static str| Event { bytes: Bytes::from_static(bytes.as_bytes()), tokens: 1 };
    [
        "data: this is not JSON\n\n",
        "data: {\"choices\":[{\"index\":\n\n",
        "not even a field\n\n",
        "data: [DONE]\n\n",
    ]
    .into_iter()
    .map(event)
}

fn respond(status: StatusCode, body: Delivery) -> Response<Delivery> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The request's body, if it is not too large.
async fn read(head: &Parts, mut body: Incoming) -> Result<Bytes, Failure> {
    let too_large = || Failure {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        ..Failure::request(None, format!("The request body has more than {MOST_BODY} bytes."))
    };
    let announced = body.size_hint().lower();
    if announced > MOST_IGNORED || (announced > MOST_BODY && head.headers.contains_key(EXPECT)) {
        return Err(too_large());
    }
    let (mut first, mut rest, mut length) = (Bytes::new(), BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::request(None, format!("The request body broke off: {error}.")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        if length > MOST_IGNORED {
            return Err(too_large());
        } else if length > MOST_BODY {
            (first, rest) = (Bytes::new(), BytesMut::new());
        } else if first.is_empty() && rest.is_empty() {
            // Most bodies are one frame, which need not be copied.
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    if length > MOST_BODY {
        return Err(too_large());
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::time::Instant;

    fn json_reply(directives: &str, tokens: u64) -> Reply {
        let pieces = vec![Piece::Ready(Bytes::from_static(b"{}"))];
        let directives = Directives::parse(directives).expect("valid");
        Reply { directives, content: Content::Whole(StatusCode::OK, pieces, tokens) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_waits_for_first_and_for_every_token() {
        for (directives, tokens, expected) in
            [("", 9, 0), ("first=500ms", 9, 500), ("pace=20ms", 3, 40), ("first=1s;pace=1ms", 1, 1000)]
        {
            let counters = Arc::new(Counters::default());
            let begun = Instant::now();
            let reply = json_reply(directives, tokens);
            let response = perform(reply, counters.request(false), Arc::default()).await;
            assert_eq!(begun.elapsed(), Duration::from_millis(expected), "{directives}");
            assert_eq!(response.into_body().collect().await.expect("infallible").to_bytes(), "{}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_keeps_its_pace() {
        let counters = Arc::new(Counters::default());
        let event = |tokens| Event { bytes: Bytes::from_static(b"x"), tokens };
        let content = Content::Events(Box::new([0, 1, 1, 1, 0].map(event).into_iter()));
        let directives = Directives::parse("first=1s;head_then=300ms;pace=20ms").expect("valid");
        let begun = Instant::now();
        let response = perform(Reply { directives, content }, counters.request(true), Arc::default()).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let mut body = pin!(response.into_body());
        let mut arrived = Vec::new();
        while body.frame().await.is_some() {
            arrived.push(begun.elapsed().as_millis());
        }
        assert_eq!(arrived, [1300, 1300, 1320, 1340, 1340]);
        assert_eq!(counters.read().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_ends_after_ten_minutes() {
        let counters = Arc::new(Counters::default());
        let content = Content::Events(Box::new(broken_events()));
        let directives = Directives::parse("stall=1").expect("valid");
        let reply = Reply { directives, content };
        let mut response = perform(reply, counters.request(false), Arc::default()).await;
        assert!(response.body_mut().frame().await.is_some());
        let begun = Instant::now();
        assert!(tokio::time::timeout(Duration::from_secs(599), response.body_mut().frame()).await.is_err());
        assert_eq!(counters.read().in_flight, 1);
        assert!(tokio::time::timeout(Duration::from_secs(2), response.body_mut().frame()).await.is_err());
        assert_eq!((counters.read().in_flight, counters.read().aborted), (0, 0), "{:?}", begun.elapsed());
    }
}
