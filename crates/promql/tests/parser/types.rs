//! Which expressions may stand where.

use super::refused;

#[test]
fn calls() {
    refused("abc(foo)", "1:1: unknown function with name \"abc\"");
    refused("RATE(foo[5m])", "1:1: unknown function with name \"RATE\"");
    refused("abs()", "1:1: expected 1 argument(s) in call to \"abs\", got 0");
    refused("abs(a, b)", "1:1: expected 1 argument(s) in call to \"abs\", got 2");
    refused("time(1)", "1:1: expected 0 argument(s) in call to \"time\", got 1");
    refused("round()", "1:1: expected at least 1 argument(s) in call to \"round\", got 0");
    refused("round(a, 1, 2)", "1:1: expected at most 2 argument(s) in call to \"round\", got 3");
    refused("label_join(a, \"b\")", "1:1: expected at least 3 argument(s) in call to \"label_join\", got 2");
    refused(
        "label_join(a, \"b\", \"c\", \"d\", 5)",
        "1:30: expected type string in call to function \"label_join\", got scalar",
    );
    refused(
        "abs(foo[5m])",
        "1:5: expected type instant vector in call to function \"abs\", got range vector",
    );
    refused("rate(foo)", "1:6: expected type range vector in call to function \"rate\", got instant vector");
    refused("rate(1)", "1:6: expected type range vector in call to function \"rate\", got scalar");
    refused("vector(foo)", "1:8: expected type scalar in call to function \"vector\", got instant vector");
    refused("abs(\"x\")", "1:5: expected type instant vector in call to function \"abs\", got string");
    refused(
        "histogram_quantile(foo, 0.9)",
        "1:20: expected type scalar in call to function \"histogram_quantile\", got instant vector",
    );
}

#[test]
fn aggregations() {
    refused("sum()", "1:1: no arguments for aggregate expression provided");
    refused(
        "sum(a, b)",
        "1:1: wrong number of arguments for aggregate expression provided, expected 1, got 2",
    );
    refused("topk(a)", "1:1: wrong number of arguments for aggregate expression provided, expected 2, got 1");
    refused(
        "topk(1, a, b)",
        "1:1: wrong number of arguments for aggregate expression provided, expected 2, got 3",
    );
    refused("sum(1)", "1:5: expected type instant vector in aggregation expression, got scalar");
    refused("sum(foo[5m])", "1:5: expected type instant vector in aggregation expression, got range vector");
    refused("topk(foo, foo)", "1:6: expected type scalar in aggregation parameter, got instant vector");
    refused("count_values(5, foo)", "1:14: expected type string in aggregation parameter, got scalar");
}

#[test]
fn operators() {
    let types = "binary expression must contain only scalar and instant vector types";
    refused("foo[5m] + 1", &format!("1:1: {types}"));
    refused("1 + \"x\"", &format!("1:5: {types}"));
    refused("1 == 1", "1:3: comparisons between scalars must use BOOL modifier");
    refused("time() > 5", "1:8: comparisons between scalars must use BOOL modifier");
    refused("1 and 1", "1:3: set operator \"and\" not allowed in binary scalar expression");
    refused("foo or 1", "1:5: set operator \"or\" not allowed in binary scalar expression");
    refused("1 unless foo", "1:3: set operator \"unless\" not allowed in binary scalar expression");
    let matching = "vector matching only allowed between instant vectors";
    refused("foo + on(a) 1", &format!("1:5: {matching}"));
    refused("1 + ignoring(a) foo", &format!("1:3: {matching}"));
    refused("1 + on(a) 1", &format!("1:3: {matching}"));
    let filling = "filling in missing series only allowed between instant vectors";
    refused("foo + fill(0) 1", &format!("1:5: {filling}"));
    refused("1 + on(a) fill_left(0) 1", &format!("1:3: {filling}"));
    let unary = "unary expression only allowed on expressions of type scalar or instant vector";
    refused("-\"x\"", &format!("1:1: {unary}, got \"string\""));
    refused("1 + -foo[5m]", &format!("1:5: {unary}, got \"range vector\""));
}

#[test]
fn sub_queries() {
    refused("1[5m:]", "1:1: subquery is only allowed on instant vector, got scalar instead");
    refused("foo[5m][5m:1m]", "1:1: subquery is only allowed on instant vector, got range vector instead");
    refused("foo[5m:][5m:]", "1:1: subquery is only allowed on instant vector, got range vector instead");
}

#[test]
fn info() {
    refused("info(foo, bar)", "1:11: expected label selectors only, got vector selector instead");
    refused("info(foo, bar{a=\"b\"})", "1:11: expected label selectors only, got vector selector instead");
    refused("info(foo, sum(bar))", "1:11: expected label selectors only, got an expression instead");
    refused("info({}, {})", "1:6: vector selector must contain at least one non-empty matcher");
    refused("info(foo, ({}))", "1:12: vector selector must contain at least one non-empty matcher");
    refused("info(foo, {} + {})", "1:16: vector selector must contain at least one non-empty matcher");
    refused("info(foo, {} + foo)", "1:11: expected label selectors only, got an expression instead");
    refused(
        "info(foo, {a=\"b\"}[5m])",
        "1:11: expected type instant vector in call to function \"info\", got range vector",
    );
}
