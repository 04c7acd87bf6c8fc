//! Several answers become one: by a template, or by a model that writes it.

use std::sync::Arc;

use crate::document::Merge;
use crate::error::Error;
use crate::handle::Outbound;
use crate::orchestrate::{Errand, own, pass_on, reply};
use crate::trip::Trip;

/// Who said what.
pub(super) type Answers = [(Arc<str>, String)];

pub(super) async fn merge(
    trip: &Trip,
    errand: &Errand,
    how: &Merge,
    answers: &Answers,
) -> Result<Outbound, Error> {
    match how {
        Merge::Template { text } => {
            let merged = answers.iter().map(|(agent, answer)| fill(text, agent, answer)).collect::<String>();
            let stream = errand.ask.envelope.stream;
            let response = reply::own(errand.dialect(), stream, errand.context(trip), merged.trim_end());
            Ok(own(response))
        }
        Merge::Model { model, prompt } => write(trip, errand, model, prompt, answers).await,
    }
}

/// A model writes the answer to the conversation from what the agents said.
pub(super) async fn write(
    trip: &Trip,
    errand: &Errand,
    model: &str,
    prompt: &str,
    answers: &Answers,
) -> Result<Outbound, Error> {
    let mut thread = errand.thread.clone();
    // The agents had the tools that they needed; a writer that calls one would end with half an answer.
    for key in ["tools", "tool_choice", "parallel_tool_calls"] {
        thread.remove(key);
    }
    for (agent, answer) in answers {
        thread.follows(agent, answer);
    }
    thread.asks(prompt.to_owned());
    Ok(pass_on(errand.to_model(trip, model, thread)?).await)
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
