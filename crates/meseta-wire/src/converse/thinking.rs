//! How a model is told to think, which every family wants to hear in other words.

use super::model::{Claude, Model};
use crate::conversation::{Effort, Request, Thinking, ToolChoice};
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;

/// The least budget that Claude takes.
const LEAST_BUDGET: u64 = 1_024;

/// What is to be said about thinking, and what follows from it for the rest of the request.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Claude's `thinking`.
    pub claude: Option<Json<'a>>,
    /// Nova's `reasoningConfig`.
    pub nova: Option<Json<'a>>,
    /// OpenAI's `reasoning_effort`.
    pub openai: Option<&'static str>,
    /// `outputConfig.effort`.
    pub effort: Option<&'static str>,
    /// Claude thinks a set number of tokens and takes no temperature, no top k and no forced call beside it.
    pub budgeted: bool,
    /// Nova at its highest effort takes no limits and no sampling beside it.
    pub unlimited: bool,
}

/// `continues` says that the model is to go on after calls that it made without a thought that can be shown to it.
pub fn plan<'a>(
    request: &Request<'_>,
    model: Model<'_>,
    continues: bool,
    losses: &mut Losses,
) -> Result<Plan<'a>, Refused> {
    let Some(thinking) = request.thinking else { return Ok(Plan::default()) };
    match model {
        Model::Claude(claude) if claude.thinks_adaptively() => adaptive(thinking, claude, losses),
        Model::Claude(claude) if claude.thinks() => budgeted(request, thinking, continues, losses),
        Model::Nova { thinks: true } => nova(thinking, losses),
        Model::GptOss => gpt_oss(thinking, losses),
        _ => {
            // A model that is told nothing does not think, or cannot do otherwise.
            if thinking.enabled != Some(false) {
                losses.drop_feature(asked(thinking));
            }
            Ok(Plan::default())
        }
    }
}

/// By what the client asked for thinking.
fn asked(thinking: Thinking) -> Feature {
    if thinking.budget.is_some() { Feature::ThinkingBudget } else { Feature::ThinkingEffort }
}

fn adaptive<'a>(thinking: Thinking, claude: Claude<'_>, losses: &mut Losses) -> Result<Plan<'a>, Refused> {
    if thinking.enabled == Some(false) {
        return Ok(off(claude, losses));
    }
    if thinking.budget.is_some() {
        losses.meet(Feature::ThinkingBudget)?;
    }
    let effort = thinking.effort.or(thinking.budget.map(Effort::of_budget)).map(|effort| match effort {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Highest if claude.has_extra_high() => "xhigh",
        Effort::Highest => "max",
    });
    let mut fields = Fields::new();
    fields.put("type", "adaptive");
    if claude.hides_thoughts() {
        fields.put_some("display", thinking.shown.map(|shown| if shown { "summarized" } else { "omitted" }));
    }
    Ok(Plan { claude: Some(fields.into()), effort, ..Plan::default() })
}

fn off<'a>(claude: Claude<'_>, losses: &mut Losses) -> Plan<'a> {
    let word = if claude.thinks_always() {
        losses.drop_feature(Feature::ThinkingOff);
        return Plan {
            claude: Some(object! { "type" => "adaptive" }),
            effort: Some("low"),
            ..Plan::default()
        };
    } else if claude.thinks_between_tools() {
        "between_tools"
    } else if claude.thinks_unasked() {
        "disabled"
    } else {
        return Plan::default();
    };
    Plan { claude: Some(object! { "type" => word }), ..Plan::default() }
}

fn budgeted<'a>(
    request: &Request<'_>,
    thinking: Thinking,
    continues: bool,
    losses: &mut Losses,
) -> Result<Plan<'a>, Refused> {
    let Some(tokens) = thinking.tokens() else { return Ok(Plan::default()) };
    if thinking.budget.is_none() {
        losses.meet(Feature::ThinkingEffort)?;
    }
    // The limit holds thinking and answer together; an effort must leave half of it to the answer, and whoever named a
    // budget has done that sum.
    let room = match (request.max_tokens, thinking.budget) {
        (None, _) => u64::MAX,
        (Some(most), Some(_)) => most.saturating_sub(1),
        (Some(most), None) => most / 2,
    };
    let budget = tokens.max(LEAST_BUDGET).min(room);
    let forced = match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Named(_)) => true,
        Some(ToolChoice::Allowed { required, .. }) => *required,
        _ => false,
    };
    if budget < LEAST_BUDGET || forced || continues {
        losses.drop_feature(asked(thinking));
        return Ok(Plan::default());
    }
    Ok(Plan {
        claude: Some(object! { "type" => "enabled", "budget_tokens" => budget }),
        budgeted: true,
        ..Plan::default()
    })
}

fn nova<'a>(thinking: Thinking, losses: &mut Losses) -> Result<Plan<'a>, Refused> {
    let Some(level) = thinking.level() else {
        return Ok(Plan { nova: Some(object! { "type" => "disabled" }), ..Plan::default() });
    };
    let word = word(level, thinking, losses)?;
    Ok(Plan {
        nova: Some(object! { "type" => "enabled", "maxReasoningEffort" => word }),
        unlimited: word == "high",
        ..Plan::default()
    })
}

/// OpenAI's open models cannot be told not to think.
fn gpt_oss<'a>(thinking: Thinking, losses: &mut Losses) -> Result<Plan<'a>, Refused> {
    let word = if let Some(level) = thinking.level() {
        word(level, thinking, losses)?
    } else {
        losses.drop_feature(Feature::ThinkingOff);
        "low"
    };
    Ok(Plan { openai: Some(word), ..Plan::default() })
}

/// One of three words.
fn word(level: Effort, thinking: Thinking, losses: &mut Losses) -> Result<&'static str, Refused> {
    if thinking.budget.is_some() && thinking.effort.is_none() {
        losses.meet(Feature::ThinkingBudget)?;
    }
    Ok(match level {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::Highest => "high",
    })
}
