//! Durations in ranges and offsets, and the shifts of selectors.

use super::binary::{POWER, precedence};
use super::{Node, Parsed, Parser, Tall, whole_millis};
use crate::ast::{At, BinaryOp, DurationExpr, DurationKind, ExprKind, TimeShift};
use crate::syntax::token::{Failure, Keyword, TokenKind};

const EXPECTED: &str = "number or duration";

type Duration = Tall<Box<DurationExpr>>;

impl Parser<'_> {
    /// A range or a step: greater than nothing, as far as that can be told without the query's times.
    pub(super) fn range_duration(&mut self) -> Parsed<Duration> {
        let start = self.start();
        let duration = self.nested_duration("duration", 1)?;
        let mut duration = self.settle(duration, start)?;
        if let DurationKind::Literal { seconds, duration: written } = &mut duration.node.kind {
            *written = true;
            if *seconds <= 0.0 {
                return Err(Failure::new(start, "duration must be greater than 0"));
            }
        }
        Ok(duration)
    }

    /// A plain number is a duration too, to the millisecond; anything calculated must be allowed.
    fn settle(&self, mut duration: Duration, start: usize) -> Parsed<Duration> {
        let DurationKind::Literal { seconds, duration: written } = &mut duration.node.kind else {
            self.experimental(start, "a duration expression")?;
            return Ok(duration);
        };
        *seconds = whole_millis(*seconds).ok_or_else(|| Failure::new(start, "duration out of range"))?;
        *written = true;
        Ok(duration)
    }

    fn nested_duration(&mut self, context: &str, lowest: u8) -> Parsed<Duration> {
        self.enter()?;
        let duration = self.duration(context, lowest)?;
        self.leave();
        Ok(duration)
    }

    fn duration(&mut self, context: &str, lowest: u8) -> Parsed<Duration> {
        let start = self.start();
        let mut left = self.duration_operand(context)?;
        while let TokenKind::Operator(op) = self.token.kind {
            let tight = precedence(op);
            let arithmetic = tight >= precedence(BinaryOp::Add);
            if !arithmetic || tight < lowest {
                break;
            }
            self.advance();
            let least = if op == BinaryOp::Pow { tight } else { tight + 1 };
            let right = self.nested_duration(context, least)?;
            let height = left.height.max(right.height);
            let kind = DurationKind::Binary { op, left: left.node, right: right.node };
            left = self.duration_node(kind, start, height)?;
        }
        Ok(left)
    }

    fn duration_node(&self, kind: DurationKind, start: usize, below: usize) -> Parsed<Duration> {
        let height = below + 1;
        self.check_height(height, start)?;
        Ok(Tall { node: Box::new(DurationExpr { kind, place: self.place_from(start) }), height })
    }

    fn duration_operand(&mut self, context: &str) -> Parsed<Duration> {
        let Some(negative) = self.sign() else {
            return self.duration_primary(context);
        };
        let start = self.start();
        self.advance();
        let operand = self.nested_duration(context, POWER)?;
        self.signed_duration(negative, start, operand)
    }

    /// A sign before a duration; literals take it in.
    fn signed_duration(&self, negative: bool, start: usize, mut operand: Duration) -> Parsed<Duration> {
        if let DurationKind::Literal { seconds, .. } = &mut operand.node.kind {
            if negative {
                *seconds = -*seconds;
            }
            operand.node.place.start = start;
            return Ok(operand);
        }
        let kind = DurationKind::Unary { negative, expr: operand.node };
        self.duration_node(kind, start, operand.height)
    }

    fn duration_primary(&mut self, context: &str) -> Parsed<Duration> {
        let start = self.start();
        match self.token.kind {
            TokenKind::Number(seconds) => {
                self.advance();
                self.duration_node(DurationKind::Literal { seconds, duration: false }, start, 0)
            }
            TokenKind::Duration(millis) => {
                self.advance();
                let seconds = millis as f64 / 1_000.0;
                self.duration_node(DurationKind::Literal { seconds, duration: true }, start, 0)
            }
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.nested_duration(context, 1)?;
                self.expect(&TokenKind::RightParen, context, "\")\" or an operator")?;
                self.duration_node(DurationKind::Paren(inner.node), start, inner.height)
            }
            TokenKind::Word(Some(keyword @ (Keyword::Step | Keyword::Range))) => {
                self.advance();
                self.empty_parens(context)?;
                let kind = if keyword == Keyword::Step { DurationKind::Step } else { DurationKind::Range };
                self.duration_node(kind, start, 0)
            }
            TokenKind::Word(None) => {
                let word = self.written(&self.token.place).to_ascii_lowercase();
                match word.as_str() {
                    "min_of" => self.extreme(context, false),
                    "max_of" => self.extreme(context, true),
                    _ => self.unexpected(context, EXPECTED),
                }
            }
            _ => self.unexpected(context, EXPECTED),
        }
    }

    fn empty_parens(&mut self, context: &str) -> Parsed<()> {
        self.expect(&TokenKind::LeftParen, context, "\"(\"")?;
        self.expect(&TokenKind::RightParen, context, "\")\"")
    }

    fn extreme(&mut self, context: &str, max: bool) -> Parsed<Duration> {
        let start = self.start();
        self.advance();
        self.expect(&TokenKind::LeftParen, context, "\"(\"")?;
        let left = self.nested_duration(context, 1)?;
        self.expect(&TokenKind::Comma, context, "\",\" or an operator")?;
        let right = self.nested_duration(context, 1)?;
        self.expect(&TokenKind::RightParen, context, "\")\" or an operator")?;
        let height = left.height.max(right.height);
        let kind = DurationKind::Extreme { max, left: left.node, right: right.node };
        self.duration_node(kind, start, height)
    }

    /// `offset …`: one duration with its signs. More must stand in parentheses, behind which it goes on, though.
    pub(super) fn offset(&mut self, mut node: Node) -> Parsed<Node> {
        let at = self.start();
        self.advance();
        let start = self.start();
        let duration = self.offset_duration()?;
        let duration = self.settle(duration, start)?;
        let Some(time) = time_of(&mut node.node.kind) else {
            return Err(not_here(at, "offset modifier"));
        };
        if time.offset.is_some() {
            return Err(Failure::new(at, "offset may not be set multiple times"));
        }
        // An offset of nothing is none.
        let nothing = matches!(duration.node.kind, DurationKind::Literal { seconds, .. } if seconds == 0.0);
        time.offset = (!nothing).then_some(*duration.node);
        node.height = node.height.max(duration.height + 1);
        node.node.place.end = self.end;
        self.check_height(node.height, start)?;
        Ok(node)
    }

    fn offset_duration(&mut self) -> Parsed<Duration> {
        if self.token.kind == TokenKind::LeftParen {
            return self.nested_duration("offset", 1);
        }
        let Some(negative) = self.sign() else {
            return self.duration_primary("offset");
        };
        let start = self.start();
        self.advance();
        // Behind a second sign it goes on as well.
        let operand = match self.sign() {
            Some(_) => self.nested_duration("offset", 1)?,
            None => self.duration_primary("offset")?,
        };
        self.signed_duration(negative, start, operand)
    }

    /// `@ …`
    pub(super) fn at(&mut self, mut node: Node) -> Parsed<Node> {
        let sign_at = self.start();
        self.advance();
        let at = match self.keyword() {
            Some(Keyword::Start) => {
                self.advance();
                self.empty_parens("@")?;
                At::Start
            }
            Some(Keyword::End) => {
                self.advance();
                self.empty_parens("@")?;
                At::End
            }
            _ => {
                let seconds = self.signed_number("@", "timestamp")?;
                At::Time(timestamp(seconds).ok_or_else(|| out_of_bounds(node.node.place.start, seconds))?)
            }
        };
        let Some(time) = time_of(&mut node.node.kind) else {
            return Err(not_here(sign_at, "@ modifier"));
        };
        if time.at.is_some() {
            return Err(Failure::new(sign_at, "@ <timestamp> may not be set multiple times"));
        }
        time.at = Some(at);
        node.node.place.end = self.end;
        Ok(node)
    }
}

fn time_of(kind: &mut ExprKind) -> Option<&mut TimeShift> {
    match kind {
        ExprKind::Selector(selector) => Some(&mut selector.time),
        ExprKind::Matrix(matrix) => Some(&mut matrix.selector.time),
        ExprKind::Subquery(subquery) => Some(&mut subquery.time),
        _ => None,
    }
}

fn out_of_bounds(at: usize, seconds: f64) -> Failure {
    let seconds = if seconds.is_finite() { format!("{seconds:.6}") } else { crate::number::plain(seconds) };
    Failure::new(at, format!("timestamp out of bounds for @ modifier: {seconds}"))
}

fn not_here(at: usize, what: &str) -> Failure {
    let kinds = "an instant vector selector or range vector selector or a subquery";
    Failure::new(at, format!("{what} must be preceded by {kinds}"))
}

/// Milliseconds that a float counts one by one, with room to spare: some 35 000 years.
const EXACT_MILLIS: f64 = (1u64 << 50) as f64;

/// Seconds since 1970 in whole milliseconds.
fn timestamp(seconds: f64) -> Option<i64> {
    if seconds.is_nan() || seconds.abs() >= (i64::MAX / 1_000) as f64 {
        return None;
    }
    let millis = (seconds * 1_000.0).round();
    if millis.abs() < EXACT_MILLIS {
        return Some(millis as i64);
    }
    let whole = seconds.trunc();
    let rest = ((seconds - whole) * 1_000.0).round();
    (whole as i64).checked_mul(1_000)?.checked_add(rest as i64)
}
