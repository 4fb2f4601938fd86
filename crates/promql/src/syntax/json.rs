//! Trees as `/api/v1/parse_query` answers them.

use metricsd_model::Matcher;
use serde_json::{Map, Value, json};

use super::print::{match_op, sign};
use crate::ast::{
    Aggregation, At, Binary, Boundaries, Call, Cardinality, DurationExpr, DurationKind, Expr, ExprKind,
    Matching, MatrixSelector, Subquery, TimeShift, ValueType, VectorSelector,
};
use crate::number;

/// The tree as JSON: objects with a `type` and the fields of that type. Times are in milliseconds. A duration that
/// is calculated when the query begins is 0, and its expression stands beside it in a field with `Expr` at its end.
pub fn to_json(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number { value, .. } => number_json(*value),
        ExprKind::String(text) => string_json(text),
        ExprKind::Selector(selector) => vector_json(selector),
        ExprKind::Matrix(matrix) => matrix_json(matrix),
        ExprKind::Subquery(subquery) => subquery_json(subquery),
        ExprKind::Paren(inner) => paren_json(inner),
        ExprKind::Unary { negative, expr } => unary_json(*negative, expr),
        ExprKind::Binary(binary) => binary_json(binary),
        ExprKind::Aggregation(aggregation) => aggregation_json(aggregation),
        ExprKind::Call(call) => call_json(call),
    }
}

fn number_json(value: f64) -> Value {
    json!({"type": "numberLiteral", "val": number::plain(value)})
}

fn string_json(text: &str) -> Value {
    json!({"type": "stringLiteral", "val": text})
}

fn vector_json(selector: &VectorSelector) -> Value {
    let mut fields = typed("vectorSelector");
    add_selector(&mut fields, selector);
    Value::Object(fields)
}

fn matrix_json(matrix: &MatrixSelector) -> Value {
    let mut fields = typed("matrixSelector");
    add_selector(&mut fields, &matrix.selector);
    add_duration(&mut fields, "range", Some(&matrix.range));
    Value::Object(fields)
}

fn subquery_json(subquery: &Subquery) -> Value {
    let mut fields = typed("subquery");
    fields.insert("expr".to_owned(), to_json(&subquery.expr));
    add_duration(&mut fields, "range", Some(&subquery.range));
    add_duration(&mut fields, "step", subquery.step.as_ref());
    add_time(&mut fields, &subquery.time);
    Value::Object(fields)
}

fn paren_json(inner: &Expr) -> Value {
    let mut fields = typed("parenExpr");
    fields.insert("expr".to_owned(), to_json(inner));
    Value::Object(fields)
}

fn unary_json(negative: bool, expr: &Expr) -> Value {
    json!({"type": "unaryExpr", "op": sign(negative).to_string(), "expr": to_json(expr)})
}

fn aggregation_json(aggregation: &Aggregation) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregation.op.as_str(),
        "expr": to_json(&aggregation.expr),
        "param": aggregation.param.as_ref().map(to_json),
        "grouping": aggregation.grouping,
        "without": aggregation.without,
    })
}

fn typed(name: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), json!(name));
    fields
}

fn binary_json(binary: &Binary) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": to_json(&binary.left),
        "rhs": to_json(&binary.right),
        "matching": binary.matching.as_ref().map(matching_json),
        "bool": binary.return_bool,
    })
}

fn matching_json(matching: &Matching) -> Value {
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": fill_json(matching.fill_left), "rhs": fill_json(matching.fill_right)},
    })
}

/// JSON has no infinities and no NaN: these are texts.
fn fill_json(value: Option<f64>) -> Value {
    match value {
        Some(value) if value.is_finite() => json!(value),
        Some(value) => json!(number::plain(value)),
        None => Value::Null,
    }
}

fn call_json(call: &Call) -> Value {
    let function = call.function;
    // How many arguments more than those before the last there may be; -1: any number.
    let variadic = if function.repeats { -1 } else { i64::try_from(function.optional).unwrap_or(-1) };
    let types: Vec<&str> = function.args.iter().map(|arg| type_name(*arg)).collect();
    json!({
        "type": "call",
        "func": {
            "name": function.name,
            "argTypes": types,
            "variadic": variadic,
            "returnType": type_name(function.returns),
        },
        "args": call.args.iter().map(to_json).collect::<Vec<_>>(),
    })
}

fn type_name(value: ValueType) -> &'static str {
    match value {
        ValueType::Scalar => "scalar",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
        ValueType::String => "string",
    }
}

fn add_selector(fields: &mut Map<String, Value>, selector: &VectorSelector) {
    let name = selector.matchers.first().filter(|_| selector.named).map_or("", |name| name.value.as_str());
    fields.insert("name".to_owned(), json!(name));
    let mut matchers: Vec<Value> = selector.matchers.iter().map(matcher_json).collect();
    if selector.named && !matchers.is_empty() {
        // The name's matcher comes last there.
        matchers.rotate_left(1);
    }
    fields.insert("matchers".to_owned(), Value::Array(matchers));
    fields.insert("anchored".to_owned(), json!(selector.boundaries == Boundaries::Anchored));
    fields.insert("smoothed".to_owned(), json!(selector.boundaries == Boundaries::Smoothed));
    add_time(fields, &selector.time);
}

fn matcher_json(matcher: &Matcher) -> Value {
    json!({"name": matcher.name, "value": matcher.value, "type": match_op(matcher.op)})
}

fn add_time(fields: &mut Map<String, Value>, time: &TimeShift) {
    add_duration(fields, "offset", time.offset.as_ref());
    let (timestamp, bound) = match time.at {
        Some(At::Time(millis)) => (json!(millis), Value::Null),
        Some(At::Start) => (Value::Null, json!("start")),
        Some(At::End) => (Value::Null, json!("end")),
        None => (Value::Null, Value::Null),
    };
    fields.insert("timestamp".to_owned(), timestamp);
    fields.insert("startOrEnd".to_owned(), bound);
}

fn add_duration(fields: &mut Map<String, Value>, name: &str, duration: Option<&DurationExpr>) {
    let millis = match duration.map(|duration| &duration.kind) {
        Some(DurationKind::Literal { seconds, .. }) => (seconds * 1_000.0).round() as i64,
        Some(_) | None => 0,
    };
    fields.insert(name.to_owned(), json!(millis));
    if let Some(duration) = duration
        && !matches!(duration.kind, DurationKind::Literal { .. })
    {
        fields.insert(format!("{name}Expr"), duration_json(duration));
    }
}

fn duration_json(duration: &DurationExpr) -> Value {
    match &duration.kind {
        DurationKind::Literal { seconds, .. } => number_json(*seconds),
        DurationKind::Step => operation("step", None, None),
        DurationKind::Range => operation("range", None, None),
        DurationKind::Paren(inner) => {
            let mut inner = duration_json(inner);
            if let Value::Object(fields) = &mut inner
                && fields.contains_key("wrapped")
            {
                fields.insert("wrapped".to_owned(), json!(true));
            }
            inner
        }
        DurationKind::Unary { negative, expr } => operation(&sign(*negative).to_string(), None, Some(expr)),
        DurationKind::Binary { op, left, right } => operation(op.as_str(), Some(left), Some(right)),
        DurationKind::Extreme { max, left, right } => {
            operation(if *max { "max_of" } else { "min_of" }, Some(left), Some(right))
        }
    }
}

fn operation(op: &str, left: Option<&DurationExpr>, right: Option<&DurationExpr>) -> Value {
    json!({
        "type": "durationExpr",
        "op": op,
        "lhs": left.map(duration_json),
        "rhs": right.map(duration_json),
        "wrapped": false,
    })
}
