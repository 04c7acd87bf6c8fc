//! What a model's id tells of how it wants to be asked.

/// A model of Google's, as far as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    /// 2.5 is (2, 5); `None` for names that do not say, such as tuned models and Vertex endpoints.
    version: Option<(u32, u32)>,
    size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Pro,
    Flash,
    Lite,
    Other,
}

/// How a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingForm {
    /// The model does not think, and a thinking configuration is an error.
    Unsupported,
    /// A number of tokens within limits. `off`: 0 turns thinking off.
    Budget { least: u64, most: u64, off: bool },
    /// A word. Not every model knows all of them, and none turns thinking off.
    Level { minimal: bool, medium: bool },
}

impl Model {
    pub(super) fn of(id: &str) -> Model {
        let name = id.rsplit('/').next().unwrap_or(id);
        let Some(rest) = name.strip_prefix("gemini-") else {
            return Model { version: None, size: Size::Other };
        };
        let number = rest.split('-').next().unwrap_or(rest);
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        let version = match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => Some((major, minor)),
            // gemini-flash-latest and its like are of the newest generation.
            _ if rest.ends_with("-latest") => Some((3, 1)),
            _ => None,
        };
        let size = if rest.contains("lite") {
            Size::Lite
        } else if rest.contains("flash") {
            Size::Flash
        } else if rest.contains("pro") {
            Size::Pro
        } else {
            Size::Other
        };
        Model { version, size }
    }

    /// Gemini 3 and later: refuses a step whose first call has no signature, and takes images inside results of tools,
    /// and a form of the answer beside tools.
    pub(super) fn is_third_generation(self) -> bool {
        self.version.is_some_and(|version| version >= (3, 0))
    }

    /// The limits of <https://ai.google.dev/gemini-api/docs/thinking>.
    pub(super) fn thinking(self) -> ThinkingForm {
        match (self.version, self.size) {
            (Some(version), size) if version >= (3, 0) => ThinkingForm::Level {
                minimal: matches!(size, Size::Flash | Size::Lite),
                medium: size != Size::Pro || version >= (3, 1),
            },
            (Some(version), _) if version < (2, 5) => ThinkingForm::Unsupported,
            (Some(_), Size::Pro) => ThinkingForm::Budget { least: 128, most: 32_768, off: false },
            (Some(_), Size::Flash) => ThinkingForm::Budget { least: 1, most: 24_576, off: true },
            (Some(_), Size::Lite) => ThinkingForm::Budget { least: 512, most: 24_576, off: true },
            _ => ThinkingForm::Budget { least: 1, most: 32_768, off: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_generation_and_limits() {
        assert!(Model::of("gemini-3-pro-preview").is_third_generation());
        assert!(Model::of("publishers/google/models/gemini-3.1-flash-lite").is_third_generation());
        assert!(Model::of("gemini-flash-latest").is_third_generation());
        for older in
            ["gemini-2.5-pro", "models/gemini-2.0-flash", "gemma-3-27b-it", "endpoints/123", "gemini-", ""]
        {
            assert!(!Model::of(older).is_third_generation(), "{older}");
        }
        assert_eq!(Model::of("gemini-2.0-flash").thinking(), ThinkingForm::Unsupported);
        assert_eq!(
            Model::of("gemini-2.5-pro").thinking(),
            ThinkingForm::Budget { least: 128, most: 32_768, off: false }
        );
        assert_eq!(
            Model::of("gemini-3-pro-preview").thinking(),
            ThinkingForm::Level { minimal: false, medium: false }
        );
        assert_eq!(
            Model::of("gemini-3-flash-preview").thinking(),
            ThinkingForm::Level { minimal: true, medium: true }
        );
    }
}
