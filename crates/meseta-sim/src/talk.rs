//! Each route's request is read, and its answer is put into the words of its dialect.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{Answer, Block};
use crate::dialect::bedrock::{self, ConverseRequest, Invocation, counted};
use crate::dialect::chat::{ChatRequest, Completion};
use crate::dialect::embeddings::EmbeddingsRequest;
use crate::dialect::gemini::{self, GeminiEmbeddings, GeminiRequest};
use crate::dialect::messages::{self, MessagesRequest, check_thread, check_version};
use crate::dialect::responses::{self, Kept, MOST_FILLER, ResponsesRequest};
use crate::dialect::{CREATED, Dialect, Saying};
use crate::directives::Refusal;
use crate::failure::Failure;
use crate::field::Wrong;
use crate::handle::{Decided, Visit, split_model};
use crate::reply::{Content, Reply};
use crate::route::{Route, Verb, parameter};
use crate::stream::Piece;

pub fn answer(visit: &Visit<'_>, route: Route) -> Result<Reply, Failure> {
    match route {
        Route::Chat => chat(visit, None),
        Route::AzureChat(deployment) => azure(visit).and_then(|()| chat(visit, Some(&deployment))),
        Route::Embeddings => embeddings(visit, None),
        Route::AzureEmbeddings(deployment) => {
            azure(visit).and_then(|()| embeddings(visit, Some(&deployment)))
        }
        Route::Responses => respond(visit),
        Route::ResponseTokens => response_tokens(visit),
        Route::Response(id) => stored_response(visit, &id),
        Route::Messages => message(visit),
        Route::MessageTokens => message_tokens(visit),
        Route::Generate { model, verb } => generate(visit, &model, verb),
        Route::Converse { model, streamed } => converse(visit, &model, streamed),
        Route::Invoke(model) => invoke(visit, &model),
        Route::BedrockTokens(model) => {
            let tokens = counted(&visit.json()?).map_err(in_words_of(visit))?;
            visit.plain(Some(&model), "", |_, _| written(&json!({"inputTokens": tokens})))
        }
        Route::Models => models(visit, None),
        Route::Model(name) => models(visit, Some(&name)),
    }
}

fn models(visit: &Visit<'_>, name: Option<&str>) -> Result<Reply, Failure> {
    let model =
        |name: &str| json!({"id": name, "object": "model", "created": CREATED, "owned_by": "meseta-sim"});
    let script = visit.house.script();
    let listed = if name.is_some() {
        model(split_model(name)?.0)
    } else {
        let mut names = script.models();
        names.retain(|name| !["echo", "canned"].contains(name));
        let data: Vec<_> = ["echo", "canned"].into_iter().chain(names).map(model).collect();
        json!({"object": "list", "data": data})
    };
    let directives = visit.directives("", None)?;
    Ok(Reply::plain(visit.dialect, visit.fingerprint, directives, || written(&listed)))
}

fn in_words_of(visit: &Visit<'_>) -> impl Fn(Wrong) -> Failure + use<> {
    let dialect = visit.dialect;
    move |wrong| dialect.wrong(wrong)
}

fn written(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

/// Azure answers nothing without the version of its API.
fn azure(visit: &Visit<'_>) -> Result<(), Failure> {
    match parameter(visit.head.uri.query(), "api-version") {
        Some(version) if !version.is_empty() => Ok(()),
        _ => Err(Failure::not_found(None, "404", "Resource not found".to_owned())),
    }
}

fn chat(visit: &Visit<'_>, deployment: Option<&str>) -> Result<Reply, Failure> {
    let request = ChatRequest::parse(visit.body)?;
    let model = deployment.or(request.model.as_deref());
    let choices = request.choices();
    let Decided { directives, answer, usage } = visit.decide(model, &request, choices)?;
    if directives.body.is_some_and(|bytes| bytes.saturating_mul(choices) > 1 << 30) {
        return Err(Failure::request(Some("n"), "All choices together may have 1 GiB of text."));
    }
    let (model, _) = split_model(model)?;
    let tokens = said_tokens(&answer);
    let completion = Completion { fingerprint: visit.fingerprint, model, choices, answer, usage };
    let streamed = request.streamed();
    Ok(Reply::said(Dialect::OpenAi, visit.fingerprint, directives, streamed, || {
        if streamed {
            Content::Events(completion.chunks(request.wants_usage()), Dialect::OpenAi.stream_type())
        } else {
            Content::Whole(StatusCode::OK, completion.whole(), tokens)
        }
    }))
}

/// The tokens a client waits for, thoughts included.
fn said_tokens(answer: &Answer) -> u64 {
    answer.tokens + answer.thinking
}

fn embeddings(visit: &Visit<'_>, deployment: Option<&str>) -> Result<Reply, Failure> {
    let request = EmbeddingsRequest::parse(visit.body)?;
    let model = deployment.map(str::to_owned).or_else(|| request.model.clone());
    split_model(model.as_deref())?;
    let embeddings = request.check()?;
    visit.plain(model.as_deref(), &embeddings.text, |name, directives| {
        embeddings.body(name, !directives.no_usage)
    })
}

fn respond(visit: &Visit<'_>) -> Result<Reply, Failure> {
    let body = visit.json()?;
    let mut request = ResponsesRequest::read(&body, false).map_err(in_words_of(visit))?;
    let before = previous(visit, &request)?;
    request.follow(before.as_ref()).map_err(in_words_of(visit))?;
    let decided = visit.decide(request.model.as_deref(), &request.prompt, 1)?;
    let Decided { directives, answer, usage } = decided;
    if directives.body.is_some_and(|bytes| bytes > MOST_FILLER) {
        let message = "A response has at most 16 MiB of text: its last events repeat all of it.";
        return Err(Failure::request(Some("model"), message));
    }
    let (model, _) = split_model(request.model.as_deref())?;
    let tokens = said_tokens(&answer);
    let saying = Saying { fingerprint: visit.fingerprint, model, answer, usage };
    let response = responses::Response::new(&saying, &body, request.sealed_reasoning);
    let fails = directives.status.is_some()
        || directives.refuse.is_some()
        || directives.drop.is_some()
        || directives.garbage.is_some()
        || directives.error.is_some();
    // What is made as it is sent is not kept.
    if request.stored && !fails && directives.body.is_none() {
        let object = response.finished(&saying.answer, &|block: &Block| block.told().to_owned());
        let kept = Kept {
            object: Bytes::from(object.to_string()),
            tokens: request.prompt.tokens + tokens,
            calls: saying.answer.calls().map(|call| call.id.written("call_")).collect(),
        };
        visit.house.store.put(response.id.clone(), kept);
    }
    Ok(Reply::said(visit.dialect, visit.fingerprint, directives, request.streamed, || {
        if request.streamed {
            Content::Events(responses::events(saying, response), visit.dialect.stream_type())
        } else {
            Content::Whole(StatusCode::OK, responses::whole(&saying, &response), tokens)
        }
    }))
}

/// The response that a request goes on from.
fn previous(visit: &Visit<'_>, request: &ResponsesRequest) -> Result<Option<Kept>, Failure> {
    let Some(id) = &request.previous else { return Ok(None) };
    visit.house.store.get(id).map(Some).ok_or_else(|| responses::previous_not_found(id))
}

fn response_tokens(visit: &Visit<'_>) -> Result<Reply, Failure> {
    let body = visit.json()?;
    let mut request = ResponsesRequest::read(&body, true).map_err(in_words_of(visit))?;
    let before = previous(visit, &request)?;
    request.follow(before.as_ref()).map_err(in_words_of(visit))?;
    let tokens = request.prompt.tokens;
    // OpenAI counts without a model, too.
    visit.plain(request.model.as_deref().or(Some("echo")), &request.prompt.last, |_, _| {
        written(&json!({"object": "response.input_tokens", "input_tokens": tokens}))
    })
}

fn stored_response(visit: &Visit<'_>, id: &str) -> Result<Reply, Failure> {
    let directives = visit.directives("", None)?;
    let answer = if visit.head.method == http::Method::DELETE {
        if !visit.house.store.delete(id) {
            return Err(responses::not_found(id));
        }
        written(&json!({"id": id, "object": "response", "deleted": true}))
    } else {
        visit.house.store.get(id).ok_or_else(|| responses::not_found(id))?.object.to_vec()
    };
    Ok(Reply::plain(visit.dialect, visit.fingerprint, directives, || answer))
}

fn message(visit: &Visit<'_>) -> Result<Reply, Failure> {
    check_version(visit.head)?;
    let json = visit.json()?;
    let request = MessagesRequest::read(&json, false).map_err(in_words_of(visit))?;
    check_thread(&json)?;
    let Decided { directives, mut answer, usage } = visit.decide(Some(&request.model), &request.prompt, 1)?;
    answer.drop_empty_texts();
    let (model, _) = split_model(Some(&request.model))?;
    let tokens = said_tokens(&answer);
    let saying = Saying { fingerprint: visit.fingerprint, model, answer, usage };
    Ok(Reply::said(visit.dialect, visit.fingerprint, directives, request.streamed, || {
        if request.streamed {
            Content::Events(messages::events(saying), visit.dialect.stream_type())
        } else {
            Content::Whole(StatusCode::OK, messages::whole(&saying), tokens)
        }
    }))
}

fn message_tokens(visit: &Visit<'_>) -> Result<Reply, Failure> {
    check_version(visit.head)?;
    let request = MessagesRequest::read(&visit.json()?, true).map_err(in_words_of(visit))?;
    let tokens = request.prompt.tokens;
    visit.plain(Some(&request.model), &request.prompt.last, |_, _| written(&json!({"input_tokens": tokens})))
}

fn generate(visit: &Visit<'_>, model: &str, verb: Verb) -> Result<Reply, Failure> {
    let body = visit.json()?;
    if let Verb::Embed | Verb::EmbedBatch = verb {
        let embeddings =
            GeminiEmbeddings::read(&body, verb == Verb::EmbedBatch).map_err(in_words_of(visit))?;
        return visit.plain(Some(model), &embeddings.text(), |_, _| embeddings.body());
    }
    let request = GeminiRequest::read(&body, verb == Verb::Count).map_err(in_words_of(visit))?;
    let prompt = request.prompt;
    if verb == Verb::Count {
        return visit.plain(Some(model), &prompt.last, |_, _| {
            let details = json!([{"modality": "TEXT", "tokenCount": prompt.tokens}]);
            written(&json!({"totalTokens": prompt.tokens, "promptTokensDetails": details}))
        });
    }
    let Decided { mut directives, answer, usage } = visit.decide(Some(model), &prompt, 1)?;
    let (model, _) = split_model(Some(model))?;
    let (tokens, ids) = (said_tokens(&answer), directives.ids);
    // Google answers a prompt that it does not allow, so this is no error.
    let blocked = directives.status.is_none() && directives.error.is_none();
    let blocked = directives.refuse.take_if(|cause| blocked && *cause == Refusal::Policy).is_some();
    let saying = Saying { fingerprint: visit.fingerprint, model, answer, usage };
    let streamed = verb == Verb::Stream;
    Ok(Reply::said(visit.dialect, visit.fingerprint, directives, streamed, || {
        if streamed {
            // Without this parameter, the stream is one JSON array.
            let sse = parameter(visit.head.uri.query(), "alt") == Some("sse");
            let content_type = if sse { visit.dialect.stream_type() } else { "application/json" };
            if blocked {
                return Content::Events(Box::new(gemini::Blocked::new(&saying, sse)), content_type);
            }
            Content::Events(gemini::events(saying, ids, sse), content_type)
        } else if blocked {
            Content::Whole(StatusCode::OK, vec![Piece::Ready(Bytes::from(gemini::blocked(&saying)))], 0)
        } else {
            Content::Whole(StatusCode::OK, gemini::whole(&saying, ids), tokens)
        }
    }))
}

fn converse(visit: &Visit<'_>, model: &str, streamed: bool) -> Result<Reply, Failure> {
    let request = ConverseRequest::read(&visit.json()?).map_err(in_words_of(visit))?;
    let Decided { directives, mut answer, usage } = visit.decide(Some(model), &request.prompt, 1)?;
    answer.drop_empty_texts();
    let tokens = said_tokens(&answer);
    let saying = Saying { fingerprint: visit.fingerprint, model, answer, usage };
    Ok(Reply::said(visit.dialect, visit.fingerprint, directives, streamed, || {
        if streamed {
            Content::Events(bedrock::events(saying), visit.dialect.stream_type())
        } else {
            Content::Whole(StatusCode::OK, bedrock::whole(&saying), tokens)
        }
    }))
}

fn invoke(visit: &Visit<'_>, model: &str) -> Result<Reply, Failure> {
    let invocation = Invocation::read(split_model(Some(model))?.0, &visit.json()?)?;
    let invocation = invocation.map_err(in_words_of(visit))?;
    let reply = visit
        .plain(Some(model), &invocation.text(), |_, directives| invocation.body(!directives.no_usage))?;
    let counted = (!reply.directives.no_usage).then(|| invocation.tokens());
    Ok(Reply { counted, ..reply })
}
