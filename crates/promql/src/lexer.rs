//! Cuts a query into tokens, each with its place in the text.

use metricsd_model::MatchOp;

use crate::ParseError;

/// A piece of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A word: metric name, label name or keyword; may hold colons.
    Word(String),
    /// A string literal, unescaped.
    Text(String),
    /// `{`
    Open,
    /// `}`
    Close,
    /// `,`
    Comma,
    /// `=`, `!=`, `=~` or `!~`
    Op(MatchOp),
    /// Anything else, as it is written: parts of the language that are not understood yet, or of none.
    Other(String),
    /// The end of the text.
    End,
}

impl Token {
    /// What it is, for an error message.
    pub fn describe(&self) -> String {
        match self {
            Self::Word(word) | Self::Other(word) => format!("{:?}", shorten(word)),
            Self::Text(text) => format!("string {:?}", shorten(text)),
            Self::Open => "\"{\"".to_owned(),
            Self::Close => "\"}\"".to_owned(),
            Self::Comma => "\",\"".to_owned(),
            Self::Op(op) => format!("{:?}", op.as_str()),
            Self::End => "the end of the query".to_owned(),
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads tokens one by one.
pub struct Lexer<'q> {
    text: &'q str,
    at: usize,
}

impl<'q> Lexer<'q> {
    /// Starts at the beginning.
    pub fn new(text: &'q str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the byte at which it begins; [`Token::End`] again and again once all is read.
    pub fn next_token(&mut self) -> Result<(usize, Token), ParseError> {
        self.skip_blank();
        let start = self.at;
        let Some(c) = self.rest().chars().next() else {
            return Ok((start, Token::End));
        };
        let token = match c {
            '{' => self.take(1, Token::Open),
            '}' => self.take(1, Token::Close),
            ',' => self.take(1, Token::Comma),
            '"' | '\'' => self.quoted(c)?,
            '`' => self.raw()?,
            '=' | '!' => self.operator(),
            c if is_word(c) && !c.is_ascii_digit() => Token::Word(self.while_matches(is_word)),
            c if c.is_ascii_digit() => Token::Other(self.while_matches(|c| is_word(c) || c == '.')),
            c => self.take(c.len_utf8(), Token::Other(c.to_string())),
        };
        Ok((start, token))
    }

    fn rest(&self) -> &'q str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn take(&mut self, bytes: usize, token: Token) -> Token {
        self.at += bytes;
        token
    }

    fn while_matches(&mut self, accept: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    /// Blanks, and comments from `#` to the end of the line.
    fn skip_blank(&mut self) {
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

    fn operator(&mut self) -> Token {
        let rest = self.rest();
        let known = [
            ("=~", Token::Op(MatchOp::Regex)),
            ("!~", Token::Op(MatchOp::NotRegex)),
            ("!=", Token::Op(MatchOp::NotEqual)),
            ("==", Token::Other("==".to_owned())),
            ("=", Token::Op(MatchOp::Equal)),
            ("!", Token::Other("!".to_owned())),
        ];
        for (text, token) in known {
            if rest.starts_with(text) {
                return self.take(text.len(), token);
            }
        }
        Token::End
    }

    /// A string between backticks: everything stands for itself.
    fn raw(&mut self) -> Result<Token, ParseError> {
        let inner = &self.rest()[1..];
        let Some(end) = inner.find('`') else {
            return Err(ParseError::at(self.text, self.at, "this string has no end; expected a closing `"));
        };
        let text = inner[..end].to_owned();
        Ok(self.take(end + 2, Token::Text(text)))
    }

    /// A string between quotes, with Go's escapes.
    fn quoted(&mut self, quote: char) -> Result<Token, ParseError> {
        let start = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        while let Some(c) = self.rest().chars().next() {
            match c {
                c if c == quote => {
                    self.at += 1;
                    let text = String::from_utf8(bytes).map_err(|_| {
                        ParseError::at(self.text, start, "the escapes of this string do not make UTF-8")
                    })?;
                    return Ok(Token::Text(text));
                }
                '\n' => break,
                '\\' => self.escape(quote, &mut bytes)?,
                c => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += c.len_utf8();
                }
            }
        }
        let message = format!("this string has no end; expected a closing {quote}");
        Err(ParseError::at(self.text, start, message))
    }

    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
        let start = self.at;
        let unknown = |what: &str| Err(ParseError::at(self.text, start, format!("{what} is not an escape")));
        let Some(c) = self.rest()[1..].chars().next() else {
            return unknown("a backslash at the end");
        };
        let simple = match c {
            'a' => Some(0x07),
            'b' => Some(0x08),
            'f' => Some(0x0c),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(0x0b),
            '\\' => Some(b'\\'),
            c if c == quote => Some(quote as u8),
            _ => None,
        };
        if let Some(byte) = simple {
            bytes.push(byte);
            self.at += 2;
            return Ok(());
        }
        let (skip, digits, radix) = match c {
            'x' => (2, 2, 16),
            'u' => (2, 4, 16),
            'U' => (2, 8, 16),
            '0'..='7' => (1, 3, 8),
            c => return unknown(&format!("\"\\{c}\"")),
        };
        let code =
            self.rest().get(skip..skip + digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = code.and_then(|text| u32::from_str_radix(text, radix).ok()) else {
            return unknown(&format!("\"\\{c}\" without its {digits} digits"));
        };
        self.at += skip + digits;
        if matches!(c, 'u' | 'U') {
            let Some(c) = char::from_u32(code) else {
                return unknown("the number of no character");
            };
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        match u8::try_from(code) {
            Ok(byte) => bytes.push(byte),
            Err(_) => return unknown("an octal number above 377"),
        }
        Ok(())
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}
