//! When an SDK's own retry would only do harm. The SDKs of OpenAI and Anthropic send a request again after 408, 409, 429
//! and every 5xx, twice unless told otherwise, and obey the answer's `x-should-retry` before they look at its status.

use http::{HeaderName, StatusCode};

use crate::error::{Error, Retry};

pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Whether `x-should-retry: false` belongs on the error's answer.
///
/// `acted` says that a target may have carried the request out although no answer came, and that doing so twice is not
/// the same as once. Otherwise it is for what cannot succeed without a change; but not for a status that is the
/// provider's own, because the SDK knows better what its provider means by it.
pub(crate) fn retry_harms(error: &Error, acted: bool) -> bool {
    retried_by_sdks(error.status())
        && (acted || (error.code.retry() == Retry::Never && error.status.is_none()))
}

fn retried_by_sdks(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS)
        || status.is_server_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn harms(code: Code, acted: bool) -> bool {
        retry_harms(&Error::new(code, "It failed."), acted)
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again() {
        assert!(harms(Code::UpstreamTotalTimeout, false));
        assert!(!harms(Code::UpstreamConnectFailed, false));
        assert!(!harms(Code::PlaneOverloaded, false));
    }

    #[test]
    fn a_status_that_no_sdk_retries_needs_no_advice() {
        assert!(!harms(Code::RequestInvalidField, false));
        assert!(!harms(Code::AuthInvalid, true));
    }

    #[test]
    fn what_may_have_been_done_is_not_done_twice() {
        assert!(harms(Code::UpstreamCut, true));
        assert!(!harms(Code::UpstreamCut, false));
    }

    #[test]
    fn a_status_of_the_providers_own_is_left_to_the_sdk() {
        let error = Error::new(Code::UpstreamRejected, "Busy.").with_status(StatusCode::TOO_MANY_REQUESTS);
        assert!(!retry_harms(&error, false));
        assert!(retry_harms(&error, true));
    }
}
