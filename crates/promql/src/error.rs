//! Why a query has no answer.

use metricsd_ports::{ErrorKind, PortError};

use crate::annotation::line_and_column;

/// What a caller may do about a failed query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryErrorKind {
    /// The query or its parameters are wrong; the message says where.
    BadData,
    /// It cannot be carried out on the data that it finds; the message says why.
    Execution,
    /// A fault of ours or of the store.
    Internal,
    /// It took longer than allowed.
    Timeout,
    /// It touches more than allowed.
    Limit,
    /// Nobody waits for the answer any more.
    Cancelled,
    /// The store is away; trying again can help.
    Unavailable,
}

/// Why a query has no answer. The message is fit for the one who asked; the source is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    kind: QueryErrorKind,
    message: String,
    /// Line and column, where one place is to blame that the message does not name itself.
    place: Option<(usize, usize)>,
    #[source]
    source: Option<PortError>,
}

impl QueryError {
    /// An error that stands alone.
    pub fn new(kind: QueryErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None, source: None }
    }

    pub(crate) fn at(self, place: (usize, usize)) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Line and column (from 1, in bytes) of what is to blame, where the message does not say so itself.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place
    }

    /// What a caller may do.
    pub fn kind(&self) -> QueryErrorKind {
        self.kind
    }

    /// The whole chain in one line, for the one place where it is logged.
    pub fn chain(&self) -> String {
        match &self.source {
            // What the store says itself is not said twice.
            Some(source) if source.to_string() == self.message => source.chain(),
            Some(source) => format!("{}: {}", self.message, source.chain()),
            None => self.message.clone(),
        }
    }
}

impl From<PortError> for QueryError {
    /// Limits, invalid requests and what is meant for them are explained to the one who asked; of other errors only the
    /// kind is told.
    fn from(error: PortError) -> Self {
        let told = error.told().map(str::to_owned);
        let (kind, message) = match error.kind() {
            ErrorKind::Unavailable => (QueryErrorKind::Unavailable, "the store cannot be reached".to_owned()),
            ErrorKind::Timeout => (QueryErrorKind::Timeout, "the store did not answer in time".to_owned()),
            ErrorKind::Limit => (QueryErrorKind::Limit, error.to_string()),
            ErrorKind::Invalid => (QueryErrorKind::BadData, error.to_string()),
            ErrorKind::Conflict | ErrorKind::Internal => {
                (QueryErrorKind::Internal, "the store could not answer".to_owned())
            }
        };
        Self { kind, message: told.unwrap_or(message), place: None, source: Some(error) }
    }
}

/// Where a query stops making sense, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl ParseError {
    /// An error at a byte of the text; an offset past its end stands for the end.
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(text, offset);
        Self { line, column, message: message.into() }
    }
}

impl From<ParseError> for QueryError {
    fn from(error: ParseError) -> Self {
        Self::new(QueryErrorKind::BadData, error.to_string())
    }
}
