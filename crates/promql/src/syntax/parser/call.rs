//! Functions and aggregations.

use super::{Node, Parsed, Parser, Tall};
use crate::ast::{Aggregation, AggregationOp, Call, Expr, ExprKind};
use crate::functions::{self, Function, Kind, Special};
use crate::syntax::check;
use crate::syntax::literal::quote;
use crate::syntax::token::{Failure, Keyword, TokenKind, shorten};

/// Whether it is `without`, and its labels.
type Clause = (bool, Vec<String>);

impl Parser<'_> {
    pub(super) fn call(&mut self) -> Parsed<Node> {
        let start = self.start();
        let function = self.function()?;
        let args = self.arguments(matches!(function.kind, Kind::Special(Special::Info)))?;
        self.call_of(function, args, start)
    }

    fn function(&mut self) -> Parsed<&'static Function> {
        let start = self.start();
        let name = self.written(&self.token.place);
        let Some(function) = functions::find(name) else {
            let message = format!("unknown function with name {}", quote(&shorten(name)));
            return Err(Failure::new(start, message));
        };
        if function.experimental {
            self.experimental(start, &format!("function \"{name}\""))?;
        }
        self.advance();
        Ok(function)
    }

    fn call_of(&self, function: &'static Function, args: Tall<Vec<Expr>>, start: usize) -> Parsed<Node> {
        check::call(function, &args.node, self.place_from(start))?;
        let call = Call { function, args: args.node };
        self.node(ExprKind::Call(call), start, args.height)
    }

    /// `( … , … )`. The second argument of `info` is a selector that may match everything.
    fn arguments(&mut self, labels_second: bool) -> Parsed<Tall<Vec<Expr>>> {
        self.expect(&TokenKind::LeftParen, "call", "\"(\"")?;
        let mut args = Tall { node: Vec::new(), height: 0 };
        if self.eat(&TokenKind::RightParen) {
            return Ok(args);
        }
        loop {
            if labels_second && args.node.len() == 1 {
                self.lenient_at = Some(self.start());
            }
            let arg = self.expr()?;
            args.height = args.height.max(arg.height);
            args.node.push(*arg.node);
            if self.eat(&TokenKind::RightParen) {
                return Ok(args);
            }
            let comma = self.start();
            self.expect(&TokenKind::Comma, "arguments", "\",\" or \")\"")?;
            if self.token.kind == TokenKind::RightParen {
                let message = "trailing commas not allowed in function call args";
                return Err(Failure::new(comma, message));
            }
        }
    }

    pub(super) fn aggregation(&mut self, op: AggregationOp) -> Parsed<Node> {
        let start = self.start();
        let clause = self.aggregation_head(op)?;
        let args = self.arguments(false)?;
        self.aggregation_of(op, clause, args, start)
    }

    /// The aggregation up to its arguments.
    fn aggregation_head(&mut self, op: AggregationOp) -> Parsed<Option<Clause>> {
        let start = self.start();
        self.advance();
        if op.is_experimental() {
            self.experimental(start, &format!("aggregation \"{}\"", op.as_str()))?;
        }
        let clause = self.grouping_clause()?;
        if self.token.kind != TokenKind::LeftParen {
            return self.unexpected("aggregation", "\"(\"");
        }
        Ok(clause)
    }

    fn aggregation_of(
        &mut self,
        op: AggregationOp,
        mut clause: Option<Clause>,
        args: Tall<Vec<Expr>>,
        start: usize,
    ) -> Parsed<Node> {
        if clause.is_none() {
            clause = self.grouping_clause()?;
        } else if matches!(self.keyword(), Some(Keyword::By | Keyword::Without)) {
            return self.unexpected("aggregation", "at most one \"by\" or \"without\"");
        }
        let (without, grouping) = clause.unwrap_or_default();
        let (param, expr) = check::aggregation(op, args.node, self.place_from(start))?;
        let aggregation = Aggregation { op, param, expr, without, grouping };
        self.node(ExprKind::Aggregation(Box::new(aggregation)), start, args.height)
    }

    /// `by (…)` or `without (…)`
    fn grouping_clause(&mut self) -> Parsed<Option<Clause>> {
        let without = match self.keyword() {
            Some(Keyword::By) => false,
            Some(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.label_list()?)))
    }
}
