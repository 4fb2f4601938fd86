//! Which tree a text becomes.

use metricsd_promql::ast::{At, Binary, BinaryOp, Cardinality, DurationKind, Expr, ExprKind};
use metricsd_promql::parse;

use super::{STABLE, tree_of};

/// All parentheses that precedence implies.
fn grouped(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Binary(binary) => {
            format!("({} {} {})", grouped(&binary.left), binary.op.as_str(), grouped(&binary.right))
        }
        ExprKind::Unary { negative, expr } => {
            format!("({}{})", if *negative { '-' } else { '+' }, grouped(expr))
        }
        _ => expr.to_string(),
    }
}

#[track_caller]
fn groups(text: &str, expected: &str) {
    assert_eq!(grouped(&tree_of(text)), expected, "{text}");
}

#[test]
fn precedence() {
    groups("a + b * c", "(a + (b * c))");
    groups("a * b + c", "((a * b) + c)");
    groups("a - b - c", "((a - b) - c)");
    groups("a * b % c / d atan2 e", "((((a * b) % c) / d) atan2 e)");
    groups("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))");
    groups("a * b ^ c * d", "((a * (b ^ c)) * d)");
    groups("a == b + c", "(a == (b + c))");
    groups("a > b < c", "((a > b) < c)");
    groups("a or b and c", "(a or (b and c))");
    groups("a and b unless c and d", "(((a and b) unless c) and d)");
    groups("a and b == c or d", "((a and (b == c)) or d)");
    groups("a </ b + c and d", "((a </ (b + c)) and d)");
}

#[test]
fn signs_bind_looser_than_powers() {
    groups("-1 ^ 2", "(-(1 ^ 2))");
    groups("-a ^ b", "(-(a ^ b))");
    groups("-a * b", "((-a) * b)");
    groups("a ^ -b * c", "((a ^ (-b)) * c)");
    groups("a ^ -b ^ c", "(a ^ (-(b ^ c)))");
    groups("-1 * 2", "(-1 * 2)");
    groups("a - -b", "(a - (-b))");
    groups("-a + b", "((-a) + b)");
    groups("-foo offset 5m", "(-foo offset 5m)");
}

#[test]
fn offsets_take_one_duration() {
    groups("foo offset 1m + 2", "(foo offset 1m + 2)");
    groups("foo offset -1m * 2", "(foo offset -1m * 2)");
    groups("foo @ 1 - 2", "(foo @ 1.000 - 2)");
}

fn binary(text: &str) -> Binary {
    match parse(text, STABLE).unwrap().kind {
        ExprKind::Binary(binary) => *binary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn matching_is_there_between_vectors() {
    assert_eq!(binary("1 + foo").matching, None);
    assert_eq!(binary("foo > bool time()").matching, None);
    let matching = binary("a + b").matching.unwrap();
    assert_eq!(matching.cardinality, Cardinality::OneToOne);
    assert!(!matching.on && matching.labels.is_empty());
    assert_eq!(binary("a or b").matching.unwrap().cardinality, Cardinality::ManyToMany);
    let matching = binary("a / on(x, y) group_right(z) b").matching.unwrap();
    assert_eq!(matching.cardinality, Cardinality::OneToMany);
    assert!(matching.on);
    assert_eq!(matching.labels, ["x", "y"]);
    assert_eq!(matching.include, ["z"]);
    assert_eq!(binary("a - ignoring(x) group_left b").matching.unwrap().cardinality, Cardinality::ManyToOne);
    let compared = binary("a >= bool b");
    assert!(compared.return_bool);
    assert_eq!(compared.op, BinaryOp::Ge);
}

#[test]
fn places() {
    let text = " foo{a=\"b\"}[5m] offset 1m ";
    let expr = parse(text, STABLE).unwrap();
    assert_eq!(&text[expr.place.clone()], "foo{a=\"b\"}[5m] offset 1m");
    let ExprKind::Matrix(matrix) = expr.kind else { panic!() };
    assert_eq!(&text[matrix.selector_place], "foo{a=\"b\"}");
    assert_eq!(&text[matrix.range.place], "5m");

    let text = "sum by (a) (x) + rate(y[5m])";
    let sum = binary(text);
    assert_eq!(&text[sum.left.place.clone()], "sum by (a) (x)");
    assert_eq!(&text[sum.right.place.clone()], "rate(y[5m])");
    let expr = parse("sum(x) by (a) # end", STABLE).unwrap();
    assert_eq!(expr.place, 0..13);
    assert_eq!(parse(" - 5", STABLE).unwrap().place, 1..4);
}

#[test]
fn shifts() {
    let ExprKind::Selector(selector) = tree_of("foo @ 1.2345 offset -5m").kind else { panic!() };
    assert_eq!(selector.time.at, Some(At::Time(1_235)));
    let offset = selector.time.offset.unwrap();
    assert_eq!(offset.kind, DurationKind::Literal { seconds: -300.0, duration: true });
    let ExprKind::Subquery(subquery) = tree_of("foo[1h:] @ end()").kind else { panic!() };
    assert_eq!(subquery.time.at, Some(At::End));
    assert_eq!(subquery.step, None);
}

#[test]
fn names_come_first() {
    for text in ["foo{a=\"b\"}", "{\"foo\",a=\"b\"}", "{a=\"b\",\"foo\"}"] {
        let ExprKind::Selector(selector) = tree_of(text).kind else { panic!() };
        assert_eq!(selector.named, text.starts_with("foo"), "{text}");
        assert_eq!(selector.matchers[0].to_string(), "__name__=\"foo\"");
        assert_eq!(selector.matchers[1].to_string(), "a=\"b\"");
    }
    let ExprKind::Selector(selector) = tree_of("{a=\"b\",__name__=\"foo\"}").kind else { panic!() };
    assert!(!selector.named);
    assert_eq!(selector.matchers[0].to_string(), "a=\"b\"");
}
