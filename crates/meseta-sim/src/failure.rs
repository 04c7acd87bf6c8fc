//! A request that is not answered, before its dialect has put it in its own words.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::Value;

#[derive(Debug)]
pub struct Failure {
    pub status: StatusCode,
    pub message: String,
    pub kind: &'static str,
    pub param: Option<Cow<'static, str>>,
    pub code: Option<&'static str>,
    /// What Google says besides.
    pub details: Vec<Value>,
}

impl Failure {
    /// The client's mistake: a 400, with the field that is to blame.
    pub fn request(param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: "invalid_request_error",
            param: param.map(Cow::Borrowed),
            code: None,
            details: Vec::new(),
        }
    }

    pub fn not_found(param: Option<&'static str>, code: &'static str, message: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: Some(code), ..Self::request(param, message) }
    }

    /// An error that was ordered, with the type and code that go with its status.
    pub fn ordered(status: StatusCode, message: Option<&str>) -> Self {
        let (kind, code) = match status.as_u16() {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            404 => ("invalid_request_error", Some("model_not_found")),
            429 => ("rate_limit_error", Some("rate_limit_exceeded")),
            400..=499 => ("invalid_request_error", None),
            _ => ("server_error", None),
        };
        let message =
            message.map_or_else(|| format!("The simulator was told to answer {status}."), str::to_owned);
        Self { status, message, kind, param: None, code, details: Vec::new() }
    }
}
