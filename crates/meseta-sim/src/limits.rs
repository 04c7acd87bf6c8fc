//! What a provider says is left of its limits, in headers of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::dialect::Dialect;
use crate::directives::{Limit, Limited};

/// What a window holds when it is new, unless more than that is left.
const WHOLE_REQUESTS: u64 = 1000;
const WHOLE_TOKENS: u64 = 1_000_000;

impl Dialect {
    /// Writes the limits into a response's headers. Google and Amazon have none for that.
    pub fn write_limits(self, limits: &[Limit], headers: &mut HeaderMap) {
        for limit in limits {
            let (of, whole) = match limit.of {
                Limited::Requests => ("requests", WHOLE_REQUESTS),
                Limited::Tokens => ("tokens", WHOLE_TOKENS),
            };
            let (whole, left) = (limit.left.max(whole).to_string(), limit.left.to_string());
            let lines = match self {
                Self::OpenAi => [
                    (format!("x-ratelimit-limit-{of}"), whole),
                    (format!("x-ratelimit-remaining-{of}"), left),
                    (format!("x-ratelimit-reset-{of}"), short(limit.reset)),
                ],
                Self::Anthropic => [
                    (format!("anthropic-ratelimit-{of}-limit"), whole),
                    (format!("anthropic-ratelimit-{of}-remaining"), left),
                    (format!("anthropic-ratelimit-{of}-reset"), moment(SystemTime::now() + limit.reset)),
                ],
                Self::Gemini | Self::Bedrock => continue,
            };
            for (name, value) in lines {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    headers.insert(name, value);
                }
            }
        }
    }
}

/// A duration as OpenAI writes it: `120ms`, `1.5s`, `6m0s`.
fn short(time: Duration) -> String {
    let (whole, milliseconds) = (time.as_secs(), u64::from(time.subsec_millis()));
    if whole == 0 {
        return format!("{milliseconds}ms");
    }
    let (minutes, seconds) = (whole / 60, whole % 60);
    let fraction = format!(".{milliseconds:03}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    if minutes == 0 { format!("{seconds}{fraction}s") } else { format!("{minutes}m{seconds}{fraction}s") }
}

/// A moment as RFC 3339 has it, in whole seconds. What is begun of one counts whole: nothing is renewed too early.
fn moment(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_the_largest_units_they_fill() {
        for (milliseconds, expected) in
            [(0, "0ms"), (120, "120ms"), (1000, "1s"), (1500, "1.5s"), (60_000, "1m0s"), (361_020, "6m1.02s")]
        {
            assert_eq!(short(Duration::from_millis(milliseconds)), expected);
        }
    }

    #[test]
    fn moments_are_days_of_the_calendar() {
        for (milliseconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:01Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_799_000, "2000-02-29T23:59:59Z"),
            (1_704_067_199_000, "2023-12-31T23:59:59Z"),
            (1_735_603_200_000, "2024-12-31T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(moment(UNIX_EPOCH + Duration::from_millis(milliseconds)), expected);
        }
    }
}
