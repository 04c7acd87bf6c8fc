//! Media types: guessed from a name where Gemini demands one, and read back into what a part is.

use std::borrow::Cow;

use crate::conversation::{Audio, File, Image, Part, Source};

const BY_EXTENSION: [(&str, &str); 30] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("bmp", "image/bmp"),
    ("svg", "image/svg+xml"),
    ("avif", "image/avif"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("xml", "text/xml"),
    ("css", "text/css"),
    ("json", "application/json"),
    ("py", "text/x-python"),
    ("js", "text/javascript"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("aac", "audio/aac"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mpeg", "video/mpeg"),
];

/// What a URL's ending says, or what the kind of part most often is: Vertex refuses a file without a type.
pub(super) fn type_of_url(url: &str, otherwise: &'static str) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, extension)) = name.rsplit_once('.') else { return otherwise };
    BY_EXTENSION
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        .map_or(otherwise, |(_, media_type)| media_type)
}

/// The media type of OpenAI's name of an audio format.
pub(super) fn type_of_audio(format: &str) -> String {
    let format: String = format
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '+'))
        .take(32)
        .collect();
    format!("audio/{format}")
}

/// The part that bytes or a URL of this type are.
pub(super) fn part<'j>(media_type: &'j str, source: Source<'j>, detail: Option<&'static str>) -> Part<'j> {
    if media_type.starts_with("image/") {
        return Part::Image(Image { source, detail: detail.map(Cow::Borrowed), cache: None });
    }
    match (media_type.strip_prefix("audio/"), source) {
        (Some(subtype), Source::Base64 { data, .. }) => {
            let format = match subtype {
                "mpeg" => "mp3",
                "x-wav" | "wave" => "wav",
                other => other,
            };
            Part::Audio(Audio { format: Cow::Borrowed(format), data })
        }
        (_, source) => Part::File(File { source, name: None, context: None, citations: false, cache: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_guessed_from_the_ending() {
        assert_eq!(type_of_url("https://a.example/x.PNG?size=1.jpg", "image/jpeg"), "image/png");
        assert_eq!(type_of_url("gs://bucket/report.pdf", "text/plain"), "application/pdf");
        assert_eq!(type_of_url("https://a.example/x", "image/jpeg"), "image/jpeg");
        assert_eq!(type_of_url("", "image/jpeg"), "image/jpeg");
        assert_eq!(type_of_audio("wav\r\nx:"), "audio/wavx");
    }
}
