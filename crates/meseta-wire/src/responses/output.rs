//! The items of an answer and the response object around them: the same for whole answers and for streams.
//!
//! A call that Gemini signed has no place for its signature here. A reasoning item without a summary stands before it
//! and holds the signature; clients send back every item, so the call gets it back.

use std::borrow::Cow;

use crate::chat;
use crate::conversation::{Citation, Failure, Finish, TokenLogprob};
use crate::dialect::Context;
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::{Family, Signature};
use crate::usage::Usage;

use super::{OWN_REASONING, answer, echo, failure, items};

pub(super) enum Item {
    Message {
        id: String,
        parts: Vec<Content>,
    },
    Reasoning {
        id: String,
        summary: Option<String>,
        encrypted: Option<String>,
    },
    Call {
        id: String,
        call_id: String,
        name: String,
        arguments: String,
        custom: bool,
    },
    /// One that the provider told as a whole, as it stands there.
    Whole {
        id: String,
        json: String,
    },
}

pub(super) enum Content {
    Text { text: String, annotations: Vec<Json<'static>>, logprobs: Vec<Json<'static>> },
    Refusal(String),
}

/// How far an item is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::InProgress => "in_progress",
            Status::Completed => "completed",
            Status::Incomplete => "incomplete",
        }
    }
}

impl Content {
    pub fn text() -> Content {
        Content::Text { text: String::new(), annotations: Vec::new(), logprobs: Vec::new() }
    }

    pub fn push(&mut self, piece: &str) {
        match self {
            Content::Text { text, .. } | Content::Refusal(text) => text.push_str(piece),
        }
    }

    pub fn words(&self) -> &str {
        match self {
            Content::Text { text, .. } | Content::Refusal(text) => text,
        }
    }

    pub fn to_json(&self) -> Json<'_> {
        match self {
            Content::Text { text, annotations, logprobs } => object! {
                "type" => "output_text",
                "annotations" => annotations.clone(),
                "logprobs" => logprobs.clone(),
                "text" => text,
            },
            Content::Refusal(refusal) => object! { "type" => "refusal", "refusal" => refusal },
        }
    }
}

impl Item {
    fn refuses(&self) -> bool {
        let Item::Message { parts, .. } = self else { return false };
        parts.iter().any(|part| matches!(part, Content::Refusal(_)))
    }

    /// An item's id says what it is, of which answer and where in it.
    pub fn message(context: &Context, index: usize) -> Item {
        Item::Message { id: format!("msg_{}_{index}", context.id), parts: Vec::new() }
    }

    /// `id` is the one that the provider gave it, if it did.
    pub fn reasoning(context: &Context, index: usize, id: Option<&str>) -> Item {
        let id = match id {
            Some(id) => id.to_owned(),
            None => format!("{OWN_REASONING}{}_{index}", context.id),
        };
        Item::Reasoning { id, summary: None, encrypted: None }
    }

    pub fn signature(context: &Context, index: usize, signature: &Signature<'_>) -> Item {
        let mut item = Item::reasoning(context, index, None);
        item.sign(signature);
        item
    }

    pub fn call(context: &Context, index: usize, call_id: &str, name: &str, custom: bool) -> Item {
        let prefix = if custom { "ctc" } else { "fc" };
        Item::Call {
            id: format!("{prefix}_{}_{index}", context.id),
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            arguments: String::new(),
            custom,
        }
    }

    pub fn sign(&mut self, signature: &Signature<'_>) {
        if let Item::Reasoning { encrypted, .. } = self {
            *encrypted = Some(signature.write(Family::OpenAi).into_owned());
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Item::Message { id, .. }
            | Item::Reasoning { id, .. }
            | Item::Call { id, .. }
            | Item::Whole { id, .. } => id,
        }
    }

    /// About how many bytes it holds.
    pub fn size(&self) -> usize {
        let inner = match self {
            Item::Message { parts, .. } => parts.iter().map(|part| part.words().len()).sum(),
            Item::Reasoning { summary, encrypted, .. } => {
                summary.as_ref().map_or(0, String::len) + encrypted.as_ref().map_or(0, String::len)
            }
            Item::Call { call_id, name, arguments, .. } => call_id.len() + name.len() + arguments.len(),
            Item::Whole { json, .. } => json.len(),
        };
        self.id().len() + inner
    }

    pub fn to_json(&self, status: Status) -> Json<'_> {
        let mut item = Fields::new();
        match self {
            Item::Whole { json, .. } => return Json::Raw(json.as_str().into()),
            Item::Message { id, parts } => {
                let content: Vec<Json<'_>> = parts.iter().map(Content::to_json).collect();
                item.put("id", id).put("type", "message").put("status", status.as_str());
                item.put("content", content).put("role", "assistant");
            }
            Item::Reasoning { id, summary, encrypted } => {
                let summary: Vec<Json<'_>> = summary.iter().map(|text| summary_part(text)).collect();
                item.put("id", id).put("type", "reasoning").put("summary", summary);
                item.put_some("encrypted_content", encrypted.as_ref());
            }
            Item::Call { id, call_id, name, arguments, custom } => {
                let (kind, input) =
                    if *custom { ("custom_tool_call", "input") } else { ("function_call", "arguments") };
                item.put("id", id).put("type", kind).put("status", status.as_str());
                item.put(input, arguments).put("call_id", call_id).put("name", name);
            }
        }
        item.into()
    }
}

pub(super) fn summary_part(text: &str) -> Json<'_> {
    object! { "type" => "summary_text", "text" => text }
}

/// Where the text is counted only if the citation does not say where it ends.
pub(super) fn annotation(citation: &Citation<'_>, length: impl FnOnce() -> u64) -> Option<Json<'static>> {
    items::annotation(citation, length).map(Json::into_owned)
}

pub(super) fn logprob(logprob: &TokenLogprob<'_>) -> Json<'static> {
    let number = |value: f64| {
        // What is no number (a probability of zero) is written as the lowest that clients expect.
        serde_json::Number::from_f64(value).map_or(Json::from(-9999_i64), Json::Number)
    };
    let entry = |token: &str, value: f64| {
        let bytes: Vec<Json<'static>> = token.bytes().map(|byte| Json::from(u64::from(byte))).collect();
        let mut entry = Fields::new();
        entry.put("token", token.to_owned()).put("bytes", bytes).put("logprob", number(value));
        entry
    };
    let top: Vec<Json<'static>> =
        logprob.top.iter().map(|(token, value)| entry(token, *value).into()).collect();
    let mut whole = entry(&logprob.token, logprob.logprob);
    whole.put("top_logprobs", top);
    whole.into()
}

/// How a response stands.
pub(super) enum State<'s> {
    InProgress,
    Ended(&'s Finish<'s>),
    Failed(&'s Failure<'s>),
}

impl State<'_> {
    pub fn as_str(&self) -> &'static str {
        match self {
            State::InProgress => "in_progress",
            State::Failed(_) => "failed",
            State::Ended(finish) if incomplete_reason(finish).is_some() => "incomplete",
            State::Ended(_) => "completed",
        }
    }
}

/// How an answer ended, as this API tells it. One that was declined is complete if the items hold the model's refusal;
/// a provider that says so by the reason alone has cut the answer off, which is called a filter here.
pub(super) fn told<'f, 'i>(
    finish: &'f Finish<'f>,
    mut items: impl Iterator<Item = &'i Item>,
) -> &'f Finish<'f> {
    match finish {
        Finish::Refusal if !items.any(Item::refuses) => &Finish::ContentFilter,
        finish => finish,
    }
}

pub(super) fn incomplete_reason(finish: &Finish<'_>) -> Option<&'static str> {
    match finish {
        Finish::Length => Some("max_output_tokens"),
        Finish::ContentFilter => Some("content_filter"),
        _ => None,
    }
}

/// The response object: what is the same in every version of it.
pub(super) struct Response {
    id: String,
    created: u64,
    model: String,
    /// JSON text of the fields that repeat the request, without braces: it may be long, and a stream writes it thrice.
    echo: Vec<u8>,
    /// The service tier that the request asked for.
    tier: String,
}

impl Response {
    pub fn new(context: &Context, model: Option<&str>) -> Response {
        let told = context.echo.as_deref().and_then(|text| match Json::parse(text) {
            Ok(Json::Object(fields)) => Some(fields),
            _ => None,
        });
        let mut fields = told.unwrap_or_else(|| echo::fields(&Json::Null));
        let tier = fields.iter().find(|(key, _)| key == "service_tier");
        let tier = tier.and_then(|(_, tier)| tier.as_str()).unwrap_or("default").to_owned();
        fields.retain(|(key, _)| key != "service_tier");
        let model = match context.model.as_str() {
            "" => model.unwrap_or_default(),
            model => model,
        };
        Response {
            id: format!("resp_{}", context.id),
            created: context.created,
            model: model.to_owned(),
            echo: inside(fields),
            tier,
        }
    }

    /// The response that a provider has begun. `None` if it has no id.
    pub fn seen(json: &Json<'_>) -> Option<Response> {
        /// What [`Response::write`] writes anew.
        const OWN: [&str; 11] = [
            "id",
            "object",
            "created_at",
            "status",
            "background",
            "error",
            "incomplete_details",
            "model",
            "output",
            "service_tier",
            "usage",
        ];
        let Json::Object(fields) = json else { return None };
        let text = |key: &str| json.get(key).and_then(Json::as_str);
        let echo = fields.iter().filter(|(key, _)| !OWN.contains(&key.as_ref())).cloned().collect();
        Some(Response {
            id: text("id")?.to_owned(),
            created: answer::created(json).unwrap_or_default(),
            model: text("model").unwrap_or_default().to_owned(),
            echo: inside(echo),
            tier: text("service_tier").unwrap_or("default").to_owned(),
        })
    }

    pub fn write(
        &self,
        state: &State<'_>,
        output: Vec<Json<'_>>,
        usage: Option<Usage>,
        service_tier: Option<&str>,
    ) -> Vec<u8> {
        let mut fields = Fields::new();
        fields.put("id", &self.id).put("object", "response").put("created_at", self.created);
        fields.put("status", state.as_str()).put("background", false);
        fields.put(
            "error",
            match state {
                State::Failed(failure) => {
                    object! { "code" => failure::listed(failure), "message" => &failure.message }
                }
                _ => Json::Null,
            },
        );
        let reason = match state {
            State::Ended(finish) => incomplete_reason(finish),
            _ => None,
        };
        fields.put("incomplete_details", reason.map_or(Json::Null, |reason| object! { "reason" => reason }));
        fields.put("model", &self.model).put("output", output);
        fields.put("service_tier", service_tier.and_then(chat::service_tier).unwrap_or(&self.tier));
        fields.put("usage", usage.map_or(Json::Null, write_usage));
        let mut text = Json::from(fields).to_vec();
        if !self.echo.is_empty() {
            text.pop();
            text.push(b',');
            text.extend_from_slice(&self.echo);
            text.push(b'}');
        }
        text
    }
}

/// The text of an object, without its braces.
fn inside(fields: Vec<(Cow<'_, str>, Json<'_>)>) -> Vec<u8> {
    let text = Json::Object(fields).to_vec();
    text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")).unwrap_or_default().to_vec()
}

fn write_usage(usage: Usage) -> Json<'static> {
    object! {
        "input_tokens" => usage.input,
        "input_tokens_details" => object! {
            "cached_tokens" => usage.cached,
            "cache_write_tokens" => usage.cache_write,
        },
        "output_tokens" => usage.output,
        "output_tokens_details" => object! { "reasoning_tokens" => usage.reasoning },
        "total_tokens" => usage.input.saturating_add(usage.output),
    }
}
