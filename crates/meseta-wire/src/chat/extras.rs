//! What stands beside the text in messages and answers: thoughts, annotations, log probabilities, usage, and the
//! signatures of calls. Each is read and written here.

use std::borrow::Cow;

use serde_json::Number;

use crate::conversation::{Citation, Thought, TokenLogprob};
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};
use crate::signature::{Family, Signature};
use crate::usage::{Chat, Usage};

/// One entry of OpenRouter's `reasoning_details`.
pub(super) fn thought<'j>(detail: &'j Json<'j>) -> Result<Option<Thought<'j>>, Malformed> {
    let detail = Object::of(detail)?;
    let id = detail.text("id")?.map(Cow::Borrowed);
    let text = match detail.need_text("type")? {
        "reasoning.text" => detail.text("text")?,
        "reasoning.summary" => detail.text("summary")?,
        "reasoning.encrypted" => {
            let data = Signature::read(detail.need_text("data")?, Family::OpenAi);
            return Ok(Some(Thought { id, text: "".into(), signature: Some(data), redacted: true }));
        }
        _ => return Ok(None),
    };
    let signature = detail.text("signature")?.filter(|signature| !signature.is_empty());
    Ok(Some(Thought {
        id,
        text: text.unwrap_or_default().into(),
        signature: signature.map(|signature| Signature::read(signature, Family::OpenAi)),
        redacted: false,
    }))
}

/// The thoughts of a message: its details if it has any, else its plain text.
pub(super) fn thoughts<'j>(message: &Object<'j>) -> Result<Vec<Thought<'j>>, Malformed> {
    let mut thoughts = Vec::new();
    message.each("reasoning_details", |detail| {
        let told = |thought: &Thought<'_>| !thought.text.is_empty() || thought.signature.is_some();
        thoughts.extend(thought(detail)?.filter(told));
        Ok(())
    })?;
    if thoughts.is_empty() {
        let text = match message.text("reasoning_content")? {
            Some(text) => Some(text),
            None => message.get("reasoning").and_then(Json::as_str),
        };
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            thoughts.push(Thought { text: text.into(), ..Thought::default() });
        }
    }
    Ok(thoughts)
}

/// A thought as an entry of `reasoning_details`, the `index`th of its answer.
pub(super) fn detail<'a>(thought: &'a Thought<'_>, index: usize) -> Json<'a> {
    let mut detail = Fields::new();
    let signature = thought.signature.as_ref().map(|signature| signature.write(Family::OpenAi));
    if thought.redacted {
        detail.put("type", "reasoning.encrypted").put("data", signature.unwrap_or_default());
    } else {
        detail.put("type", "reasoning.text").put("text", &thought.text).put_some("signature", signature);
    }
    detail.put_some("id", thought.id.as_ref()).put("index", index);
    detail.into()
}

/// Google's place for the signature of a call.
pub(super) fn call_signature<'j>(call: &'j Json<'j>) -> Option<Signature<'j>> {
    let text = call.get("extra_content")?.get("google")?.get("thought_signature")?.as_str()?;
    (!text.is_empty()).then(|| Signature::read(text, Family::Gemini))
}

/// The value of a call's `extra_content`.
pub(super) fn call_extra<'a>(signature: &'a Signature<'_>) -> Json<'a> {
    object! { "google" => object! { "thought_signature" => signature.write(Family::Gemini) } }
}

/// `annotations`, as far as they are citations of URLs. Anything else in it is ignored.
pub(super) fn citations<'j>(annotations: Option<&'j Json<'j>>) -> Vec<Citation<'j>> {
    let read = |annotation: &'j Json<'j>| {
        let citation = annotation.get("url_citation")?;
        let text = |key| citation.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        let count = |key| Object::of(citation).ok()?.count(key).ok()?;
        Some(Citation {
            url: Some(text("url")?.into()),
            title: text("title").map(Cow::Borrowed),
            cited: text("content").map(Cow::Borrowed),
            start: count("start_index"),
            end: count("end_index"),
        })
    };
    annotations.and_then(Json::as_array).unwrap_or_default().iter().filter_map(read).collect()
}

/// A citation as an annotation; `None` if it names no URL. `base` is where the citing text begins in the message,
/// `end` where it ends.
pub(super) fn annotation<'a>(citation: &'a Citation<'_>, base: u64, end: u64) -> Option<Fields<'a>> {
    let url = citation.url.as_deref()?;
    let mut annotation = Fields::new();
    annotation.put("type", "url_citation").put(
        "url_citation",
        object! {
            "end_index" => citation.end.map_or(end, |end| base.saturating_add(end)),
            "start_index" => base.saturating_add(citation.start.unwrap_or(0)),
            "title" => citation.title.as_deref().unwrap_or_default(),
            "url" => url,
        },
    );
    Some(annotation)
}

/// The `content` of `logprobs`. Entries that are no such thing are left out.
pub(super) fn logprobs<'j>(logprobs: Option<&'j Json<'j>>) -> Vec<TokenLogprob<'j>> {
    let pair = |entry: &'j Json<'j>| -> Option<(Cow<'j, str>, f64)> {
        let Some(Json::Number(number)) = entry.get("logprob") else { return None };
        Some((Cow::Borrowed(entry.get("token")?.as_str()?), number.as_f64()?))
    };
    let read = |entry: &'j Json<'j>| {
        let (token, logprob) = pair(entry)?;
        let top = entry.get("top_logprobs").and_then(Json::as_array).unwrap_or_default();
        Some(TokenLogprob { token, logprob, top: top.iter().filter_map(pair).collect() })
    };
    let content = logprobs.and_then(|logprobs| logprobs.get("content")).and_then(Json::as_array);
    content.unwrap_or_default().iter().filter_map(read).collect()
}

/// The value of `logprobs`: null where there are none.
pub(super) fn logprobs_json<'a>(tokens: &'a [TokenLogprob<'_>]) -> Json<'a> {
    if tokens.is_empty() {
        return Json::Null;
    }
    let entry = |token: &'a str, logprob: f64| {
        // JSON has no infinity; this number is OpenAI's own for "very unlikely".
        let logprob = Number::from_f64(logprob).unwrap_or_else(|| Number::from(-9999));
        let bytes: Vec<u64> = token.bytes().map(u64::from).collect();
        let mut entry = Fields::new();
        entry.put("token", token).put("logprob", logprob).put("bytes", bytes);
        entry
    };
    let content: Vec<Fields<'a>> = tokens
        .iter()
        .map(|token| {
            let mut fields = entry(&token.token, token.logprob);
            let top: Vec<Fields<'a>> =
                token.top.iter().map(|(token, logprob)| entry(token, *logprob)).collect();
            fields.put("top_logprobs", top);
            fields
        })
        .collect();
    object! { "content" => content, "refusal" => Json::Null }
}

pub(super) fn usage(json: &Json<'_>) -> Option<Usage> {
    serde_json::from_str::<Option<Chat>>(&json.to_text()).ok().flatten().map(Usage::from)
}

pub(super) fn usage_json(usage: &Usage) -> Json<'static> {
    let mut prompt = Fields::new();
    prompt.put("cached_tokens", usage.cached).put("audio_tokens", 0_u64);
    if usage.cache_write > 0 {
        prompt.put("cache_write_tokens", usage.cache_write);
    }
    object! {
        "prompt_tokens" => usage.input,
        "completion_tokens" => usage.output,
        "total_tokens" => usage.input.saturating_add(usage.output),
        "prompt_tokens_details" => prompt,
        "completion_tokens_details" => object! {
            "reasoning_tokens" => usage.reasoning,
            "audio_tokens" => 0_u64,
            "accepted_prediction_tokens" => 0_u64,
            "rejected_prediction_tokens" => 0_u64,
        },
    }
}
