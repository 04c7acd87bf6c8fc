//! Faults that are switched on and off while the simulator runs, for a share of all requests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::directives::Directives;

#[derive(Debug, Default)]
pub struct Faults {
    ordered: Ordered,
    /// Requests so far.
    seen: AtomicU64,
}

/// As it was written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ordered {
    directives: String,
    #[serde(default = "all")]
    share: f64,
}

fn all() -> f64 {
    1.0
}

/// Faults that cannot be played.
#[derive(Debug, PartialEq)]
pub struct BadFaults(String);

impl Faults {
    pub fn parse(text: &str) -> Result<Self, BadFaults> {
        let ordered: Ordered = serde_json::from_str(text).map_err(|error| BadFaults(error.to_string()))?;
        Directives::parse(&ordered.directives).map_err(|error| BadFaults(error.to_string()))?;
        if !(0.0..=1.0).contains(&ordered.share) {
            return Err(BadFaults("share is a number from 0 to 1".to_owned()));
        }
        Ok(Self { ordered, seen: AtomicU64::new(0) })
    }

    pub fn ordered(&self) -> &Ordered {
        &self.ordered
    }

    /// The directives for the next request. Those that get them are spread evenly and are the same every time.
    pub fn next(&self) -> &str {
        if self.ordered.directives.is_empty() {
            return "";
        }
        let before = self.seen.fetch_add(1, Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 requests")]
        let due = |requests: u64| (requests as f64 * self.ordered.share).floor();
        if due(before + 1) > due(before) { &self.ordered.directives } else { "" }
    }
}

impl fmt::Display for BadFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The faults cannot be played: {}.", self.0.trim_end_matches('.'))
    }
}

impl std::error::Error for BadFaults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_is_faulty() {
        for (share, expected) in [("0", 0), ("0.25", 25), ("0.333", 33), ("1", 100), ("1.0", 100)] {
            let faults = Faults::parse(&format!(r#"{{"directives": "status=503", "share": {share}}}"#))
                .expect("valid");
            assert_eq!((0..100).filter(|_| faults.next() == "status=503").count(), expected, "{share}");
        }
        assert_eq!(Faults::parse(r#"{"directives": "first=1s"}"#).expect("valid").next(), "first=1s");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("[", "line 1"),
            ("{}", "`directives`"),
            (r#"{"directives": "", "shares": 1}"#, "`shares`"),
            (r#"{"directives": "status=503", "share": 1.5}"#, "from 0 to 1"),
            (r#"{"directives": "status=503", "share": -1}"#, "from 0 to 1"),
            (r#"{"directives": "sttaus=503"}"#, "\"sttaus=503\""),
        ] {
            let message = Faults::parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
