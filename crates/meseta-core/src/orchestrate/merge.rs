//! Several answers become one: by a template, or by a model that writes it.

use std::sync::Arc;
use std::time::Duration;

use meseta_wire::usage::Usage;

use crate::document::Merge;
use crate::error::Error;
use crate::handle::Outbound;
use crate::orchestrate::hop::Hop;
use crate::orchestrate::{Errand, own, reply};
use crate::trip::Trip;

/// Who said what.
pub(super) type Answers = Vec<(Arc<str>, String)>;

/// A model gets this long to begin, however late the agents were.
const TIME_TO_WRITE: Duration = Duration::from_secs(30);

/// What stands for a model's answer when it gives none.
pub(super) const ONE_AFTER_THE_OTHER: &str = "{answer}\n\n";

/// `used` is what the agents took, as they say.
pub(super) async fn merge(
    trip: &Trip,
    errand: &Errand,
    how: &Merge,
    answers: &Answers,
    used: Option<Usage>,
) -> Outbound {
    match how {
        Merge::Template { text } => by_template(trip, errand, text, answers, used),
        Merge::Model { model, prompt } => write(trip, errand, model, prompt, answers, used).await,
    }
}

pub(super) fn by_template(
    trip: &Trip,
    errand: &Errand,
    template: &str,
    answers: &Answers,
    used: Option<Usage>,
) -> Outbound {
    let merged = answers.iter().map(|(agent, answer)| fill(template, agent, answer)).collect::<String>();
    let stream = errand.ask.envelope.stream;
    own(reply::own(errand.dialect(), stream, errand.context(trip), merged.trim_end(), used))
}

/// A model writes the answer to the conversation from what the agents said. Where it does not, their answers stand one
/// after the other: they are worth more than an error.
pub(super) async fn write(
    trip: &Trip,
    errand: &Errand,
    model: &str,
    prompt: &str,
    answers: &Answers,
    used: Option<Usage>,
) -> Outbound {
    if let Ok(hop) = to_writer(trip, errand, model, prompt, answers) {
        let ended = hop.ended();
        // Whoever leaves the hop drops it, and so ends it.
        if let Ok(response) = tokio::time::timeout(TIME_TO_WRITE, hop.go()).await
            && response.status().is_success()
        {
            return Outbound::Inner(response, ended);
        }
    }
    by_template(trip, errand, ONE_AFTER_THE_OTHER, answers, used)
}

fn to_writer(
    trip: &Trip,
    errand: &Errand,
    model: &str,
    prompt: &str,
    answers: &Answers,
) -> Result<Hop, Error> {
    let mut thread = errand.thread.clone();
    // The agents had the tools that they needed; a writer that calls one would end with half an answer.
    for key in ["tools", "tool_choice", "parallel_tool_calls"] {
        thread.remove(key);
    }
    for (agent, answer) in answers {
        thread.follows(agent, answer);
    }
    thread.asks(prompt.to_owned());
    errand.to_model(trip, model, thread)
}

/// In one pass, so that an answer with `{agent}` in it stays as it is.
fn fill(template: &str, agent: &str, answer: &str) -> String {
    let mut filled = String::with_capacity(template.len() + answer.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let places = [("{agent}", agent), ("{answer}", answer)];
        if let Some((place, value)) = places.iter().find(|(place, _)| rest.starts_with(place)) {
            filled.push_str(value);
            rest = &rest[place.len()..];
        } else {
            filled.push('{');
            rest = &rest[1..];
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_each_place_once() {
        assert_eq!(fill("{agent}: {answer}\n", "a", "{agent} {x}"), "a: {agent} {x}\n");
        assert_eq!(fill("{{answer}} {", "a", "b"), "{b} {");
    }
}
