//! Reading a request.

use std::borrow::Cow;

use super::{decode_messages, thinking, tools};
use crate::conversation::{Format, Request, Sampling};
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// Every field that is read here or, as `model`, by those who call. Others are named as losses.
const KNOWN: &[&str] = &[
    "model",
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "web_search_options",
    "response_format",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "verbosity",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "stop",
    "n",
    "stream",
    "stream_options",
    "modalities",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
    "store",
];

pub fn decode_request<'j>(json: &'j Json<'_>, losses: &mut Losses) -> Result<Request<'j>, Malformed> {
    let request = Object::of(json)?;
    if request.texts("modalities")?.contains(&"audio") {
        let note = Feature::AudioOutput.note().trim_end_matches('.');
        return Err(Malformed::at(
            "modalities",
            format!("asks for a spoken answer, which cannot be translated: {note}"),
        ));
    }
    let messages = decode_messages::decode(&request, losses)?;
    let tools = tools::decode(&request, losses)?;
    let options = request.object("stream_options")?;
    let include_usage = options.map(|options| options.flag("include_usage")).transpose();
    let include_usage = include_usage.map_err(|error| error.under("stream_options"))?.flatten();
    let decoded = Request {
        messages,
        tools,
        tool_choice: tools::decode_choice(&request)?,
        parallel_tool_calls: request.flag("parallel_tool_calls")?,
        format: request.inside("response_format", format)?.flatten(),
        thinking: thinking::decode(&request)?,
        sampling: sampling(&request)?,
        max_tokens: match request.count("max_completion_tokens")? {
            Some(tokens) => Some(tokens),
            None => request.count("max_tokens")?,
        },
        stop: request.texts("stop")?.into_iter().map(Cow::Borrowed).collect(),
        stream: request.flag("stream")?.unwrap_or(false),
        include_usage: include_usage.unwrap_or(false),
        choices: match request.count("n")? {
            Some(0) => return Err(Malformed::at("n", "must be at least 1")),
            count => count.filter(|count| *count > 1),
        },
        metadata: metadata(&request)?,
        user: match (request.text("user")?, request.text("safety_identifier")?) {
            (Some(user), other) => {
                if other.is_some_and(|other| other != user) {
                    losses.unknown("safety_identifier");
                }
                Some(user.into())
            }
            (None, identifier) => identifier.map(Cow::Borrowed),
        },
        prompt_cache_key: request.text("prompt_cache_key")?.map(Cow::Borrowed),
        service_tier: request.text("service_tier")?.map(Cow::Borrowed),
        verbosity: request.text("verbosity")?.map(Cow::Borrowed),
        store: match request.flag("store")? {
            // Keeps the answer for the provider's evaluations, not to be continued.
            Some(true) => {
                losses.unknown("store");
                None
            }
            store => store,
        },
        previous_response_id: None,
    };
    for (key, _) in request.others(KNOWN) {
        losses.unknown(key);
    }
    Ok(decoded)
}

fn sampling<'j>(request: &Object<'j>) -> Result<Sampling<'j>, Malformed> {
    let bias = request.object("logit_bias")?.and(request.get("logit_bias"));
    Ok(Sampling {
        temperature: request.number("temperature")?.cloned(),
        top_p: request.number("top_p")?.cloned(),
        top_k: request.number("top_k")?.cloned(),
        seed: request.number("seed")?.cloned(),
        presence_penalty: request.number("presence_penalty")?.cloned(),
        frequency_penalty: request.number("frequency_penalty")?.cloned(),
        logprobs: request.flag("logprobs")?,
        top_logprobs: request.count("top_logprobs")?,
        logit_bias: bias.map(Cow::Borrowed),
    })
}

fn format<'j>(json: &'j Json<'j>) -> Result<Option<Format<'j>>, Malformed> {
    let format = Object::of(json)?;
    match format.need_text("type")? {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::Json)),
        "json_schema" => {
            let described = format.need_object("json_schema")?;
            let read = || -> Result<Format<'j>, Malformed> {
                described.object("schema")?;
                let name = described.need_text("name")?;
                Ok(match described.get("schema") {
                    Some(schema) => Format::Schema {
                        name: Some(name.into()),
                        description: described.text("description")?.map(Cow::Borrowed),
                        schema: Cow::Borrowed(schema),
                        strict: described.flag("strict")?,
                    },
                    None => Format::Json,
                })
            };
            read().map(Some).map_err(|error| error.under("json_schema"))
        }
        _ => Err(Malformed::at("type", "must be `text`, `json_object` or `json_schema`")),
    }
}

type Note<'j> = (Cow<'j, str>, Cow<'j, str>);

fn metadata<'j>(request: &Object<'j>) -> Result<Vec<Note<'j>>, Malformed> {
    let Some(metadata) = request.object("metadata")? else { return Ok(Vec::new()) };
    let pair = |(key, value): (&'j str, &'j Json<'j>)| match value {
        Json::String(value) => Ok((Cow::Borrowed(key), Cow::Borrowed(value.as_ref()))),
        other => Err(Malformed::at(key, format!("must be a string, not {}", other.kind())).under("metadata")),
    };
    metadata.others(&[]).map(pair).collect()
}
