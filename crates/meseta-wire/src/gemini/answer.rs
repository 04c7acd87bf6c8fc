//! A whole answer: `GenerateContentResponse`.

use std::borrow::Cow;

use super::call_id::{self, CallIds};
use super::grounding::{self, Widths};
use super::part::{self, AnswerPart, Content};
use super::{finish, media, signature, usage};
use crate::conversation::{Answer, Citation, Finish, Part, Source, Text, Thought, TokenLogprob, ToolCall};
use crate::dialect::Context;
use crate::feature::Losses;
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};

pub fn decode_answer<'j>(json: &'j Json<'_>) -> Result<Answer<'j>, Malformed> {
    let document = Object::of(json)?;
    let candidate = document.get("candidates").and_then(Json::as_array).and_then(<[Json<'_>]>::first);
    let blocked = document.get("promptFeedback").and_then(|feedback| feedback.get("blockReason"));
    if candidate.is_none() && blocked.is_none() && document.get("usageMetadata").is_none() {
        return Err(Malformed::at("candidates", "is missing"));
    }
    let text = |key: &str| document.get(key).and_then(Json::as_str);
    let id = text("responseId");
    let mut answer = Answer {
        id: id.map(Cow::Borrowed),
        model: text("modelVersion").map(Cow::Borrowed),
        usage: usage::read(document.get("usageMetadata")),
        ..Answer::default()
    };
    if blocked.is_some() {
        answer.finish = Finish::ContentFilter;
    }
    let Some(candidate) = candidate else { return Ok(answer) };
    let parts = candidate.get("content").and_then(|content| content.get("parts")).and_then(Json::as_array);
    let mut reader = Reader { ids: CallIds::of_answer(id), parts: Vec::new(), places: Vec::new() };
    for part in parts.unwrap_or_default() {
        reader.part(AnswerPart::read(part));
    }
    if let Some(metadata) = candidate.get("groundingMetadata") {
        reader.cite(metadata);
    }
    let called = reader.parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    match candidate.get("finishReason").and_then(Json::as_str) {
        Some(word) => answer.finish = finish::read(word, called),
        None if called => answer.finish = Finish::ToolCalls,
        None => {}
    }
    answer.logprobs = part::logprobs(candidate.get("logprobsResult"));
    answer.parts = reader.parts;
    Ok(answer)
}

/// Collects the parts of an answer. Texts that follow each other are one part, as in a stream.
struct Reader<'j> {
    ids: CallIds,
    parts: Vec<Part<'j>>,
    /// For each part of Gemini's: the index of ours, and how many bytes of it stand before.
    places: Vec<(usize, u64)>,
}

impl<'j> Reader<'j> {
    fn part(&mut self, part: AnswerPart<'j>) {
        self.places.push((self.parts.len(), 0));
        match part.content {
            Content::Text(text) => {
                self.text(text);
                if let Some(value) = part.signature {
                    self.sign(value);
                }
            }
            Content::Thought(text) => {
                let signature = part.signature.map(signature::read);
                match self.parts.last_mut() {
                    Some(Part::Thought(thought)) if thought.signature.is_none() => {
                        thought.text.to_mut().push_str(text);
                        thought.signature = signature;
                    }
                    _ if text.is_empty() && signature.is_none() => {}
                    _ => self.parts.push(Part::Thought(Thought {
                        text: Cow::Borrowed(text),
                        signature,
                        ..Thought::default()
                    })),
                }
            }
            Content::Call { id, name, arguments } => {
                let id = match id {
                    Some(id) => Cow::Borrowed(id),
                    None => Cow::Owned(self.ids.make(name, &arguments)),
                };
                self.parts.push(Part::ToolCall(ToolCall {
                    id,
                    name: Cow::Borrowed(name),
                    arguments: Cow::Owned(arguments),
                    custom: false,
                    signature: part.signature.map(signature::read),
                    cache: None,
                }));
            }
            Content::Media { media_type, source } => {
                self.parts.push(media::part(media_type, source, None));
            }
            Content::Other => {}
        }
    }

    fn text(&mut self, text: &'j str) {
        if text.is_empty() {
            return;
        }
        if let Some(Part::Text(before)) = self.parts.last_mut() {
            let length = before.text.len() as u64;
            before.text.to_mut().push_str(text);
            let place = (self.parts.len() - 1, length);
            if let Some(last) = self.places.last_mut() {
                *last = place;
            }
        } else {
            self.parts.push(Part::Text(Text { text: Cow::Borrowed(text), ..Text::default() }));
        }
    }

    /// The signature of a text. It belongs to thinking that is not shown: a part of its own behind the text, unless the
    /// thinking stands right before it.
    fn sign(&mut self, value: &'j str) {
        let signature = Some(signature::read(value));
        match self.parts.last_mut() {
            Some(Part::Thought(thought)) if thought.signature.is_none() => thought.signature = signature,
            _ => self.parts.push(Part::Thought(Thought { signature, redacted: true, ..Thought::default() })),
        }
    }

    fn cite(&mut self, metadata: &'j Json<'_>) {
        let widths: Vec<Option<Widths>> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(Widths::of(&text.text)),
                _ => None,
            })
            .collect();
        let is_text = |index: usize| widths.get(index).is_some_and(Option::is_some);
        let Some(first) = widths.iter().position(Option::is_some) else { return };
        for mut placed in grounding::read(metadata) {
            let place = self.places.get(placed.part).copied().filter(|(index, _)| is_text(*index));
            // Servers count the parts without the thoughts, or leave the index out: then it is the text.
            let (index, before) = place.unwrap_or((first, 0));
            placed.start = placed.start.map(|start| start.saturating_add(before));
            placed.end = placed.end.map(|end| end.saturating_add(before));
            if let (Some(Part::Text(text)), Some(Some(widths))) =
                (self.parts.get_mut(index), widths.get(index))
            {
                text.citations.push(placed.citation(widths));
            }
        }
    }
}

pub fn encode_answer(answer: &Answer<'_>, context: &Context, losses: &mut Losses) -> Vec<u8> {
    let mut parts: Vec<Json<'_>> = Vec::new();
    let mut widths: Vec<(usize, Widths, &[Citation<'_>])> = Vec::new();
    for part in &answer.parts {
        if let Part::Text(text) = part
            && !text.citations.is_empty()
        {
            widths.push((parts.len(), Widths::of(&text.text), &text.citations));
        }
        parts.extend(written(part, losses));
    }
    let citations: Vec<_> = widths
        .iter()
        .flat_map(|(part, widths, citations)| citations.iter().map(move |citation| (*part, widths, citation)))
        .take(grounding::MOST_CITATIONS)
        .collect();
    let mut candidate = Fields::new();
    candidate
        .put("content", object! { "parts" => Json::Array(parts), "role" => "model" })
        .put("finishReason", finish::write(&answer.finish))
        .put("index", 0_u64)
        .put_some("groundingMetadata", grounding::write(&citations))
        .put_some("logprobsResult", logprobs_result(&answer.logprobs));
    if answer.service_tier.is_some() {
        losses.answer("service-tier");
    }
    let mut document = Fields::new();
    document
        .put("candidates", vec![Json::from(candidate)])
        .put_some("usageMetadata", answer.usage.as_ref().map(usage::write))
        .put("modelVersion", &context.model)
        .put("responseId", &context.id);
    Json::from(document).to_vec()
}

fn written<'p>(part: &'p Part<'_>, losses: &mut Losses) -> Option<Json<'p>> {
    match part {
        Part::Text(text) => Some(object! { "text" => &text.text }),
        Part::Refusal(text) => Some(object! { "text" => text }),
        Part::Thought(thought) => {
            let mut fields = Fields::new();
            fields.put("text", &thought.text);
            if !thought.redacted {
                fields.put("thought", true);
            }
            fields.put_some("thoughtSignature", thought.signature.as_ref().map(signature::write));
            Some(fields.into())
        }
        Part::ToolCall(call) => {
            if call.custom {
                losses.answer("custom-tool-call");
            }
            Some(call_part(&call.id, &call.name, call_arguments(call), call.signature.as_ref()))
        }
        Part::Image(image) => media_part(&image.source, losses),
        Part::File(file) => media_part(&file.source, losses),
        Part::Audio(audio) => Some(object! {
            "inlineData" => object! { "mimeType" => media::type_of_audio(&audio.format), "data" => &audio.data },
        }),
        Part::ToolResult(_) => None,
    }
}

fn media_part<'p>(source: &'p Source<'_>, losses: &mut Losses) -> Option<Json<'p>> {
    if let Source::Base64 { media_type, data } = source {
        return Some(object! { "inlineData" => object! { "mimeType" => media_type, "data" => data } });
    }
    losses.answer("media");
    None
}

pub(super) fn call_part<'p>(
    id: &'p str,
    name: &'p str,
    arguments: Json<'p>,
    signed: Option<&'p crate::signature::Signature<'_>>,
) -> Json<'p> {
    let mut part = Fields::new();
    part.put("functionCall", function_call(id, name, arguments));
    part.put_some("thoughtSignature", signed.map(signature::write));
    part.into()
}

pub(super) fn function_call<'p>(id: &'p str, name: &'p str, arguments: Json<'p>) -> Json<'p> {
    let mut call = Fields::new();
    if call_id::is_own(id) {
        call.put("id", id);
    }
    call.put("name", name).put("args", arguments);
    call.into()
}

fn call_arguments<'p>(call: &'p ToolCall<'_>) -> Json<'p> {
    if call.custom {
        object! { "input" => &call.arguments }
    } else {
        arguments_object(&call.arguments).0
    }
}

/// Arguments as the object that Gemini demands, and whether they were one.
pub(super) fn arguments_object(text: &str) -> (Json<'_>, bool) {
    match Json::parse(text) {
        Ok(Json::Object(_)) => (Json::Raw(Cow::Borrowed(text)), true),
        _ if text.trim().is_empty() => (Json::Object(Vec::new()), true),
        _ => (object! { "arguments" => text }, false),
    }
}

pub(super) fn logprobs_result<'t>(tokens: &'t [TokenLogprob<'_>]) -> Option<Json<'t>> {
    if tokens.is_empty() {
        return None;
    }
    let one = |token: &'t Cow<'_, str>, logprob: f64| {
        let mut fields = Fields::new();
        fields.put("token", token);
        fields.put_some("logProbability", serde_json::Number::from_f64(logprob));
        Json::from(fields)
    };
    let chosen: Vec<Json<'t>> = tokens.iter().map(|token| one(&token.token, token.logprob)).collect();
    let mut result = Fields::new();
    if tokens.iter().any(|token| !token.top.is_empty()) {
        let top = tokens.iter().map(|token| {
            let candidates = token.top.iter().map(|(token, logprob)| one(token, *logprob)).collect();
            object! { "candidates" => Json::Array(candidates) }
        });
        result.put("topCandidates", Json::Array(top.collect()));
    }
    result.put("chosenCandidates", Json::Array(chosen));
    Some(result.into())
}
