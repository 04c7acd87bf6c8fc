//! What the client asked, in the target's own words: address, headers, body. Pure. Where the target speaks the client's
//! dialect the body passes byte for byte but for the model id, the usage option and marks for the prompt cache.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use meseta_wire::cache_marks;
use meseta_wire::dialect::{self, Context, Dialect};
use meseta_wire::edit::{self, Edits};
use meseta_wire::embeddings;
use meseta_wire::feature::{Losses, Refused};
use meseta_wire::json::Json;
use meseta_wire::resume::{self, Prefill};
use meseta_wire::shape::Malformed;
use meseta_wire::{responses, signature};

use crate::continuation::{self, Continued, Keep};
use crate::conversations::Caller as Scope;
use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::handle::Journey;
use crate::pool::Member;
use crate::sessions::marks;
use crate::snapshot::{Address, CompiledAuth, Operation, Target};
use crate::stages::Stage;
use crate::stages::identify::{API_KEY, Caller};
use crate::stages::pick::Picked;
use crate::stages::read::Ask;
use crate::stages::send::{Failed, Lost, Sending};
use crate::trip::Trip;

/// A request that can be put on a wire of either version.
pub(crate) struct Wire {
    pub method: Method,
    pub address: Arc<Address>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub reading: Reading,
    /// Where the answer is to be kept, if it is.
    pub keep: Option<Box<Keep>>,
}

/// How the answer is to be read, and so what the client gets.
pub(crate) enum Reading {
    /// As it is. `hide_usage`: the stream will hold a usage event that the client did not ask for.
    Same {
        dialect: Dialect,
        hide_usage: bool,
    },
    Conversation(Box<Translation>),
    /// The number of a request's tokens.
    Count(Dialect),
    Embeddings(Box<Embedding>),
}

/// Texts that are embedded in another dialect than the client's.
pub(crate) struct Embedding {
    pub operation: Operation,
    /// The model id at the provider.
    pub model: String,
    pub inputs: usize,
    pub base64: bool,
    pub losses: Losses,
}

/// A conversation whose ends speak differently.
pub(crate) struct Translation {
    pub target: Dialect,
    pub context: Context,
    pub losses: Losses,
}

pub(crate) enum Translated {
    Ready(Box<Sending>),
    /// Nobody has to be asked.
    Answered(Vec<u8>),
}

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Client headers that may travel on to any provider: they describe the call, and none is a credential.
const FORWARDED: [HeaderName; 5] = [
    USER_AGENT,
    IDEMPOTENCY_KEY,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];
/// Those that travel only to a provider that speaks the client's own dialect.
const OWN_DIALECT_PREFIXES: [&str; 3] = ["openai-", "anthropic-", "x-stainless-"];

/// What no `forward_headers` pattern can let through: framing is ours to do, and our own key is nobody else's.
const NEVER_FORWARDED: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-meseta-key",
];

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("meseta/", env!("CARGO_PKG_VERSION")));
const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// `Err` for what the target cannot be asked: another one can perhaps.
pub(crate) fn translate(trip: &mut Trip, journey: &Journey, picked: Picked) -> Result<Translated, Lost> {
    trip.enter(Stage::Translate);
    match wire(trip, journey, &picked) {
        Ok(Some(wire)) => {
            Sending::new(trip, journey, picked, wire).map(|sending| Translated::Ready(Box::new(sending)))
        }
        Ok(None) => {
            let text = std::str::from_utf8(&journey.ask.body).unwrap_or_default();
            Ok(Translated::Answered(estimate(text)))
        }
        Err(error) => {
            let now = trip.now();
            picked.track.note(|attempt| {
                attempt.code = Some(error.code);
                attempt.ended = Some(now);
            });
            Err(Lost::of(picked.choice, Failed::unwritten(error)))
        }
    }
}

/// `None` where nobody has to be asked.
fn wire(trip: &Trip, journey: &Journey, picked: &Picked) -> Result<Option<Box<Wire>>, Error> {
    let Journey { ask, continued, .. } = journey;
    let continued = continued.as_ref();
    let choice = &picked.choice;
    let client = ask.call.dialect();
    let Member { target, model, .. } = &choice.member;
    if let Some(id) = belongs_to_nobody(trip, ask, continued, target) {
        return Err(continuation::unknown_response(id));
    }
    // The rest of an answer that broke off is another request than the client's.
    let same = passes(ask, continued, target).filter(|_| journey.told.is_none());
    let (operation, body, reading) = if let Some(operation) = same {
        let ask_usage = ask.call == Call::Chat && ask.envelope.stream && target.ask_stream_usage;
        let edits = Edits { model: Some(model), ask_usage };
        let mut body =
            edit::apply(&ask.body, &ask.envelope, &edits).map_or_else(|| ask.body.clone(), Bytes::from);
        if operation == Operation::conversation(client, ask.envelope.stream)
            && let Some((placement, minimum)) =
                marks(&trip.snapshot.sessions, target.prompt_cache, client, &ask.headers)
            && let Some(marked) = cache_marks::insert(&body, placement, minimum)
        {
            body = marked.into();
        }
        let hide_usage = ask_usage && !ask.envelope.include_usage;
        (operation, body, Reading::Same { dialect: client, hide_usage })
    } else {
        // UTF-8 was checked when the envelope was read.
        let text = std::str::from_utf8(&ask.body).unwrap_or_default();
        let json = Json::parse(text).map_err(|error| invalid_json(&error))?;
        match ask.call {
            Call::Embeddings => embeddings(&json, &choice.member)?,
            Call::CountTokens => match count(&json, &choice.member)? {
                Some(asked) => asked,
                None => return Ok(None),
            },
            Call::Chat | Call::Responses | Call::Messages => {
                conversation(trip, journey, &json, &choice.member)?
            }
        }
    };
    let address = target.address(operation, model).ok_or_else(|| not_offered(ask.call, target))?;
    let own_dialect = match &reading {
        Reading::Same { .. } => true,
        Reading::Conversation(translation) => translation.target == client,
        Reading::Count(_) | Reading::Embeddings(_) => false,
    };
    let credential = target.credential(choice.key);
    let mut headers = headers(&ask.headers, &ask.caller, target, credential, own_dialect);
    for (name, value) in &ask.told {
        headers.insert(name, value.clone());
    }
    if journey.told.is_some() {
        // The name is that of the client's request.
        headers.remove(IDEMPOTENCY_KEY);
    }
    sign(target, credential, &Method::POST, &address, &mut headers, &body)?;
    picked.track.note(|attempt| attempt.request_bytes = body.len() as u64);
    let keep = Keep::of(trip, ask, continued, target, same.is_some()).map(Box::new);
    Ok(Some(Box::new(Wire { method: Method::POST, address, headers, body, reading, keep })))
}

/// The stored answer that the request goes on from, if nobody here may go on from it. Callers with keys of their own
/// share our account at the provider, which would show each of them what another one has stored: only what we know to
/// be the caller's is asked for there.
fn belongs_to_nobody<'a>(
    trip: &Trip,
    ask: &'a Ask,
    continued: Option<&Continued>,
    target: &Target,
) -> Option<&'a str> {
    let shared = matches!(ask.caller.scope, Scope::Key(_)) && !target.is_passthrough();
    let kept = ask.call == Call::Responses && trip.worker.shared.conversations.is_some();
    ask.envelope.previous_response_id.as_deref().filter(|_| shared && kept && continued.is_none())
}

/// The operation by which the client's own bytes can go to the target; `None` when they must be translated.
fn passes(ask: &Ask, continued: Option<&Continued>, target: &Target) -> Option<Operation> {
    let client = ask.call.dialect();
    let operation = match ask.call {
        Call::Embeddings => Operation::Embeddings,
        Call::CountTokens => Operation::MessagesCountTokens,
        _ if !target.speaks(client) => return None,
        _ => Operation::conversation(client, ask.envelope.stream),
    };
    // An answer that somebody else gave is unknown to this target: the conversation goes with the request.
    let at_home = continued.is_none_or(|continued| continued.is_at(target));
    // Another provider's signature would be refused; the conversation has changed sides before.
    let own = !signature::is_marked_in(&ask.body);
    (target.offers(operation) && at_home && own).then_some(operation)
}

type Asked = (Operation, Bytes, Reading);

fn conversation(trip: &Trip, journey: &Journey, json: &Json<'_>, member: &Member) -> Result<Asked, Error> {
    let Journey { ask, continued, .. } = journey;
    let client = ask.call.dialect();
    let target = &*member.target;
    let dialect = if target.speaks(client) { client } else { target.dialects[0] };
    let asked = json;
    let json = match continued {
        Some(continued) => Cow::Owned(continued.join(asked)),
        None => Cow::Borrowed(asked),
    };
    if client == Dialect::AnthropicMessages {
        meseta_wire::messages::check_limit(&json).map_err(|error| malformed(&error))?;
    }
    let mut losses = Losses::new(client, dialect);
    let mut request =
        dialect::decode_request(client, &json, &mut losses).map_err(|error| malformed(&error))?;
    if let Some((_, minimum)) = marks(&trip.snapshot.sessions, target.prompt_cache, dialect, &ask.headers) {
        cache_marks::mark(&mut request, trip.ask.tokens, minimum);
    }
    if request.previous_response_id.is_some() && dialect != client {
        return Err(continuation::unknown_response(
            request.previous_response_id.as_deref().unwrap_or_default(),
        ));
    }
    let request = match &journey.told {
        Some(told) => {
            let prefill = Prefill::of(dialect, &member.model, &request);
            resume::continuation(&request, told, prefill)
        }
        None => request,
    };
    let destination = target.destination(&member.model);
    let body = dialect::encode_request(dialect, &request, &destination, &mut losses)
        .map_err(|refused| unsupported(&refused))?;
    // What the client wrote, and not the conversation that was joined to it.
    let context = context(trip, ask, &member.model, asked);
    let translation = Translation { target: dialect, context, losses };
    let operation = Operation::conversation(dialect, request.stream);
    Ok((operation, Bytes::from(body), Reading::Conversation(Box::new(translation))))
}

/// What the answer says of the request, in the client's dialect.
pub(crate) fn context(trip: &Trip, ask: &Ask, model: &str, request: &Json<'_>) -> Context {
    Context {
        id: trip.id.hex(),
        request_id: trip.id.text(),
        model: ask.envelope.model.clone().unwrap_or_else(|| model.to_owned()),
        created: seconds(),
        include_usage: ask.envelope.include_usage,
        echo: (ask.call == Call::Responses).then(|| responses::echo(request)),
    }
}

fn count(json: &Json<'_>, member: &Member) -> Result<Option<Asked>, Error> {
    let target = &*member.target;
    let dialect = target.dialects[0];
    let Some(operation) = Operation::count(dialect).filter(|operation| target.offers(*operation)) else {
        return Ok(None);
    };
    let mut losses = Losses::new(Dialect::AnthropicMessages, dialect);
    let request = dialect::decode_request(Dialect::AnthropicMessages, json, &mut losses)
        .map_err(|error| malformed(&error))?;
    let destination = target.destination(&member.model);
    let Some(body) = dialect::encode_count(dialect, &request, &destination, &mut losses) else {
        return Ok(None);
    };
    let body = body.map_err(|refused| unsupported(&refused))?;
    Ok(Some((operation, Bytes::from(body), Reading::Count(dialect))))
}

/// The answer where the provider cannot count.
fn estimate(text: &str) -> Vec<u8> {
    format!(r#"{{"input_tokens":{}}}"#, meseta_wire::estimate::tokens(text.as_bytes())).into_bytes()
}

fn embeddings(json: &Json<'_>, member: &Member) -> Result<Asked, Error> {
    let target = &*member.target;
    let dialect = target.dialects[0];
    let mut losses = Losses::new(Dialect::OpenaiChat, dialect);
    let request = embeddings::decode_request(json, &mut losses).map_err(|error| malformed(&error))?;
    let (operation, body) = if target.offers(Operation::BatchEmbedContents) {
        let body = embeddings::gemini::encode_request(&request, &member.model);
        (Operation::BatchEmbedContents, body)
    } else if target.offers(Operation::InvokeModel) {
        let body = embeddings::bedrock::encode_request(&request, &member.model)
            .map_err(|error| Error::new(Code::RequestUnsupported, error.to_string()).with_param("input"))?;
        (Operation::InvokeModel, body)
    } else {
        return Err(not_offered(Call::Embeddings, target));
    };
    let embedding = Embedding {
        operation,
        model: member.model.to_string(),
        inputs: request.inputs.len(),
        base64: request.base64,
        losses,
    };
    Ok((operation, Bytes::from(body), Reading::Embeddings(Box::new(embedding))))
}

fn invalid_json(error: &serde_json::Error) -> Error {
    Error::new(Code::RequestInvalidJson, format!("The request is not usable: {error}."))
}

fn malformed(error: &Malformed) -> Error {
    let path = if error.path.is_empty() { "body".to_owned() } else { error.path.clone() };
    Error::new(Code::RequestInvalidField, error.to_string()).with_param(path)
}

fn unsupported(refused: &Refused) -> Error {
    let message = format!(
        "`{}`: {} cannot be said in the dialect of this model's provider ({}). {}",
        refused.path,
        refused.feature.as_str(),
        refused.target.title(),
        refused.feature.note()
    );
    Error::new(Code::RequestUnsupported, message).with_param(refused.path)
}

fn not_offered(call: Call, target: &Target) -> Error {
    let what = match call {
        Call::Embeddings => "embeddings",
        Call::CountTokens => "counting tokens",
        Call::Chat | Call::Responses | Call::Messages => "conversations",
    };
    Error::new(Code::RequestUnsupported, format!("{} does not offer {what}.", target.name))
        .with_param("model")
}

pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The headers of a call that no client asked for.
pub(crate) fn own_headers(target: &Target, credential: &CompiledAuth) -> HeaderMap {
    let nobody = Caller::nobody();
    headers(&HeaderMap::new(), &nobody, target, credential, false)
}

pub(crate) fn headers(
    client: &HeaderMap,
    caller: &Caller,
    target: &Target,
    credential: &CompiledAuth,
    own_dialect: bool,
) -> HeaderMap {
    let passthrough = target.is_passthrough();
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(HOST, target.host.clone());
    headers.insert(CONTENT_TYPE, JSON);
    // We read the answer on its way through, and most of it is too short to be worth packing.
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    for (name, value) in client {
        let credential = *name == AUTHORIZATION || *name == API_KEY;
        let travels = if NEVER_FORWARDED.contains(&name.as_str()) || credential {
            false
        } else {
            FORWARDED.contains(name)
                || (own_dialect && (*name == ACCEPT || is_of_dialect(name)))
                || target.forward_headers.iter().any(|pattern| pattern.matches(name))
        };
        // Which account a call is billed to goes with the credential: with our key, it is ours to say.
        let account = matches!(name.as_str(), "openai-organization" | "openai-project");
        if travels && (passthrough || !account) {
            headers.append(name, value.clone());
        }
    }
    if passthrough && !caller.credential_is_ours {
        pass_credential(client, target, own_dialect, &mut headers);
    }
    headers.entry(USER_AGENT).or_insert(AGENT);
    if let CompiledAuth::Header(name, value) = credential {
        headers.insert(name, value.clone());
    }
    for (name, value) in &target.headers {
        headers.insert(name, value.clone());
    }
    for (name, value) in &target.default_headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers
}

fn is_of_dialect(name: &HeaderName) -> bool {
    OWN_DIALECT_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// The client's own credential, in the header where the target looks for one.
fn pass_credential(client: &HeaderMap, target: &Target, own_dialect: bool, headers: &mut HeaderMap) {
    if own_dialect {
        for name in [AUTHORIZATION, API_KEY] {
            for value in client.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        return;
    }
    let bearer = client.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7));
    let key = match (bearer, client.get(API_KEY)) {
        (_, Some(key)) => key.as_bytes(),
        (Some((scheme, key)), None) if scheme.eq_ignore_ascii_case(b"bearer ") => key.trim_ascii(),
        _ => return,
    };
    let (name, value) = match target.dialects[0] {
        Dialect::AnthropicMessages => (API_KEY, key.to_vec()),
        Dialect::GeminiGenerateContent => (GOOGLE_KEY, key.to_vec()),
        _ => (AUTHORIZATION, [b"Bearer ", key].concat()),
    };
    // It was a header's value before, so it is one now.
    if let Ok(mut value) = HeaderValue::from_bytes(&value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

/// AWS wants the whole request signed, so this comes last.
pub(crate) fn sign(
    target: &Target,
    credential: &CompiledAuth,
    method: &Method,
    address: &Address,
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), Error> {
    let CompiledAuth::Sigv4(signer) = credential else { return Ok(()) };
    let path = address.path.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    signer
        .sign(method, path, headers, body, SystemTime::now())
        .map_err(|error| Error::new(Code::PlaneInternal, format!("{}: {error}.", target.name)))
}
