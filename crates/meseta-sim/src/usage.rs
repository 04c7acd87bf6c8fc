//! What an answer cost, in the sums from which every dialect makes its own.

use serde::Deserialize;

use crate::answer::Answer;
use crate::directives::Directives;

/// Sums: `input` has what was cached and what was written to the cache in it, `output` has the reasoning in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// The numbers that a script says instead.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedUsage {
    input: Option<u32>,
    cached: Option<u32>,
    cache_write: Option<u32>,
    output: Option<u32>,
    reasoning: Option<u32>,
}

impl Usage {
    /// What is counted, over that what the directives order, over that what the script says. No part is more
    /// than what it is a part of.
    pub fn of(prompt: u64, answer: &Answer, choices: u64, directives: &Directives) -> Self {
        let scripted = answer.usage.unwrap_or_default();
        let input = scripted.input.map_or(prompt, u64::from);
        let cached = scripted.cached.map(u64::from).or(directives.cached).unwrap_or(0).min(input);
        let cache_write = scripted.cache_write.map(u64::from).or(directives.cache_write).unwrap_or(0);
        let thought = directives.reasoning.unwrap_or(0) + answer.thinking;
        let reasoning = scripted.reasoning.map_or(thought, u64::from);
        let output = scripted.output.map_or(answer.tokens * choices + reasoning, u64::from);
        Self {
            input,
            cached,
            cache_write: cache_write.min(input - cached),
            output,
            reasoning: reasoning.min(output),
        }
    }

    /// The input that was neither read from a cache nor written to one.
    pub fn fresh(self) -> u64 {
        self.input - self.cached - self.cache_write
    }
}
