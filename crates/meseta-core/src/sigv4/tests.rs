//! `vectors.json` was made with botocore 1.44.5, which signs for the AWS SDK for Python. For each vector:
//!
//! ```python
//! auth.get_current_datetime = lambda: datetime.fromtimestamp(seconds, UTC)
//! request = AWSRequest(method=method, url="https://" + host + path, data=body.encode())
//! for name, value in headers:
//!     request.headers.add_header(name, value)
//! request.headers["x-amz-content-sha256"] = sha256(body.encode()).hexdigest()
//! SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, token), service, region).add_auth(request)
//! # date and authorization are now in request.headers
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[derive(Deserialize)]
struct Vector {
    name: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    token: Option<String>,
    region: String,
    service: String,
    seconds: u64,
    date: String,
    authorization: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn signer(token: Option<&str>, region: &str, service: &str) -> Signer {
    Signer::new("AKIDEXAMPLE", SECRET, token, region, service).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn headers(pairs: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn sign(signer: &Signer, vector: &Vector) -> HeaderMap {
    let mut headers = headers(&vector.headers);
    let method = vector.method.parse().unwrap();
    signer.sign(&method, &vector.path, &mut headers, vector.body.as_bytes(), at(vector.seconds)).unwrap();
    headers
}

#[test]
fn signatures_are_those_of_the_sdk() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 15);
    for vector in vectors {
        let signer = signer(vector.token.as_deref(), &vector.region, &vector.service);
        let signed = sign(&signer, &vector);
        assert_eq!(signed["x-amz-date"], vector.date, "{}", vector.name);
        assert_eq!(signed["authorization"], vector.authorization, "{}", vector.name);
        assert_eq!(
            signed.get("x-amz-security-token").map(HeaderValue::as_bytes),
            vector.token.as_deref().map(str::as_bytes),
            "{}",
            vector.name
        );
    }
}

/// `get-vanilla` of the suite that AWS publishes, from the digest of its canonical request on.
#[test]
fn the_key_is_the_one_of_the_published_suite() {
    let to_sign = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n\
                   bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63";
    let key = signer(None, "us-east-1", "service").key_of("20150830");
    assert_eq!(
        hex(hmac::sign(&key, to_sign.as_bytes()).as_ref()),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
}

#[test]
fn the_kept_key_is_the_right_one_on_every_day() {
    let (kept, mut signed) = (signer(None, "us-east-1", "bedrock"), 0);
    let vectors = vectors();
    for vector in vectors.iter().chain(vectors.iter().rev()) {
        if vector.region == "us-east-1" && vector.token.is_none() {
            assert_eq!(sign(&kept, vector)["authorization"], vector.authorization, "{}", vector.name);
            signed += 1;
        }
    }
    assert!(signed > 10);
}

#[test]
fn signing_again_replaces_what_was_signed_before() {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector.token.is_some()).unwrap();
    let signer = signer(vector.token.as_deref(), &vector.region, &vector.service);
    let once = sign(&signer, vector);
    let mut twice = once.clone();
    twice.insert(CONTENT_SHA256, HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer of the client"));
    let method = vector.method.parse().unwrap();
    signer.sign(&method, &vector.path, &mut twice, vector.body.as_bytes(), at(vector.seconds)).unwrap();
    assert_eq!(once, twice);
}

#[test]
fn a_token_of_somebody_else_is_not_sent() {
    let mut headers = headers(&[("host".to_owned(), "h".to_owned())]);
    headers.insert(SECURITY_TOKEN, HeaderValue::from_static("theirs"));
    signer(None, "us-east-1", "bedrock").sign(&Method::GET, "/", &mut headers, b"", at(0)).unwrap();
    assert!(!headers.contains_key(SECURITY_TOKEN));
}

#[test]
fn every_form_of_a_parameter_is_encoded_once() {
    assert_eq!(canonical_query("a=b:c"), "a=b%3Ac");
    assert_eq!(canonical_query("a=b%3ac"), "a=b%3Ac");
    assert_eq!(canonical_query("%7e=%41"), "~=A");
    assert_eq!(canonical_query("a=%zz&b=%4"), "a=%25zz&b=%254");
    assert_eq!(canonical_query("a=1=2"), "a=1%3D2");
}

#[test]
fn what_cannot_be_signed_is_refused_without_a_secret_in_the_words() {
    let bad = |id, secret, token, region| {
        Signer::new(id, secret, token, region, "bedrock").unwrap_err().to_string()
    };
    for error in [
        bad("AKID EXAMPLE", SECRET, None, "r"),
        bad("", SECRET, None, "r"),
        bad("AKID", "", None, "r"),
        bad("AKID", SECRET, Some("to\nken"), "r"),
        bad("AKID", SECRET, None, "us/east"),
    ] {
        assert!(error.contains("AWS"), "{error}");
        assert!(![SECRET, "EXAMPLE", "ken\n", "to\n"].iter().any(|secret| error.contains(secret)), "{error}");
    }
    let signer = signer(Some("session"), "us-east-1", "bedrock");
    let error = signer.sign(&Method::GET, "/", &mut HeaderMap::new(), b"", at(0)).unwrap_err();
    assert!(error.to_string().contains("Host"));
    let shown = format!("{signer:?}");
    assert!(shown.contains("us-east-1"));
    assert!(!["AKID", SECRET, "session"].iter().any(|secret| shown.contains(secret)), "{shown}");
}

#[test]
fn signed_headers_print_no_secret() {
    let mut headers = headers(&[("host".to_owned(), "h".to_owned())]);
    let signer = signer(Some("session"), "us-east-1", "bedrock");
    signer.sign(&Method::GET, "/", &mut headers, b"", at(0)).unwrap();
    assert!(headers[AUTHORIZATION].is_sensitive() && headers[SECURITY_TOKEN].is_sensitive());
}

#[test]
fn days_have_the_right_dates() {
    for (seconds, expected) in [
        (0, "19700101T000000Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (951_868_800, "20000301T000000Z"),
        (4_107_542_400, "21000301T000000Z"),
        (253_402_300_799, "99991231T235959Z"),
    ] {
        assert_eq!(timestamp(at(seconds)), expected);
    }
    assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), "19700101T000000Z");
}
