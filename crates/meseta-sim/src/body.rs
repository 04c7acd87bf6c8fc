//! Reading a request's body, within bounds.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::EXPECT;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::failure::Failure;

const MOST_BODY: u64 = 32 << 20;
/// A larger body is read up to here before it is refused: a client that is still sending would not see the refusal.
const MOST_IGNORED: u64 = 256 << 20;

/// The request's body, if it is not too large.
pub async fn read(head: &Parts, mut body: Incoming) -> Result<Bytes, Failure> {
    let too_large = || Failure {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        ..Failure::request(None, format!("The request body has more than {MOST_BODY} bytes."))
    };
    let announced = body.size_hint().lower();
    if announced > MOST_IGNORED || (announced > MOST_BODY && head.headers.contains_key(EXPECT)) {
        return Err(too_large());
    }
    let (mut first, mut rest, mut length) = (Bytes::new(), BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::request(None, format!("The request body broke off: {error}.")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        if length > MOST_IGNORED {
            return Err(too_large());
        } else if length > MOST_BODY {
            (first, rest) = (Bytes::new(), BytesMut::new());
        } else if first.is_empty() && rest.is_empty() {
            // Most bodies are one frame, which need not be copied.
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    if length > MOST_BODY {
        return Err(too_large());
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
