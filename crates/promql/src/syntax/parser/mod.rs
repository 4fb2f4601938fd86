//! Words and signs into trees, by precedence climbing.
//!
//! Types are checked as soon as a node is complete, so that a tree that comes out of here is a valid query. Whatever
//! walks trees does so by recursion; their height is therefore bounded ([`MAX_DEPTH`]), both on the way down (nested
//! parentheses, signs and powers) and on the way up (long sums lean to the left without nesting).

mod binary;
mod call;
mod duration;
mod selector;

use super::ParseOptions;
use super::check;
use super::lexer::Lexer;
use super::literal;
use super::token::{Failure, Keyword, Token, TokenKind};
use crate::ast::{AggregationOp, BinaryOp, Expr, ExprKind, Place};

pub(super) use binary::Modifiers;
pub(super) use selector::selector_only;

/// The greatest height of a tree.
pub const MAX_DEPTH: usize = 200;

type Parsed<T> = Result<T, Failure>;

/// Something with the height of its tree.
struct Tall<T> {
    node: T,
    height: usize,
}

/// Boxed, since what recursion passes on must be small.
type Node = Tall<Box<Expr>>;

/// Reads a whole query.
pub(super) fn expression(text: &str, options: ParseOptions) -> Parsed<Expr> {
    let mut parser = Parser::new(text, options);
    if parser.token.kind == TokenKind::End {
        return Err(Failure::new(text.len(), "no expression found in input"));
    }
    let node = parser.expr()?;
    if parser.token.kind != TokenKind::End {
        return parser.unexpected("", "");
    }
    Ok(*node.node)
}

struct Parser<'a> {
    text: &'a str,
    options: ParseOptions,
    lexer: Lexer<'a>,
    token: Token,
    following: Option<Token>,
    /// End of the last token that was taken.
    end: usize,
    /// Nodes that are begun and not complete.
    depth: usize,
    /// A selector that begins here may match everything.
    lenient_at: Option<usize>,
    regexes: selector::Regexes,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: ParseOptions) -> Self {
        let mut lexer = Lexer::new(text);
        let token = lexer.next();
        let regexes = selector::Regexes::default();
        Self { text, options, lexer, token, following: None, end: 0, depth: 0, lenient_at: None, regexes }
    }

    fn advance(&mut self) -> Token {
        let next = self.following.take().unwrap_or_else(|| self.lexer.next());
        let taken = std::mem::replace(&mut self.token, next);
        self.end = taken.place.end;
        taken
    }

    fn following(&mut self) -> &TokenKind {
        &self.following.get_or_insert_with(|| self.lexer.next()).kind
    }

    fn start(&self) -> usize {
        self.token.place.start
    }

    /// From a first byte to the end of the last token.
    fn place_from(&self, start: usize) -> Place {
        start..self.end.max(start)
    }

    fn written(&self, place: &Place) -> &'a str {
        self.text.get(place.clone()).unwrap_or_default()
    }

    fn keyword(&self) -> Option<Keyword> {
        match self.token.kind {
            TokenKind::Word(keyword) => keyword,
            _ => None,
        }
    }

    fn eat(&mut self, kind: &TokenKind) -> bool {
        let found = self.token.kind == *kind;
        if found {
            self.advance();
        }
        found
    }

    fn eat_keyword(&mut self, keyword: Keyword) -> bool {
        let found = self.keyword() == Some(keyword);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, kind: &TokenKind, context: &str, expected: &str) -> Parsed<()> {
        if self.eat(kind) { Ok(()) } else { self.unexpected(context, expected) }
    }

    /// The token at hand does not belong here.
    fn unexpected<T>(&self, context: &str, expected: &str) -> Parsed<T> {
        if let TokenKind::Bad(failure) = &self.token.kind {
            return Err(failure.clone());
        }
        let mut message = format!("unexpected {}", self.token.describe(self.text));
        if !context.is_empty() {
            message = format!("{message} in {context}");
        }
        if !expected.is_empty() {
            message = format!("{message}, expected {expected}");
        }
        Err(Failure::new(self.start(), message))
    }

    fn experimental(&self, offset: usize, what: &str) -> Parsed<()> {
        if self.options.experimental {
            return Ok(());
        }
        Err(Failure::new(
            offset,
            format!("{what} is experimental and not enabled; promql.experimental enables it"),
        ))
    }

    /// Begins a level; [`Parser::leave`] ends it, unless reading fails.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.check_height(self.depth, self.start())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn check_height(&self, height: usize, offset: usize) -> Parsed<()> {
        if height <= MAX_DEPTH {
            return Ok(());
        }
        Err(Failure::new(offset, format!("expression is nested deeper than {MAX_DEPTH} levels")))
    }

    /// A complete node one level above its parts.
    fn node(&self, kind: ExprKind, start: usize, below: usize) -> Parsed<Node> {
        let height = below + 1;
        self.check_height(height, start)?;
        Ok(Tall { node: Box::new(Expr { kind, place: self.place_from(start) }), height })
    }

    // What follows calls itself, level by level. Whatever does not lie on that way is in functions of its own, which
    // keeps the stack that a level takes small.

    fn expr(&mut self) -> Parsed<Node> {
        self.enter()?;
        let node = self.binary(0)?;
        self.leave();
        Ok(node)
    }

    /// `+` or `-`: whether it is minus.
    fn sign(&self) -> Option<bool> {
        match self.token.kind {
            TokenKind::Operator(BinaryOp::Add) => Some(false),
            TokenKind::Operator(BinaryOp::Sub) => Some(true),
            _ => None,
        }
    }

    fn unary(&mut self) -> Parsed<Node> {
        let Some(negative) = self.sign() else {
            return self.postfix();
        };
        let start = self.start();
        self.advance();
        self.enter()?;
        let operand = self.binary(binary::POWER)?;
        self.leave();
        self.signed(negative, start, operand)
    }

    /// A sign before an expression; numbers take it in.
    fn signed(&self, negative: bool, start: usize, mut operand: Node) -> Parsed<Node> {
        if let ExprKind::Number { value, .. } = &mut operand.node.kind {
            if negative {
                *value = -*value;
            }
            operand.node.place.start = start;
            return Ok(operand);
        }
        check::unary(&operand.node, start)?;
        self.node(ExprKind::Unary { negative, expr: operand.node }, start, operand.height)
    }

    fn postfix(&mut self) -> Parsed<Node> {
        let node = self.primary()?;
        self.suffixes(node)
    }

    /// Ranges and modifiers behind an expression.
    fn suffixes(&mut self, mut node: Node) -> Parsed<Node> {
        loop {
            node = match &self.token.kind {
                TokenKind::LeftBracket => self.brackets(node)?,
                TokenKind::At => self.at(node)?,
                TokenKind::Word(Some(Keyword::Offset)) => self.offset(node)?,
                TokenKind::Word(Some(Keyword::Anchored | Keyword::Smoothed)) => self.boundaries(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn primary(&mut self) -> Parsed<Node> {
        match self.token.kind {
            TokenKind::LeftParen => self.parenthesised(),
            TokenKind::LeftBrace | TokenKind::MetricWord | TokenKind::Word(_) => match self.named()? {
                Named::Aggregation(op) => self.aggregation(op),
                Named::Call => self.call(),
                Named::Selector => self.selector(),
            },
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Parsed<Node> {
        let start = self.start();
        let kind = match &mut self.token.kind {
            TokenKind::Number(value) => ExprKind::Number { value: *value, duration: false },
            TokenKind::Duration(millis) => {
                ExprKind::Number { value: *millis as f64 / 1_000.0, duration: true }
            }
            TokenKind::Text(text) => ExprKind::String(std::mem::take(text)),
            _ => return self.unexpected("", "an expression"),
        };
        self.advance();
        self.node(kind, start, 0)
    }

    fn parenthesised(&mut self) -> Parsed<Node> {
        let start = self.start();
        self.advance();
        let inner = self.expr()?;
        self.close(inner, start)
    }

    fn close(&mut self, inner: Node, start: usize) -> Parsed<Node> {
        self.expect(&TokenKind::RightParen, "", "\")\" or an operator")?;
        self.node(ExprKind::Paren(inner.node), start, inner.height)
    }

    /// What begins with a word or a brace.
    fn named(&mut self) -> Parsed<Named> {
        let keyword = self.keyword();
        if let Some(Keyword::Aggregation(op)) = keyword {
            let follows = self.following();
            let clause = matches!(follows, TokenKind::Word(Some(Keyword::By | Keyword::Without)));
            if clause || *follows == TokenKind::LeftParen {
                return Ok(Named::Aggregation(op));
            }
        }
        if matches!(self.token.kind, TokenKind::Word(_)) && *self.following() == TokenKind::LeftParen {
            let name = self.written(&self.token.place);
            if keyword.is_none() || crate::functions::find(name).is_some() {
                return Ok(Named::Call);
            }
        }
        if keyword.is_some_and(Keyword::is_reserved) {
            return self.unexpected("", "an expression");
        }
        Ok(Named::Selector)
    }
}

enum Named {
    Aggregation(AggregationOp),
    Call,
    Selector,
}

/// Seconds that may be negative, as they are written in a query: to the millisecond.
fn whole_millis(seconds: f64) -> Option<f64> {
    let millis = (seconds * 1_000.0).round();
    (millis.abs() <= literal::MAX_DURATION_MILLIS as f64).then_some(millis / 1_000.0)
}
