//! What the plane answers by itself: which models there are, and whether it is well.

use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::snapshot::{CatalogEntry, Named, Snapshot};
use crate::stages::choose;
use crate::trip::Trip;

/// OpenAI's model object. `created` is part of the shape; the time of a configuration says nothing, so it is 0.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

impl<'a> From<&'a CatalogEntry> for Model<'a> {
    fn from(entry: &'a CatalogEntry) -> Model<'a> {
        Model { id: &entry.id, object: "model", created: 0, owned_by: &entry.owned_by }
    }
}

/// Anthropic's, for its clients: they say which they are by the header that each of them must send.
#[derive(Serialize)]
struct AnthropicModel<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: &'static str,
}

impl<'a> From<&'a CatalogEntry> for AnthropicModel<'a> {
    fn from(entry: &'a CatalogEntry) -> AnthropicModel<'a> {
        AnthropicModel {
            r#type: "model",
            id: &entry.id,
            display_name: &entry.id,
            created_at: "1970-01-01T00:00:00Z",
        }
    }
}

fn is_anthropic(headers: &HeaderMap) -> bool {
    headers.contains_key("anthropic-version")
}

pub(crate) fn list(catalog: &[CatalogEntry], headers: &HeaderMap) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Model<'a>>,
    }
    #[derive(Serialize)]
    struct Page<'a> {
        data: Vec<AnthropicModel<'a>>,
        has_more: bool,
        first_id: Option<&'a str>,
        last_id: Option<&'a str>,
    }
    if is_anthropic(headers) {
        return json(&Page {
            data: catalog.iter().map(AnthropicModel::from).collect(),
            has_more: false,
            first_id: catalog.first().map(|entry| entry.id.as_str()),
            last_id: catalog.last().map(|entry| entry.id.as_str()),
        });
    }
    json(&List { object: "list", data: catalog.iter().map(Model::from).collect() })
}

/// One model by any name that a request could use, a wildcard's included.
pub(crate) fn one(snapshot: &Snapshot, headers: &HeaderMap, id: &str) -> Result<Vec<u8>, Error> {
    let listed = snapshot.catalog.iter().find(|entry| entry.id == id).cloned();
    let entry = if let Some(entry) = listed {
        entry
    } else {
        let owned_by = match snapshot.find(id).ok_or_else(|| choose::not_found(snapshot, id))? {
            Named::Pool(_) => "meseta".to_owned(),
            Named::Model(member) => member.target.provider.to_string(),
        };
        CatalogEntry { id: id.to_owned(), owned_by }
    };
    Ok(if is_anthropic(headers) { json(&AnthropicModel::from(&entry)) } else { json(&Model::from(&entry)) })
}

pub(crate) fn health(endpoint: &Endpoint<'_>, trip: &Trip) -> (StatusCode, Vec<u8>) {
    #[derive(Serialize)]
    struct Health<'a> {
        status: &'a str,
        snapshot: &'a str,
    }
    let shared = &trip.worker.shared;
    let (status, word) = match endpoint {
        Endpoint::Ready if shared.draining() => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        // Agents are started when somebody asks.
        Endpoint::Ready if trip.snapshot.targets.is_empty() && trip.snapshot.agents().next().is_none() => {
            (StatusCode::SERVICE_UNAVAILABLE, "no targets")
        }
        _ => (StatusCode::OK, "ok"),
    };
    (status, json(&Health { status: word, snapshot: &trip.snapshot.hash }))
}

fn json(document: &impl Serialize) -> Vec<u8> {
    // These documents are made of strings and numbers, which always serialise.
    serde_json::to_vec(document).unwrap_or_default()
}
