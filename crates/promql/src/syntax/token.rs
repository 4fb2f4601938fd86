//! The words and signs of the language.

use crate::ast::{AggregationOp, BinaryOp, Place};

/// What went wrong while reading, and at which byte.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) offset: usize,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }
}

/// A word or sign with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) place: Place,
}

/// Kinds of words and signs. Operators written as words are keywords, since a metric may have their name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    End,
    /// Letters, digits and underscores.
    Word(Option<Keyword>),
    /// A word with colons, which only metrics have.
    MetricWord,
    Number(f64),
    /// In milliseconds.
    Duration(u64),
    /// Its value, without quotes and escapes.
    Text(String),
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    /// `=`
    Assign,
    /// `=~`
    RegexMatch,
    /// `!~`
    RegexMismatch,
    Operator(BinaryOp),
    /// What follows is not the language.
    Bad(Failure),
}

/// Words with a meaning of their own, in either case of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Operator(BinaryOp),
    Aggregation(AggregationOp),
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Offset,
    Start,
    End,
    Step,
    Range,
    Anchored,
    Smoothed,
}

/// Longer words are no keywords.
const LONGEST_KEYWORD: usize = 12;

impl Keyword {
    pub(super) fn find(word: &str) -> Option<Self> {
        if word.len() > LONGEST_KEYWORD {
            return None;
        }
        let lower = word.to_ascii_lowercase();
        let keyword = match lower.as_str() {
            "and" => Self::Operator(BinaryOp::And),
            "or" => Self::Operator(BinaryOp::Or),
            "unless" => Self::Operator(BinaryOp::Unless),
            "atan2" => Self::Operator(BinaryOp::Atan2),
            "by" => Self::By,
            "without" => Self::Without,
            "on" => Self::On,
            "ignoring" => Self::Ignoring,
            "group_left" => Self::GroupLeft,
            "group_right" => Self::GroupRight,
            "bool" => Self::Bool,
            "offset" => Self::Offset,
            "start" => Self::Start,
            "end" => Self::End,
            "step" => Self::Step,
            "range" => Self::Range,
            "anchored" => Self::Anchored,
            "smoothed" => Self::Smoothed,
            name => Self::Aggregation(
                AggregationOp::ALL.iter().copied().find(|aggregation| aggregation.as_str() == name)?,
            ),
        };
        Some(keyword)
    }

    /// Whether a metric of this name must be written in quotes.
    pub(super) fn is_reserved(self) -> bool {
        matches!(
            self,
            Self::On
                | Self::Ignoring
                | Self::GroupLeft
                | Self::GroupRight
                | Self::Bool
                | Self::Operator(BinaryOp::Atan2)
        )
    }
}

/// Longer pieces of a query are cut in messages.
const SHOWN_BYTES: usize = 40;

impl Token {
    /// As messages name it: `<by>`, `number "5"`, `")"`.
    pub(super) fn describe(&self, text: &str) -> String {
        let written = text.get(self.place.clone()).unwrap_or_default();
        let quoted = || super::literal::quote(&shorten(written));
        match &self.kind {
            TokenKind::End => "end of input".to_owned(),
            TokenKind::Word(Some(Keyword::Operator(_))) | TokenKind::Operator(_) => {
                format!("<op:{}>", written.to_ascii_lowercase())
            }
            TokenKind::Word(Some(Keyword::Aggregation(_))) => {
                format!("<aggr:{}>", written.to_ascii_lowercase())
            }
            TokenKind::Word(Some(_)) => format!("<{}>", written.to_ascii_lowercase()),
            TokenKind::Word(None) => format!("identifier {}", quoted()),
            TokenKind::MetricWord => format!("metric identifier {}", quoted()),
            TokenKind::Number(_) => format!("number {}", quoted()),
            TokenKind::Duration(_) => format!("duration {}", quoted()),
            TokenKind::Text(_) => format!("string {}", quoted()),
            _ => quoted(),
        }
    }
}

/// The beginning of a piece of the query, fit for a message.
pub(super) fn shorten(written: &str) -> String {
    if written.len() <= SHOWN_BYTES {
        return written.to_owned();
    }
    let mut end = SHOWN_BYTES;
    while !written.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &written[..end])
}
