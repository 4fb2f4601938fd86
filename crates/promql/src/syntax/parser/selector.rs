//! Selectors, their matchers, and lists of labels.

use std::collections::HashMap;

use metricsd_model::{MatchOp, Matcher};

use super::{Node, Parsed, Parser};
use crate::ast::{BinaryOp, Boundaries, ExprKind, MatrixSelector, Subquery, TimeShift, VectorSelector};
use crate::syntax::ParseOptions;
use crate::syntax::check;
use crate::syntax::literal::quote;
use crate::syntax::token::{Failure, Keyword, TokenKind, shorten};

const METRIC_NAME: &str = "__name__";

/// Distinct regular expressions that one query may have: each can take up to a megabyte once compiled.
const MAX_REGEXES: usize = 256;

/// The regular expressions of a query, each compiled once.
#[derive(Default)]
pub(super) struct Regexes {
    compiled: HashMap<String, Matcher>,
}

/// Reads nothing but `name{…}`.
pub(in crate::syntax) fn selector_only(text: &str) -> Parsed<Vec<Matcher>> {
    let mut parser = Parser::new(text, ParseOptions::default());
    let reserved = parser.keyword().is_some_and(Keyword::is_reserved);
    let begins =
        matches!(parser.token.kind, TokenKind::LeftBrace | TokenKind::MetricWord | TokenKind::Word(_));
    if reserved || !begins {
        return parser.unexpected("", "a series selector");
    }
    let node = parser.selector()?;
    if parser.token.kind != TokenKind::End {
        return parser.unexpected("series selector", "end of input");
    }
    match node.node.kind {
        ExprKind::Selector(selector) => Ok(selector.matchers),
        _ => Ok(Vec::new()),
    }
}

impl Parser<'_> {
    pub(super) fn selector(&mut self) -> Parsed<Node> {
        let start = self.start();
        let mut name = None;
        let mut matchers = Vec::new();
        if self.token.kind != TokenKind::LeftBrace {
            name = Some(self.written(&self.token.place).to_owned());
            self.advance();
        }
        let mut quoted = Vec::new();
        if self.eat(&TokenKind::LeftBrace) {
            self.matchers(&mut quoted, &mut matchers)?;
        }
        let named_within = matchers.iter().find(|matcher| matcher.name == METRIC_NAME);
        if let Some(name) = &name
            && let Some(other) = named_within.map(|matcher| &matcher.value).or(quoted.first())
        {
            return Err(twice(start, name, other));
        }
        // Within the braces a name is a matcher like any other, and several of them must all hold.
        let named = name.is_some();
        let names = name.into_iter().chain(quoted).map(|name| Matcher::equal(METRIC_NAME, name));
        matchers.splice(0..0, names);
        let lenient = self.lenient_at.take() == Some(start);
        if !lenient && matchers.iter().all(Matcher::matches_empty) {
            let message = "vector selector must contain at least one non-empty matcher";
            return Err(Failure::new(start, message));
        }
        let time = TimeShift::default();
        let selector = VectorSelector { matchers, named, time, boundaries: Boundaries::Inside };
        self.node(ExprKind::Selector(selector), start, 0)
    }

    /// What stands between braces, the closing one included.
    fn matchers(&mut self, names: &mut Vec<String>, matchers: &mut Vec<Matcher>) -> Parsed<()> {
        while !self.eat(&TokenKind::RightBrace) {
            self.matcher(names, matchers)?;
            if !self.eat(&TokenKind::Comma) && self.token.kind != TokenKind::RightBrace {
                return self.unexpected("label matching", "\",\" or \"}\"");
            }
        }
        Ok(())
    }

    fn matcher(&mut self, names: &mut Vec<String>, matchers: &mut Vec<Matcher>) -> Parsed<()> {
        let (label, quoted) = match &mut self.token.kind {
            TokenKind::Word(_) => (self.written(&self.token.place).to_owned(), false),
            TokenKind::Text(text) => (std::mem::take(text), true),
            _ => return self.unexpected("label matching", "identifier or \"}\""),
        };
        self.advance();
        let op = match self.token.kind {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::Ne) => MatchOp::NotEqual,
            TokenKind::RegexMatch => MatchOp::Regex,
            TokenKind::RegexMismatch => MatchOp::NotRegex,
            TokenKind::Comma | TokenKind::RightBrace if quoted => {
                names.push(label);
                return Ok(());
            }
            _ => return self.unexpected("label matching", "label matching operator"),
        };
        self.advance();
        let value_at = self.start();
        let TokenKind::Text(value) = &mut self.token.kind else {
            return self.unexpected("label matching", "string");
        };
        let value = std::mem::take(value);
        self.advance();
        matchers.push(self.compile(label, op, value, value_at)?);
        Ok(())
    }

    fn compile(&mut self, label: String, op: MatchOp, value: String, at: usize) -> Parsed<Matcher> {
        if let Some(known) = self.regexes.compiled.get(&value)
            && matches!(op, MatchOp::Regex | MatchOp::NotRegex)
        {
            let mut matcher = known.clone();
            matcher.name = label;
            matcher.op = op;
            return Ok(matcher);
        }
        let matcher = Matcher::new(label, op, value).map_err(|error| {
            let text = error.to_string();
            let reason = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("invalid");
            let reason = reason.trim().trim_start_matches("error: ");
            Failure::new(at, format!("error parsing regexp: {reason}"))
        })?;
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
            if self.regexes.compiled.len() >= MAX_REGEXES {
                let message = format!("more than {MAX_REGEXES} different regular expressions in one query");
                return Err(Failure::new(at, message));
            }
            self.regexes.compiled.insert(matcher.value.clone(), matcher.clone());
        }
        Ok(matcher)
    }

    /// `( … , … )` of `by`, `on` and their like. Any word may be a label, keywords included.
    pub(super) fn label_list(&mut self) -> Parsed<Vec<String>> {
        let context = "grouping opts";
        self.expect(&TokenKind::LeftParen, context, "\"(\"")?;
        let mut labels = Vec::new();
        while !self.eat(&TokenKind::RightParen) {
            let label = match &mut self.token.kind {
                TokenKind::Word(_) | TokenKind::MetricWord => self.written(&self.token.place).to_owned(),
                TokenKind::Text(text) if text.is_empty() => {
                    return Err(Failure::new(self.start(), "invalid label name for grouping: \"\""));
                }
                TokenKind::Text(text) => std::mem::take(text),
                _ => return self.unexpected(context, "label"),
            };
            self.advance();
            labels.push(label);
            if !self.eat(&TokenKind::Comma) && self.token.kind != TokenKind::RightParen {
                return self.unexpected(context, "\",\" or \")\"");
            }
        }
        Ok(labels)
    }

    /// `[ … ]` makes a range of a selector, `[ … : … ]` a sub-query of any vector.
    pub(super) fn brackets(&mut self, node: Node) -> Parsed<Node> {
        let start = node.node.place.start;
        let bracket = self.start();
        self.advance();
        let range = self.range_duration()?;
        if self.eat(&TokenKind::Colon) {
            let step =
                if self.token.kind == TokenKind::RightBracket { None } else { Some(self.range_duration()?) };
            self.expect(&TokenKind::RightBracket, "subquery selector", "\"]\"")?;
            check::subquery(&node.node)?;
            let step_height = step.as_ref().map_or(0, |step| step.height);
            let height = node.height.max(range.height).max(step_height);
            let step = step.map(|step| *step.node);
            let time = TimeShift::default();
            let subquery = Subquery { expr: *node.node, range: *range.node, step, time };
            return self.node(ExprKind::Subquery(Box::new(subquery)), start, height);
        }
        self.expect(&TokenKind::RightBracket, "range selector", "\":\" or \"]\"")?;
        let selector_place = node.node.place.clone();
        let ExprKind::Selector(selector) = node.node.kind else {
            return Err(Failure::new(bracket, "ranges only allowed for vector selectors"));
        };
        let refused = match &selector {
            selector if selector.time.offset.is_some() => "no offset modifiers allowed before range",
            selector if selector.time.at.is_some() => "no @ modifiers allowed before range",
            _ => "",
        };
        if !refused.is_empty() {
            return Err(Failure::new(bracket, refused));
        }
        let height = node.height.max(range.height);
        let matrix = MatrixSelector { selector, selector_place, range: *range.node };
        self.node(ExprKind::Matrix(matrix), start, height)
    }

    /// `anchored` or `smoothed` behind a selector. The engine sees to it that a function knows of it.
    pub(super) fn boundaries(&mut self, mut node: Node) -> Parsed<Node> {
        let (word, wanted) = match self.keyword() {
            Some(Keyword::Anchored) => ("anchored", Boundaries::Anchored),
            _ => ("smoothed", Boundaries::Smoothed),
        };
        self.experimental(self.start(), &format!("{word} modifier"))?;
        self.advance();
        let start = node.node.place.start;
        let selector = match &mut node.node.kind {
            ExprKind::Selector(selector) => selector,
            ExprKind::Matrix(matrix) => &mut matrix.selector,
            ExprKind::Subquery(_) => {
                let message = format!("{word} modifier is not supported for subqueries");
                return Err(Failure::new(start, message));
            }
            _ => return Err(Failure::new(start, format!("{word} modifier not implemented"))),
        };
        if selector.boundaries != Boundaries::Inside && selector.boundaries != wanted {
            return Err(Failure::new(start, "anchored and smoothed modifiers cannot be used together"));
        }
        selector.boundaries = wanted;
        node.node.place.end = self.end;
        Ok(node)
    }
}

fn twice(at: usize, first: &str, second: &str) -> Failure {
    let (first, second) = (quote(&shorten(first)), quote(&shorten(second)));
    Failure::new(at, format!("metric name must not be set twice: {first} or {second}"))
}
