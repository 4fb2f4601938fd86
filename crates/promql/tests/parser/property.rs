//! Every tree is written such that it reads as itself; no text makes the reader panic.

use metricsd_model::{MatchOp, Matcher};
use metricsd_promql::ast::{
    Aggregation, AggregationOp, At, Binary, BinaryOp, Boundaries, Call, Cardinality, DurationExpr,
    DurationKind, Expr, ExprKind, Matching, MatrixSelector, Subquery, TimeShift, ValueType, VectorSelector,
};
use metricsd_promql::functions::{TABLE, find};
use metricsd_promql::syntax::pretty;
use metricsd_promql::{parse, parse_selector};
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::EXPERIMENTAL;

fn node(kind: ExprKind) -> Expr {
    Expr { kind, place: 0..0 }
}

fn span(kind: DurationKind) -> DurationExpr {
    DurationExpr { kind, place: 0..0 }
}

/// Takes all places away, so that trees compare by what they say.
fn strip(expr: &mut Expr) {
    expr.place = 0..0;
    match &mut expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) => {}
        ExprKind::Selector(selector) => strip_selector(selector),
        ExprKind::Matrix(matrix) => {
            matrix.selector_place = 0..0;
            strip_span(&mut matrix.range);
            strip_selector(&mut matrix.selector);
        }
        ExprKind::Subquery(subquery) => {
            strip(&mut subquery.expr);
            strip_span(&mut subquery.range);
            subquery.step.iter_mut().for_each(strip_span);
            strip_time(&mut subquery.time);
        }
        ExprKind::Paren(inner) | ExprKind::Unary { expr: inner, .. } => strip(inner),
        ExprKind::Binary(binary) => {
            strip(&mut binary.left);
            strip(&mut binary.right);
        }
        ExprKind::Aggregation(aggregation) => {
            strip(&mut aggregation.expr);
            aggregation.param.iter_mut().for_each(strip);
        }
        ExprKind::Call(call) => call.args.iter_mut().for_each(strip),
    }
}

/// Matchers are written in an order of their own, behind the name.
fn strip_selector(selector: &mut VectorSelector) {
    let first = usize::from(selector.named);
    if let Some(rest) = selector.matchers.get_mut(first..) {
        rest.sort_by_key(Matcher::to_string);
    }
    strip_time(&mut selector.time);
}

fn strip_time(time: &mut TimeShift) {
    time.offset.iter_mut().for_each(strip_span);
}

fn strip_span(span: &mut DurationExpr) {
    span.place = 0..0;
    match &mut span.kind {
        DurationKind::Literal { .. } | DurationKind::Step | DurationKind::Range => {}
        DurationKind::Paren(inner) | DurationKind::Unary { expr: inner, .. } => strip_span(inner),
        DurationKind::Binary { left, right, .. } | DurationKind::Extreme { left, right, .. } => {
            strip_span(left);
            strip_span(right);
        }
    }
}

fn paren(expr: Expr) -> Expr {
    node(ExprKind::Paren(Box::new(expr)))
}

/// What may stand beside any operator without parentheses.
fn operand(expr: Expr) -> Expr {
    let bare = match &expr.kind {
        ExprKind::Number { value, .. } => value.is_sign_positive() && value.is_finite(),
        ExprKind::Binary(_) | ExprKind::Unary { .. } => false,
        _ => true,
    };
    if bare { expr } else { paren(expr) }
}

fn number() -> impl Strategy<Value = Expr> {
    let finite = prop_oneof![
        any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()),
        any::<i32>().prop_map(f64::from),
        (0u32..1_000_000).prop_map(|value| f64::from(value) / 1_000.0),
    ];
    let millis = prop_oneof![-100_000i64..100_000, -9_000_000_000_000i64..9_000_000_000_000];
    prop_oneof![
        finite.prop_map(|value| node(ExprKind::Number { value, duration: false })),
        millis
            .prop_map(|millis| { node(ExprKind::Number { value: millis as f64 / 1_000.0, duration: true }) }),
    ]
}

fn text() -> impl Strategy<Value = Expr> {
    any::<String>().prop_map(|text| node(ExprKind::String(text)))
}

fn name() -> impl Strategy<Value = String> {
    let keywords = vec![
        "sum",
        "by",
        "on",
        "bool",
        "offset",
        "start",
        "NaN",
        "Inf",
        "atan2",
        "fill",
        "and",
        "anchored",
        "rate",
        "group_left",
        "STEP",
        "min_of",
    ];
    prop_oneof![
        3 => "[a-z_][a-z0-9_]{0,8}",
        1 => proptest::sample::select(keywords).prop_map(str::to_owned),
        1 => any::<String>().prop_filter("names are not empty", |name| !name.is_empty()),
    ]
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(name(), 0..3)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let ops = proptest::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual]);
    let plain = (name(), ops, any::<String>());
    let regexes = (name(), any::<bool>(), "[a-z]{1,4}(\\.\\*|\\|x|\\\\d)?");
    prop_oneof![
        plain.prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap()),
        regexes.prop_map(|(name, positive, value)| {
            Matcher::new(name, if positive { MatchOp::Regex } else { MatchOp::NotRegex }, value).unwrap()
        }),
    ]
}

fn literal(least: i64) -> impl Strategy<Value = DurationExpr> {
    let millis = prop_oneof![least..100_000i64, least..9_000_000_000_000i64];
    millis.prop_map(|millis| span(DurationKind::Literal { seconds: millis as f64 / 1_000.0, duration: true }))
}

/// A duration to be calculated, in parentheses.
fn calculated() -> impl Strategy<Value = DurationExpr> {
    let number = (1u32..1_000_000).prop_map(|value| {
        span(DurationKind::Literal { seconds: f64::from(value) / 1_000.0, duration: false })
    });
    let leaf =
        prop_oneof![literal(0), number, Just(span(DurationKind::Step)), Just(span(DurationKind::Range)),];
    let ops = vec![BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Mod, BinaryOp::Pow];
    let inner = leaf.prop_recursive(3, 12, 2, move |inner| {
        let pair = (inner.clone(), inner.clone());
        let ops = proptest::sample::select(ops.clone());
        prop_oneof![
            (ops, pair.clone()).prop_map(|(op, (left, right))| {
                let kind = DurationKind::Binary { op, left: Box::new(left), right: Box::new(right) };
                span(DurationKind::Paren(Box::new(span(kind))))
            }),
            (any::<bool>(), pair).prop_map(|(max, (left, right))| {
                span(DurationKind::Extreme { max, left: Box::new(left), right: Box::new(right) })
            }),
            (any::<bool>(), inner).prop_map(|(negative, inner)| {
                let inner = Box::new(span(DurationKind::Paren(Box::new(inner))));
                let kind = DurationKind::Unary { negative, expr: inner };
                span(DurationKind::Paren(Box::new(span(kind))))
            }),
        ]
    });
    inner.prop_map(|inner| span(DurationKind::Paren(Box::new(inner))))
}

fn range() -> impl Strategy<Value = DurationExpr> {
    prop_oneof![3 => literal(1), 1 => calculated()]
}

fn shift() -> impl Strategy<Value = TimeShift> {
    let offset = prop_oneof![
        literal(-100_000).prop_filter("none", |span| {
            !matches!(span.kind, DurationKind::Literal { seconds, .. } if seconds == 0.0)
        }),
        // Behind a parenthesis an offset goes on, unless there is a sign before it.
        calculated().prop_map(|inner| span(DurationKind::Unary { negative: true, expr: Box::new(inner) })),
    ];
    let at = prop_oneof![
        Just(At::Start),
        Just(At::End),
        (-(1i64 << 52)..(1i64 << 52)).prop_map(At::Time),
        (-5_000i64..5_000).prop_map(At::Time),
    ];
    (of(offset), of(at)).prop_map(|(offset, at)| TimeShift { offset, at })
}

fn selector() -> impl Strategy<Value = VectorSelector> {
    let parts = (of(name()), proptest::collection::vec(matcher(), 0..3), shift());
    parts.prop_map(|(name, mut matchers, time)| {
        matchers.retain(|matcher| matcher.name != "__name__");
        let keywords = ["on", "ignoring", "group_left", "group_right", "bool", "atan2", "nan", "inf"];
        let plain = |name: &String| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && !keywords.contains(&name.to_ascii_lowercase().as_str())
        };
        let named = name.as_ref().is_some_and(plain);
        if let Some(name) = name {
            matchers.insert(0, Matcher::equal("__name__", name));
        }
        if matchers.iter().all(Matcher::matches_empty) {
            matchers.push(Matcher::equal("job", "a"));
        }
        VectorSelector { matchers, named, time, boundaries: Boundaries::Inside }
    })
}

fn matrix(boundaries: Boundaries) -> impl Strategy<Value = Expr> {
    (selector(), range()).prop_map(move |(mut selector, range)| {
        selector.boundaries = boundaries;
        node(ExprKind::Matrix(MatrixSelector { selector, selector_place: 0..0, range }))
    })
}

fn vector_leaf() -> impl Strategy<Value = Expr> {
    let boundaries = [Boundaries::Inside, Boundaries::Smoothed, Boundaries::Anchored];
    (selector(), proptest::sample::select(boundaries.to_vec())).prop_map(|(mut selector, boundaries)| {
        selector.boundaries = boundaries;
        node(ExprKind::Selector(selector))
    })
}

fn scalar() -> impl Strategy<Value = Expr> {
    let time = Just(node(ExprKind::Call(Call { function: find("time").unwrap(), args: Vec::new() })));
    prop_oneof![number(), time]
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    node(ExprKind::Call(Call { function: find(name).unwrap(), args }))
}

fn fills() -> impl Strategy<Value = (Option<f64>, Option<f64>)> {
    (of(-5i32..5), of(-5i32..5)).prop_map(|(left, right)| (left.map(f64::from), right.map(f64::from)))
}

fn one_matching() -> impl Strategy<Value = Matching> {
    let cards = vec![Cardinality::OneToOne, Cardinality::ManyToOne, Cardinality::OneToMany];
    let parts = (proptest::sample::select(cards), any::<bool>(), labels(), labels(), fills());
    parts.prop_map(|(cardinality, on, labels, mut include, (fill_left, fill_right))| {
        include.retain(|label| cardinality != Cardinality::OneToOne && !labels.contains(label));
        Matching { cardinality, on, labels, include, fill_left, fill_right }
    })
}

fn set_matching() -> impl Strategy<Value = Matching> {
    (any::<bool>(), labels()).prop_map(|(on, labels)| Matching {
        cardinality: Cardinality::ManyToMany,
        on,
        labels,
        include: Vec::new(),
        fill_left: None,
        fill_right: None,
    })
}

fn between(op: BinaryOp, left: Expr, right: Expr, return_bool: bool, matching: Option<Matching>) -> Expr {
    let (left, right) = (operand(left), operand(right));
    let return_bool = return_bool && op.is_comparison();
    node(ExprKind::Binary(Box::new(Binary { op, left, right, return_bool, matching })))
}

fn plain_ops() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::{Add, Atan2, Div, Eq, Ge, Gt, Le, Lt, Mod, Mul, Ne, Pow, Sub, TrimLower, TrimUpper};
    let ops = vec![Add, Sub, Mul, Div, Mod, Pow, Atan2, Eq, Ne, Gt, Lt, Ge, Le, TrimUpper, TrimLower];
    proptest::sample::select(ops)
}

fn set_ops() -> impl Strategy<Value = BinaryOp> {
    proptest::sample::select(vec![BinaryOp::And, BinaryOp::Or, BinaryOp::Unless])
}

fn of_vectors(inner: BoxedStrategy<Expr>) -> impl Strategy<Value = Expr> {
    let pair = (inner.clone(), inner.clone());
    prop_oneof![
        (plain_ops(), pair.clone(), any::<bool>(), one_matching())
            .prop_map(|(op, (left, right), return_bool, by)| between(op, left, right, return_bool, Some(by))),
        (set_ops(), pair, set_matching()).prop_map(|(op, (left, right), by)| between(
            op,
            left,
            right,
            false,
            Some(by)
        )),
        (plain_ops(), inner.clone(), scalar())
            .prop_map(|(op, vector, scalar)| between(op, vector, scalar, true, None)),
        (plain_ops(), scalar(), inner.clone())
            .prop_map(|(op, scalar, vector)| between(op, scalar, vector, false, None)),
        inner.clone().prop_map(paren),
        (any::<bool>(), inner)
            .prop_map(|(negative, expr)| node(ExprKind::Unary { negative, expr: Box::new(operand(expr)) })),
    ]
}

fn aggregation(inner: BoxedStrategy<Expr>) -> impl Strategy<Value = Expr> {
    let ops = proptest::sample::select(AggregationOp::ALL.to_vec());
    (ops, inner, scalar(), text(), any::<bool>(), labels()).prop_map(
        |(op, expr, scalar, text, without, grouping)| {
            let param = match op.param_type() {
                Some(ValueType::Scalar) => Some(scalar),
                Some(_) => Some(text),
                None => None,
            };
            node(ExprKind::Aggregation(Box::new(Aggregation { op, param, expr, without, grouping })))
        },
    )
}

fn of_calls(inner: BoxedStrategy<Expr>) -> impl Strategy<Value = Expr> {
    let subquery = (inner.clone(), range(), of(range()), shift()).prop_map(|(expr, range, step, time)| {
        let expr = operand(expr);
        node(ExprKind::Subquery(Box::new(Subquery { expr, range, step, time })))
    });
    let ranges = prop_oneof![matrix(Boundaries::Inside), subquery];
    prop_oneof![
        inner.clone().prop_map(|expr| call("abs", vec![expr])),
        (inner.clone(), scalar()).prop_map(|(expr, scalar)| call("round", vec![expr, scalar])),
        ranges.prop_map(|range| call("max_over_time", vec![range])),
        matrix(Boundaries::Anchored).prop_map(|range| call("resets", vec![range])),
        matrix(Boundaries::Smoothed).prop_map(|range| call("rate", vec![paren(range)])),
        (inner, proptest::collection::vec(text(), 2..4))
            .prop_map(|(expr, texts)| { call("label_join", std::iter::once(expr).chain(texts).collect()) }),
    ]
}

fn tree() -> impl Strategy<Value = Expr> {
    let vectors = vector_leaf().prop_recursive(5, 40, 3, |inner| {
        prop_oneof![of_vectors(inner.clone()), aggregation(inner.clone()), of_calls(inner)].boxed()
    });
    prop_oneof![8 => vectors, 1 => scalar(), 1 => text(), 1 => matrix(Boundaries::Inside)]
}

/// Pieces of the language in any order, which come further than any text does.
fn near_queries() -> impl Strategy<Value = String> {
    let mut pieces: Vec<&'static str> = vec![
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "@",
        "=",
        "=~",
        "!~",
        "!=",
        "==",
        "<",
        ">",
        "</",
        ">/",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "and",
        "or",
        "unless",
        "atan2",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "start()",
        "end()",
        "step()",
        "range()",
        "anchored",
        "smoothed",
        "fill(1)",
        "min_of",
        "max_of",
        "1",
        "5m",
        "0x",
        "1e",
        "'a'",
        "\"b\"",
        "`c`",
        "\"\\x",
        "foo",
        "a:b",
        "#",
        "\n",
        "é",
        "NaN",
        "foo{a='b'}",
        "foo[5m]",
        "foo[5m:]",
        "sum",
        "topk",
    ];
    pieces.extend(TABLE.iter().map(|function| function.name));
    proptest::collection::vec(proptest::sample::select(pieces), 0..25).prop_map(|pieces| pieces.join(" "))
}

type Tried = Result<(), TestCaseError>;

/// Generating a tree takes more stack than reading it.
const STACK: usize = 32 << 20;

fn for_all<S: Strategy + 'static>(strategy: fn() -> S, check: fn(S::Value) -> Tried) {
    let work = move || {
        let mut runner = TestRunner::new(ProptestConfig::with_cases(1_000));
        runner.run(&strategy(), check).unwrap();
    };
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
}

fn reads(shown: &str) -> Result<Expr, TestCaseError> {
    parse(shown, EXPERIMENTAL).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))
}

#[test]
fn trees_are_read_as_they_are_written() {
    for_all(tree, |mut tree| {
        let written = [tree.to_string(), pretty(&tree)];
        strip(&mut tree);
        for shown in written {
            let mut again = reads(&shown)?;
            strip(&mut again);
            prop_assert_eq!(&again, &tree, "{}", shown);
        }
        Ok(())
    });
}

#[test]
fn no_text_makes_the_reader_panic() {
    for_all(any::<String>, |text| {
        let _ = parse(&text, EXPERIMENTAL);
        let _ = parse_selector(&text);
        Ok(())
    });
}

#[test]
fn what_is_read_can_be_written_and_read_again() {
    for_all(near_queries, |text| {
        let _ = parse_selector(&text);
        if let Ok(expr) = parse(&text, EXPERIMENTAL) {
            let shown = expr.to_string();
            prop_assert_eq!(reads(&shown)?.to_string(), shown);
        }
        Ok(())
    });
}
