//! Text into words and signs.

use super::literal::{self, DurationFault, quote_sign};
use super::token::{Failure, Keyword, Token, TokenKind};
use crate::ast::BinaryOp;

/// Where the lexer stands decides what a word or a colon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Anything but what follows.
    Expression,
    /// Between the braces of a selector.
    Matchers,
    /// Between the brackets of a range.
    Range,
}

/// Reads one token after the other. Past a [`TokenKind::Bad`] it has nothing more to say.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    mode: Mode,
    open_parens: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, mode: Mode::Expression, open_parens: 0 }
    }

    /// The next token; at the end always [`TokenKind::End`].
    pub(super) fn next(&mut self) -> Token {
        self.skip_space();
        let start = self.at;
        let kind = match self.read() {
            Ok(kind) => kind,
            Err(failure) => {
                self.at = self.text.len();
                TokenKind::Bad(failure)
            }
        };
        Token { kind, place: start..self.at.max(start) }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn read(&mut self) -> Result<TokenKind, Failure> {
        let rest = self.rest();
        let Some(sign) = rest.chars().next() else {
            return self.end();
        };
        match sign {
            '"' | '\'' => return self.quoted(sign),
            '`' => return self.raw(),
            _ if self.mode == Mode::Matchers => return self.in_braces(sign),
            '0'..='9' => return self.number(),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => return self.number(),
            ':' if self.mode == Mode::Range => return Ok(self.take(1, TokenKind::Colon)),
            'a'..='z' | 'A'..='Z' | '_' | ':' => return Ok(self.word()),
            _ => {}
        }
        if let Some(kind) = self.bracket(sign)? {
            return Ok(kind);
        }
        self.sign(sign)
    }

    fn take(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.at += length;
        kind
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Failure> {
        Err(Failure::new(self.at, message))
    }

    fn end(&self) -> Result<TokenKind, Failure> {
        match self.mode {
            Mode::Matchers => self.fail("unexpected end of input inside braces"),
            Mode::Range => self.fail("unclosed left bracket"),
            Mode::Expression if self.open_parens > 0 => self.fail("unclosed left parenthesis"),
            Mode::Expression => Ok(TokenKind::End),
        }
    }

    fn bracket(&mut self, sign: char) -> Result<Option<TokenKind>, Failure> {
        let kind = match sign {
            '(' => {
                self.open_parens += 1;
                TokenKind::LeftParen
            }
            ')' => {
                let Some(open) = self.open_parens.checked_sub(1) else {
                    return self.fail("unexpected right parenthesis ')'");
                };
                self.open_parens = open;
                TokenKind::RightParen
            }
            '{' if self.mode == Mode::Range => return self.fail("unexpected left brace '{' inside brackets"),
            '{' => {
                self.mode = Mode::Matchers;
                TokenKind::LeftBrace
            }
            '}' => return self.fail("unexpected right brace '}'"),
            '[' if self.mode == Mode::Range => return self.fail("unexpected left bracket '['"),
            '[' => {
                self.mode = Mode::Range;
                TokenKind::LeftBracket
            }
            ']' if self.mode != Mode::Range => return self.fail("unexpected right bracket ']'"),
            ']' => {
                self.mode = Mode::Expression;
                TokenKind::RightBracket
            }
            _ => return Ok(None),
        };
        Ok(Some(self.take(1, kind)))
    }

    fn sign(&mut self, sign: char) -> Result<TokenKind, Failure> {
        let next = self.rest().chars().nth(1);
        let operator = |op, length| (TokenKind::Operator(op), length);
        let (kind, length) = match (sign, next) {
            (',', _) => (TokenKind::Comma, 1),
            ('@', _) => (TokenKind::At, 1),
            ('+', _) => operator(BinaryOp::Add, 1),
            ('-', _) => operator(BinaryOp::Sub, 1),
            ('*', _) => operator(BinaryOp::Mul, 1),
            ('/', _) => operator(BinaryOp::Div, 1),
            ('%', _) => operator(BinaryOp::Mod, 1),
            ('^', _) => operator(BinaryOp::Pow, 1),
            ('=', Some('=')) => operator(BinaryOp::Eq, 2),
            ('=', Some('~')) => return self.unexpected_after('=', next),
            ('=', _) => (TokenKind::Assign, 1),
            ('!', Some('=')) => operator(BinaryOp::Ne, 2),
            ('!', _) => return self.unexpected_after('!', next),
            ('<', Some('=')) => operator(BinaryOp::Le, 2),
            ('<', Some('/')) => operator(BinaryOp::TrimUpper, 2),
            ('<', _) => operator(BinaryOp::Lt, 1),
            ('>', Some('=')) => operator(BinaryOp::Ge, 2),
            ('>', Some('/')) => operator(BinaryOp::TrimLower, 2),
            ('>', _) => operator(BinaryOp::Gt, 1),
            _ => return self.fail(format!("unexpected character: {}", quote_sign(sign))),
        };
        Ok(self.take(length, kind))
    }

    fn unexpected_after(&self, sign: char, next: Option<char>) -> Result<TokenKind, Failure> {
        match next {
            Some(next) => self.fail(format!("unexpected character after '{sign}': {}", quote_sign(next))),
            None => self.fail(format!("unexpected end of input after '{sign}'")),
        }
    }

    fn in_braces(&mut self, sign: char) -> Result<TokenKind, Failure> {
        let next = self.rest().chars().nth(1);
        let (kind, length) = match (sign, next) {
            (',', _) => (TokenKind::Comma, 1),
            ('}', _) => {
                self.mode = Mode::Expression;
                (TokenKind::RightBrace, 1)
            }
            ('=', Some('~')) => (TokenKind::RegexMatch, 2),
            ('=', _) => (TokenKind::Assign, 1),
            ('!', Some('~')) => (TokenKind::RegexMismatch, 2),
            ('!', Some('=')) => (TokenKind::Operator(BinaryOp::Ne), 2),
            ('!', _) => return self.unexpected_after('!', next),
            ('a'..='z' | 'A'..='Z' | '_', _) => {
                let length = self.run(|c| c.is_ascii_alphanumeric() || c == '_');
                (TokenKind::Word(None), length)
            }
            _ => return self.fail(format!("unexpected character inside braces: {}", quote_sign(sign))),
        };
        Ok(self.take(length, kind))
    }

    /// How many bytes from here on are such characters.
    fn run(&self, belongs: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        rest.find(|c| !belongs(c)).unwrap_or(rest.len())
    }

    fn word(&mut self) -> TokenKind {
        let colons = self.mode != Mode::Range;
        let length = self.run(|c| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && colons));
        let word = &self.rest()[..length];
        let kind = if word.contains(':') {
            TokenKind::MetricWord
        } else if word.eq_ignore_ascii_case("inf") {
            TokenKind::Number(f64::INFINITY)
        } else if word.eq_ignore_ascii_case("nan") {
            TokenKind::Number(f64::NAN)
        } else {
            TokenKind::Word(Keyword::find(word))
        };
        self.take(length, kind)
    }

    /// A number or a duration: both begin with a digit.
    fn number(&mut self) -> Result<TokenKind, Failure> {
        let rest = self.rest();
        let mut length = 0;
        let mut before = ' ';
        for sign in rest.chars() {
            let exponent_sign = matches!(sign, '+' | '-')
                && matches!(before, 'e' | 'E')
                && !rest.starts_with("0x")
                && !rest.starts_with("0X");
            if !(sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.') || exponent_sign) {
                break;
            }
            before = sign;
            length += 1;
        }
        let written = &rest[..length];
        if let Some(value) = literal::number(written) {
            return Ok(self.take(length, TokenKind::Number(value)));
        }
        match literal::duration(written) {
            Ok(millis) => Ok(self.take(length, TokenKind::Duration(millis))),
            Err(DurationFault::Range) => self.fail("duration out of range"),
            Err(DurationFault::Syntax) => {
                let shown = literal::quote(&super::token::shorten(written));
                self.fail(format!("bad number or duration syntax: {shown}"))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<TokenKind, Failure> {
        let inner = &self.rest()[1..];
        let mut escaped = false;
        let mut end = None;
        for (at, sign) in inner.char_indices() {
            match sign {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if sign == quote => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else {
            return self.fail("unterminated quoted string");
        };
        match literal::unescape(&inner[..end], quote) {
            Ok(value) => Ok(self.take(end + 2, TokenKind::Text(value))),
            Err((offset, message)) => Err(Failure::new(self.at + 1 + offset, message)),
        }
    }

    fn raw(&mut self) -> Result<TokenKind, Failure> {
        let inner = &self.rest()[1..];
        match inner.find('`') {
            Some(end) => Ok(self.take(end + 2, TokenKind::Text(inner[..end].to_owned()))),
            None => self.fail("unterminated raw string"),
        }
    }
}
