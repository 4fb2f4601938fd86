//! Why a file as a whole does not read.

use std::io;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not read from here on.
    #[error("{0}")]
    Damaged(String),
    /// It unfolds to more than it may, or holds something larger than it may.
    #[error("{0}")]
    TooLarge(String),
    /// Reading or writing it failed.
    #[error("the file cannot be read or written: {0}")]
    Io(io::Error),
}

impl FileError {
    /// What is wrong at a line.
    pub(crate) fn at(line: u64, message: impl std::fmt::Display) -> Self {
        Self::Damaged(format!("line {line}: {message}"))
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::TooLarge(error.to_string()),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                Self::Damaged(format!("the file is not whole: {error}"))
            }
            _ => Self::Io(error),
        }
    }
}
