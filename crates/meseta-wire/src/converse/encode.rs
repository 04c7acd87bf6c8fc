//! Writes a request. The model and whether to stream stand in the address, not here.

use serde_json::Number;

use super::model::Model;
use super::thinking::{self, Plan};
use super::tools;
use super::turns::{Conversation, Writer};
use crate::conversation::{Format, Request};
use crate::dialect::Destination;
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;

pub fn encode_request(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let model = Model::of(destination.model);
    let mut writer = Writer::new(model, losses);
    let tools = tools::tools(request, &mut writer)?;
    let mut conversation = writer.conversation(request)?;
    if request.choices.is_some_and(|choices| choices > 1) {
        losses.meet(Feature::Choices)?;
    }
    let plan = thinking::plan(request, model, conversation.continues_without_thought(), losses)?;
    let format = format(request, model, &mut conversation.system, losses)?;
    let mut inference = inference(request, model, &plan, losses)?;
    let (tool_config, tool_choice) = tools::tool_config(request, model, tools, &conversation, losses)?;

    let stop: Vec<Json<'_>> = stop(request, model, losses);
    let ends_by_stop = !stop.is_empty();
    if ends_by_stop {
        inference.put("stopSequences", stop);
    }
    let mut output = Fields::new();
    output.put_some("textFormat", format);
    output.put_some("effort", plan.effort);

    let mut body = body(conversation);
    if !inference.is_empty() {
        body.put("inferenceConfig", inference);
    }
    body.put_some("toolConfig", tool_config);
    put_additional(&mut body, request, model, plan, tool_choice, losses);
    if ends_by_stop && model.claude().is_some() {
        // Which of them it was is said nowhere else.
        body.put("additionalModelResponseFieldPaths", vec!["/stop_sequence"]);
    }
    put_metadata(&mut body, request, losses);
    put_service_tier(&mut body, request, losses)?;
    if !output.is_empty() {
        body.put("outputConfig", output);
    }
    meet_the_rest(request, losses)?;
    Ok(Json::from(body).to_vec())
}

/// The question how many tokens a request has: the same conversation and tools, nothing else.
pub fn encode_count(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let model = Model::of(destination.model);
    let mut writer = Writer::new(model, losses);
    let tools = tools::tools(request, &mut writer)?;
    let mut conversation = writer.conversation(request)?;
    format(request, model, &mut conversation.system, losses)?;
    let (tool_config, _) = tools::tool_config(request, model, tools, &conversation, losses)?;
    let mut body = body(conversation);
    body.put_some("toolConfig", tool_config);
    Ok(object! { "input" => object! { "converse" => body } }.to_vec())
}

fn body(conversation: Conversation<'_>) -> Fields<'_> {
    let turns: Vec<Json<'_>> = conversation
        .turns
        .into_iter()
        .map(|turn| {
            let role = if turn.assistant { "assistant" } else { "user" };
            object! { "role" => role, "content" => turn.content() }
        })
        .collect();
    let mut body = Fields::new();
    body.put("messages", turns);
    if !conversation.system.is_empty() {
        body.put("system", conversation.system);
    }
    body
}

fn inference<'a>(
    request: &Request<'_>,
    model: Model<'_>,
    plan: &Plan<'_>,
    losses: &mut Losses,
) -> Result<Fields<'a>, Refused> {
    let mut fields = Fields::new();
    let claude = model.claude();
    if plan.unlimited {
        for (given, field) in [
            (request.max_tokens.is_some(), "max_tokens"),
            (request.sampling.temperature.is_some(), "temperature"),
            (request.sampling.top_p.is_some(), "top_p"),
        ] {
            if given {
                losses.unknown(field);
            }
        }
        return Ok(fields);
    }
    fields.put_some("maxTokens", request.max_tokens.map(|most| most.max(1)));
    let no_sampling = claude.is_some_and(super::model::Claude::has_no_sampling);
    let mut has_temperature = false;
    if let Some(temperature) = &request.sampling.temperature {
        let is_one = temperature.as_f64().is_some_and(|value| value >= 1.0);
        if no_sampling || plan.budgeted && !is_one {
            losses.unknown("temperature");
        } else if temperature.as_f64().is_some_and(|value| value > 1.0) {
            losses.meet(Feature::TemperatureAboveOne)?;
            fields.put("temperature", 1_u64);
            has_temperature = true;
        } else {
            fields.put("temperature", temperature.clone());
            has_temperature = true;
        }
    }
    if let Some(top_p) = &request.sampling.top_p {
        let one_way = has_temperature && claude.is_some_and(super::model::Claude::samples_one_way);
        // Beside a budget of thinking, Claude takes only this end of the scale.
        let too_low = plan.budgeted && top_p.as_f64().is_some_and(|value| value < 0.95);
        if no_sampling || one_way || too_low {
            losses.unknown("top_p");
        } else {
            fields.put("topP", top_p.clone());
        }
    }
    Ok(fields)
}

fn stop<'a>(request: &'a Request<'_>, model: Model<'_>, losses: &mut Losses) -> Vec<Json<'a>> {
    let is_claude = model.claude().is_some();
    let mut stop = Vec::with_capacity(request.stop.len());
    for text in &request.stop {
        // Claude refuses a sequence of nothing but white space, and everybody an empty one.
        if text.is_empty() || is_claude && text.trim().is_empty() {
            losses.drop_feature(Feature::StopSequences);
        } else {
            stop.push(Json::from(text));
        }
    }
    stop
}

fn put_additional<'a>(
    body: &mut Fields<'a>,
    request: &Request<'_>,
    model: Model<'_>,
    plan: Plan<'a>,
    tool_choice: Option<Json<'a>>,
    losses: &mut Losses,
) {
    let mut fields = Fields::new();
    let takes_top_k = match model {
        Model::Claude(claude) => !claude.has_no_sampling() && !plan.budgeted,
        Model::Nova { .. } => !plan.unlimited,
        Model::GptOss | Model::Plain | Model::Other => false,
    };
    fields.put_some("thinking", plan.claude);
    match &request.sampling.top_k {
        None => {}
        Some(_) if !takes_top_k => losses.drop_feature(Feature::TopK),
        Some(top_k) => {
            let top_k: Number = top_k.clone();
            if model.claude().is_some() {
                fields.put("top_k", top_k);
            } else {
                fields.put("inferenceConfig", object! { "topK" => top_k });
            }
        }
    }
    fields.put_some("reasoningConfig", plan.nova);
    fields.put_some("reasoning_effort", plan.openai);
    fields.put_some("tool_choice", tool_choice);
    if !fields.is_empty() {
        body.put("additionalModelRequestFields", fields);
    }
}

/// The form of the answer. A model that cannot be held to a schema is asked for it at the end of the system prompt.
fn format<'a>(
    request: &'a Request<'_>,
    model: Model<'_>,
    system: &mut Vec<Json<'a>>,
    losses: &mut Losses,
) -> Result<Option<Json<'a>>, Refused> {
    match &request.format {
        None => Ok(None),
        Some(Format::Json) => {
            losses.meet(Feature::JsonMode)?;
            system.push(object! {
                "text" => "Answer with one JSON object and nothing else: no words around it, no code fence."
            });
            Ok(None)
        }
        Some(Format::Schema { name, description, schema, .. }) if model.has_schemas() => {
            let mut definition = Fields::new();
            definition.put("schema", schema.to_text());
            definition.put_some("name", name.as_ref().filter(|name| !name.is_empty()));
            definition.put_some("description", description.as_ref().filter(|text| !text.is_empty()));
            Ok(Some(object! {
                "type" => "json_schema",
                "structure" => object! { "jsonSchema" => definition },
            }))
        }
        Some(Format::Schema { schema, .. }) => {
            losses.meet(Feature::JsonSchema)?;
            system.push(object! {
                "text" => format!(
                    "Answer with one JSON document and nothing else: no words around it, no code fence. \
                     It must follow this JSON Schema: {}",
                    schema.to_text()
                )
            });
            Ok(None)
        }
    }
}

/// At most 16 pairs, of a small alphabet.
fn put_metadata<'a>(body: &mut Fields<'a>, request: &'a Request<'_>, losses: &mut Losses) {
    let fits = |text: &str| {
        text.len() <= 256
            && text.chars().all(|character| {
                character.is_ascii_alphanumeric() || " \t\n\r:_@$#=/+,-.".contains(character)
            })
    };
    let mut fields = Fields::new();
    let mut count = 0;
    for (key, value) in &request.metadata {
        if count < 16 && !key.is_empty() && fits(key) && fits(value) {
            fields.put(key.as_ref(), value);
            count += 1;
        } else {
            losses.drop_feature(Feature::Metadata);
        }
    }
    if !fields.is_empty() {
        body.put("requestMetadata", fields);
    }
}

/// Tiers that both sides name alike are asked for; `auto` and `default` are what nobody needs to ask for.
fn put_service_tier<'a>(
    body: &mut Fields<'a>,
    request: &'a Request<'_>,
    losses: &mut Losses,
) -> Result<(), Refused> {
    match request.service_tier.as_deref() {
        None | Some("auto" | "default" | "standard" | "standard_only") => {}
        Some(tier @ ("priority" | "flex" | "reserved")) => {
            body.put("serviceTier", object! { "type" => tier });
        }
        Some(_) => losses.meet(Feature::ServiceTier)?,
    }
    Ok(())
}

/// What Converse has no place for at all.
fn meet_the_rest(request: &Request<'_>, losses: &mut Losses) -> Result<(), Refused> {
    let sampling = &request.sampling;
    for (given, feature) in [
        (sampling.seed.is_some(), Feature::Seed),
        (sampling.presence_penalty.is_some(), Feature::PresencePenalty),
        (sampling.frequency_penalty.is_some(), Feature::FrequencyPenalty),
        (sampling.logprobs == Some(true) || sampling.top_logprobs.is_some(), Feature::Logprobs),
        (sampling.logit_bias.is_some(), Feature::LogitBias),
        (request.user.is_some(), Feature::User),
        (request.prompt_cache_key.is_some(), Feature::PromptCacheKey),
        (request.verbosity.is_some(), Feature::Verbosity),
    ] {
        if given {
            losses.meet(feature)?;
        }
    }
    Ok(())
}
