//! `generationConfig`: how the answer is made.

use serde_json::Number;

use super::model::{Model, ThinkingForm};
use crate::conversation::{Effort, Format, Request, Thinking};
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};

/// Gemini takes no more.
const MOST_STOP_SEQUENCES: usize = 5;
const MOST_TOP_LOGPROBS: u64 = 20;
const HIGHEST_TEMPERATURE: f64 = 2.0;

/// How closely images are looked at; the whole request has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resolution {
    Low,
    High,
}

/// `format`: the form of the answer as far as the model is told here.
pub(super) fn config<'r>(
    request: &'r Request<'_>,
    format: Option<&'r Format<'_>>,
    model: Model,
    resolution: Option<Resolution>,
    losses: &mut Losses,
) -> Result<Option<Json<'r>>, Refused> {
    let sampling = &request.sampling;
    let mut config = Fields::new();
    if let Some(temperature) = &sampling.temperature {
        let in_range = temperature.as_f64().is_none_or(|value| value <= HIGHEST_TEMPERATURE);
        if !in_range {
            losses.drop_feature(Feature::TemperatureAboveOne);
        }
        config.put("temperature", if in_range { temperature.clone() } else { Number::from(2) });
    }
    config.put_some("topP", sampling.top_p.clone());
    config.put_some("topK", sampling.top_k.clone());
    config.put_some("maxOutputTokens", request.max_tokens.map(|tokens| tokens.min(i32::MAX as u64)));
    if !request.stop.is_empty() {
        let mut stop: Vec<&str> = request.stop.iter().map(AsRef::as_ref).collect();
        if stop.len() > MOST_STOP_SEQUENCES {
            stop.truncate(MOST_STOP_SEQUENCES);
            losses.drop_feature(Feature::StopSequences);
        }
        config.put("stopSequences", stop);
    }
    config.put_some("presencePenalty", sampling.presence_penalty.clone());
    config.put_some("frequencyPenalty", sampling.frequency_penalty.clone());
    config.put_some("seed", sampling.seed.as_ref().and_then(seed));
    if sampling.logprobs == Some(true) || sampling.top_logprobs.is_some_and(|top| top > 0) {
        config.put("responseLogprobs", true);
        config.put_some("logprobs", sampling.top_logprobs.map(|top| top.min(MOST_TOP_LOGPROBS)));
    }
    match format {
        None => {}
        Some(Format::Json) => {
            config.put("responseMimeType", "application/json");
        }
        Some(Format::Schema { schema, .. }) => {
            config.put("responseMimeType", "application/json");
            config.put("responseJsonSchema", Json::clone(schema));
        }
    }
    if let Some(thinking) = &request.thinking {
        config.put_some("thinkingConfig", thinking_config(thinking, model, request.max_tokens, losses)?);
    }
    config.put_some(
        "mediaResolution",
        resolution.map(|resolution| match resolution {
            Resolution::Low => "MEDIA_RESOLUTION_LOW",
            Resolution::High => "MEDIA_RESOLUTION_HIGH",
        }),
    );
    Ok((!config.is_empty()).then(|| config.into()))
}

/// Gemini's seeds have 32 bits; a longer one is cut the same way every time, which is all that a seed is for.
fn seed(number: &Number) -> Option<i64> {
    let seed = number.as_i64()?;
    Some(if i32::try_from(seed).is_ok() { seed } else { seed & i64::from(i32::MAX) })
}

fn thinking_config(
    thinking: &Thinking,
    model: Model,
    max_tokens: Option<u64>,
    losses: &mut Losses,
) -> Result<Option<Json<'static>>, Refused> {
    let mut off = thinking.enabled == Some(false);
    let mut config = Fields::new();
    match model.thinking() {
        ThinkingForm::Unsupported => {
            if !off {
                losses.drop_feature(Feature::ThinkingEffort);
            }
            return Ok(None);
        }
        ThinkingForm::Budget { least, most, off: can_be_off } => {
            if off {
                if !can_be_off {
                    losses.drop_feature(Feature::ThinkingOff);
                }
                config.put("thinkingBudget", if can_be_off { 0 } else { least });
            } else if let Some(tokens) = thinking.budget.or(thinking.effort.map(Effort::budget)) {
                if thinking.budget.is_none() {
                    losses.meet(Feature::ThinkingEffort)?;
                }
                let mut budget = tokens.clamp(least, most).min(room(thinking, max_tokens));
                if budget < least {
                    // Not even the least leaves room.
                    budget = if can_be_off { 0 } else { least };
                }
                if thinking.budget.is_some_and(|wanted| wanted != budget) {
                    losses.drop_feature(Feature::ThinkingBudget);
                }
                // Without thinking, the wish to see it is an error.
                off = budget == 0;
                config.put("thinkingBudget", budget);
            } else if thinking.enabled == Some(true) {
                // As much as the model sees fit.
                config.put("thinkingBudget", -1_i64);
            }
        }
        ThinkingForm::Level { minimal, medium } => {
            let least = if minimal { "MINIMAL" } else { "LOW" };
            let effort = thinking.effort.or(thinking.budget.map(Effort::of_budget));
            if off {
                losses.drop_feature(Feature::ThinkingOff);
                config.put("thinkingLevel", least);
            } else if let Some(effort) = effort {
                if thinking.effort.is_none() {
                    losses.drop_feature(Feature::ThinkingBudget);
                }
                let level = match effort {
                    Effort::Minimal => least,
                    Effort::Low => "LOW",
                    Effort::Medium if medium => "MEDIUM",
                    Effort::Medium | Effort::High | Effort::Highest => "HIGH",
                };
                if matches!(
                    (effort, level),
                    (Effort::Highest, _) | (Effort::Minimal, "LOW") | (Effort::Medium, "HIGH")
                ) {
                    losses.meet(Feature::ThinkingEffort)?;
                }
                config.put("thinkingLevel", level);
            }
        }
    }
    if !off {
        // Who names a budget speaks Anthropic's dialect, which shows the thinking unless told otherwise.
        config.put_some("includeThoughts", thinking.shown.or(thinking.budget.map(|_| true)));
    }
    Ok((!config.is_empty()).then(|| config.into()))
}

/// How much of the limit the thinking may use: the limit holds thinking and answer together. Who named a budget below it
/// has done that sum; otherwise half of it is for the answer.
fn room(thinking: &Thinking, max_tokens: Option<u64>) -> u64 {
    match (max_tokens, thinking.budget) {
        (None, _) => u64::MAX,
        (Some(limit), Some(budget)) if budget < limit => limit,
        (Some(limit), _) => limit / 2,
    }
}
