//! Routing preferences that a request brings along: they take the place of the configuration's for it, and are not sent on.

use meseta_wire::json::Json;
use serde::Deserialize;

use crate::error::{Code, Error};
use crate::select::{Prefer, PreferenceDocument};
use crate::snapshot::Snapshot;
use crate::stages::choose::not_found;
use crate::stages::read::Ask;

const KEY: &str = "routing_preferences";
/// What a file may say of a preference; see `routing_preferences` in the configuration's reference.
const ENTRIES: usize = 1_000;
const NAME: usize = 256;
const DESCRIPTION: usize = 16_384;
const EXAMPLES: usize = 1_000;
const EXAMPLE: usize = 4_096;
const MODELS: usize = 64;
/// Of all of them together, as JSON. A file is read once; this is read, fitted and shown to a model with every request.
const BYTES: usize = 65_536;

/// As Plano's clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a preference")]
struct Written {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    examples: Vec<String>,
    models: Vec<String>,
    #[serde(default)]
    selection_policy: Option<Policy>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    #[serde(default)]
    prefer: Option<String>,
}

/// Takes them out of the request.
pub(crate) fn take(ask: &mut Ask, snapshot: &Snapshot) -> Result<(), Error> {
    if !ask.envelope.preferences {
        return Ok(());
    }
    let text = std::str::from_utf8(&ask.body).unwrap_or_default();
    let Ok(Json::Object(mut fields)) = Json::parse(text) else { return Ok(()) };
    let Some(at) = fields.iter().position(|(key, _)| key == KEY) else { return Ok(()) };
    let (_, value) = fields.remove(at);
    if fields.iter().any(|(key, _)| key == KEY) {
        return Err(wrong("appears twice"));
    }
    let preferences = if value.is_null() { None } else { Some(read(&value.to_text(), snapshot)?) };
    let body = Json::Object(fields).to_vec();
    ask.replace(body).map_err(|refusal| Error::new(Code::RequestInvalidField, format!("{refusal}.")))?;
    ask.preferences = preferences;
    Ok(())
}

fn read(text: &str, snapshot: &Snapshot) -> Result<Vec<PreferenceDocument>, Error> {
    // First, so that nothing is made of what is too much.
    if text.len() > BYTES {
        return Err(wrong(&format!("has more than {BYTES} bytes")));
    }
    let written: Vec<Written> = serde_json::from_str(text).map_err(|error| {
        // The place is one in the text without the rest of the request, which nobody has.
        let said = error.to_string();
        let said: String = said.split(" at line ").next().unwrap_or_default().chars().take(200).collect();
        wrong(&format!("cannot be read: {said}"))
    })?;
    if written.len() > ENTRIES {
        return Err(wrong(&format!("has more than {ENTRIES} entries")));
    }
    written.into_iter().enumerate().map(|(number, written)| written.check(number, snapshot)).collect()
}

impl Written {
    /// As it would be checked in a file.
    fn check(self, number: usize, snapshot: &Snapshot) -> Result<PreferenceDocument, Error> {
        let Written { name, description, examples, models, selection_policy } = self;
        let longer = |text: &str, most: usize| text.chars().nth(most).is_some();
        let entry = |what: String| Err(wrong(&format!("has an entry, number {}, {what}", number + 1)));
        if name.is_empty() {
            return entry("with no `name`".to_owned());
        }
        if longer(&name, NAME) {
            return entry(format!("with a `name` of more than {NAME} characters"));
        }
        if longer(&description, DESCRIPTION) {
            return entry(format!("with a `description` of more than {DESCRIPTION} characters"));
        }
        if examples.len() > EXAMPLES {
            return entry(format!("with more than {EXAMPLES} examples"));
        }
        if examples.iter().any(String::is_empty) {
            return entry("with an empty one among its `examples`".to_owned());
        }
        if examples.iter().any(|example| longer(example, EXAMPLE)) {
            return entry(format!("with an example of more than {EXAMPLE} characters"));
        }
        if models.is_empty() {
            return entry("with no `models`".to_owned());
        }
        if models.len() > MODELS {
            return entry(format!("with more than {MODELS} models"));
        }
        if let Some(missing) = models.iter().find(|model| snapshot.find(model).is_none()) {
            return Err(not_found(snapshot, missing).with_param(KEY));
        }
        let prefer = match selection_policy.unwrap_or_default().prefer.as_deref() {
            None | Some("" | "none") => Prefer::None,
            Some("cheapest") => Prefer::Cheapest,
            Some("fastest") => Prefer::Fastest,
            Some(_) => return entry("with a `prefer` that is not none, cheapest or fastest".to_owned()),
        };
        Ok(PreferenceDocument { name, description, examples, models, prefer })
    }
}

fn wrong(what: &str) -> Error {
    Error::new(Code::RequestInvalidField, format!("`{KEY}` {what}.")).with_param(KEY)
}
