//! Trees as the HTTP interface shows them.

use metricsd_promql::syntax::to_json;
use serde_json::json;

use super::tree_of;

fn foo() -> serde_json::Value {
    json!({
        "type": "vectorSelector",
        "name": "foo",
        "matchers": [{"name": "__name__", "type": "=", "value": "foo"}],
        "offset": 0,
        "timestamp": null,
        "startOrEnd": null,
        "anchored": false,
        "smoothed": false,
    })
}

#[track_caller]
fn shows(text: &str, expected: serde_json::Value) {
    assert_eq!(to_json(&tree_of(text)), expected, "{text}");
}

#[test]
fn literals() {
    shows("1.5", json!({"type": "numberLiteral", "val": "1.5"}));
    shows("1e9", json!({"type": "numberLiteral", "val": "1000000000"}));
    shows("-Inf", json!({"type": "numberLiteral", "val": "-Inf"}));
    shows("5m", json!({"type": "numberLiteral", "val": "300"}));
    shows("'x'", json!({"type": "stringLiteral", "val": "x"}));
}

#[test]
fn selectors() {
    shows("foo", foo());
    let shown = to_json(&tree_of(r#"foo{a!~"b"} @ 1.5 offset -5m"#));
    assert_eq!(
        shown["matchers"],
        json!([
            {"name": "a", "type": "!~", "value": "b"},
            {"name": "__name__", "type": "=", "value": "foo"},
        ])
    );
    assert_eq!(shown["timestamp"], 1_500);
    assert_eq!(shown["offset"], -300_000);
    assert_eq!(to_json(&tree_of("{__name__=\"foo\"}"))["name"], "");
    let shown = to_json(&tree_of("foo[5m] @ end()"));
    assert_eq!(shown["type"], "matrixSelector");
    assert_eq!(shown["range"], 300_000);
    assert_eq!(shown["startOrEnd"], "end");
    assert_eq!(to_json(&tree_of("rate(foo[5m] anchored)"))["args"][0]["anchored"], true);
    shows(
        "foo[1h:]",
        json!({
            "type": "subquery", "expr": foo(), "range": 3_600_000, "step": 0, "offset": 0,
            "timestamp": null, "startOrEnd": null,
        }),
    );
    let shown = to_json(&tree_of("foo[(1h + step()):2m]"));
    assert_eq!((&shown["range"], &shown["step"]), (&json!(0), &json!(120_000)));
    assert_eq!(
        shown["rangeExpr"],
        json!({
            "type": "durationExpr", "op": "+", "wrapped": true,
            "lhs": {"type": "numberLiteral", "val": "3600"},
            "rhs": {"type": "durationExpr", "op": "step", "lhs": null, "rhs": null, "wrapped": false},
        })
    );
}

#[test]
fn operators() {
    shows("(foo)", json!({"type": "parenExpr", "expr": foo()}));
    shows("-foo", json!({"type": "unaryExpr", "op": "-", "expr": foo()}));
    shows(
        "foo > bool 1",
        json!({
            "type": "binaryExpr", "op": ">", "lhs": foo(), "rhs": {"type": "numberLiteral", "val": "1"},
            "matching": null, "bool": true,
        }),
    );
    let shown = to_json(&tree_of("foo / on(a) group_left(b) fill_right(0) foo"));
    assert_eq!(
        shown["matching"],
        json!({
            "card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"],
            "fillValues": {"lhs": null, "rhs": 0.0},
        })
    );
    assert_eq!(to_json(&tree_of("foo or foo"))["matching"]["card"], "many-to-many");
}

#[test]
fn calls_and_aggregations() {
    shows(
        "topk without (a) (2, foo)",
        json!({
            "type": "aggregation", "op": "topk", "expr": foo(), "grouping": ["a"], "without": true,
            "param": {"type": "numberLiteral", "val": "2"},
        }),
    );
    assert_eq!(to_json(&tree_of("sum(foo)"))["param"], json!(null));
    shows(
        "round(foo)",
        json!({
            "type": "call", "args": [foo()],
            "func": {
                "name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector",
            },
        }),
    );
    assert_eq!(to_json(&tree_of("label_join(foo, 'a', 'b')"))["func"]["variadic"], -1);
    assert_eq!(to_json(&tree_of("time()"))["func"]["variadic"], 0);
}
