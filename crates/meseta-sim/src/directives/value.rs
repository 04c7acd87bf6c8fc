//! What stands behind the `=` of a directive: numbers, times, sizes, places and words.

use std::time::Duration;

use http::StatusCode;

use super::{Limit, Limited, Place};

const LONGEST_WAIT: Duration = Duration::from_secs(600);
const LARGEST_BODY: u64 = 1 << 30;

pub fn number(value: &str, least: u64, most: u64) -> Result<u64, String> {
    // `parse` would take a plus sign.
    let parsed = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
    parsed
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("it needs a whole number from {least} to {most}"))
}

pub fn duration(value: &str) -> Result<Duration, String> {
    let problem = || "it needs a duration of at most 10m, such as 500us, 20ms, 1.5s or 2m".to_owned();
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(problem)?;
    let (amount, unit) = value.split_at(digits);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(problem()),
    };
    let amount: f64 = amount.parse().map_err(|_| problem())?;
    let wait = Duration::try_from_secs_f64(amount * seconds).map_err(|_| problem())?;
    if wait > LONGEST_WAIT { Err(problem()) } else { Ok(wait) }
}

pub fn status(value: &str) -> Result<StatusCode, String> {
    let code = number(value, 400, 599)?;
    let code = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    code.ok_or_else(|| "it needs an HTTP status from 400 to 599".to_owned())
}

pub fn size(value: &str) -> Result<u64, String> {
    let problem = || "it needs a size of at most 1g, such as 4096, 64k, 10m or 1g".to_owned();
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'k') => (&value[..value.len() - 1], 10),
        Some(b'm') => (&value[..value.len() - 1], 20),
        Some(b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let bytes = number(digits, 0, LARGEST_BODY).map_err(|_| problem())? << shift;
    if bytes > LARGEST_BODY { Err(problem()) } else { Ok(bytes) }
}

/// `fin@3` is the name `fin` and the place 3; without a place, it is right behind the head.
pub fn placed(value: &str) -> Result<(&str, Place), String> {
    match value.split_once('@') {
        Some((name, after)) => Ok((name, place(after)?)),
        None => Ok((value, Place::Head)),
    }
}

pub fn place(value: &str) -> Result<Place, String> {
    if value == "preamble" {
        return Ok(Place::Preamble);
    }
    if value == "last" {
        return Ok(Place::Last);
    }
    match number(value, 0, u64::MAX) {
        Ok(0) => Ok(Place::Head),
        Ok(tokens) => Ok(Place::Tokens(tokens)),
        Err(problem) => Err(format!("{problem}, or preamble or last")),
    }
}

/// `requests:3/1.5s,tokens:0/2m`: of what, how many are left, and when there are all again.
pub fn limits(value: &str) -> Result<Vec<Limit>, String> {
    let problem =
        || "it needs limits such as requests:3/1.5s or tokens:0/2m, with a comma between two".to_owned();
    let limit = |limit: &str| {
        let (of, rest) = limit.trim().split_once(':').ok_or_else(problem)?;
        let (left, reset) = rest.split_once('/').ok_or_else(problem)?;
        let of = match of {
            "requests" => Limited::Requests,
            "tokens" => Limited::Tokens,
            _ => return Err(problem()),
        };
        Ok(Limit { of, left: number(left, 0, u64::from(u32::MAX))?, reset: duration(reset)? })
    };
    value.split(',').map(limit).collect()
}

pub fn one_of<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("its value may be {}", names.join(", "))
    })
}

pub fn names(value: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) || names.len() > 128 {
        return Err("it needs auto, or the names of at most 128 tools with commas between them".to_owned());
    }
    Ok(names)
}
