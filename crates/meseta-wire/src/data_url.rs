//! Data URLs, which hold a file in base64, and what a file is by its name.

use std::borrow::Cow;

use crate::conversation::Source;
use crate::shape::Malformed;

/// The scheme and a media type with its parameters are short; a comma further on ends no head.
const LONGEST_HEAD: usize = 256;
const LONGEST_MEDIA_TYPE: usize = 127;

/// Takes a data URL apart; `None` if it is an address of another kind.
pub(crate) fn read(url: &str) -> Option<Result<Source<'_>, Malformed>> {
    let (scheme, rest) = url.split_once(':')?;
    scheme.eq_ignore_ascii_case("data").then(|| content(rest))
}

fn content(rest: &str) -> Result<Source<'_>, Malformed> {
    let comma = rest.bytes().take(LONGEST_HEAD).position(|byte| byte == b',');
    let (head, data) = comma
        .and_then(|comma| Some((rest.get(..comma)?, rest.get(comma + 1..)?)))
        .ok_or_else(|| Malformed::here("is a data URL without a comma before its data"))?;
    let head = head
        .strip_suffix(";base64")
        .ok_or_else(|| Malformed::here("is a data URL without `;base64` before its comma"))?;
    let media_type = head.split(';').next().unwrap_or_default();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"/.+-_".contains(&byte);
    let is_type =
        media_type.len() <= LONGEST_MEDIA_TYPE && media_type.contains('/') && media_type.bytes().all(token);
    if !is_type {
        return Err(Malformed::here("is a data URL without a media type such as image/png"));
    }
    Ok(Source::Base64 { media_type: Cow::Borrowed(media_type), data: base64(data)? })
}

/// Data as it stands in a document, if it can be base64: some clients send it without the URL's head.
pub(crate) fn base64(data: &str) -> Result<Cow<'_, str>, Malformed> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(&byte);
    if data.is_empty() {
        return Err(Malformed::here("holds no data"));
    }
    if !data.bytes().all(legal) {
        return Err(Malformed::here("holds bytes that are not base64"));
    }
    Ok(Cow::Borrowed(data))
}

pub(crate) fn write(media_type: &str, data: &str) -> String {
    format!("data:{media_type};base64,{data}")
}

/// What bytes without a type are by their file's name; a PDF unless that says otherwise.
pub(crate) fn type_of_name(name: Option<&str>) -> &'static str {
    let ending = name.and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending);
    match ending.to_ascii_lowercase().as_str() {
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => "application/pdf",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_comes_out_as_it_went_in() {
        let url = write("image/png", "iVBORw0KGgo=");
        let Some(Ok(Source::Base64 { media_type, data })) = read(&url) else { panic!("{url}") };
        assert_eq!((media_type.as_ref(), data.as_ref()), ("image/png", "iVBORw0KGgo="));
        assert!(matches!(read("DATA:text/plain;charset=utf-8;base64,YQ"), Some(Ok(_))));
    }

    #[test]
    fn addresses_of_other_kinds_are_left_to_others() {
        for url in ["https://a.example/data:x", "", "data", "file:///etc/passwd"] {
            assert!(read(url).is_none(), "{url}");
        }
    }

    #[test]
    fn what_is_broken_is_refused() {
        let far = format!("data:image/png;{};base64,YQ==", "x".repeat(300));
        for url in [
            "data:",
            "data:image/png;base64",
            "data:image/png,YQ==",
            "data:image/png;base64,",
            "data:image/png;base64,<svg>",
            "data:;base64,YQ==",
            "data:png;base64,YQ==",
            "data:image/\"png;base64,YQ==",
            &far,
        ] {
            assert!(matches!(read(url), Some(Err(_))), "{url}");
        }
    }
}
