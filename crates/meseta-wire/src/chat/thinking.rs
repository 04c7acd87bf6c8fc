//! How hard to think: OpenAI's word, and the objects of other servers.

use crate::conversation::{Effort, Thinking};
use crate::dialect::ReasoningField;
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};

/// `reasoning_effort`, or OpenRouter's `reasoning`, or `thinking`.
pub(super) fn decode(request: &Object<'_>) -> Result<Option<Thinking>, Malformed> {
    let mut thinking = Thinking::default();
    effort(request, "reasoning_effort", &mut thinking)?;
    if let Some(reasoning) = request.object("reasoning")? {
        let mut read = || {
            effort(&reasoning, "effort", &mut thinking)?;
            thinking.budget = reasoning.count("max_tokens")?;
            thinking.enabled = reasoning.flag("enabled")?.or(thinking.enabled);
            thinking.shown = reasoning.flag("exclude")?.map(|exclude| !exclude);
            Ok(())
        };
        read().map_err(|error: Malformed| error.under("reasoning"))?;
    }
    if let Some(object) = request.object("thinking")? {
        let mut read = || {
            thinking.enabled = Some(match object.need_text("type")? {
                "enabled" | "adaptive" => true,
                "disabled" => false,
                _ => return Err(Malformed::at("type", "must be `enabled` or `disabled`")),
            });
            thinking.budget = object.count("budget_tokens")?.or(thinking.budget);
            Ok(())
        };
        read().map_err(|error| error.under("thinking"))?;
    }
    Ok((thinking != Thinking::default()).then_some(thinking))
}

fn effort(object: &Object<'_>, key: &str, thinking: &mut Thinking) -> Result<(), Malformed> {
    let effort = match object.text(key)? {
        None => return Ok(()),
        Some("none") => {
            thinking.enabled = Some(false);
            return Ok(());
        }
        Some("minimal") => Effort::Minimal,
        Some("low") => Effort::Low,
        Some("medium") => Effort::Medium,
        Some("high") => Effort::High,
        Some("xhigh" | "max") => Effort::Highest,
        Some(_) => {
            return Err(Malformed::at(key, "must be none, minimal, low, medium, high, xhigh or max"));
        }
    };
    thinking.effort = Some(effort);
    Ok(())
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Highest => "xhigh",
    }
}

/// The field that says it to this server, if it can be told.
pub(super) fn encode(
    thinking: Thinking,
    field: ReasoningField,
    losses: &mut Losses,
) -> Result<Option<(&'static str, Json<'static>)>, Refused> {
    let off = thinking.enabled == Some(false);
    let said = off || thinking.level().is_some();
    Ok(match field {
        ReasoningField::ReasoningEffort => {
            if !off && thinking.budget.is_some() {
                losses.meet(Feature::ThinkingBudget)?;
            }
            let word = if off { Some("none") } else { thinking.level().map(word) };
            word.map(|word| ("reasoning_effort", Json::from(word)))
        }
        ReasoningField::Openrouter => {
            let mut reasoning = Fields::new();
            if off {
                reasoning.put("enabled", false);
            } else if let Some(budget) = thinking.budget {
                // The server refuses an effort beside a number.
                reasoning.put("max_tokens", budget);
            } else if let Some(level) = thinking.level() {
                reasoning.put("effort", word(level));
            }
            if thinking.shown == Some(false) {
                reasoning.put("exclude", true);
            }
            (!reasoning.is_empty()).then(|| ("reasoning", reasoning.into()))
        }
        ReasoningField::Thinking => {
            if !off && thinking.budget.is_some() {
                losses.drop_feature(Feature::ThinkingBudget);
            } else if !off && thinking.effort.is_some() {
                losses.drop_feature(Feature::ThinkingEffort);
            }
            let kind = if off { "disabled" } else { "enabled" };
            said.then(|| ("thinking", object! { "type" => kind }))
        }
        ReasoningField::None => {
            if off {
                losses.drop_feature(Feature::ThinkingOff);
            } else if thinking.budget.is_some() {
                losses.drop_feature(Feature::ThinkingBudget);
            } else if said {
                losses.drop_feature(Feature::ThinkingEffort);
            }
            None
        }
    })
}
