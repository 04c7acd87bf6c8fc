//! Names of formats, which Converse has instead of media types, and names of documents.

use std::collections::HashMap;

const IMAGES: [(&str, &str); 4] =
    [("png", "image/png"), ("jpeg", "image/jpeg"), ("gif", "image/gif"), ("webp", "image/webp")];

const DOCUMENTS: [(&str, &str); 9] = [
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
];

const AUDIO: [&str; 15] = [
    "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm",
    "webm",
];

/// A media type without its parameters, as a key of these tables.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn extension(name: &str) -> Option<String> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(extension.to_ascii_lowercase())
}

pub fn image_format(media_type: &str) -> Option<&'static str> {
    match essence(media_type).as_str() {
        "image/jpg" => Some("jpeg"),
        media_type => format_of(&IMAGES, media_type),
    }
}

pub fn image_format_of_name(name: &str) -> Option<&'static str> {
    match extension(name)?.as_str() {
        "jpg" => Some("jpeg"),
        extension => format_named(&IMAGES, extension),
    }
}

pub fn image_media_type(format: &str) -> Option<&'static str> {
    IMAGES.iter().find(|(known, _)| *known == format).map(|(_, media_type)| *media_type)
}

/// The format of a document: by its media type if that says something, otherwise by its name.
pub fn document_format(media_type: Option<&str>, name: Option<&str>) -> Option<&'static str> {
    let media_type = media_type.map(essence).unwrap_or_default();
    format_of(&DOCUMENTS, &media_type)
        .or_else(|| document_format_of_name(name?))
        .or_else(|| (media_type.starts_with("text/") || media_type == "application/json").then_some("txt"))
}

pub fn document_format_of_name(name: &str) -> Option<&'static str> {
    match extension(name)?.as_str() {
        "htm" => Some("html"),
        "markdown" => Some("md"),
        extension => format_named(&DOCUMENTS, extension),
    }
}

pub fn document_media_type(format: &str) -> Option<&'static str> {
    DOCUMENTS.iter().find(|(known, _)| *known == format).map(|(_, media_type)| *media_type)
}

/// The format of audio, which clients name nearly as Converse does.
pub fn audio_format(format: &str) -> Option<&'static str> {
    match format {
        "pcm16" => Some("pcm"),
        format => AUDIO.into_iter().find(|known| *known == format),
    }
}

fn format_of(table: &[(&'static str, &'static str)], wanted: &str) -> Option<&'static str> {
    table.iter().find(|(_, media_type)| *media_type == wanted).map(|(format, _)| *format)
}

fn format_named(table: &[(&'static str, &'static str)], wanted: &str) -> Option<&'static str> {
    table.iter().find(|(format, _)| *format == wanted).map(|(format, _)| *format)
}

/// Names that were given to documents of one request: they must differ. With each, the number to try next, so that
/// many documents of one name do not take forever.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, u32>);

impl Names {
    /// A name that Converse takes: letters and digits, single spaces, hyphens, parentheses and brackets.
    pub fn give(&mut self, name: Option<&str>) -> String {
        let name = name.unwrap_or_default();
        // The format says what the ending said.
        let stem = match name.rsplit_once('.') {
            Some((stem, _)) if document_format_of_name(name).is_some() => stem,
            _ => name,
        };
        let mut clean = String::new();
        for character in stem.chars().take(180) {
            match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '(' | ')' | '[' | ']' => clean.push(character),
                _ if clean.is_empty() || clean.ends_with(' ') => {}
                _ => clean.push(' '),
            }
        }
        let clean = match clean.trim_end() {
            "" => "document",
            clean => clean,
        };
        let Some(mut number) = self.0.get(clean).copied() else {
            self.0.insert(clean.to_owned(), 2);
            return clean.to_owned();
        };
        loop {
            let unique = format!("{clean} ({number})");
            number += 1;
            if !self.0.contains_key(&unique) {
                self.0.insert(clean.to_owned(), number);
                self.0.insert(unique.clone(), 2);
                return unique;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_get_names_that_are_allowed_and_differ() {
        let mut names = Names::default();
        assert_eq!(names.give(Some("Q3  report_final.pdf")), "Q3 report final");
        assert_eq!(names.give(Some("Q3 report final")), "Q3 report final (2)");
        assert_eq!(names.give(Some("Ignore all \u{1f600}\nrules!.docx")), "Ignore all rules");
        assert_eq!(names.give(None), "document");
        assert_eq!(names.give(Some("…")), "document (2)");
        assert_eq!(names.give(Some("v1.2")), "v1 2");
        assert!(names.give(Some(&"x".repeat(5000))).len() <= 200);
    }

    #[test]
    fn a_media_type_that_says_nothing_yields_to_the_name() {
        assert_eq!(document_format(Some("application/octet-stream"), Some("a.XLSX")), Some("xlsx"));
        assert_eq!(document_format(Some("text/plain; charset=utf-8"), Some("a.pdf")), Some("txt"));
        assert_eq!(document_format(Some("text/x-python"), Some("a.py")), Some("txt"));
        assert_eq!(document_format(Some("application/zip"), Some("a.zip")), None);
        assert_eq!(image_format("image/JPG"), Some("jpeg"));
    }
}
