//! Operators between expressions, and how they match.

use std::collections::HashSet;

use super::{Node, Parsed, Parser};
use crate::ast::{Binary, BinaryOp, Cardinality, ExprKind, Matching};
use crate::syntax::check;
use crate::syntax::token::{Failure, Keyword, TokenKind};

/// How tight operators bind; 0 binds nothing.
pub(super) const POWER: u8 = 6;

/// How tight an operator binds.
pub(super) fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Gt
        | BinaryOp::Lt
        | BinaryOp::Ge
        | BinaryOp::Le
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => POWER,
    }
}

/// What stands between an operator and its right operand.
pub(in crate::syntax) struct Modifiers {
    pub(in crate::syntax) return_bool: bool,
    pub(in crate::syntax) matching: Matching,
}

/// An operator at its place, with its modifiers.
struct Between {
    op: BinaryOp,
    at: usize,
    modifiers: Modifiers,
}

impl Parser<'_> {
    fn operator(&self) -> Option<BinaryOp> {
        match self.token.kind {
            TokenKind::Operator(op) | TokenKind::Word(Some(Keyword::Operator(op))) => Some(op),
            _ => None,
        }
    }

    /// An expression of operators that bind at least as tight as `lowest`.
    pub(super) fn binary(&mut self, lowest: u8) -> Parsed<Node> {
        let start = self.start();
        let mut left = self.unary()?;
        while let Some(between) = self.between(lowest)? {
            // Operators of one precedence lean to the left, powers to the right.
            let tight = precedence(between.op);
            let least = if between.op == BinaryOp::Pow { tight } else { tight + 1 };
            self.enter()?;
            let right = self.binary(least)?;
            self.leave();
            left = self.combine(start, left, *between, right)?;
        }
        Ok(left)
    }

    /// The operator at hand with its modifiers, where it binds at least as tight as `lowest`.
    fn between(&mut self, lowest: u8) -> Parsed<Option<Box<Between>>> {
        let Some(op) = self.operator().filter(|op| precedence(*op) >= lowest) else {
            return Ok(None);
        };
        let at = self.start();
        self.advance();
        if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
            self.experimental(at, &format!("operator \"{}\"", op.as_str()))?;
        }
        let modifiers = self.modifiers(op)?;
        Ok(Some(Box::new(Between { op, at, modifiers })))
    }

    fn combine(&self, start: usize, left: Node, between: Between, right: Node) -> Parsed<Node> {
        let Between { op, at, modifiers } = between;
        let height = left.height.max(right.height);
        let return_bool = modifiers.return_bool;
        let matching = check::binary(op, at, &left.node, &right.node, modifiers)?;
        let binary = Binary { op, left: *left.node, right: *right.node, return_bool, matching };
        self.node(ExprKind::Binary(Box::new(binary)), start, height)
    }

    fn modifiers(&mut self, op: BinaryOp) -> Parsed<Modifiers> {
        let cardinality = if op.is_set() { Cardinality::ManyToMany } else { Cardinality::OneToOne };
        let mut modifiers = Modifiers {
            return_bool: false,
            matching: Matching {
                cardinality,
                on: false,
                labels: Vec::new(),
                include: Vec::new(),
                fill_left: None,
                fill_right: None,
            },
        };
        let bool_at = self.start();
        if self.eat_keyword(Keyword::Bool) {
            if !op.is_comparison() {
                return Err(Failure::new(bool_at, "bool modifier can only be used on comparison operators"));
            }
            modifiers.return_bool = true;
        }
        if let Some(keyword @ (Keyword::On | Keyword::Ignoring)) = self.keyword() {
            self.advance();
            modifiers.matching.on = keyword == Keyword::On;
            modifiers.matching.labels = self.label_list()?;
            self.grouping(op, &mut modifiers.matching)?;
        }
        self.fill(op, &mut modifiers)?;
        Ok(modifiers)
    }

    fn grouping(&mut self, op: BinaryOp, matching: &mut Matching) -> Parsed<()> {
        let cardinality = match self.keyword() {
            Some(Keyword::GroupLeft) => Cardinality::ManyToOne,
            Some(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        let start = self.start();
        self.advance();
        if op.is_set() {
            let message = format!("no grouping allowed for \"{}\" operation", op.as_str());
            return Err(Failure::new(start, message));
        }
        matching.cardinality = cardinality;
        if self.token.kind == TokenKind::LeftParen {
            matching.include = self.label_list()?;
        }
        let labels: HashSet<&String> = matching.labels.iter().collect();
        if matching.on
            && let Some(twice) = matching.include.iter().find(|label| labels.contains(label))
        {
            let label = crate::syntax::literal::quote(twice);
            let message = format!("label {label} must not occur in ON and GROUP clause at once");
            return Err(Failure::new(start, message));
        }
        Ok(())
    }

    /// `fill(x)`, or `fill_left(x)` and `fill_right(x)` in either order. Metrics may have these names, so that only the
    /// parenthesis tells.
    fn fill(&mut self, op: BinaryOp, modifiers: &mut Modifiers) -> Parsed<()> {
        while self.token.kind == TokenKind::Word(None) {
            let word = self.written(&self.token.place).to_ascii_lowercase();
            let (left, right) = match word.as_str() {
                "fill" => (true, true),
                "fill_left" => (true, false),
                "fill_right" => (false, true),
                _ => return Ok(()),
            };
            if *self.following() != TokenKind::LeftParen {
                return Ok(());
            }
            let start = self.start();
            self.advance();
            self.experimental(start, &format!("modifier \"{word}\""))?;
            if op.is_set() {
                let message = "filling in missing series not allowed for set operators";
                return Err(Failure::new(start, message));
            }
            let matching = &mut modifiers.matching;
            if (left && matching.fill_left.is_some()) || (right && matching.fill_right.is_some()) {
                return Err(Failure::new(start, "fill value may not be set multiple times"));
            }
            self.advance();
            let value = self.signed_number("fill modifier", "number")?;
            self.expect(&TokenKind::RightParen, "fill modifier", "\")\"")?;
            let matching = &mut modifiers.matching;
            matching.fill_left = if left { Some(value) } else { matching.fill_left };
            matching.fill_right = if right { Some(value) } else { matching.fill_right };
        }
        Ok(())
    }

    /// A number or a duration with at most one sign.
    pub(super) fn signed_number(&mut self, context: &str, expected: &str) -> Parsed<f64> {
        let negative = self.sign();
        if negative.is_some() {
            self.advance();
        }
        let value = match self.token.kind {
            TokenKind::Number(value) => value,
            TokenKind::Duration(millis) => millis as f64 / 1_000.0,
            _ => return self.unexpected(context, expected),
        };
        self.advance();
        Ok(if negative == Some(true) { -value } else { value })
    }
}
