//! The limits that providers tell, in each provider's way of telling them.

use std::time::{Duration, SystemTime};

use meseta_wire::limits::{ProviderLimits, Window, is_limit_header, read, retry_delay};
use proptest::prelude::*;

/// 2026-11-22T04:40:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_322_400)
}

fn limits(headers: &[(&str, &str)]) -> ProviderLimits {
    for (name, _) in headers {
        assert!(is_limit_header(name), "{name}");
    }
    read(&|wanted| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value), now())
}

#[allow(clippy::unnecessary_wraps)] // It is compared with what may be absent.
fn ms(milliseconds: u64) -> Option<Duration> {
    Some(Duration::from_millis(milliseconds))
}

#[allow(clippy::unnecessary_wraps)]
fn window(limit: u64, remaining: u64, reset: Option<Duration>) -> Option<Window> {
    Some(Window { limit: Some(limit), remaining, reset })
}

#[test]
fn openai_and_azure() {
    let read = limits(&[
        ("x-ratelimit-limit-requests", "5000"),
        ("x-ratelimit-remaining-requests", "4999"),
        ("x-ratelimit-reset-requests", "12ms"),
        ("x-ratelimit-limit-tokens", "160000"),
        ("x-ratelimit-remaining-tokens", "159976"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ]);
    assert_eq!(read.requests, window(5000, 4999, ms(12)));
    assert_eq!(read.tokens, window(160_000, 159_976, ms(360_000)));
    let azure = limits(&[
        ("retry-after", "26"),
        ("retry-after-ms", "25500"),
        ("x-ratelimit-remaining-requests", "-1"),
        ("x-ratelimit-reset-requests", "7"),
    ]);
    assert_eq!(azure.retry_after, ms(25_500));
    assert_eq!(azure.requests, Some(Window { limit: None, remaining: 0, reset: ms(7_000) }));
}

#[test]
fn anthropic_takes_the_tightest_and_output_only_when_it_is_used_up() {
    let mut headers = vec![
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-requests-reset", "2026-11-22T04:40:01Z"),
        ("anthropic-ratelimit-tokens-limit", "80000"),
        ("anthropic-ratelimit-tokens-remaining", "70000"),
        ("anthropic-ratelimit-tokens-reset", "2026-11-22T04:41:00Z"),
        ("anthropic-ratelimit-input-tokens-limit", "50000"),
        ("anthropic-ratelimit-input-tokens-remaining", "40000"),
        ("anthropic-ratelimit-input-tokens-reset", "2026-11-22T04:40:30Z"),
        ("anthropic-ratelimit-output-tokens-limit", "8000"),
        ("anthropic-ratelimit-output-tokens-remaining", "10"),
        ("anthropic-ratelimit-output-tokens-reset", "2026-11-22T04:40:10Z"),
        ("x-should-retry", "true"),
    ];
    let read = limits(&headers);
    assert_eq!(read.requests, window(50, 49, ms(1_000)));
    assert_eq!(read.tokens, window(50_000, 40_000, ms(30_000)));
    assert_eq!(read.should_retry, Some(true));
    headers[10].1 = "0";
    assert_eq!(limits(&headers).tokens, window(8_000, 0, ms(10_000)));
}

#[test]
fn mistral_groq_cerebras_openrouter() {
    let mistral = limits(&[
        ("x-ratelimit-limit-req-minute", "720"),
        ("x-ratelimit-remaining-req-minute", "717"),
        ("x-ratelimit-limit-tokens-minute", "5000000"),
        ("x-ratelimit-remaining-tokens-minute", "4999911"),
    ]);
    assert_eq!(mistral.requests, window(720, 717, None));
    assert_eq!(mistral.tokens, window(5_000_000, 4_999_911, None));
    let older = limits(&[
        ("ratelimitbysize-limit", "2000000"),
        ("ratelimitbysize-remaining", "1999000"),
        ("ratelimitbysize-reset", "58"),
    ]);
    assert_eq!(older.tokens, window(2_000_000, 1_999_000, ms(58_000)));
    let groq = limits(&[
        ("retry-after", "2"),
        ("x-ratelimit-limit-tokens", "18000"),
        ("x-ratelimit-remaining-tokens", "17997"),
        ("x-ratelimit-reset-tokens", "7.66s"),
        ("x-ratelimit-remaining-requests", "14370"),
        ("x-ratelimit-reset-requests", "2m59.56s"),
    ]);
    assert_eq!(groq.retry_after, ms(2_000));
    assert_eq!(groq.tokens, window(18_000, 17_997, ms(7_660)));
    assert_eq!(groq.requests.unwrap().reset, ms(179_560));
    let cerebras = limits(&[
        ("x-ratelimit-limit-requests-day", "14400"),
        ("x-ratelimit-remaining-requests-day", "3"),
        ("x-ratelimit-reset-requests-day", "33011.382867"),
        ("x-ratelimit-remaining-tokens-minute", "60000"),
        ("x-ratelimit-reset-tokens-minute", "11.382867"),
    ]);
    assert_eq!(cerebras.requests.unwrap().remaining, 3);
    assert_eq!(cerebras.requests.unwrap().reset.unwrap().as_secs(), 33_011);
    let openrouter = limits(&[
        ("x-ratelimit-limit", "20"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1795322460000"),
    ]);
    assert_eq!(openrouter.requests, window(20, 0, ms(60_000)));
}

#[test]
fn the_drafts_of_the_ietf() {
    let old =
        limits(&[("ratelimit-limit", "300"), ("ratelimit-remaining", "280"), ("ratelimit-reset", "53")]);
    assert_eq!(old.requests, window(300, 280, ms(53_000)));
    let joined = limits(&[("ratelimit", "limit=100, remaining=50, reset=5")]);
    assert_eq!(joined.requests, window(100, 50, ms(5_000)));
    let newest = limits(&[
        ("ratelimit", r#""burst";r=90;t=5, "daily";r=40;t=3600, "tokens";r=7"#),
        ("ratelimit-policy", r#""burst";q=100;w=60, "daily";q=1000;w=86400, "tokens";q=900;qu="tokens""#),
    ]);
    assert_eq!(newest.requests, window(1000, 40, ms(3_600_000)));
    assert_eq!(newest.tokens, window(900, 7, None));
}

#[test]
fn waits_in_every_form() {
    for (text, wait) in [
        ("13", ms(13_000)),
        ("0.25", ms(250)),
        ("0", ms(0)),
        ("1h2m3s", ms(3_723_000)),
        ("Sun, 22 Nov 2026 04:40:09 GMT", ms(9_000)),
        ("Sun, 22 Nov 2026 04:39:00 GMT", ms(0)),
        ("1795322405", ms(5_000)),
        ("2026-11-22T04:40:02Z", ms(2_000)),
        // Nothing that overflows a clock.
        ("999999999", ms(32 * 24 * 3_600_000)),
        ("99999999999999999999999999999999", None),
        ("-1", None),
        ("soon", None),
        ("1e3", None),
        ("5 s", None),
        ("", None),
    ] {
        assert_eq!(limits(&[("retry-after", text)]).retry_after, wait, "{text:?}");
    }
}

#[test]
fn nothing_told_is_nothing_known() {
    assert!(limits(&[]).is_empty());
    for name in
        ["content-type", "x-request-id", "date", "anthropic-organization-id", "openai-processing-ms", ""]
    {
        assert!(!is_limit_header(name), "{name}");
    }
    assert!(limits(&[("x-ratelimit-remaining-tokens", "many"), ("x-should-retry", "maybe")]).is_empty());
}

#[test]
fn bodies_that_say_how_long() {
    for (body, wait) in [
        (
            r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"13s"}]}}"#,
            ms(13_000),
        ),
        (
            r#"[{"error":{"details":[{"retryDelay":"34.074824224s"}]}}]"#,
            Some(Duration::from_nanos(34_074_824_224)),
        ),
        (
            r#"{"error":{"message":"Rate limit reached for gpt-4o. Please try again in 1m2.5s. Visit …","code":"rate_limit_exceeded"}}"#,
            ms(62_500),
        ),
        (r#"{"error":{"message":"Limit 3, Used 3. Please try again in 20ms."}}"#, ms(20)),
        (r#"{"error":{"code":"429","message":"Please retry after 26 seconds."}}"#, ms(26_000)),
        (r#"{"error":{"message":"Please try again in a while."}}"#, None),
        ("<html>retry after 5 seconds</html>", None),
        ("", None),
    ] {
        assert_eq!(retry_delay(body.as_bytes()), wait, "{body}");
    }
}

proptest! {
    /// Any values are read without a panic, and no wait is longer than a clock can bear.
    #[test]
    fn any_values_are_survived(values in prop::collection::vec("[-0-9a-zµ.:,;=\"TZ+ ]{0,24}|.{0,12}", 8), body: Vec<u8>) {
        let read = read(&|name| values.get(name.len() % values.len()).map(String::as_str), now());
        let waits = [
            read.retry_after,
            read.requests.and_then(|window| window.reset),
            read.tokens.and_then(|window| window.reset),
            retry_delay(&body),
        ];
        for wait in waits.into_iter().flatten() {
            prop_assert!(wait <= Duration::from_secs(32 * 24 * 3600));
        }
    }
}
