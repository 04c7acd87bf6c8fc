//! Writing a request.

use serde_json::Number;

use super::cache::Marks;
use super::model::{Model, Samples};
use super::turn::Conversation;
use super::{schema, thinking, tool};
use crate::conversation::{Format, Request, Tool, ToolChoice};
use crate::dialect::Destination;
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;

/// Longer identifiers of users are refused.
const LONGEST_USER: usize = 256;

pub fn encode_request(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let model = Model::of(destination.model);
    let (mut fields, plan) = prompt(request, destination, model, losses)?;
    fields.put("max_tokens", plan.max_tokens);
    put_sampling(request, model, plan.on, &mut fields, losses)?;
    meet_what_cannot_be_said(request, losses)?;
    // The API refuses a sequence of nothing but white space.
    let stop: Vec<_> = request.stop.iter().filter(|stop| !stop.trim().is_empty()).map(Json::from).collect();
    if stop.len() < request.stop.len() {
        losses.drop_feature(Feature::StopSequences);
    }
    if !stop.is_empty() {
        fields.put("stop_sequences", stop);
    }
    if let Some(user) = request.user.as_ref().filter(|user| !user.is_empty()) {
        if user.chars().count() > LONGEST_USER {
            losses.drop_feature(Feature::User);
        } else {
            fields.put("metadata", object! { "user_id" => user });
        }
    }
    if request.stream {
        fields.put("stream", true);
    }
    Ok(Json::from(fields).to_vec())
}

pub fn encode_count(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let (fields, _) = prompt(request, destination, Model::of(destination.model), losses)?;
    Ok(Json::from(fields).to_vec())
}

/// The fields that have tokens: those that a request for an answer and one for a count share.
fn prompt<'r>(
    request: &'r Request<'_>,
    destination: &Destination<'r>,
    model: Model,
    losses: &mut Losses,
) -> Result<(Fields<'r>, thinking::Plan), Refused> {
    let conversation = Conversation::of(&request.messages, losses)?;
    let plan = thinking::plan(request, destination, model, conversation.thought_first(), losses);
    let tools = offered(request, losses)?;
    let in_tools =
        tools.iter().filter(|tool| matches!(tool, Tool::Function(function) if function.cache.is_some()));
    let mut marks = Marks::new(conversation.marks() + in_tools.count());
    // Tools come first in the prompt, whatever the order of the keys, so their marks are the first to go.
    let mut written = Vec::with_capacity(tools.len());
    for tool in tools {
        written.push(tool::write(tool, model, |mark| marks.take(mark), losses)?);
    }
    let (format, asked) = write_format(request.format.as_ref(), model, losses)?;
    let mut system: Vec<Json<'r>> = Vec::new();
    for text in &conversation.system {
        let mut block = Fields::new();
        block.put("type", "text").put("text", &text.text);
        block.put_some("cache_control", marks.take(text.cache));
        system.push(block.into());
    }
    system.extend(asked.map(|asked| object! { "type" => "text", "text" => asked }));
    let mut fields = Fields::new();
    fields.put("model", destination.model);
    fields.put("messages", conversation.write(model.prefill && !plan.on, &mut marks, losses)?);
    if !system.is_empty() {
        fields.put("system", system);
    }
    let mut choice = request.tool_choice.as_ref();
    if written.is_empty() {
        // A conversation with calls must have tools, even where none may be called any more.
        written = called_before(&conversation);
        choice = choice.and(None).or((!written.is_empty()).then_some(&ToolChoice::None));
    }
    if !written.is_empty() {
        fields.put("tools", written);
        fields.put_some("tool_choice", write_choice(choice, request.parallel_tool_calls, model, losses));
    }
    fields.put_some("thinking", plan.thinking.clone());
    let mut output = Fields::new();
    output.put_some("effort", plan.effort).put_some("format", format);
    if !output.is_empty() {
        fields.put("output_config", output);
    }
    Ok((fields, plan))
}

/// The tools that the model may call. Where the client allows only some of them, the others are not sent.
fn offered<'q, 'a>(request: &'q Request<'a>, losses: &mut Losses) -> Result<Vec<&'q Tool<'a>>, Refused> {
    let Some(ToolChoice::Allowed { names, .. }) = &request.tool_choice else {
        return Ok(request.tools.iter().collect());
    };
    losses.meet(Feature::ToolChoiceAllowed)?;
    let names: std::collections::HashSet<&str> = names.iter().map(AsRef::as_ref).collect();
    Ok(request.tools.iter().filter(|tool| names.contains(tool::name(tool))).collect())
}

fn called_before<'r>(conversation: &Conversation<'r>) -> Vec<Json<'r>> {
    let mut seen = std::collections::HashSet::new();
    let calls = conversation.calls().filter(|call| seen.insert(call.name.as_ref()));
    calls
        .map(|call| object! { "name" => &call.name, "input_schema" => schema::of_an_object(Json::Null) })
        .collect()
}

fn write_choice<'r>(
    choice: Option<&'r ToolChoice<'_>>,
    parallel: Option<bool>,
    model: Model,
    losses: &mut Losses,
) -> Option<Json<'r>> {
    let one_at_a_time = (parallel == Some(false)).then_some(true);
    let mut fields = Fields::new();
    match choice {
        None if one_at_a_time.is_none() => return None,
        Some(ToolChoice::None) => {
            fields.put("type", "none");
            return Some(fields.into());
        }
        forced if thinking::is_forced(forced) && !model.forced_choice => {
            losses.unknown("tool_choice");
            fields.put("type", "auto");
        }
        Some(ToolChoice::Named(name)) => {
            fields.put("type", "tool").put("name", name);
        }
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => {
            fields.put("type", "any");
        }
        None | Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => {
            fields.put("type", "auto");
        }
    }
    fields.put_some("disable_parallel_tool_use", one_at_a_time);
    Some(fields.into())
}

/// The format as the API has it, or else the sentence that asks for it.
fn write_format<'r>(
    format: Option<&'r Format<'_>>,
    model: Model,
    losses: &mut Losses,
) -> Result<(Option<Json<'r>>, Option<String>), Refused> {
    Ok(match format {
        None => (None, None),
        Some(Format::Json) => {
            losses.meet(Feature::JsonMode)?;
            let asked = "Answer with one JSON object and nothing else: no other words, no code fence.";
            (None, Some(asked.to_owned()))
        }
        Some(Format::Schema { schema, .. }) if !model.structured => {
            losses.drop_feature(Feature::JsonSchema);
            let asked = format!(
                "Answer with one JSON value that follows this JSON Schema and nothing else: no other words, no code \
                 fence.\n{}",
                schema.to_text()
            );
            (None, Some(asked))
        }
        Some(Format::Schema { schema, .. }) => {
            let closed = schema::close(schema);
            if closed.loosened {
                losses.drop_feature(Feature::JsonSchema);
            }
            (Some(object! { "type" => "json_schema", "schema" => closed.schema }), None)
        }
    })
}

fn put_sampling(
    request: &Request<'_>,
    model: Model,
    thinks: bool,
    fields: &mut Fields<'_>,
    losses: &mut Losses,
) -> Result<(), Refused> {
    let sampling = &request.sampling;
    let is_default = |number: &Number| number.as_f64() == Some(1.0);
    let mut temperature = sampling.temperature.clone();
    let mut top_p = sampling.top_p.clone();
    let mut top_k = sampling.top_k.clone();
    if temperature.as_ref().and_then(Number::as_f64).is_some_and(|value| value > 1.0) {
        losses.meet(Feature::TemperatureAboveOne)?;
        temperature = Some(1.into());
    }
    let top_p_fits = |value: &Number| value.as_f64().is_some_and(|value| (0.95..=1.0).contains(&value));
    let never = model.samples == Samples::Never;
    if thinks || never {
        // 1 is what the model does anyway.
        if temperature.take().is_some_and(|value| !is_default(&value)) {
            losses.unknown("temperature");
        }
        let refused = never || !top_p.as_ref().is_some_and(top_p_fits);
        if refused && top_p.take().is_some_and(|value| !is_default(&value)) {
            losses.unknown("top_p");
        }
        if top_k.take().is_some() {
            losses.drop_feature(Feature::TopK);
        }
    }
    if model.samples == Samples::ByOne && temperature.is_some() && top_p.is_some() {
        if temperature.as_ref().is_some_and(is_default) {
            temperature = None;
        } else if top_p.take().is_some_and(|value| !is_default(&value)) {
            losses.unknown("top_p");
        }
    }
    fields.put_some("temperature", temperature).put_some("top_p", top_p).put_some("top_k", top_k);
    Ok(())
}

fn meet_what_cannot_be_said(request: &Request<'_>, losses: &mut Losses) -> Result<(), Refused> {
    let sampling = &request.sampling;
    let is_set = |number: &Option<Number>| number.as_ref().is_some_and(|number| number.as_f64() != Some(0.0));
    let log = sampling.logprobs == Some(true) || sampling.top_logprobs.is_some_and(|top| top > 0);
    let tier = request.service_tier.as_deref().is_some_and(|tier| !matches!(tier, "auto" | "default"));
    for (met, feature) in [
        (request.choices.is_some_and(|choices| choices > 1), Feature::Choices),
        (sampling.seed.is_some(), Feature::Seed),
        (is_set(&sampling.presence_penalty), Feature::PresencePenalty),
        (is_set(&sampling.frequency_penalty), Feature::FrequencyPenalty),
        (log, Feature::Logprobs),
        (sampling.logit_bias.is_some(), Feature::LogitBias),
        (!request.metadata.is_empty(), Feature::Metadata),
        (request.prompt_cache_key.is_some(), Feature::PromptCacheKey),
        (tier, Feature::ServiceTier),
        (request.verbosity.is_some(), Feature::Verbosity),
    ] {
        if met {
            losses.meet(feature)?;
        }
    }
    Ok(())
}
