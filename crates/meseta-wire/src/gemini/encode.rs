//! Writes a request: `GenerateContentRequest`. The model and whether to stream stand in the URL.

use std::borrow::Cow;

use super::contents::Contents;
use super::generation;
use super::model::Model;
use crate::conversation::{Format, Function, Request, Tool, ToolChoice};
use crate::dialect::Destination;
use crate::feature::{Feature, Losses, Refused, first_turn};
use crate::json::{Fields, Json};
use crate::object;

pub fn encode_request(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let mut fields = Fields::new();
    write(request, destination, losses, &mut fields)?;
    Ok(Json::from(fields).to_vec())
}

/// The question of `countTokens` about a whole request, which names the model a second time.
pub fn encode_count(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let model = if destination.model.contains('/') {
        destination.model.to_owned()
    } else {
        format!("models/{}", destination.model)
    };
    let mut fields = Fields::new();
    fields.put("model", model);
    write(request, destination, losses, &mut fields)?;
    Ok(object! { "generateContentRequest" => fields }.to_vec())
}

fn write<'r>(
    request: &'r Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
    fields: &mut Fields<'r>,
) -> Result<(), Refused> {
    let model = Model::of(destination.model);
    meet_what_is_left_out(request, losses)?;
    let mut contents = Contents::new(model, losses);
    contents.messages(&request.messages)?;
    let Contents { mut system, mut turns, resolution, .. } = contents;
    // Before the third generation, a form of the answer beside functions is an error: the model is asked in words.
    let in_words =
        !model.is_third_generation() && request.tools.iter().any(|tool| !matches!(tool, Tool::WebSearch(_)));
    let mut format = request.format.as_ref();
    if let Some(wanted) = format.filter(|_| in_words) {
        losses.drop_feature(match wanted {
            Format::Json => Feature::JsonMode,
            Format::Schema { .. } => Feature::JsonSchema,
        });
        system.push(object! { "text" => sentence(wanted) });
        format = None;
    }
    // A document without turns is refused; then the system's words are what is asked.
    if turns.is_empty() && !system.is_empty() {
        losses.unknown(first_turn(losses.client()));
        turns.push(("user", std::mem::take(&mut system)));
    }
    let turns = turns.into_iter();
    let turns = turns.map(|(role, parts)| object! { "role" => role, "parts" => Json::Array(parts) });
    fields.put("contents", Json::Array(turns.collect()));
    if !system.is_empty() {
        fields.put("systemInstruction", object! { "parts" => Json::Array(system) });
    }
    let (tools, functions) = tools(request, losses)?;
    if !tools.is_empty() {
        fields.put("tools", Json::Array(tools));
    }
    if functions {
        // A choice without functions is refused.
        fields.put_some("toolConfig", request.tool_choice.as_ref().map(tool_config));
    }
    let config = generation::config(request, format, model, resolution, losses)?;
    fields.put_some("generationConfig", config);
    Ok(())
}

fn meet_what_is_left_out(request: &Request<'_>, losses: &mut Losses) -> Result<(), Refused> {
    let features = [
        (request.choices.is_some_and(|choices| choices > 1), Feature::Choices),
        (request.parallel_tool_calls == Some(false), Feature::ParallelToolCalls),
        (!request.metadata.is_empty(), Feature::Metadata),
        (request.user.is_some(), Feature::User),
        (request.prompt_cache_key.is_some(), Feature::PromptCacheKey),
        (request.service_tier.is_some(), Feature::ServiceTier),
        (request.verbosity.is_some(), Feature::Verbosity),
        (request.sampling.logit_bias.is_some(), Feature::LogitBias),
        (request.messages.iter().any(|message| message.name.is_some()), Feature::MessageName),
    ];
    for (present, feature) in features {
        if present {
            losses.meet(feature)?;
        }
    }
    Ok(())
}

/// What asks for JSON where the API cannot be told.
fn sentence(format: &Format<'_>) -> String {
    match format {
        Format::Json => {
            "When you answer without calling a function, answer with one JSON object and nothing else."
                .to_owned()
        }
        Format::Schema { schema, .. } => format!(
            "When you answer without calling a function, answer with one JSON value that follows this JSON Schema, and \
             nothing else: {}",
            schema.to_text()
        ),
    }
}

/// The tools, and whether there are functions among them.
fn tools<'r>(request: &'r Request<'_>, losses: &mut Losses) -> Result<(Vec<Json<'r>>, bool), Refused> {
    let mut functions: Vec<Json<'r>> = Vec::new();
    let mut search = false;
    for tool in &request.tools {
        match tool {
            Tool::Function(function) => functions.push(declaration(function, losses)?),
            Tool::Custom { name, description, format } => {
                losses.meet(Feature::CustomTools)?;
                let description = described(description.as_deref(), format.as_deref());
                functions.push(object! {
                    "name" => name,
                    "description" => description,
                    "parametersJsonSchema" => free_text_schema(),
                });
            }
            Tool::WebSearch(_) => {
                losses.meet(Feature::WebSearch)?;
                search = true;
            }
        }
    }
    let mut tools = Vec::new();
    let any = !functions.is_empty();
    if any {
        tools.push(object! { "functionDeclarations" => Json::Array(functions) });
        // Search beside functions exists from the third generation on, and only where the provider's own tool blocks
        // travel back with every turn, which a translated conversation cannot do: it is left out.
    } else if search {
        tools.push(object! { "googleSearch" => Json::Object(Vec::new()) });
    }
    if search && any {
        losses.drop_feature(Feature::WebSearch);
    }
    Ok((tools, any))
}

fn declaration<'r>(function: &'r Function<'_>, losses: &mut Losses) -> Result<Json<'r>, Refused> {
    if function.strict == Some(true) {
        losses.meet(Feature::StrictTools)?;
    }
    if function.cache.is_some() {
        losses.meet(Feature::CacheMarks)?;
    }
    let mut declaration = Fields::new();
    declaration.put("name", &function.name);
    declaration.put_some("description", function.description.as_ref());
    declaration.put_some("parametersJsonSchema", function.parameters.as_deref().cloned());
    Ok(declaration.into())
}

fn free_text_schema() -> Json<'static> {
    object! {
        "type" => "object",
        "properties" => object! { "input" => object! { "type" => "string" } },
        "required" => vec!["input"],
    }
}

fn described<'r>(description: Option<&'r str>, format: Option<&Json<'_>>) -> Cow<'r, str> {
    let description = description.unwrap_or("Takes one text.");
    match format.filter(|format| format.get("type").and_then(Json::as_str) != Some("text")) {
        Some(format) => {
            Cow::Owned(format!("{description}\n\nThe input must follow this grammar: {}", format.to_text()))
        }
        None => Cow::Borrowed(description),
    }
}

fn tool_config<'r>(choice: &'r ToolChoice<'_>) -> Json<'r> {
    let (mode, names): (&str, Vec<&str>) = match choice {
        ToolChoice::Auto => ("AUTO", Vec::new()),
        ToolChoice::None => ("NONE", Vec::new()),
        ToolChoice::Required => ("ANY", Vec::new()),
        ToolChoice::Named(name) => ("ANY", vec![name]),
        // AUTO takes no names; VALIDATED is AUTO with them.
        ToolChoice::Allowed { names, required } => {
            (if *required { "ANY" } else { "VALIDATED" }, names.iter().map(AsRef::as_ref).collect())
        }
    };
    let mut config = Fields::new();
    config.put("mode", mode);
    if !names.is_empty() {
        config.put("allowedFunctionNames", names);
    }
    object! { "functionCallingConfig" => config }
}
