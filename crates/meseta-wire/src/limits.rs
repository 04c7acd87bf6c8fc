//! What a provider says about its limits: in the headers of any answer, and in the body of some refusals.
//!
//! Header names are from the API references of OpenAI, Azure, Anthropic, Mistral, Groq, Cerebras and OpenRouter, and from
//! the IETF's drafts of `RateLimit`.

use std::time::{Duration, SystemTime};

use crate::moment;
use crate::said::Said;

/// What remains, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub limit: Option<u64>,
    pub remaining: u64,
    /// From now until the window is full again.
    pub reset: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderLimits {
    pub retry_after: Option<Duration>,
    pub requests: Option<Window>,
    /// The tightest of the windows that count tokens.
    pub tokens: Option<Window>,
    /// `x-should-retry`: what the provider advises its own SDKs.
    pub should_retry: Option<bool>,
}

impl ProviderLimits {
    pub fn is_empty(&self) -> bool {
        *self == ProviderLimits::default()
    }
}

/// Whether [`read`] would look at a header of this name (in small letters, as `http` keeps them). An answer without any
/// such header need not be read.
pub fn is_limit_header(name: &str) -> bool {
    match name.as_bytes() {
        [b'r', ..] => name.starts_with("retry-after") || name.starts_with("ratelimit"),
        [b'x', b'-', ..] => name.starts_with("x-ratelimit") || name == "x-should-retry",
        [b'a', ..] => name.starts_with("anthropic-ratelimit-"),
        _ => false,
    }
}

/// The names of one window's headers: limit, remaining, reset.
type Names = [&'static str; 3];

const REQUESTS: [Names; 8] = [
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    [
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ],
    // Mistral
    ["x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute", "x-ratelimit-reset-req-minute"],
    // Cerebras
    [
        "x-ratelimit-limit-requests-minute",
        "x-ratelimit-remaining-requests-minute",
        "x-ratelimit-reset-requests-minute",
    ],
    [
        "x-ratelimit-limit-requests-hour",
        "x-ratelimit-remaining-requests-hour",
        "x-ratelimit-reset-requests-hour",
    ],
    [
        "x-ratelimit-limit-requests-day",
        "x-ratelimit-remaining-requests-day",
        "x-ratelimit-reset-requests-day",
    ],
    // OpenRouter, and many others
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    // The IETF's older drafts
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
];

const TOKENS: [Names; 8] = [
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    [
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ],
    [
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ],
    // Groq
    [
        "x-ratelimit-limit-input-tokens",
        "x-ratelimit-remaining-input-tokens",
        "x-ratelimit-reset-input-tokens",
    ],
    // Mistral, Cerebras
    [
        "x-ratelimit-limit-tokens-minute",
        "x-ratelimit-remaining-tokens-minute",
        "x-ratelimit-reset-tokens-minute",
    ],
    ["x-ratelimit-limit-tokens-day", "x-ratelimit-remaining-tokens-day", "x-ratelimit-reset-tokens-day"],
    // Mistral's older ones
    ["ratelimitbysize-limit", "ratelimitbysize-remaining", "ratelimitbysize-reset"],
    [
        "x-ratelimitbysize-limit-minute",
        "x-ratelimitbysize-remaining-minute",
        "x-ratelimitbysize-reset-minute",
    ],
];

/// Tokens of answers. Nobody knows how long an answer gets, so such a window only counts when nothing is left of it.
const OUTPUT_TOKENS: [Names; 2] = [
    [
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ],
    [
        "x-ratelimit-limit-output-tokens",
        "x-ratelimit-remaining-output-tokens",
        "x-ratelimit-reset-output-tokens",
    ],
];

/// Reads the headers of an answer, whatever its status. `header` finds a value by its name in small letters.
pub fn read<'h>(header: &dyn Fn(&str) -> Option<&'h str>, now: SystemTime) -> ProviderLimits {
    let milliseconds = header("retry-after-ms").and_then(number).map(|ms| seconds(ms / 1_000.0));
    let retry_after = milliseconds.or_else(|| header("retry-after").and_then(|text| wait(text, now)));
    let mut requests = tightest(&REQUESTS, header, now);
    let mut tokens = tightest(&TOKENS, header, now);
    let output = tightest(&OUTPUT_TOKENS, header, now).filter(|window| window.remaining == 0);
    tokens = tighter(tokens, output);
    if let Some(text) = header("ratelimit") {
        let (of_requests, of_tokens) = structured(text, header("ratelimit-policy").unwrap_or_default(), now);
        requests = tighter(requests, of_requests);
        tokens = tighter(tokens, of_tokens);
    }
    let should_retry = header("x-should-retry").and_then(|text| text.trim().parse().ok());
    ProviderLimits { retry_after, requests, tokens, should_retry }
}

fn tightest<'h>(sets: &[Names], header: &dyn Fn(&str) -> Option<&'h str>, now: SystemTime) -> Option<Window> {
    sets.iter().fold(None, |window, [limit, remaining, reset]| {
        let found = header(remaining).and_then(count).map(|remaining| Window {
            limit: header(limit).and_then(count),
            remaining,
            reset: header(reset).and_then(|text| wait(text, now)),
        });
        tighter(window, found)
    })
}

/// The one with less left; of two that are used up, the one that stays so for longer.
fn tighter(a: Option<Window>, b: Option<Window>) -> Option<Window> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let b_is_tighter = b.remaining < a.remaining || (b.remaining == a.remaining && b.reset > a.reset);
            Some(if b_is_tighter { b } else { a })
        }
        (a, b) => a.or(b),
    }
}

/// The IETF's `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60`, and the form of an older
/// draft, `limit=100, remaining=50, reset=5`. A policy that says so counts tokens, all others requests.
fn structured(text: &str, policy: &str, now: SystemTime) -> (Option<Window>, Option<Window>) {
    if let Some(remaining) = parameter(text, ',', "remaining").and_then(count) {
        let limit = parameter(text, ',', "limit").and_then(count);
        let reset = parameter(text, ',', "reset").and_then(|text| wait(text, now));
        return (Some(Window { limit, remaining, reset }), None);
    }
    let mut windows = (None, None);
    // Nobody has as many policies as an attacker can write.
    for item in text.split(',').take(8) {
        let Some(remaining) = parameter(item, ';', "r").and_then(count) else { continue };
        let name = item.split(';').next().unwrap_or_default().trim();
        let of_name = policy.split(',').take(8).map(str::trim).find(|policy| {
            policy.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(';'))
        });
        let window = Window {
            limit: of_name.and_then(|policy| parameter(policy, ';', "q")).and_then(count),
            remaining,
            reset: parameter(item, ';', "t").and_then(|text| wait(text, now)),
        };
        let counts_tokens = name.contains("token")
            || of_name.and_then(|policy| parameter(policy, ';', "qu")).is_some_and(|u| u.contains("token"));
        let place = if counts_tokens { &mut windows.1 } else { &mut windows.0 };
        *place = tighter(*place, Some(window));
    }
    windows
}

fn parameter<'t>(text: &'t str, separator: char, key: &str) -> Option<&'t str> {
    text.split(separator).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// A number of requests or tokens. Some servers write a fraction.
fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    match whole.parse::<i64>() {
        // A window that was overdrawn has nothing left.
        Ok(number) => Some(u64::try_from(number).unwrap_or(0)),
        Err(_) => None,
    }
}

/// The longest wait that is believed. The longest windows of providers are months, and clocks must not overflow.
const LONGEST: Duration = Duration::from_secs(32 * 24 * 3600);

/// Plain numbers from here on are moments in seconds since 1970, from the second one on in milliseconds: as waits they
/// would be decades.
const UNIX_SECONDS: f64 = 1e9;
const UNIX_MILLISECONDS: f64 = 1e11;

/// How long from now: seconds (`13`, `0.5`), a duration (`6m0s`, `120ms`), a moment in seconds or milliseconds since
/// 1970, a date as HTTP writes it, or a date as RFC 3339 does.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Some(number) = number(text) {
        let moment = if number >= UNIX_MILLISECONDS {
            number / 1_000.0
        } else if number >= UNIX_SECONDS {
            number
        } else {
            return Some(seconds(number));
        };
        let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(moment).ok()?)?;
        return Some(until(moment, now));
    }
    duration(text).or_else(|| {
        let moment = moment::rfc3339(text).or_else(|| httpdate::parse_http_date(text).ok())?;
        Some(until(moment, now))
    })
}

fn until(moment: SystemTime, now: SystemTime) -> Duration {
    moment.duration_since(now).unwrap_or_default().min(LONGEST)
}

/// A plain decimal number that is not negative.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(LONGEST).min(LONGEST)
}

/// `1h2m3.5s`, `120ms`: numbers with units and nothing else.
fn duration(text: &str) -> Option<Duration> {
    let (wait, rest) = leading_duration(text)?;
    rest.is_empty().then_some(wait)
}

/// The duration at the beginning of a text, and what follows it.
fn leading_duration(text: &str) -> Option<(Duration, &str)> {
    // `ms` stands before `m`, which is how it begins.
    const UNITS: [(&str, f64); 8] = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ns", 1e-9),
        ("d", 86_400.0),
        ("h", 3_600.0),
        ("m", 60.0),
        ("s", 1.0),
    ];
    let mut total = 0.0;
    let mut rest = text;
    // As many parts as there are units.
    for _ in 0..UNITS.len() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, behind) = rest.split_at_checked(end)?;
        let part = number(digits).and_then(|value| {
            let (unit, scale) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
            Some((value * scale, behind.get(unit.len()..)?))
        });
        let Some((value, behind)) = part else { break };
        total += value;
        rest = behind;
    }
    (rest.len() < text.len()).then(|| (seconds(total), rest))
}

/// How long to wait, as the body of a refusal says it: Google's `RetryInfo`, or the sentences of OpenAI, Groq and Azure
/// ("Please try again in 6.5s", "Please retry after 26 seconds"). Looks at the first 16 KiB.
pub fn retry_delay(body: &[u8]) -> Option<Duration> {
    const BEGINNINGS: [&str; 3] = ["try again in ", "retry after ", "retry in "];
    let said = Said::of_body(body);
    if let Some(wait) = said.retry_delay.as_deref().and_then(duration) {
        return Some(wait);
    }
    BEGINNINGS.iter().find_map(|beginning| {
        let (_, rest) = said.text.split_once(beginning)?;
        if let Some((wait, _)) = leading_duration(rest) {
            return Some(wait);
        }
        let (value, unit) = rest.split_once(' ')?;
        let scale = match unit {
            unit if unit.starts_with("second") => 1.0,
            unit if unit.starts_with("millisecond") => 1e-3,
            unit if unit.starts_with("minute") => 60.0,
            _ => return None,
        };
        Some(seconds(number(value)? * scale))
    })
}
