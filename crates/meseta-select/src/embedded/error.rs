//! Why an embedder could not be loaded.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the files of an embedder cannot be used. It names the file and says what to do.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
pub(super) enum Problem {
    Unreadable(io::Error),
    TooLarge { bytes: u64, limit: u64 },
    Malformed(String),
}

impl LoadError {
    pub(super) fn new(path: &Path, problem: Problem) -> LoadError {
        LoadError { path: path.to_owned(), problem }
    }
}

impl Problem {
    pub(super) fn malformed(what: impl Into<String>) -> Problem {
        Problem::Malformed(what.into())
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Unreadable(error) => write!(formatter, "cannot read {path}: {error}"),
            Problem::TooLarge { bytes, limit } => {
                write!(formatter, "{path} has {bytes} bytes, more than the {limit} that an embedder may have")
            }
            Problem::Malformed(what) => {
                write!(
                    formatter,
                    "{path} is no file of the embedder: {what}; install wordllama again or name its files"
                )
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(error) => Some(error),
            Problem::TooLarge { .. } | Problem::Malformed(_) => None,
        }
    }
}

/// The whole file, which may have `limit` bytes at most.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    use io::Read;
    let file = std::fs::File::open(path).map_err(Problem::Unreadable)?;
    let bytes = file.metadata().map_err(Problem::Unreadable)?.len();
    if bytes > limit {
        return Err(Problem::TooLarge { bytes, limit });
    }
    let mut content = Vec::new();
    // A file can grow while it is read, and a pipe has no length: the reader itself stops at the limit.
    file.take(limit + 1).read_to_end(&mut content).map_err(Problem::Unreadable)?;
    match u64::try_from(content.len()) {
        Ok(bytes) if bytes <= limit => Ok(content),
        _ => Err(Problem::TooLarge { bytes: limit + 1, limit }),
    }
}
