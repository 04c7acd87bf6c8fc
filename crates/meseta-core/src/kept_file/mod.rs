//! A file of what people said: private, of one version, owned by one thread, set aside when it is damaged.
//!
//! The stores of Responses and of kept conversations are such files. What stands in one is its [`Contents`]; how it is
//! opened, asked, tidied and closed is here, once.

pub(crate) mod file;
mod thread;

use rusqlite::ErrorCode;

pub(crate) use thread::FileThread;

/// What stands in a kept file and what can be done with it. Runs on the file's own thread.
pub(crate) trait Contents: Sized + Send + 'static {
    type Settings: Clone + Send + 'static;
    type Error: FileFailure;

    fn path(settings: &Self::Settings) -> &str;

    /// Opens the file as it is; also finds out whether it can be read.
    fn open_as_it_is(settings: &Self::Settings) -> Result<Self, Self::Error>;

    /// Deletes a batch of what is too old or too much; says whether there may be more.
    fn tidy(&mut self) -> Result<bool, Self::Error>;

    /// Opens the file; begins a new one where it is damaged.
    fn open(settings: &Self::Settings) -> Result<Self, Self::Error> {
        match Self::open_as_it_is(settings) {
            Err(error) if error.is_damage() => {
                file::set_aside(Self::path(settings)).map_err(FileError::from)?;
                Self::open_as_it_is(settings)
            }
            other => other,
        }
    }
}

/// An error of a store that may be its file's.
pub(crate) trait FileFailure: From<FileError> + Send + 'static {
    fn file(&self) -> Option<&FileError>;

    fn is_damage(&self) -> bool {
        matches!(self.file(), Some(FileError::Corrupt(_)))
    }
}

/// Continues a sentence that names the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The disk did not answer in time. What was to be written may still be.
    Slow,
    /// The store has been closed.
    Closed,
    /// The file is damaged; the store has set it aside, or tried to.
    Corrupt(String),
    /// The disk or the file does not let us: full, read-only, of a newer version.
    Failed(String),
}

impl std::fmt::Display for FileError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileError::Slow => formatter.write_str("it did not reply in time"),
            FileError::Closed => formatter.write_str("it is closed"),
            FileError::Corrupt(why) => write!(formatter, "its file is damaged ({why})"),
            FileError::Failed(why) => write!(formatter, "its file cannot be used ({why})"),
        }
    }
}

impl std::error::Error for FileError {}

impl From<rusqlite::Error> for FileError {
    fn from(error: rusqlite::Error) -> FileError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                FileError::Corrupt(error.to_string())
            }
            _ => FileError::Failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> FileError {
        FileError::Failed(error.to_string())
    }
}
