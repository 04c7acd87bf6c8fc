//! What the plane answers by itself: which models there are, and whether it is well.

use http::StatusCode;
use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::snapshot::{CatalogEntry, Snapshot};
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

pub(crate) fn list(snapshot: &Snapshot) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Model<'a>>,
    }
    let data = snapshot.catalog.iter().map(Model::from).collect();
    json(&List { object: "list", data })
}

/// One model by any name that a request could use, a wildcard's included.
pub(crate) fn one(snapshot: &Snapshot, id: &str) -> Result<Vec<u8>, Error> {
    if let Some(entry) = snapshot.catalog.iter().find(|entry| entry.id == id) {
        return Ok(json(&Model::from(entry)));
    }
    let (target, _) = snapshot.find(id).ok_or_else(|| choose::not_found(snapshot, id))?;
    Ok(json(&Model { id, object: "model", created: 0, owned_by: &target.provider }))
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
        Endpoint::Ready if trip.snapshot.targets.is_empty() => {
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
