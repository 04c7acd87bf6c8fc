//! What the request used, once it is over, however it ended.

use crate::stages::Stage;
use crate::trip::Trip;

pub(crate) fn settle(trip: &mut Trip) {
    trip.enter(Stage::Settle);
    let now = trip.now();
    let outcome = trip.outcome;
    // An attempt that nobody ended was cut off together with the request, and ends as it did.
    if let Some(attempt) = trip.attempts.last_mut()
        && attempt.ended.is_none()
    {
        attempt.ended = Some(now);
        attempt.code = outcome.and_then(|outcome| outcome.code);
    }
}
