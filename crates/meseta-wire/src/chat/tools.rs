//! Tools and the choice among them, read and written.

use std::borrow::Cow;
use std::collections::HashSet;

use super::content::cache_mark;
use crate::conversation::{CacheMark, CacheTtl, Function, Request, Tool, ToolChoice, WebSearch};
use crate::dialect::Quirks;
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};

pub(super) fn decode<'j>(request: &Object<'j>, losses: &mut Losses) -> Result<Vec<Tool<'j>>, Malformed> {
    let mut tools = Vec::new();
    request.each("tools", |item| {
        tools.push(tool(&Object::of(item)?)?);
        Ok(())
    })?;
    request.each("functions", |item| {
        tools.push(Tool::Function(function(&Object::of(item)?)?));
        Ok(())
    })?;
    if let Some(options) = request.object("web_search_options")? {
        for (key, _) in options.others(&[]) {
            losses.unknown(&format!("web_search_options.{key}"));
        }
        tools.push(Tool::WebSearch(WebSearch::default()));
    }
    Ok(tools)
}

fn tool<'j>(object: &Object<'j>) -> Result<Tool<'j>, Malformed> {
    match object.need_text("type")? {
        "function" => {
            let inner = object.need_object("function")?;
            let mut read = function(&inner).map_err(|error| error.under("function"))?;
            read.cache = cache_mark(object)?.or(read.cache);
            Ok(Tool::Function(read))
        }
        "custom" => {
            let custom = object.need_object("custom")?;
            let read = || -> Result<Tool<'j>, Malformed> {
                let format = custom.object("format")?.and(custom.get("format"));
                Ok(Tool::Custom {
                    name: name(&custom)?,
                    description: custom.text("description")?.map(Cow::Borrowed),
                    format: format.map(Cow::Borrowed),
                })
            };
            read().map_err(|error| error.under("custom"))
        }
        _ => Err(Malformed::at(
            "type",
            format!(
                "is a tool that runs at one provider only and cannot be translated: {}",
                Feature::NativeTools.note().trim_end_matches('.')
            ),
        )),
    }
}

fn name<'j>(object: &Object<'j>) -> Result<Cow<'j, str>, Malformed> {
    match object.need_text("name")? {
        "" => Err(Malformed::at("name", "must not be empty")),
        name => Ok(Cow::Borrowed(name)),
    }
}

fn function<'j>(object: &Object<'j>) -> Result<Function<'j>, Malformed> {
    let parameters = object.object("parameters")?.and(object.get("parameters"));
    Ok(Function {
        name: name(object)?,
        description: object.text("description")?.map(Cow::Borrowed),
        parameters: parameters.map(Cow::Borrowed),
        strict: object.flag("strict")?,
        cache: cache_mark(object)?,
    })
}

/// `tool_choice`, or the older `function_call`.
pub(super) fn decode_choice<'j>(request: &Object<'j>) -> Result<Option<ToolChoice<'j>>, Malformed> {
    if let Some(choice) = request.inside("tool_choice", choice)? {
        return Ok(Some(choice));
    }
    request.inside("function_call", |json| match json {
        Json::String(_) => choice(json),
        _ => name(&Object::of(json)?).map(ToolChoice::Named),
    })
}

fn choice<'j>(json: &'j Json<'j>) -> Result<ToolChoice<'j>, Malformed> {
    if let Some(word) = json.as_str() {
        return match word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(Malformed::here("must be `auto`, `none`, `required` or an object")),
        };
    }
    let object = Object::of(json)?;
    if object.need_text("type")? != "allowed_tools" {
        return named(&object).map(ToolChoice::Named);
    }
    let allowed = object.need_object("allowed_tools")?;
    let read = || {
        let required = match allowed.need_text("mode")? {
            "auto" => false,
            "required" => true,
            _ => return Err(Malformed::at("mode", "must be `auto` or `required`")),
        };
        let mut names = Vec::new();
        allowed.need_array("tools")?;
        allowed.each("tools", |tool| {
            names.push(named(&Object::of(tool)?)?);
            Ok(())
        })?;
        Ok(ToolChoice::Allowed { names, required })
    };
    read().map_err(|error: Malformed| error.under("allowed_tools"))
}

/// `{"type": "function", "function": {"name": …}}`, and the same with `custom`.
fn named<'j>(object: &Object<'j>) -> Result<Cow<'j, str>, Malformed> {
    let kind = object.need_text("type")?;
    if !matches!(kind, "function" | "custom") {
        return Err(Malformed::at("type", "must be `function`, `custom` or `allowed_tools`"));
    }
    name(&object.need_object(kind)?).map_err(|error| error.under(kind))
}

/// `cache_control` of a part or a tool, for servers that know it.
pub(super) fn cache_control(
    mark: Option<CacheMark>,
    quirks: &Quirks,
    losses: &mut Losses,
) -> Result<Option<Json<'static>>, Refused> {
    let Some(mark) = mark else { return Ok(None) };
    if !quirks.cache_control {
        losses.meet(Feature::CacheMarks)?;
        return Ok(None);
    }
    let ttl = mark.ttl.map(|ttl| match ttl {
        CacheTtl::FiveMinutes => "5m",
        CacheTtl::OneHour => "1h",
    });
    let mut control = Fields::new();
    control.put("type", "ephemeral").put_some("ttl", ttl);
    Ok(Some(control.into()))
}

/// The tools that stand in `tools`, and the value of `web_search_options` if the provider is to search.
pub(super) fn encode<'a>(
    request: &'a Request<'_>,
    quirks: &Quirks,
    losses: &mut Losses,
) -> Result<(Vec<Json<'a>>, Option<Json<'a>>), Refused> {
    let mut tools = Vec::with_capacity(request.tools.len());
    let mut search = None;
    for tool in &request.tools {
        match tool {
            Tool::Function(function) => {
                let mut inner = Fields::new();
                inner.put("name", &function.name).put_some("description", function.description.as_ref());
                // An empty schema is refused; no schema means the same.
                let parameters = function.parameters.as_deref();
                let parameters =
                    parameters.filter(|json| !matches!(json, Json::Object(fields) if fields.is_empty()));
                inner.put_some("parameters", parameters.cloned()).put_some("strict", function.strict);
                let mut tool = Fields::new();
                tool.put("type", "function").put("function", inner);
                tool.put_some("cache_control", cache_control(function.cache, quirks, losses)?);
                tools.push(tool.into());
            }
            Tool::Custom { name, description, format } => {
                let mut inner = Fields::new();
                inner.put("name", name).put_some("description", description.as_ref());
                inner.put_some("format", format.as_deref().cloned());
                tools.push(object! { "type" => "custom", "custom" => inner });
            }
            Tool::WebSearch(limits) => {
                if *limits != WebSearch::default() {
                    losses.meet(Feature::WebSearch)?;
                }
                search = Some(Json::Object(Vec::new()));
            }
        }
    }
    Ok((tools, search))
}

pub(super) fn encode_choice<'a>(choice: &'a ToolChoice<'_>, request: &Request<'_>) -> Json<'a> {
    let custom: HashSet<&str> = request
        .tools
        .iter()
        .filter_map(|tool| match tool {
            Tool::Custom { name, .. } => Some(name.as_ref()),
            _ => None,
        })
        .collect();
    let named = |name: &'a Cow<'_, str>| {
        let kind = if custom.contains(name.as_ref()) { "custom" } else { "function" };
        object! { "type" => kind, kind => object! { "name" => name } }
    };
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { names, required } => object! {
            "type" => "allowed_tools",
            "allowed_tools" => object! {
                "mode" => if *required { "required" } else { "auto" },
                "tools" => names.iter().map(named).collect::<Vec<_>>(),
            },
        },
    }
}
