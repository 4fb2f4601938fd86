//! Reads a query: so far `name{label="value",…}` and its variants.

use metricsd_model::{METRIC_NAME, MatchOp, Matcher};

use crate::ast::is_number_word;
use crate::lexer::{Lexer, Token};
use crate::{ParseError, Selector};

/// Longer queries are refused unread.
pub const MAX_QUERY_BYTES: usize = 64 << 10;

/// Each matcher may hold a compiled expression; this bounds them together.
pub const MAX_MATCHERS: usize = 64;

/// What to say of the parts of the language that are still to come.
const NOT_YET: &str = "only series selectors such as up{job=\"node\"} are supported so far";

/// Reads a query.
pub fn parse(query: &str) -> Result<Selector, ParseError> {
    if query.len() > MAX_QUERY_BYTES {
        let message = format!("the query is longer than {MAX_QUERY_BYTES} bytes");
        return Err(ParseError::at(query, 0, message));
    }
    let mut parser = Parser { query, lexer: Lexer::new(query), at: 0, token: Token::End };
    parser.advance()?;
    parser.selector()
}

struct Parser<'q> {
    query: &'q str,
    lexer: Lexer<'q>,
    at: usize,
    token: Token,
}

impl Parser<'_> {
    /// Moves to the next token and hands out the one that stood here.
    fn advance(&mut self) -> Result<Token, ParseError> {
        let (at, next) = self.lexer.next_token()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::at(self.query, self.at, message))
    }

    fn expected<T>(&self, what: &str) -> Result<T, ParseError> {
        self.error(format!("expected {what}, found {}", self.token.describe()))
    }

    fn selector(&mut self) -> Result<Selector, ParseError> {
        let mut matchers = Vec::new();
        match &self.token {
            Token::Word(word) if is_number_word(word) => {
                return self.error(format!("numbers are not supported yet: {NOT_YET}"));
            }
            Token::Word(word) => {
                matchers.push(Matcher::equal(METRIC_NAME, word.clone()));
                self.advance()?;
            }
            Token::Open => {}
            Token::End => {
                return self.error("the query is empty; expected a series selector such as up{job=\"node\"}");
            }
            _ => return self.not_a_selector(),
        }
        if self.token == Token::Open {
            self.braces(&mut matchers)?;
        }
        if self.token != Token::End {
            return self.not_the_end();
        }
        if matchers.iter().all(Matcher::matches_empty) {
            let message = "a selector must hold at least one matcher that does not match the empty value";
            return Err(ParseError::at(self.query, 0, message));
        }
        Ok(Selector { matchers })
    }

    fn not_a_selector<T>(&self) -> Result<T, ParseError> {
        match &self.token {
            Token::Text(_) => self.error(format!("strings are not supported yet: {NOT_YET}")),
            Token::Other(text) if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                self.error(format!("numbers are not supported yet: {NOT_YET}"))
            }
            Token::Other(text) if matches!(text.as_str(), "(" | "-" | "+") => {
                self.error(format!("operators and parentheses are not supported yet: {NOT_YET}"))
            }
            _ => self.expected("a metric name or \"{\""),
        }
    }

    fn not_the_end<T>(&self) -> Result<T, ParseError> {
        let what = match &self.token {
            Token::Other(text) => match text.as_str() {
                "(" => "functions and aggregations",
                "[" => "range selectors",
                "@" => "the @ modifier",
                "+" | "-" | "*" | "/" | "%" | "^" | "<" | ">" | "==" => "operators",
                _ => return self.expected("the end of the query"),
            },
            Token::Op(MatchOp::NotEqual) => "operators",
            Token::Word(word) => match word.as_str() {
                "offset" => "the offset modifier",
                "and" | "or" | "unless" | "atan2" => "operators",
                "by" | "without" => "functions and aggregations",
                _ => return self.expected("\"{\" or the end of the query"),
            },
            _ => return self.expected("the end of the query"),
        };
        self.error(format!("{what} are not supported yet: {NOT_YET}").replace("modifier are", "modifier is"))
    }

    /// From `{` to past `}`.
    fn braces(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), ParseError> {
        let mut named = !matchers.is_empty();
        self.advance()?;
        while self.token != Token::Close {
            let at = self.at;
            let matcher = self.matcher(&mut named)?;
            if matchers.len() >= MAX_MATCHERS {
                return Err(ParseError::at(self.query, at, format!("more than {MAX_MATCHERS} matchers")));
            }
            matchers.push(matcher);
            match self.token {
                Token::Comma => self.advance()?,
                Token::Close => break,
                _ => return self.expected("\",\" or \"}\""),
            };
        }
        self.advance()?;
        // The name leads, wherever it was written.
        if let Some(place) = matchers.iter().position(|matcher| matcher.name == METRIC_NAME) {
            matchers[..=place].rotate_right(1);
        }
        Ok(())
    }

    fn matcher(&mut self, named: &mut bool) -> Result<Matcher, ParseError> {
        let at = self.at;
        let (name, quoted) = match &self.token {
            Token::Word(word) if word.contains(':') => {
                return self.error(format!("{word:?} is not a label name: quote it to keep its colon"));
            }
            Token::Word(word) => (word.clone(), false),
            Token::Text(text) => (text.clone(), true),
            _ => return self.expected("a label name or \"}\""),
        };
        if name.is_empty() {
            return self.error("a name is empty");
        }
        self.advance()?;
        let is_name = quoted && matches!(self.token, Token::Comma | Token::Close);
        if (is_name || name == METRIC_NAME) && *named {
            return Err(ParseError::at(self.query, at, "the metric name is given twice"));
        }
        if is_name {
            *named = true;
            return Ok(Matcher::equal(METRIC_NAME, name));
        }
        let Token::Op(op) = self.token else {
            return self.expected("one of =, !=, =~ or !~");
        };
        self.advance()?;
        let value_at = self.at;
        let Token::Text(value) = &self.token else {
            return self.expected("a quoted value");
        };
        let value = value.clone();
        self.advance()?;
        Matcher::new(name, op, value.as_str()).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ");
            ParseError::at(self.query, value_at, format!("not a regular expression: {reason}"))
        })
    }
}
