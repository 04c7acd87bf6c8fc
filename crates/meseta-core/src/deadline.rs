//! How long the client is going to wait, by its own headers, and what that leaves for an attempt.
//!
//! `x-meseta-deadline` bounds the whole request. The read time-out that SDKs announce bounds silence: the client hangs up
//! when it has heard nothing for that long, before the answer or in it. Hanging up tells it nothing, so an error of ours
//! comes a little earlier.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::error::{Code, Error};
use crate::target::{ByClient, Timeouts};

const DEADLINE: HeaderName = HeaderName::from_static("x-meseta-deadline");
/// What the SDKs of OpenAI and Anthropic pass to their HTTP client as read time-out, in seconds.
const READ_TIMEOUT: HeaderName = HeaderName::from_static("x-stainless-read-timeout");
/// The same in Anthropic's Python SDK; in those for JavaScript, how long they wait for the head of the answer.
const TIMEOUT: HeaderName = HeaderName::from_static("x-stainless-timeout");
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const LARGEST_MARGIN: Duration = Duration::from_secs(1);

/// What the client's headers say of its patience.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    /// From the request's arrival to the end of its answer.
    pub total: Option<Duration>,
    /// The longest silence that the client bears, our margin taken off.
    pub silence: Option<Duration>,
    /// How often the client's SDK has sent this request before.
    pub retries: u32,
}

/// What has happened of a request when an attempt begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Since it arrived.
    pub since_request: Duration,
    /// Since the client last heard a byte of the answer; the same as `since_request` before the first one.
    pub since_told: Duration,
    /// The answer is not a stream: the client hears nothing of it before all of it is here.
    pub whole: bool,
}

/// Which of the client's bounds has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Of `x-meseta-deadline`.
    Total,
    /// Of the SDK's read time-out.
    Silence,
}

impl Hints {
    /// Our own header must be right. What SDKs send by themselves is taken when it can be read, because no user wrote it.
    pub fn read(headers: &HeaderMap) -> Result<Hints, Error> {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let total = match headers.get(DEADLINE) {
            Some(value) => Some(value.to_str().ok().and_then(duration).ok_or_else(malformed)?),
            None => None,
        };
        let silence = [READ_TIMEOUT, TIMEOUT]
            .iter()
            .filter_map(|name| seconds(text(name)?.trim()))
            .filter(|silence| *silence >= SHORTEST)
            .min()
            .map(|silence| silence.min(LONGEST))
            .map(|silence| silence.saturating_sub((silence / 10).min(LARGEST_MARGIN)));
        let retries = text(&RETRY_COUNT).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Hints { total, silence, retries })
    }

    /// For how long the client waits for a next byte; `None` when it does not say.
    pub fn left(&self, progress: Progress) -> Option<Duration> {
        let silence = self.silence.map(|silence| silence.saturating_sub(progress.since_told));
        self.total_left(progress).into_iter().chain(silence).min()
    }

    fn total_left(&self, progress: Progress) -> Option<Duration> {
        self.total.map(|total| total.saturating_sub(progress.since_request))
    }
}

/// The time-outs of one attempt, shortened to what the client's patience leaves; an error when it leaves nothing.
///
/// The bounds hold from the beginning of the attempt: `connect` and `first_token` are not to be added up.
pub(crate) fn shorten(timeouts: Timeouts, hints: &Hints, progress: Progress) -> Result<Timeouts, Passed> {
    let Timeouts { mut connect, mut first_token, mut idle, mut total, .. } = timeouts;
    if let Some(silence) = hints.silence {
        let left = silence.saturating_sub(progress.since_told);
        if left < SHORTEST {
            return Err(Passed::Silence);
        }
        connect = connect.min(left);
        first_token = first_token.min(left);
        idle = idle.min(silence);
        if progress.whole {
            total = total.min(left);
        }
    }
    if let Some(left) = hints.total_left(progress) {
        if left < SHORTEST {
            return Err(Passed::Total);
        }
        total = total.min(left);
    }
    let (connect, first_token, idle) = (connect.min(total), first_token.min(total), idle.min(total));
    let shorter = |new: Duration, old: Duration| new < old.min(timeouts.total);
    let by_client = ByClient {
        connect: shorter(connect, timeouts.connect),
        first_token: shorter(first_token, timeouts.first_token),
        idle: shorter(idle, timeouts.idle),
        total: shorter(total, timeouts.total),
    };
    Ok(Timeouts { connect, first_token, idle, total, by_client })
}

/// `1500ms`, `2.5s`, `2m`, or plain seconds, within the bounds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = match text.find(|character: char| character.is_ascii_alphabetic()) {
        Some(at) => text.split_at_checked(at)?,
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let duration = Duration::try_from_secs_f64(decimal(number)? * scale).ok()?;
    (SHORTEST..=LONGEST).contains(&duration).then_some(duration)
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(decimal(text)?).ok()
}

/// Digits with at most one point: no sign, no exponent, no `inf`.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && text.len() <= 20).then(|| text.parse().ok()).flatten()
}

fn malformed() -> Error {
    Error::new(
        Code::RequestInvalidHeader,
        "The header x-meseta-deadline must be a duration between 1ms and 24 hours, such as 1500ms, 2.5s or 2m.",
    )
    .with_param("x-meseta-deadline")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const CONFIGURED: Timeouts = Timeouts {
        connect: ms(5_000),
        first_token: ms(60_000),
        idle: ms(30_000),
        total: ms(600_000),
        by_client: ByClient { connect: false, first_token: false, idle: false, total: false },
    };

    fn hints(headers: &[(&'static str, &str)]) -> Result<Hints, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Hints::read(&map)
    }

    fn shortened(hints: Hints, since_request: u64, since_told: u64, whole: bool) -> Result<[u64; 4], Passed> {
        let progress = Progress { since_request: ms(since_request), since_told: ms(since_told), whole };
        let timeouts = shorten(CONFIGURED, &hints, progress)?;
        let Timeouts { connect, first_token, idle, total, .. } = timeouts;
        Ok([connect, first_token, idle, total].map(|duration| u64::try_from(duration.as_millis()).unwrap()))
    }

    #[test]
    fn reads_every_way_to_write_a_deadline() {
        for (text, expected) in [
            ("1500ms", 1_500),
            ("2.5s", 2_500),
            ("2m", 120_000),
            (" 3 ", 3_000),
            ("0.5", 500),
            ("1ms", 1),
            ("1440m", 86_400_000),
        ] {
            assert_eq!(hints(&[("x-meseta-deadline", text)]).unwrap().total, Some(ms(expected)), "{text}");
        }
    }

    #[test]
    fn refuses_a_deadline_that_is_none_and_names_the_header() {
        for text in
            ["", "soon", "-1s", "+1s", "1e3", "inf", "nan", "1h", "1 s", "0", "0.5ms", "1441m", "1.2.3", "1S"]
        {
            let error = hints(&[("x-meseta-deadline", text)]).unwrap_err();
            assert_eq!(error.code, Code::RequestInvalidHeader, "{text}");
            assert_eq!(error.param.as_deref(), Some("x-meseta-deadline"));
        }
    }

    #[test]
    fn keeps_a_margin_below_the_read_time_out() {
        let silence = |name, value| hints(&[(name, value)]).unwrap().silence;
        assert_eq!(silence("x-stainless-read-timeout", "600"), Some(ms(599_000)));
        assert_eq!(silence("x-stainless-read-timeout", "600.0"), Some(ms(599_000)));
        assert_eq!(silence("x-stainless-timeout", "5"), Some(ms(4_500)));
        let both = [("x-stainless-read-timeout", "20"), ("x-stainless-timeout", "5")];
        assert_eq!(hints(&both).unwrap().silence, Some(ms(4_500)));
    }

    #[test]
    fn ignores_what_an_sdk_says_when_it_cannot_be_read() {
        for text in ["NOT_GIVEN", "None", "", "-1", "inf", "0", "0.0001", "1e400", "99999999999999999999999"]
        {
            let read = [("x-stainless-read-timeout", text), ("x-stainless-retry-count", text)];
            let read = hints(&read).unwrap();
            assert_eq!(read.silence, None, "{text}");
            assert_eq!(read.retries, 0, "{text}");
        }
        assert_eq!(hints(&[("x-stainless-retry-count", "2")]).unwrap().retries, 2);
    }

    #[test]
    fn nothing_said_shortens_nothing() {
        assert_eq!(
            shortened(Hints::default(), 9_000_000, 9_000_000, true),
            Ok([5_000, 60_000, 30_000, 600_000])
        );
    }

    #[test]
    fn a_deadline_bounds_every_phase() {
        let hints = Hints { total: Some(ms(10_000)), ..Hints::default() };
        assert_eq!(shortened(hints, 0, 0, false), Ok([5_000, 10_000, 10_000, 10_000]));
        assert_eq!(shortened(hints, 9_000, 0, false), Ok([1_000; 4]));
        assert_eq!(shortened(hints, 10_000, 0, false), Err(Passed::Total));
    }

    #[test]
    fn silence_counts_from_what_the_client_last_heard() {
        let hints = Hints { silence: Some(ms(9_000)), ..Hints::default() };
        // A stream before its first byte: the attempts before this one have used some of the client's patience.
        assert_eq!(shortened(hints, 2_000, 2_000, false), Ok([5_000, 7_000, 9_000, 600_000]));
        // A stream that is resumed, long after the request came.
        assert_eq!(shortened(hints, 300_000, 1_000, false), Ok([5_000, 8_000, 9_000, 600_000]));
        // An answer that is held back until it is complete is silence to its end.
        assert_eq!(shortened(hints, 2_000, 2_000, true), Ok([5_000, 7_000, 7_000, 7_000]));
        assert_eq!(shortened(hints, 9_000, 9_000, true), Err(Passed::Silence));
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(text in "\\PC{0,30}") {
            if let Ok(value) = http::HeaderValue::from_str(&text) {
                let mut map = HeaderMap::new();
                for name in [DEADLINE, READ_TIMEOUT, TIMEOUT, RETRY_COUNT] {
                    map.insert(name, value.clone());
                }
                if let Ok(hints) = Hints::read(&map) {
                    prop_assert!(hints.total.is_some_and(|total| (SHORTEST..=LONGEST).contains(&total)));
                    prop_assert!(hints.silence.is_none_or(|silence| silence < LONGEST));
                }
            }
        }

        #[test]
        fn no_time_out_grows_or_outlasts_the_deadline(
            total in 1_u64..100_000,
            silence in 1_u64..100_000,
            since_request in 0_u64..100_000,
            quiet in 0_u64..100_000,
            whole: bool,
        ) {
            let since_told = quiet.min(since_request);
            let hints = Hints { total: Some(ms(total)), silence: Some(ms(silence)), retries: 0 };
            match shortened(hints, since_request, since_told, whole) {
                Ok([connect, first_token, idle, all]) => {
                    prop_assert!(connect <= 5_000 && first_token <= 60_000 && idle <= 30_000);
                    prop_assert!(since_request + all <= total);
                    prop_assert!(since_told + first_token.max(connect) <= silence);
                    prop_assert!(!whole || since_told + all <= silence);
                    prop_assert!(connect.min(first_token).min(idle) >= 1);
                }
                Err(Passed::Total) => prop_assert!(since_request >= total),
                Err(Passed::Silence) => prop_assert!(since_told >= silence),
            }
        }
    }
}
