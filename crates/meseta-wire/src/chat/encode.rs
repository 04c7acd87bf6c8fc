//! Writing a request.

use super::{encode_messages, ids, thinking, tools};
use crate::conversation::{Format, Request, Sampling};
use crate::dialect::{Destination, MaxTokensField, Quirks};
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;

/// OpenAI refuses more.
const MOST_STOP_SEQUENCES: usize = 4;
/// OpenAI refuses longer names of schemas.
const LONGEST_NAME: usize = 64;

pub fn encode_request(
    request: &Request<'_>,
    destination: &Destination<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Refused> {
    let quirks = destination.quirks;
    let (format, asked) = format(request.format.as_ref(), quirks, losses);
    let messages = encode_messages::encode(request, asked, quirks, losses)?;
    let (tools, search) = tools::encode(request, quirks, losses)?;

    let mut document = Document { fields: Fields::new(), quirks, losses };
    document.put("model", destination.model).put("messages", messages);
    if !tools.is_empty() {
        // Without tools these are refused.
        let choice = request.tool_choice.as_ref().map(|choice| tools::encode_choice(choice, request));
        document.put("tools", tools).put_some("tool_choice", choice);
        document.put_some("parallel_tool_calls", request.parallel_tool_calls);
    }
    document.put_some("web_search_options", search).put_some("response_format", format);
    if let Some(thinking) = request.thinking
        && let Some((key, value)) = thinking::encode(thinking, quirks.reasoning, document.losses)?
    {
        document.put(key, value);
    }
    document.put_some("verbosity", request.verbosity.as_ref());
    let max_tokens = match quirks.max_tokens_field {
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
        MaxTokensField::MaxTokens => "max_tokens",
    };
    document.put_some(max_tokens, request.max_tokens);
    sampling(&request.sampling, &mut document)?;
    let mut stop: Vec<&str> =
        request.stop.iter().map(AsRef::as_ref).filter(|stop| !stop.is_empty()).collect();
    if stop.len() > MOST_STOP_SEQUENCES {
        document.losses.drop_feature(Feature::StopSequences);
        stop.truncate(MOST_STOP_SEQUENCES);
    }
    if !stop.is_empty() {
        document.put("stop", stop);
    }
    if request.choices.is_some_and(|choices| choices > 1) {
        document.losses.meet(Feature::Choices)?;
        document.put_some("n", request.choices);
    }
    if !request.metadata.is_empty() {
        document.losses.meet(Feature::Metadata)?;
    }
    document.put_some("user", request.user.as_deref().map(ids::user));
    document.put_some("prompt_cache_key", request.prompt_cache_key.as_ref());
    document.put_some("service_tier", request.service_tier.as_deref().map(tier));
    if request.stream {
        document.put("stream", true);
        // Ours, not the client's wish: nothing of the client's is lost where a server does not know it.
        if !document.dropped("stream_options") {
            document.put("stream_options", object! { "include_usage" => true });
        }
    }
    Ok(Json::from(document.fields).to_vec())
}

/// The request as it grows, without what the server refuses.
struct Document<'a, 'q, 'l> {
    fields: Fields<'a>,
    quirks: &'q Quirks,
    losses: &'l mut Losses,
}

impl<'a> Document<'a, '_, '_> {
    fn dropped(&self, key: &str) -> bool {
        self.quirks.drop.iter().any(|dropped| dropped == key)
    }

    fn put(&mut self, key: &'static str, value: impl Into<Json<'a>>) -> &mut Self {
        if self.dropped(key) {
            self.losses.unknown(key);
        } else {
            self.fields.put(key, value);
        }
        self
    }

    fn put_some(&mut self, key: &'static str, value: Option<impl Into<Json<'a>>>) -> &mut Self {
        if let Some(value) = value {
            self.put(key, value);
        }
        self
    }
}

fn sampling<'a>(sampling: &'a Sampling<'_>, document: &mut Document<'a, '_, '_>) -> Result<(), Refused> {
    if sampling.top_k.is_some() {
        document.losses.meet(Feature::TopK)?;
    }
    // The number of alternatives is refused without the wish for any.
    let logprobs = if sampling.top_logprobs.is_some() { Some(true) } else { sampling.logprobs };
    document
        .put_some("temperature", sampling.temperature.clone())
        .put_some("top_p", sampling.top_p.clone())
        .put_some("seed", sampling.seed.clone())
        .put_some("presence_penalty", sampling.presence_penalty.clone())
        .put_some("frequency_penalty", sampling.frequency_penalty.clone())
        .put_some("logprobs", logprobs)
        .put_some("top_logprobs", sampling.top_logprobs)
        .put_some("logit_bias", sampling.logit_bias.as_deref().cloned());
    Ok(())
}

/// Anthropic's word for not paying for speed is `standard_only`.
fn tier(tier: &str) -> &str {
    if tier == "standard_only" { "default" } else { tier }
}

/// The value of `response_format`, and the sentence that asks for it where the server knows no schemas.
fn format<'a>(
    format: Option<&'a Format<'_>>,
    quirks: &Quirks,
    losses: &mut Losses,
) -> (Option<Json<'a>>, Option<String>) {
    match format {
        None => (None, None),
        Some(Format::Json) => (Some(object! { "type" => "json_object" }), None),
        Some(Format::Schema { schema, .. }) if !quirks.json_schema => {
            losses.drop_feature(Feature::JsonSchema);
            let asked = format!(
                "Answer with one JSON object and nothing else. It must follow this JSON Schema:\n{}",
                schema.to_text()
            );
            (Some(object! { "type" => "json_object" }), Some(asked))
        }
        Some(Format::Schema { name, description, schema, strict }) => {
            let mut described = Fields::new();
            described.put("name", schema_name(name.as_deref().unwrap_or_default()));
            described.put_some("description", description.as_ref());
            described.put("schema", schema.as_ref().clone()).put_some("strict", *strict);
            (Some(object! { "type" => "json_schema", "json_schema" => described }), None)
        }
    }
}

fn schema_name(name: &str) -> String {
    let name: String = name
        .chars()
        .take(LONGEST_NAME)
        .map(|character| if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' })
        .collect();
    if name.is_empty() { "answer".to_owned() } else { name }
}
