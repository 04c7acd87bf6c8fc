//! Routing preferences that a request brings along: they take the place of the configuration's for it, and are not sent on.

use memchr::memmem;
use meseta_wire::json::Json;
use serde::Deserialize;

use crate::error::{Code, Error};
use crate::select::{Prefer, PreferenceDocument};
use crate::snapshot::Snapshot;
use crate::stages::choose::not_found;
use crate::stages::read::Ask;

const KEY: &str = "routing_preferences";
/// A request that brings more is a mistake, or worse.
const MOST: usize = 64;

/// As Plano's clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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
    if memmem::find(&ask.body, b"\"routing_preferences\"").is_none() {
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
    let written: Vec<Written> =
        serde_json::from_str(text).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if written.len() > MOST {
        return Err(wrong(&format!("has more than {MOST} entries")));
    }
    written
        .into_iter()
        .map(|Written { name, description, examples, models, selection_policy }| {
            if models.is_empty() {
                return Err(wrong(&format!("names no model for '{name}'")));
            }
            if let Some(missing) = models.iter().find(|model| snapshot.find(model).is_none()) {
                return Err(not_found(snapshot, missing).with_param(KEY));
            }
            let prefer = match selection_policy.unwrap_or_default().prefer.as_deref() {
                None | Some("" | "none") => Prefer::None,
                Some("cheapest") => Prefer::Cheapest,
                Some("fastest") => Prefer::Fastest,
                Some(_) => return Err(wrong("has a `prefer` that is not none, cheapest or fastest")),
            };
            Ok(PreferenceDocument { name, description, examples, models, prefer })
        })
        .collect()
}

fn wrong(what: &str) -> Error {
    Error::new(Code::RequestInvalidField, format!("`{KEY}` {what}.")).with_param(KEY)
}
