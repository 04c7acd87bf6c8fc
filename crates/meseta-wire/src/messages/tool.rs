//! Definitions of tools, read and written.

use std::borrow::Cow;

use super::block;
use super::model::Model;
use super::schema;
use crate::conversation::{Function, Tool, WebSearch};
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};

/// The version of the web search that every model knows; later ones need code to run at the provider.
const WEB_SEARCH: &str = "web_search_20250305";

pub(super) fn read<'j>(json: &'j Json<'j>, losses: &mut Losses) -> Result<Tool<'j>, Malformed> {
    let object = Object::of(json)?;
    match object.text("type")? {
        None | Some("custom") => read_function(&object, losses),
        Some(kind) if kind.starts_with("web_search_20") => read_web_search(&object, losses),
        Some(_) => Err(Malformed::at(
            "type",
            "names a tool that runs at one provider only and cannot be translated: send the request to a model of that \
             provider, or define a function tool",
        )),
    }
}

fn read_function<'j>(object: &Object<'j>, losses: &mut Losses) -> Result<Tool<'j>, Malformed> {
    let known = &["type", "name", "description", "input_schema", "strict", "cache_control"];
    for (key, _) in object.others(known) {
        losses.unknown(&format!("tools[].{key}"));
    }
    let parameters = object.inside("input_schema", |schema| {
        Object::of(schema)?;
        Ok(Cow::Borrowed(schema))
    })?;
    Ok(Tool::Function(Function {
        name: Cow::Borrowed(object.need_text("name")?),
        description: object.text("description")?.map(Cow::Borrowed),
        parameters: Some(parameters.ok_or_else(|| Malformed::at("input_schema", "is missing"))?),
        strict: object.flag("strict")?,
        cache: block::cache_mark(object)?,
    }))
}

fn read_web_search<'j>(object: &Object<'j>, losses: &mut Losses) -> Result<Tool<'j>, Malformed> {
    let known = &["type", "name", "max_uses", "allowed_domains", "blocked_domains", "cache_control"];
    for (key, _) in object.others(known) {
        losses.unknown(&format!("tools[].{key}"));
    }
    let domains = |key| Ok(object.texts(key)?.into_iter().map(Cow::Borrowed).collect());
    Ok(Tool::WebSearch(WebSearch {
        max_uses: object.count("max_uses")?,
        allowed_domains: domains("allowed_domains")?,
        blocked_domains: domains("blocked_domains")?,
    }))
}

/// Writes a tool. `mark` says what becomes of its mark for the cache.
pub(super) fn write<'r>(
    tool: &'r Tool<'_>,
    model: Model,
    mark: impl FnOnce(Option<crate::conversation::CacheMark>) -> Option<Json<'r>>,
    losses: &mut Losses,
) -> Result<Json<'r>, Refused> {
    let mut fields = Fields::new();
    match tool {
        Tool::Function(function) => {
            fields.put("name", &function.name);
            fields.put_some("description", function.description.as_ref().filter(|text| !text.is_empty()));
            let strict = function.strict.filter(|_| model.structured);
            if function.strict == Some(true) && !model.structured {
                losses.drop_feature(Feature::StrictTools);
            }
            let parameters = match &function.parameters {
                Some(parameters) if strict == Some(true) => {
                    let closed = schema::close(parameters);
                    if closed.loosened {
                        losses.drop_feature(Feature::StrictTools);
                    }
                    schema::of_an_object(closed.schema)
                }
                Some(parameters) => schema::of_an_object(parameters.as_ref().clone()),
                None => schema::of_an_object(Json::Null),
            };
            fields.put("input_schema", parameters);
            fields.put_some("strict", strict);
            fields.put_some("cache_control", mark(function.cache));
        }
        Tool::Custom { name, description, format } => {
            losses.meet(Feature::CustomTools)?;
            let mut text = description.as_deref().unwrap_or_default().to_owned();
            if let Some(format) = format {
                text.push_str("\n\nThe input must follow this format: ");
                text.push_str(&format.to_text());
            }
            fields.put("name", name);
            if !text.trim().is_empty() {
                fields.put("description", text.trim().to_owned());
            }
            fields.put(
                "input_schema",
                object! {
                    "type" => "object",
                    "properties" => object! { "input" => object! { "type" => "string" } },
                    "required" => vec!["input"],
                },
            );
        }
        Tool::WebSearch(search) => {
            losses.meet(Feature::WebSearch)?;
            fields.put("type", WEB_SEARCH).put("name", "web_search").put_some("max_uses", search.max_uses);
            let list = |domains: &'r [Cow<'_, str>]| -> Json<'r> {
                Json::Array(domains.iter().map(Json::from).collect())
            };
            if !search.allowed_domains.is_empty() {
                fields.put("allowed_domains", list(&search.allowed_domains));
            }
            if !search.blocked_domains.is_empty() {
                // The API takes one list or the other.
                if search.allowed_domains.is_empty() {
                    fields.put("blocked_domains", list(&search.blocked_domains));
                } else {
                    losses.unknown("tools[].blocked_domains");
                }
            }
        }
    }
    Ok(fields.into())
}

pub(super) fn name<'r>(tool: &'r Tool<'_>) -> &'r str {
    match tool {
        Tool::Function(function) => &function.name,
        Tool::Custom { name, .. } => name,
        Tool::WebSearch(_) => "web_search",
    }
}
