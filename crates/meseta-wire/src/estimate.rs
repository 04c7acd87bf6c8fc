//! How many tokens a request has, about: known before anybody counted them, and without parsing.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

/// What an image or a file counts for. Anthropic's largest images are about this many, OpenAI's a little fewer; their
/// length in base64 says nothing about it.
pub const MEDIA_TOKENS: u64 = 1_600;

/// Shorter values are not worth looking at: they are texts, or their bytes make no difference.
const SHORTEST_MEDIA: usize = 256;

/// `"data":` of Messages and of audio, `"file_data":` of chat; and the URLs of everybody else. Made once: to make a searcher
/// takes as long as to search a short request.
static KEYS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"data\":"));
static URLS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b";base64,"));

/// Four bytes of a request are about one token. Too many rather than too few for most texts, since the JSON around them
/// counts too. Media in base64 count [`MEDIA_TOKENS`] each.
pub fn tokens(body: &[u8]) -> u64 {
    let behind =
        |finder: &'static Finder<'static>| finder.find_iter(body).map(|at| at + finder.needle().len());
    let mut keys = behind(&KEYS).peekable();
    let mut urls = behind(&URLS).peekable();
    let (mut media, mut left_out, mut end) = (0_u64, 0, 0);
    loop {
        let start = match (keys.peek().copied(), urls.peek().copied()) {
            (Some(key), Some(url)) if key < url => keys.next(),
            (Some(_), None) => keys.next(),
            _ => urls.next(),
        };
        let Some(start) = start else { break };
        if start < end {
            continue;
        }
        let rest = body.get(start..).unwrap_or_default();
        let value = rest.trim_ascii_start();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        // Looked at first, so that the search for the end goes over the same bytes once at most.
        if !value.get(..SHORTEST_MEDIA).is_some_and(|begin| begin.iter().all(|byte| is_base64(*byte))) {
            continue;
        }
        let length = memchr(b'"', value).unwrap_or(value.len());
        if length >= SHORTEST_MEDIA {
            media += 1;
            left_out += length;
            end = start + (rest.len() - value.len()) + length;
        }
    }
    let text = body.len().saturating_sub(left_out).div_ceil(4);
    u64::try_from(text).unwrap_or(u64::MAX).saturating_add(media.saturating_mul(MEDIA_TOKENS))
}

/// With the punctuation of a data URL in front, and with slashes escaped.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=\\:;,.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_its_length_and_media_by_their_number() {
        assert_eq!(tokens(b""), 0);
        assert_eq!(tokens(br#"{"a":1}"#), 2);
        let small = "A".repeat(400);
        let large = "A".repeat(400_000);
        for form in [
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,@"}}"#,
            r#"{"source":{"type":"base64","media_type":"image/png","data": "@"}}"#,
            r#"{"file":{"file_data":"data:application/pdf;base64,@"}}"#,
            r#"{"image_url":"data:image\/png;base64,@"}"#,
        ] {
            let count = tokens(form.replace('@', &small).as_bytes());
            assert_eq!(count, tokens(form.replace('@', &large).as_bytes()), "{form}");
            assert!((MEDIA_TOKENS..MEDIA_TOKENS + 30).contains(&count), "{form} {count}");
            let two = format!("{form},{form}").replace('@', &large);
            assert!(tokens(two.as_bytes()) > 2 * MEDIA_TOKENS, "{form}");
        }
    }

    #[test]
    fn a_document_of_text_is_text() {
        let text = "not every long word is an image ".repeat(100);
        let body = format!(r#"{{"type":"text","media_type":"text/plain","data":"{text}"}}"#);
        assert_eq!(tokens(body.as_bytes()), (body.len() as u64).div_ceil(4));
        // Nor is one that only begins a data URL.
        assert_eq!(tokens(b";base64,"), 2);
    }
}
