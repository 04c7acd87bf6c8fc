//! AWS Signature Version 4: what Bedrock and every other AWS service but S3 wants to see on a request.
//!
//! The request is written down in one canonical form, and a key that is good for one day, region and service signs the
//! digest of it. The service does the same with what it receives, so the request must not change after it was signed:
//! sign last, and send path, query, signed headers and body as they were.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::{digest, hmac};

use crate::snapshot::hex;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Headers of the connection or of those who watch it. They may change on the way, so no signature may cover them.
const UNSIGNED: [&str; 15] = [
    "baggage",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// Why a request cannot be signed. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningError(String);

impl std::fmt::Display for SigningError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for SigningError {}

/// Signs requests to one service in one region in the name of one access key.
pub struct Signer {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<HeaderValue>,
    region: String,
    service: String,
    /// The day (`20260131`) and its signing key, which takes four digests to derive.
    day_key: Mutex<Option<(String, hmac::Key)>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Signer {
    pub fn new(
        access_key_id: &str,
        secret_access_key: &str,
        session_token: Option<&str>,
        region: &str,
        service: &str,
    ) -> Result<Signer, SigningError> {
        for (what, text) in [("access key id", access_key_id), ("region", region), ("service", service)] {
            // They become parts of one header, divided by slashes, commas and spaces. A document that is only checked has
            // `***` in place of what would have to be fetched.
            let separate = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'=' | b'*')
            };
            if text.is_empty() || !text.bytes().all(separate) {
                return Err(SigningError(format!(
                    "the {what} for AWS is empty or holds a character that none has; check for spaces and quotes"
                )));
            }
        }
        if secret_access_key.is_empty() {
            return Err(SigningError("the secret access key for AWS is empty".to_owned()));
        }
        let session_token = session_token.map(secret_value).transpose()?;
        Ok(Signer {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            session_token,
            region: region.to_owned(),
            service: service.to_owned(),
            day_key: Mutex::new(None),
        })
    }

    /// Adds `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token` where there is a token, and `authorization`,
    /// in place of what the headers held under these names. The headers must hold `host`; path and query must be as
    /// they will be sent.
    pub fn sign(
        &self,
        method: &Method,
        path_and_query: &str,
        headers: &mut HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), SigningError> {
        if !headers.contains_key(HOST) {
            return Err(SigningError("a request without a Host header cannot be signed".to_owned()));
        }
        let time = timestamp(now);
        let day = time.get(..8).unwrap_or_default();
        let body_digest = hex(digest::digest(&digest::SHA256, body).as_ref());
        headers.remove(AUTHORIZATION);
        headers.insert(DATE, value(&time)?);
        headers.insert(CONTENT_SHA256, value(&body_digest)?);
        match &self.session_token {
            Some(token) => headers.insert(SECURITY_TOKEN, token.clone()),
            None => headers.remove(SECURITY_TOKEN),
        };
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let (header_lines, signed_names) = canonical_headers(headers);
        let mut request =
            format!("{method}\n{}\n{}\n", canonical_path(path), canonical_query(query)).into_bytes();
        request.extend_from_slice(&header_lines);
        request.extend_from_slice(format!("\n{signed_names}\n{body_digest}").as_bytes());

        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let request_digest = hex(digest::digest(&digest::SHA256, &request).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{request_digest}");
        let signature = hex(hmac::sign(&self.key_of(day), to_sign.as_bytes()).as_ref());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed_names}, Signature={signature}",
            self.access_key_id
        );
        headers.insert(AUTHORIZATION, secret_value(&authorization)?);
        Ok(())
    }

    fn key_of(&self, day: &str) -> hmac::Key {
        let mut kept = self.day_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kept_day, key)) = &*kept
            && kept_day == day
        {
            return key.clone();
        }
        let secret = format!("AWS4{}", self.secret_access_key);
        let key = [day, &self.region, &self.service, "aws4_request"]
            .into_iter()
            .fold(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), |key, part| {
                hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
            });
        *kept = Some((day.to_owned(), key.clone()));
        key
    }
}

fn value(text: &str) -> Result<HeaderValue, SigningError> {
    // The text may be a secret: the error must not repeat it.
    HeaderValue::from_str(text)
        .map_err(|_| SigningError("a credential for AWS has a character that no header may carry".to_owned()))
}

fn secret_value(text: &str) -> Result<HeaderValue, SigningError> {
    let mut value = value(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The path without dot segments and empty ones, and every byte of it that is not plain encoded once more: a `%2F`
/// becomes `%252F`. S3 alone wants neither.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut canonical = String::with_capacity(path.len() + 16);
    for segment in &segments {
        canonical.push('/');
        encode(segment.as_bytes(), &mut canonical);
    }
    if canonical.is_empty() || path.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

/// The parameters in order of name and value, each encoded once, however the request has them.
fn canonical_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (encoded_once(name), encoded_once(value))
        })
        .collect();
    parameters.sort_unstable();
    let mut canonical = String::with_capacity(query.len() + 16);
    for (name, value) in &parameters {
        let gap = if canonical.is_empty() { "" } else { "&" };
        let _ = write!(canonical, "{gap}{name}={value}");
    }
    canonical
}

fn encoded_once(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let mut ahead = bytes.clone();
        let escaped = match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        if escaped.is_some() {
            bytes = ahead;
        }
        decoded.push(escaped.unwrap_or(byte));
    }
    let mut encoded = String::with_capacity(text.len());
    encode(&decoded, &mut encoded);
    encoded
}

fn encode(bytes: &[u8], into: &mut String) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(*byte));
            }
            _ => {
                let _ = write!(into, "%{byte:02X}");
            }
        }
    }
}

/// A line for each signed header, in order of the names, and the names. Values of one name are joined by commas, and
/// gaps in them become one space.
fn canonical_headers(headers: &HeaderMap) -> (Vec<u8>, String) {
    let mut names: Vec<&str> =
        headers.keys().map(HeaderName::as_str).filter(|name| !UNSIGNED.contains(name)).collect();
    names.sort_unstable();
    let mut lines = Vec::with_capacity(64 * names.len());
    for name in &names {
        lines.extend_from_slice(name.as_bytes());
        let mut before = ":";
        for value in headers.get_all(*name) {
            lines.extend_from_slice(before.as_bytes());
            before = ",";
            let words = value.as_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            for (at, word) in words.enumerate() {
                if at > 0 {
                    lines.push(b' ');
                }
                lines.extend_from_slice(word);
            }
        }
        lines.push(b'\n');
    }
    (lines, names.join(";"))
}

/// `20260131T235959Z`.
fn timestamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let second = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970. A year that begins in March has its leap day at its end, where it
/// moves no other day.
fn date(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01, in eras of 400 years, which are all of one length.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
