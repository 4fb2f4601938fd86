//! Which functions, operators and aggregations occur in expressions.

use std::collections::BTreeSet;

use metricsd_promql::ast::{Expr, ExprKind};

/// Names of all functions, operators and aggregations in an expression.
pub fn collect(expr: &Expr, seen: &mut BTreeSet<&'static str>) {
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Matrix(_) => {}
        ExprKind::Subquery(subquery) => collect(&subquery.expr, seen),
        ExprKind::Paren(expr) | ExprKind::Unary { expr, .. } => collect(expr, seen),
        ExprKind::Binary(binary) => {
            seen.insert(binary.op.as_str());
            collect(&binary.left, seen);
            collect(&binary.right, seen);
        }
        ExprKind::Aggregation(aggregation) => {
            seen.insert(aggregation.op.as_str());
            aggregation.param.iter().chain([&aggregation.expr]).for_each(|expr| collect(expr, seen));
        }
        ExprKind::Call(call) => {
            seen.insert(call.function.name);
            call.args.iter().for_each(|arg| collect(arg, seen));
        }
    }
}
