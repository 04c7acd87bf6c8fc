//! Reads a request: `GenerateContentRequest`. Keys may be written in camelCase or `snake_case`, as Google's servers allow.

use std::borrow::Cow;

use super::schema;
use super::turns::{Turns, detail_of_resolution};
use crate::conversation::{
    Effort, Format, Function, Request, Sampling, Thinking, Tool, ToolChoice, WebSearch,
};
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

const KNOWN: [&str; 6] =
    ["contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "model"];

const KNOWN_GENERATION: [&str; 17] = [
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
    "responseLogprobs",
    "logprobs",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    "thinkingConfig",
    "mediaResolution",
];

pub fn decode_request<'j>(json: &'j Json<'_>, losses: &mut Losses) -> Result<Request<'j>, Malformed> {
    let document = Object::of(json)?;
    for (key, value) in document.iter() {
        if !value.is_null() && !KNOWN.iter().any(|known| is_name(key, known)) {
            losses.unknown(key);
        }
    }
    let mut request = Request { include_usage: true, ..Request::default() };
    let generation = key(&document, "generationConfig");
    let mut detail = None;
    document.inside(generation, |config| {
        let config = Object::of(config)?;
        detail = text(&config, "mediaResolution")?.and_then(detail_of_resolution);
        generation_config(&config, &mut request, losses)
    })?;
    let mut turns = Turns::new(detail, losses);
    let system = key(&document, "systemInstruction");
    if let Some(content) = document.object(system)? {
        turns.system(&content).map_err(|error| error.under(system))?;
    }
    if document.get("contents").is_none() {
        return Err(Malformed::at("contents", "is missing"));
    }
    document.each("contents", |content| turns.content(&Object::of(content)?))?;
    request.messages = turns.messages;
    document.each("tools", |tool| tools(&Object::of(tool)?, &mut request.tools))?;
    let config = key(&document, "toolConfig");
    request.tool_choice = document.inside(config, |config| tool_choice(&Object::of(config)?))?.flatten();
    Ok(request)
}

/// Whether a key is this name, in camelCase or `snake_case`.
fn is_name(key: &str, name: &str) -> bool {
    if key == name {
        return true;
    }
    let mut written = key.bytes();
    for byte in name.bytes() {
        if byte.is_ascii_uppercase() && written.next() != Some(b'_') {
            return false;
        }
        if written.next() != Some(byte.to_ascii_lowercase()) {
            return false;
        }
    }
    written.next().is_none()
}

/// The name as this object writes it.
pub(super) fn key<'j>(object: &Object<'j>, name: &'static str) -> &'j str {
    let named = object.iter().filter(|(key, value)| !value.is_null() && is_name(key, name));
    named.map(|(key, _)| key).last().unwrap_or(name)
}

pub(super) fn text<'j>(object: &Object<'j>, name: &'static str) -> Result<Option<&'j str>, Malformed> {
    object.text(key(object, name))
}

pub(super) fn need_text<'j>(object: &Object<'j>, name: &'static str) -> Result<&'j str, Malformed> {
    object.need_text(key(object, name))
}

fn tools<'j>(object: &Object<'j>, tools: &mut Vec<Tool<'j>>) -> Result<(), Malformed> {
    for (name, value) in object.iter() {
        if value.is_null() {
            continue;
        }
        if is_name(name, "functionDeclarations") {
            object.each(name, |declaration| {
                tools.push(Tool::Function(function(&Object::of(declaration)?)?));
                Ok(())
            })?;
        } else if is_name(name, "googleSearch") || is_name(name, "googleSearchRetrieval") {
            let search = Object::of(value).map_err(|error| error.under(name))?;
            let excluded = key(&search, "excludeDomains");
            let domains = search.texts(excluded).map_err(|error| error.under(name))?;
            tools.push(Tool::WebSearch(WebSearch {
                blocked_domains: domains.into_iter().map(Cow::Borrowed).collect(),
                ..WebSearch::default()
            }));
        } else {
            let note = Feature::NativeTools.note();
            return Err(Malformed::at(
                name,
                format!("is a tool that runs at one provider only and cannot be translated. {note}"),
            ));
        }
    }
    Ok(())
}

fn function<'j>(declaration: &Object<'j>) -> Result<Function<'j>, Malformed> {
    let object =
        |name| declaration.inside(key(declaration, name), |schema| Object::of(schema).map(|_| schema));
    let parameters = match object("parametersJsonSchema")? {
        Some(schema) => Some(Cow::Borrowed(schema)),
        None => object("parameters")?.map(|schema| Cow::Owned(schema::from_open_api(schema))),
    };
    Ok(Function {
        name: Cow::Borrowed(declaration.need_text("name")?),
        description: declaration.text("description")?.map(Cow::Borrowed),
        parameters,
        strict: None,
        cache: None,
    })
}

fn tool_choice<'j>(config: &Object<'j>) -> Result<Option<ToolChoice<'j>>, Malformed> {
    let calling = key(config, "functionCallingConfig");
    let choice = config.inside(calling, |calling| {
        let calling = Object::of(calling)?;
        let names = calling.texts(key(&calling, "allowedFunctionNames"))?;
        let mut names: Vec<Cow<'j, str>> = names.into_iter().map(Cow::Borrowed).collect();
        let mode = calling.text("mode")?.unwrap_or("AUTO");
        Ok(match mode.to_ascii_uppercase().as_str() {
            "NONE" => Some(ToolChoice::None),
            "ANY" => Some(match names.len() {
                0 => ToolChoice::Required,
                1 => ToolChoice::Named(names.remove(0)),
                _ => ToolChoice::Allowed { names, required: true },
            }),
            "AUTO" | "VALIDATED" if names.is_empty() => Some(ToolChoice::Auto),
            "AUTO" | "VALIDATED" => Some(ToolChoice::Allowed { names, required: false }),
            "MODE_UNSPECIFIED" => None,
            _ => return Err(Malformed::at("mode", "must be AUTO, ANY, NONE or VALIDATED")),
        })
    })?;
    Ok(choice.flatten())
}

fn generation_config<'j>(
    config: &Object<'j>,
    request: &mut Request<'j>,
    losses: &mut Losses,
) -> Result<(), Malformed> {
    for (name, value) in config.iter() {
        if !value.is_null() && !KNOWN_GENERATION.iter().any(|known| is_name(name, known)) {
            losses.unknown(&format!("generationConfig.{name}"));
        }
    }
    let number = |name: &'static str| config.number(key(config, name)).map(Option::<&_>::cloned);
    request.sampling = Sampling {
        temperature: number("temperature")?,
        top_p: number("topP")?,
        top_k: number("topK")?,
        seed: number("seed")?,
        presence_penalty: number("presencePenalty")?,
        frequency_penalty: number("frequencyPenalty")?,
        logprobs: config.flag(key(config, "responseLogprobs"))?,
        top_logprobs: config.count("logprobs")?,
        logit_bias: None,
    };
    request.choices = config.count(key(config, "candidateCount"))?;
    request.max_tokens = config.count(key(config, "maxOutputTokens"))?;
    let stop = config.texts(key(config, "stopSequences"))?;
    request.stop = stop.into_iter().map(Cow::Borrowed).collect();
    let modalities = key(config, "responseModalities");
    config.each(modalities, |modality| match modality.as_str() {
        Some(word) if word.eq_ignore_ascii_case("TEXT") => Ok(()),
        _ => Err(Malformed::here("must be \"TEXT\": other answers cannot be translated")),
    })?;
    request.format = format(config, losses)?;
    request.thinking = config
        .inside(key(config, "thinkingConfig"), |thinking| thinking_config(&Object::of(thinking)?))?
        .filter(|thinking| *thinking != Thinking::default());
    Ok(())
}

fn format<'j>(config: &Object<'j>, losses: &mut Losses) -> Result<Option<Format<'j>>, Malformed> {
    let object = |name| config.inside(key(config, name), |schema| Object::of(schema).map(|_| schema));
    let schema = match object("responseJsonSchema")? {
        Some(schema) => Some(Cow::Borrowed(schema)),
        None => object("responseSchema")?.map(|schema| Cow::Owned(schema::from_open_api(schema))),
    };
    let media_type = text(config, "responseMimeType")?;
    if media_type.is_some_and(|word| !matches!(word, "application/json" | "text/plain")) {
        losses.unknown("generationConfig.responseMimeType");
    }
    Ok(match schema {
        Some(schema) => Some(Format::Schema { name: None, description: None, schema, strict: None }),
        None => (media_type == Some("application/json")).then_some(Format::Json),
    })
}

fn thinking_config(config: &Object<'_>) -> Result<Thinking, Malformed> {
    let mut thinking =
        Thinking { shown: config.flag(key(config, "includeThoughts"))?, ..Thinking::default() };
    let budget = key(config, "thinkingBudget");
    match config.number(budget)?.map(serde_json::Number::as_i64) {
        None => {}
        Some(Some(0)) => thinking.enabled = Some(false),
        Some(Some(-1)) => thinking.enabled = Some(true),
        Some(Some(tokens)) if tokens > 0 => thinking.budget = Some(tokens.unsigned_abs()),
        Some(_) => return Err(Malformed::at(budget, "must be a whole number, or -1")),
    }
    let level = key(config, "thinkingLevel");
    thinking.effort = match config.text(level)?.map(str::to_ascii_uppercase).as_deref() {
        None | Some("THINKING_LEVEL_UNSPECIFIED") => None,
        Some("MINIMAL") => Some(Effort::Minimal),
        Some("LOW") => Some(Effort::Low),
        Some("MEDIUM") => Some(Effort::Medium),
        Some("HIGH") => Some(Effort::High),
        Some("XHIGH") => Some(Effort::Highest),
        Some(_) => return Err(Malformed::at(level, "must be MINIMAL, LOW, MEDIUM, HIGH or XHIGH")),
    };
    Ok(thinking)
}
