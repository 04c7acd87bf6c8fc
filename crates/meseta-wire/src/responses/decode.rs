//! A request of a client, read.

use std::borrow::Cow;

use super::{input, tool};
use crate::conversation::{Effort, Format, Request, Sampling, Thinking};
use crate::feature::Losses;
use crate::json::Json;
use crate::shape::{Malformed, Object};

const KNOWN: &[&str] = &[
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    // Read with the tools.
    "max_tool_calls",
    "text",
    "reasoning",
    "include",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "stream",
    // Only says whether deltas are padded.
    "stream_options",
    "store",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "user",
    "service_tier",
    "metadata",
    "truncation",
    "background",
    "conversation",
    "prompt",
];

pub fn decode_request<'j>(json: &'j Json<'_>, losses: &mut Losses) -> Result<Request<'j>, Malformed> {
    let request = Object::of(json)?;
    refuse_what_only_the_provider_holds(request)?;
    for (key, _) in request.others(KNOWN) {
        losses.unknown(key);
    }
    if request.text("truncation")?.is_some_and(|truncation| truncation != "disabled") {
        losses.unknown("truncation");
    }
    let mut text = Text::default();
    if let Some(object) = request.object("text")? {
        text = Text::read(object, losses).map_err(|error| error.under("text"))?;
    }
    let thinking = match request.object("reasoning")? {
        Some(reasoning) => thinking(reasoning, losses).map_err(|error| error.under("reasoning"))?,
        None => None,
    };
    let owned = |value: Option<&'j str>| value.map(Cow::Borrowed);
    let user = match request.text("safety_identifier")? {
        Some(identifier) => Some(identifier),
        None => request.text("user")?,
    };
    Ok(Request {
        messages: input::messages(request, losses)?,
        tools: tool::tools(request, losses)?,
        tool_choice: request.inside("tool_choice", tool::choice)?,
        parallel_tool_calls: request.flag("parallel_tool_calls")?,
        format: text.format,
        thinking,
        sampling: sampling(request, losses)?,
        max_tokens: request.count("max_output_tokens")?,
        stop: Vec::new(),
        stream: request.flag("stream")?.unwrap_or(false),
        include_usage: true,
        choices: None,
        metadata: metadata(request)?,
        user: owned(user),
        prompt_cache_key: owned(request.text("prompt_cache_key")?),
        service_tier: owned(request.text("service_tier")?),
        verbosity: owned(text.verbosity),
        store: request.flag("store")?,
        previous_response_id: owned(request.text("previous_response_id")?),
    })
}

fn refuse_what_only_the_provider_holds(request: Object<'_>) -> Result<(), Malformed> {
    if request.flag("background")? == Some(true) {
        return Err(Malformed::at(
            "background",
            "cannot be translated for this target: only OpenAI answers in the background. Leave it out",
        ));
    }
    for (key, held, instead) in [
        ("conversation", "conversations", "Send its items as `input`"),
        ("prompt", "stored prompts", "Send its text as `instructions`"),
    ] {
        if request.get(key).is_some() {
            return Err(Malformed::at(
                key,
                format!("cannot be translated for this target: only OpenAI holds {held}. {instead}"),
            ));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Text<'j> {
    format: Option<Format<'j>>,
    verbosity: Option<&'j str>,
}

impl<'j> Text<'j> {
    fn read(text: Object<'j>, losses: &mut Losses) -> Result<Text<'j>, Malformed> {
        for (key, _) in text.others(&["format", "verbosity"]) {
            losses.unknown(&format!("text.{key}"));
        }
        let verbosity = text.text("verbosity")?;
        if verbosity.is_some_and(|word| !["low", "medium", "high"].contains(&word)) {
            return Err(Malformed::at("verbosity", "must be one of low, medium and high"));
        }
        let format = text.inside("format", |format| read_format(Object::of(format)?))?.flatten();
        Ok(Text { format, verbosity })
    }
}

fn read_format(format: Object<'_>) -> Result<Option<Format<'_>>, Malformed> {
    match format.need_text("type")? {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::Json)),
        "json_schema" => {
            let schema = format.inside("schema", |schema| Object::of(schema).map(|_| schema))?;
            Ok(Some(Format::Schema {
                name: Some(Cow::Borrowed(format.need_text("name")?)),
                description: format.text("description")?.map(Cow::Borrowed),
                schema: Cow::Borrowed(schema.ok_or_else(|| Malformed::at("schema", "is missing"))?),
                strict: format.flag("strict")?,
            }))
        }
        _ => Err(Malformed::at("type", "must be one of text, json_object and json_schema")),
    }
}

fn thinking(reasoning: Object<'_>, losses: &mut Losses) -> Result<Option<Thinking>, Malformed> {
    for (key, _) in reasoning.others(&["effort", "summary", "generate_summary"]) {
        losses.unknown(&format!("reasoning.{key}"));
    }
    let mut thinking = Thinking::default();
    match reasoning.text("effort")? {
        None => {}
        Some("none") => thinking.enabled = Some(false),
        Some("minimal") => thinking.effort = Some(Effort::Minimal),
        Some("low") => thinking.effort = Some(Effort::Low),
        Some("medium") => thinking.effort = Some(Effort::Medium),
        Some("high") => thinking.effort = Some(Effort::High),
        Some("xhigh" | "max") => thinking.effort = Some(Effort::Highest),
        Some(_) => {
            return Err(Malformed::at(
                "effort",
                "must be one of none, minimal, low, medium, high, xhigh and max",
            ));
        }
    }
    for key in ["summary", "generate_summary"] {
        match reasoning.text(key)? {
            None => {}
            Some("auto" | "concise" | "detailed") => thinking.shown = Some(true),
            Some(_) => return Err(Malformed::at(key, "must be one of auto, concise and detailed")),
        }
    }
    Ok((thinking != Thinking::default()).then_some(thinking))
}

fn sampling<'j>(request: Object<'j>, losses: &mut Losses) -> Result<Sampling<'j>, Malformed> {
    let top_logprobs = request.count("top_logprobs")?.filter(|count| *count > 0);
    let mut logprobs = top_logprobs.is_some();
    request.each("include", |item| {
        match item.as_str() {
            Some("message.output_text.logprobs") => logprobs = true,
            // Every translated answer has it.
            Some("reasoning.encrypted_content") => {}
            Some(_) => losses.unknown("include"),
            None => return Err(Malformed::here(format!("must be a string, not {}", item.kind()))),
        }
        Ok(())
    })?;
    Ok(Sampling {
        temperature: request.number("temperature")?.cloned(),
        top_p: request.number("top_p")?.cloned(),
        logprobs: logprobs.then_some(true),
        top_logprobs,
        ..Sampling::default()
    })
}

type Notes<'j> = Vec<(Cow<'j, str>, Cow<'j, str>)>;

fn metadata(request: Object<'_>) -> Result<Notes<'_>, Malformed> {
    let Some(metadata) = request.object("metadata")? else { return Ok(Vec::new()) };
    metadata
        .others(&[])
        .map(|(key, value)| match value.as_str() {
            Some(text) => Ok((Cow::Borrowed(key), Cow::Borrowed(text))),
            None => {
                Err(Malformed::at(key, format!("must be a string, not {}", value.kind())).under("metadata"))
            }
        })
        .collect()
}
