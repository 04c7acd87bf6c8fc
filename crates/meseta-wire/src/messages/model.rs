//! What a model of Anthropic's accepts, told from its id.
//!
//! The API refuses a request that says more than the model knows, and models differ by generation: before 4.6 thinking
//! is a budget of tokens, from 4.7 on the model decides (adaptive thinking) and nothing may be sampled. The API's own
//! list of capabilities (`GET /v1/models`) would need a call; ids are stable and are at hand.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Opus,
    Sonnet,
    Haiku,
    /// Fable, Mythos and whatever comes after them.
    Other,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinks {
    Never,
    /// `{type: enabled, budget_tokens}`.
    Budget,
    /// `{type: adaptive}`, or a budget.
    Either,
    /// `{type: adaptive}` only.
    Adaptive,
}

/// How a model is told not to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    Disabled,
    /// Sonnet 5.5 refuses `disabled` and names this instead.
    BetweenTools,
    /// It always thinks.
    Never,
}

/// The highest word of `output_config.effort` that a model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TopEffort {
    None,
    High,
    Max,
    ExtraHigh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Samples {
    Freely,
    /// Temperature or `top_p`, not both.
    ByOne,
    /// No sampling parameter at all.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub thinks: Thinks,
    pub off: Off,
    pub top_effort: TopEffort,
    pub samples: Samples,
    /// `output_config.format`, and strict tools.
    pub structured: bool,
    /// `tool_choice` may be `any` or `tool`.
    pub forced_choice: bool,
    /// The conversation may end with the beginning of the answer.
    pub prefill: bool,
}

impl Model {
    pub fn of(id: &str) -> Model {
        let Some((_, name)) = id.rsplit_once("claude-") else {
            // A server that only speaks the dialect, or a deployment's own name: what most of them take.
            return Model {
                thinks: Thinks::Budget,
                off: Off::Disabled,
                top_effort: TopEffort::None,
                samples: Samples::Freely,
                structured: true,
                forced_choice: true,
                prefill: true,
            };
        };
        let (family, version) = parse(name);
        let (top_effort, version) = match version {
            None => (TopEffort::None, (5, 0)),
            Some(version) => {
                let top = match (family, version) {
                    (_, (4, 7..) | (5.., _)) => TopEffort::ExtraHigh,
                    (_, (4, 6)) => TopEffort::Max,
                    (Family::Opus, (4, 5)) => TopEffort::High,
                    _ => TopEffort::None,
                };
                (top, version)
            }
        };
        Model {
            thinks: match version {
                (4, 7..) | (5.., _) => Thinks::Adaptive,
                (4, 6) => Thinks::Either,
                (4, _) | (3, 7..) => Thinks::Budget,
                _ => Thinks::Never,
            },
            off: match (family, version) {
                (Family::Other, _) => Off::Never,
                (Family::Opus, version) if version >= (5, 5) => Off::Never,
                (Family::Sonnet, version) if version >= (5, 5) => Off::BetweenTools,
                _ => Off::Disabled,
            },
            top_effort,
            samples: match version {
                (4, 7..) | (5.., _) => Samples::Never,
                (4, 1..) => Samples::ByOne,
                _ => Samples::Freely,
            },
            structured: version >= (4, 5) || (family == Family::Opus && version == (4, 1)),
            forced_choice: version < (5, 1) || family == Family::Haiku,
            prefill: version < (4, 6),
        }
    }
}

/// Family and version of `opus-4-5-20251101`, `3-7-sonnet-20250219`, `opus-4-1@20250805`, `opus-4-20250514-v1:0`,
/// `opus-4.7` …; no version where none is written.
fn parse(name: &str) -> (Family, Option<(u32, u32)>) {
    let mut family = Family::Other;
    let mut major = None;
    let mut minor = None;
    for word in name.split(['-', '.', '@', ':']) {
        match word {
            "opus" => family = Family::Opus,
            "sonnet" => family = Family::Sonnet,
            "haiku" => family = Family::Haiku,
            // A date ends the version; a number behind a family that a version preceded is none of ours.
            _ if word.len() > 2 => {
                if major.is_some() {
                    break;
                }
            }
            _ => match (word.parse::<u32>(), major, minor) {
                (Ok(number), None, _) => major = Some(number),
                (Ok(number), Some(_), None) => minor = Some(number),
                (Err(_), Some(_), _) => break,
                _ => {}
            },
        }
    }
    (family, major.map(|major| (major, minor.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_way_to_write_an_id() {
        for (name, expected) in [
            ("opus-4-5-20251101", (Family::Opus, Some((4, 5)))),
            ("opus-4-20250514", (Family::Opus, Some((4, 0)))),
            ("4-opus-20250514", (Family::Opus, Some((4, 0)))),
            ("opus-4-1@20250805", (Family::Opus, Some((4, 1)))),
            ("opus-4-1-20250805-v1:0", (Family::Opus, Some((4, 1)))),
            ("opus-4-20250514-v1:0", (Family::Opus, Some((4, 0)))),
            ("3-7-sonnet-latest", (Family::Sonnet, Some((3, 7)))),
            ("3-haiku-20240307", (Family::Haiku, Some((3, 0)))),
            ("sonnet-4.6", (Family::Sonnet, Some((4, 6)))),
            ("fable-5-1", (Family::Other, Some((5, 1)))),
            ("mythos-preview", (Family::Other, None)),
            ("", (Family::Other, None)),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }

    #[test]
    fn generations_differ() {
        let old = Model::of("anthropic.claude-3-5-sonnet-20240620-v1:0");
        assert_eq!((old.thinks, old.samples, old.structured), (Thinks::Never, Samples::Freely, false));
        let budget = Model::of("claude-haiku-4-5");
        assert_eq!(
            (budget.thinks, budget.top_effort, budget.prefill),
            (Thinks::Budget, TopEffort::None, true)
        );
        assert_eq!(Model::of("claude-opus-4-5").top_effort, TopEffort::High);
        let either = Model::of("claude-sonnet-4-6");
        assert_eq!(
            (either.thinks, either.top_effort, either.samples),
            (Thinks::Either, TopEffort::Max, Samples::ByOne)
        );
        let new = Model::of("claude-opus-4-8");
        assert_eq!((new.thinks, new.samples, new.off), (Thinks::Adaptive, Samples::Never, Off::Disabled));
        assert_eq!(Model::of("claude-sonnet-5-5").off, Off::BetweenTools);
        assert_eq!(Model::of("claude-opus-5-5").off, Off::Never);
        assert_eq!(Model::of("claude-fable-5").off, Off::Never);
        assert!(Model::of("claude-fable-5").forced_choice && !Model::of("claude-fable-5-1").forced_choice);
        assert!(Model::of("claude-haiku-5-5").forced_choice);
        assert_eq!(Model::of("kimi-k2").thinks, Thinks::Budget);
    }
}
