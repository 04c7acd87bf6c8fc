//! How a model is told to think, or not to: the client's wish as far as the model and the rest of the request allow.

use super::model::{Model, Off, Thinks, TopEffort};
use crate::conversation::{Effort, Request, Thinking, ToolChoice};
use crate::dialect::{Destination, Dialect};
use crate::feature::{Feature, Losses};
use crate::json::{Fields, Json};

/// The API takes no smaller budget.
const LEAST_BUDGET: u64 = 1_024;
/// What is left for the answer where we set the limit ourselves.
const ROOM_FOR_ANSWER: u64 = 4_096;

pub(super) struct Plan {
    pub thinking: Option<Json<'static>>,
    pub effort: Option<&'static str>,
    /// The model is told to think.
    pub on: bool,
    pub max_tokens: u64,
}

/// `thought_first` says whether the last turn of the assistant begins with a thought that Anthropic signed, or calls no
/// tool: otherwise a model that is given a budget refuses to go on thinking.
pub(super) fn plan(
    request: &Request<'_>,
    destination: &Destination<'_>,
    model: Model,
    thought_first: bool,
    losses: &mut Losses,
) -> Plan {
    let mut plan = Plan {
        thinking: None,
        effort: None,
        on: false,
        max_tokens: request.max_tokens.unwrap_or(destination.max_output_tokens),
    };
    let Some(wish) = request.thinking else { return plan };
    if wish.enabled == Some(false) {
        turn_off(&wish, model, &mut plan, losses);
        return plan;
    }
    let effort =
        if wish.budget.is_some() && model.thinks == Thinks::Adaptive { wish.level() } else { wish.effort };
    plan.effort = effort.and_then(|effort| word(effort, model.top_effort));
    let unsaid = wish.effort.is_some() && plan.effort.is_none();
    // To Anthropic an effort is about the whole answer; only elsewhere it asks for thinking.
    let only_effort = wish.enabled.is_none() && wish.budget.is_none();
    if only_effort && (losses.client() == Dialect::AnthropicMessages || wish.effort.is_none()) {
        if unsaid {
            losses.drop_feature(Feature::ThinkingEffort);
        }
        return plan;
    }
    match model.thinks {
        Thinks::Never => losses.drop_feature(wanted(&wish)),
        Thinks::Adaptive => {
            if wish.budget.is_some() {
                losses.drop_feature(Feature::ThinkingBudget);
            }
            if unsaid {
                losses.drop_feature(Feature::ThinkingEffort);
            }
            turn_on(&mut plan, "adaptive", None, wish.shown);
        }
        Thinks::Either if wish.budget.is_none() => turn_on(&mut plan, "adaptive", None, wish.shown),
        Thinks::Either | Thinks::Budget => {
            give_budget(request, &wish, thought_first, &mut plan, losses);
        }
    }
    plan
}

fn give_budget(
    request: &Request<'_>,
    wish: &Thinking,
    thought_first: bool,
    plan: &mut Plan,
    losses: &mut Losses,
) {
    let Some(wanted_budget) = wish.tokens() else { return };
    if !thought_first {
        losses.drop_feature(Feature::ForeignThoughts);
        return;
    }
    if is_forced(request.tool_choice.as_ref()) {
        losses.drop_feature(wanted(wish));
        return;
    }
    let mut budget = wanted_budget.max(LEAST_BUDGET);
    match request.max_tokens {
        None => plan.max_tokens = plan.max_tokens.max(budget.saturating_add(ROOM_FOR_ANSWER)),
        Some(limit) if limit <= LEAST_BUDGET => {
            losses.drop_feature(Feature::ThinkingBudget);
            return;
        }
        Some(limit) if limit <= budget => {
            // Half of the limit is for the answer, as long as the least budget leaves that much.
            budget = (limit / 2).max(LEAST_BUDGET);
            if wish.budget.is_some() {
                losses.drop_feature(Feature::ThinkingBudget);
            }
        }
        Some(_) => {}
    }
    turn_on(plan, "enabled", Some(budget), wish.shown);
}

fn turn_on(plan: &mut Plan, kind: &'static str, budget: Option<u64>, shown: Option<bool>) {
    let mut fields = Fields::new();
    fields.put("type", kind).put_some("budget_tokens", budget);
    fields.put_some("display", shown.map(|shown| if shown { "summarized" } else { "omitted" }));
    plan.thinking = Some(fields.into());
    plan.on = true;
}

fn turn_off(wish: &Thinking, model: Model, plan: &mut Plan, losses: &mut Losses) {
    let kind = match model.off {
        _ if model.thinks == Thinks::Never => None,
        Off::Disabled => Some("disabled"),
        Off::BetweenTools => Some("between_tools"),
        Off::Never => {
            losses.drop_feature(Feature::ThinkingOff);
            None
        }
    };
    // Without thinking the newest models take no effort above high. One that always thinks is asked for little of it.
    let effort = match model.off {
        Off::Never => Some(wish.effort.unwrap_or(Effort::Low)),
        _ => wish.effort.map(|effort| effort.min(Effort::High)),
    };
    plan.effort = effort.and_then(|effort| word(effort, model.top_effort));
    if let Some(kind) = kind {
        let mut fields = Fields::new();
        fields.put("type", kind);
        plan.thinking = Some(fields.into());
    }
}

fn wanted(wish: &Thinking) -> Feature {
    if wish.budget.is_some() { Feature::ThinkingBudget } else { Feature::ThinkingEffort }
}

pub(super) fn is_forced(choice: Option<&ToolChoice<'_>>) -> bool {
    matches!(
        choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
    )
}

fn word(effort: Effort, top: TopEffort) -> Option<&'static str> {
    Some(match (effort, top) {
        (_, TopEffort::None) => return None,
        (Effort::Minimal | Effort::Low, _) => "low",
        (Effort::Medium, _) => "medium",
        (Effort::High, _) | (Effort::Highest, TopEffort::High) => "high",
        (Effort::Highest, TopEffort::Max) => "max",
        (Effort::Highest, TopEffort::ExtraHigh) => "xhigh",
    })
}
