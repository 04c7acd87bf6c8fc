//! A request to a provider, written.

use std::borrow::Cow;

use super::{items, tool};
use crate::conversation::{Effort, Format, Request};
use crate::dialect::{Destination, Dialect, ReasoningField};
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;

/// Fewer tokens than this are refused.
const LEAST_OUTPUT: u64 = 16;
/// A longer name of the end user is refused.
const LONGEST_USER: usize = 64;
const MOST_TOP_LOGPROBS: u64 = 20;

pub fn encode_request(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let from_responses = losses.client() == Dialect::OpenaiResponses;
    let mut fields = question(request, destination, losses)?;
    if let Some(tokens) = request.max_tokens {
        if tokens < LEAST_OUTPUT {
            losses.unknown("max_output_tokens");
        }
        fields.put("max_output_tokens", tokens.max(LEAST_OUTPUT));
    }
    sampling(&mut fields, request, losses)?;
    fields.put("stream", request.stream);
    // The provider must not keep what its client did not ask to have kept. Encrypted thoughts take the place of what it
    // would remember.
    fields.put("store", from_responses && request.store == Some(true));
    let mut include = Vec::new();
    if reasons(destination.model) {
        include.push("reasoning.encrypted_content");
    }
    if request.sampling.logprobs == Some(true) {
        losses.meet(Feature::Logprobs)?;
        include.push("message.output_text.logprobs");
    }
    if !include.is_empty() {
        fields.put("include", include);
    }
    about(&mut fields, request, losses)?;
    Ok(finished(fields, destination))
}

/// The body of `POST /v1/responses/input_tokens`.
pub fn encode_count(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    question(request, destination, losses).map(|fields| finished(fields, destination))
}

/// What the model is asked: all that counts as input.
fn question<'r>(
    request: &'r Request<'_>,
    destination: &Destination<'r>,
    losses: &mut Losses,
) -> Result<Fields<'r>, Refused> {
    let quirks = destination.quirks;
    let mut fields = Fields::new();
    fields.put("model", destination.model);
    let conversation = items::write(request, quirks.developer_role, losses)?;
    fields.put_some("instructions", conversation.instructions);
    fields.put("input", conversation.items);
    if losses.client() == Dialect::OpenaiResponses {
        fields.put_some("previous_response_id", request.previous_response_id.as_ref());
    }
    tool::write(&mut fields, request, losses)?;
    let mut text = Fields::new();
    if let Some(format) = &request.format {
        text.put("format", write_format(format, quirks.json_schema, losses)?);
    }
    if let Some(verbosity) = &request.verbosity {
        losses.meet(Feature::Verbosity)?;
        text.put("verbosity", verbosity);
    }
    if !text.is_empty() {
        fields.put("text", text);
    }
    let reasoning = write_thinking(request, losses)?;
    if !reasoning.is_empty() {
        if quirks.reasoning == ReasoningField::None || !reasons(destination.model) {
            losses.drop_feature(Feature::ThinkingEffort);
        } else {
            fields.put("reasoning", reasoning);
        }
    }
    Ok(fields)
}

/// OpenAI's models before GPT-5 that are not of the o series refuse every field about reasoning; all later ones think.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    !["gpt-3", "gpt-4", "chatgpt-4"].iter().any(|early| name.starts_with(early))
}

fn write_format<'r>(format: &'r Format<'_>, schemas: bool, losses: &mut Losses) -> Result<Json<'r>, Refused> {
    match format {
        Format::Schema { name, description, schema, strict } if schemas => {
            losses.meet(Feature::JsonSchema)?;
            let mut format = Fields::new();
            format.put("type", "json_schema").put("name", schema_name(name.as_deref()));
            format.put_some("description", description.as_ref());
            format.put("schema", schema.as_ref().clone());
            format.put_some("strict", *strict);
            Ok(format.into())
        }
        Format::Schema { .. } => {
            losses.drop_feature(Feature::JsonSchema);
            Ok(object! { "type" => "json_object" })
        }
        Format::Json => {
            losses.meet(Feature::JsonMode)?;
            Ok(object! { "type" => "json_object" })
        }
    }
}

/// Letters, digits, underscores and dashes, at most 64: what the API takes.
fn schema_name(name: Option<&str>) -> Cow<'_, str> {
    let legal = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    match name {
        None | Some("") => Cow::Borrowed("answer"),
        Some(name) if name.len() <= 64 && name.chars().all(legal) => Cow::Borrowed(name),
        Some(name) => Cow::Owned(
            name.chars().take(64).map(|character| if legal(character) { character } else { '_' }).collect(),
        ),
    }
}

fn write_thinking<'r>(request: &Request<'_>, losses: &mut Losses) -> Result<Fields<'r>, Refused> {
    let mut reasoning = Fields::new();
    let Some(thinking) = request.thinking else { return Ok(reasoning) };
    if thinking.enabled == Some(false) {
        losses.meet(Feature::ThinkingOff)?;
        reasoning.put("effort", "none");
        return Ok(reasoning);
    }
    if thinking.budget.is_some() {
        losses.meet(Feature::ThinkingBudget)?;
    }
    if let Some(level) = thinking.level() {
        losses.meet(Feature::ThinkingEffort)?;
        reasoning.put(
            "effort",
            match level {
                Effort::Minimal => "minimal",
                Effort::Low => "low",
                Effort::Medium => "medium",
                Effort::High => "high",
                Effort::Highest => "xhigh",
            },
        );
    }
    if thinking.shown.unwrap_or(thinking.budget.is_some()) {
        reasoning.put("summary", "auto");
    }
    Ok(reasoning)
}

fn sampling(fields: &mut Fields<'_>, request: &Request<'_>, losses: &mut Losses) -> Result<(), Refused> {
    let sampling = &request.sampling;
    fields.put_some("temperature", sampling.temperature.clone());
    fields.put_some("top_p", sampling.top_p.clone());
    for (feature, met) in [
        (Feature::TopK, sampling.top_k.is_some()),
        (Feature::Seed, sampling.seed.is_some()),
        (Feature::PresencePenalty, sampling.presence_penalty.is_some()),
        (Feature::FrequencyPenalty, sampling.frequency_penalty.is_some()),
        (Feature::LogitBias, sampling.logit_bias.is_some()),
        (Feature::StopSequences, !request.stop.is_empty()),
        (Feature::Choices, request.choices.is_some_and(|choices| choices > 1)),
    ] {
        if met {
            losses.meet(feature)?;
        }
    }
    if sampling.logprobs == Some(true) {
        fields.put_some("top_logprobs", sampling.top_logprobs.map(|count| count.min(MOST_TOP_LOGPROBS)));
    }
    Ok(())
}

/// What is said about the request and not to the model.
fn about<'r>(fields: &mut Fields<'r>, request: &'r Request<'_>, losses: &mut Losses) -> Result<(), Refused> {
    if !request.metadata.is_empty() {
        losses.meet(Feature::Metadata)?;
        let notes = request.metadata.iter().map(|(key, value)| (Cow::Borrowed(&**key), Json::from(value)));
        fields.put("metadata", Json::Object(notes.collect()));
    }
    match &request.user {
        Some(user) if user.chars().count() <= LONGEST_USER => {
            losses.meet(Feature::User)?;
            fields.put("safety_identifier", user);
        }
        Some(_) => losses.drop_feature(Feature::User),
        None => {}
    }
    if let Some(key) = &request.prompt_cache_key {
        losses.meet(Feature::PromptCacheKey)?;
        fields.put("prompt_cache_key", key);
    }
    match request.service_tier.as_deref() {
        // Anthropic's word for what both call the default.
        Some("standard_only") => {
            fields.put("service_tier", "default");
        }
        Some(tier) => {
            losses.meet(Feature::ServiceTier)?;
            fields.put("service_tier", tier);
        }
        None => {}
    }
    Ok(())
}

fn finished(fields: Fields<'_>, destination: &Destination<'_>) -> Vec<u8> {
    let mut document = Json::from(fields);
    if let Json::Object(fields) = &mut document {
        fields.retain(|(key, _)| !destination.quirks.drop.iter().any(|dropped| dropped == key));
    }
    document.to_vec()
}
