//! Valid queries and their canonical form.

use super::{canonical, experimental, same, stable};
use crate::EXPERIMENTAL;

#[test]
fn numbers() {
    same("1");
    stable("007", "7");
    stable("010", "8");
    stable("08", "8");
    stable("0x8f", "143");
    stable("0X_1F", "31");
    stable("1_000_000", "1000000");
    stable("123_456", "123456");
    stable("1_0.5_0", "10.5");
    stable(".5", "0.5");
    stable("5.", "5");
    stable("1e300", &format!("1{}", "0".repeat(300)));
    stable("3.4e-9", "0.0000000034");
    stable("1e3", "1000");
    stable("1E+3", "1000");
    stable("0.0001", "0.0001");
    stable("-2.43", "-2.43");
    stable("+7", "7");
    stable("--7", "7");
    stable("- + -7", "7");
    stable("inf", "+Inf");
    stable("-INF", "-Inf");
    stable("nan", "NaN");
    stable("NaN", "NaN");
    stable("0x1e-3", "30 - 3");
}

#[test]
fn durations_are_numbers_of_seconds() {
    same("5m");
    same("-5m");
    stable("90s", "1m30s");
    stable("1h30m", "1h30m");
    stable("1500ms", "1s500ms");
    same("1y");
    same("2w");
    stable("1y2w3d4h5m6s7ms", "382d4h5m6s7ms");
    stable("0s", "0s");
    stable("rate(foo[5m]) * 5m", "rate(foo[5m]) * 5m");
}

#[test]
fn plain_numbers_are_durations_in_seconds() {
    stable("foo[300]", "foo[5m]");
    stable("foo[0.5]", "foo[500ms]");
    stable("foo[0x10]", "foo[16s]");
    stable("foo offset 90", "foo offset 1m30s");
    stable("foo offset -1.5", "foo offset -1s500ms");
    stable("foo[1e2:10]", "foo[1m40s:10s]");
}

#[test]
fn strings() {
    stable(r#""a""#, r#""a""#);
    stable("'a'", r#""a""#);
    stable("`a`", r#""a""#);
    stable(r#"'a"b'"#, r#""a\"b""#);
    stable(r"'a\'b'", r#""a'b""#);
    stable(r#""\a\b\f\n\r\t\v\\\"""#, r#""\a\b\f\n\r\t\v\\\"""#);
    stable(r#""\x41\101\u00e9\U0001F600""#, "\"AAé😀\"");
    stable(r#""\xc3\xa9""#, "\"é\"");
    stable("`\\n\n'\"`", r#""\\n\n'\"""#);
    stable(r#""\x00\u200b""#, r#""\x00\u200b""#);
    same(r#""""#);
}

#[test]
fn comments_and_spaces() {
    stable("# before\n  1 # behind\n+ # between\n 2\r\n\t", "1 + 2");
    stable("foo{ # in braces\n a = 'x' , # more\n }[ # range\n 5m ]", r#"foo{a="x"}[5m]"#);
    stable("\"# no comment\"", "\"# no comment\"");
    stable("1 #", "1");
}

#[test]
fn selectors() {
    same("foo");
    same("foo:bar:rate5m");
    same(":foo");
    same("_");
    stable("foo{}", "foo");
    stable("foo { a = \"b\" , }", r#"foo{a="b"}"#);
    same(r#"foo{a="b",c!="d",e=~"f.*",g!~"h|i"}"#);
    same(r#"{job=~".+"}"#);
    same(r#"{job=~".*",method="get"}"#);
    same(r#"{__name__="foo"}"#);
    same(r#"{__name__=~"job:.*",a=""}"#);
    same(r#"{__name__!="b",__name__="a"}"#);
    same(r#"foo{a!="c",a="b"}"#);
}

#[test]
fn quoted_names() {
    stable(r#"{"foo"}"#, r#"{__name__="foo"}"#);
    stable(r#"{"foo", a="b"}"#, r#"{__name__="foo",a="b"}"#);
    stable(r#"{a="b", "foo"}"#, r#"{__name__="foo",a="b"}"#);
    stable(r#"{"a", "b"}"#, r#"{__name__="a",__name__="b"}"#);
    stable(r#"{"my.metric"}"#, r#"{__name__="my.metric"}"#);
    stable(r#"{"my.metric","label.name"="x"}"#, r#"{"label.name"="x",__name__="my.metric"}"#);
    stable(r#"{'my metric', "a"='x',}"#, r#"{__name__="my metric",a="x"}"#);
    stable("{\"温度\"}", "{__name__=\"温度\"}");
    stable(r#"{"on"}[5m]"#, r#"{__name__="on"}[5m]"#);
    stable(r#"{"NaN"} offset 5m"#, r#"{__name__="NaN"} offset 5m"#);
    stable(r#"{"sum"}"#, r#"{__name__="sum"}"#);
    same(r#"foo{""="x"}"#);
    same(r#"sum by ("label.name", b) (foo)"#);
    stable(r#"sum by ("label.name", "b") (foo)"#, r#"sum by ("label.name", b) (foo)"#);
    same(r#"foo * on ("a.b") group_left ("c d") bar"#);
    same(r#"foo - ignoring ("a.b", c) bar"#);
    same(r#"sum by ("nan") (foo)"#);
}

#[test]
fn matchers_are_written_in_the_order_of_their_text() {
    stable(r#"foo{z="1",a="2",a!="3",a="1"}"#, r#"foo{a!="3",a="1",a="2",z="1"}"#);
    stable(r#"foo{b="1","a.b"="2"}"#, r#"foo{"a.b"="2",b="1"}"#);
    stable(r#"{a="b",__name__="foo"}"#, r#"{__name__="foo",a="b"}"#);
}

#[test]
fn keywords_are_names_where_nothing_else_is_meant() {
    for name in ["sum", "SUM", "count_values", "limitk", "by", "without", "offset", "and", "or", "unless"] {
        same(name);
        same(&format!("{name} + {name}"));
        same(&format!(r#"{name}{{{name}="x"}}"#));
    }
    for name in ["start", "end", "step", "range", "anchored", "smoothed", "fill", "fill_left", "fill_right"] {
        same(name);
        same(&format!("foo + {name}"));
        same(&format!("foo + {name} + bar"));
        same(&format!("{name} offset 5m"));
    }
    same("rate");
    same("min_of");
    same("offset offset 5m");
    same("sum(sum)");
    same("sum by (by) (by)");
    same("and and and");
    same("start @ start()");
    for label in [
        "sum",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "and",
        "or",
        "unless",
        "atan2",
        "offset",
        "start",
        "end",
        "step",
        "range",
        "anchored",
        "smoothed",
        "fill",
        "rate",
    ] {
        same(&format!("sum by ({label}) (foo)"));
        same(&format!("a / on ({label}) group_left ({label}x) b"));
        same(&format!(r#"foo{{{label}="x"}}"#));
    }
    same(r#"foo{inf="x",nan="y"}"#);
}

#[test]
fn keywords_in_either_case() {
    stable("SUM BY (a) (foo)", "sum by (a) (foo)");
    stable("foo AND ON(a) bar Unless baz", "foo and on (a) bar unless baz");
    stable("foo OFFSET 5m", "foo offset 5m");
    stable("1 > BOOL 2", "1 > bool 2");
    stable("foo @ START()", "foo @ start()");
    stable("a ATAN2 b", "a atan2 b");
    stable("a * Ignoring(x) Group_Left(y) b", "a * ignoring (x) group_left (y) b");
}

#[test]
fn shifts() {
    same("foo offset 5m");
    same("foo offset -5m");
    stable("foo offset - 5m", "foo offset -5m");
    stable("foo offset 0s", "foo");
    stable("foo @ 1609746000", "foo @ 1609746000.000");
    stable("foo @ -1.5", "foo @ -1.500");
    stable("foo @ +1.0005", "foo @ 1.001");
    stable("foo @ 0x10", "foo @ 16.000");
    stable("foo @ 5m", "foo @ 300.000");
    stable("foo @ -0.0005", "foo @ -0.001");
    stable("foo @ 9e15", "foo @ 9000000000000000.000");
    stable("foo@start ( )", "foo @ start()");
    same("foo @ end() offset 5m");
    stable("foo offset 5m @ end()", "foo @ end() offset 5m");
    same("foo[5m] @ start() offset 1w");
    stable("foo[5m] offset 1w @ 10", "foo[5m] @ 10.000 offset 1w");
    same("foo[5m:1m] @ end() offset 1h");
    same("foo[5m:] offset -1h");
    same("sum(foo offset 5m)[5m:1m] offset 1h");
    same("foo offset 5m[10m:1m]");
}

#[test]
fn sub_queries() {
    same("foo[5m:]");
    stable("foo[ 5m : 1m ]", "foo[5m:1m]");
    same("rate(foo[5m])[1h:]");
    same("max_over_time(sum by (a) (foo)[1h:1m])");
    same("(foo + bar)[5m:]");
    same("max_over_time(max_over_time(foo[5m])[1h:1m])");
}

#[test]
fn operators() {
    same("1 + 2 - 3 * 4 / 5 % 6 ^ 7");
    same("a == b");
    same("a != 1");
    same("a > bool 1");
    stable("1==bool 2", "1 == bool 2");
    stable("a<=1", "a <= 1");
    stable("a>=b", "a >= b");
    same("a and b or c unless d");
    same("a atan2 b");
    same("-a");
    same("+a");
    stable("- a", "-a");
    same("--a");
    same("-(1)");
    same("-1 ^ 2");
    same("2 ^ -1");
    stable("1-1", "1 - 1");
    stable("a-b", "a - b");
    same("(a)");
    same("((1 + 2)) * 3");
}

#[test]
fn matching() {
    stable("a + on() b", "a + on () b");
    stable("a + ignoring() b", "a + b");
    same("a + on (x, y) b");
    stable("a + on(x,y,) b", "a + on (x, y) b");
    same("a > bool on (x) b");
    same("a and on (x) b");
    same("a or ignoring (x) b");
    stable("a / on(x) group_left b", "a / on (x) group_left () b");
    stable("a / ignoring(x) group_right() b", "a / ignoring (x) group_right () b");
    same("a / ignoring () group_left () b");
    same("a / on (x) group_right (y, z) b");
    same("a / ignoring (x) group_left (x) b");
    stable("a / on(x) group_left (b) (c)", "a / on (x) group_left (b) (c)");
}

#[test]
fn aggregations() {
    same("sum(foo)");
    same("sum by (a, b) (foo)");
    stable("sum(foo) by (a,b,)", "sum by (a, b) (foo)");
    stable("sum by () (foo)", "sum(foo)");
    same("sum without () (foo)");
    stable("sum (foo) without(a)", "sum without (a) (foo)");
    for name in ["avg", "count", "min", "max", "group", "stddev", "stdvar"] {
        same(&format!("{name} by (a) (foo)"));
    }
    same("topk(5, foo)");
    same("bottomk by (a) (5, foo)");
    same("quantile without (a) (0.9, foo)");
    same(r#"count_values("version", build)"#);
    same("topk(scalar(bar), foo)");
    experimental("limitk(2, foo)", "limitk(2, foo)");
    experimental("limit_ratio(-0.5, foo) by (a)", "limit_ratio by (a) (-0.5, foo)");
}

#[test]
fn functions() {
    same("time()");
    same("pi()");
    same("hour()");
    same("hour(foo)");
    same("round(foo)");
    same("round(foo, 5)");
    same("rate(foo[5m])");
    same("rate((foo[5m]))");
    same("histogram_quantile(0.9, sum by (le) (rate(foo[5m])))");
    same(r#"label_replace(foo, "a", "$1", "b", "(.*)")"#);
    same(r#"label_join(foo, "a", ",")"#);
    same(r#"label_join(foo, "a", ",", "b", "c", "d")"#);
    same("vector(1)");
    same("scalar(foo)");
    same("absent_over_time(foo[5m])");
    experimental(r#"sort_by_label(foo, "a", "b")"#, r#"sort_by_label(foo, "a", "b")"#);
    experimental("mad_over_time(foo[5m])", "mad_over_time(foo[5m])");
    experimental("start()", "start()");
    experimental("step() + range()", "step() + range()");
    experimental("max_of(min_of(1, time()), 5m)", "max_of(min_of(1, time()), 5m)");
}

#[test]
fn info() {
    experimental("info(foo)", "info(foo)");
    experimental("info(foo, {})", "info(foo, {})");
    experimental(r#"info(foo, {data=~".*"})"#, r#"info(foo, {data=~".*"})"#);
    experimental(r#"info(foo, {__name__=~".+_info", a="b"})"#, r#"info(foo, {__name__=~".+_info",a="b"})"#);
}

#[test]
fn fill() {
    experimental("a + fill(0) b", "a + fill (0) b");
    experimental("a + fill(NaN) b", "a + fill_left (NaN) fill_right (NaN) b");
    experimental("a + fill_left(-1) b", "a + fill_left (-1) b");
    experimental("a + FILL_right(inf) fill_left(2) b", "a + fill_left (2) fill_right (+Inf) b");
    experimental("a > bool on(x) group_left(y) fill(1) b", "a > bool on (x) group_left (y) fill (1) b");
    experimental("a + fill(5m) (b)", "a + fill (300) (b)");
}

#[test]
fn extended_ranges() {
    experimental("rate(foo[5m] anchored)", "rate(foo[5m] anchored)");
    experimental("resets(foo[5m] anchored)", "resets(foo[5m] anchored)");
    experimental("increase(foo[5m] smoothed)", "increase(foo[5m] smoothed)");
    experimental("foo smoothed", "foo smoothed");
    experimental("foo smoothed offset 5m", "foo smoothed offset 5m");
    experimental("foo smoothed @ 5", "foo @ 5.000 smoothed");
    experimental("foo anchored", "foo anchored");
    experimental("foo anchored anchored", "foo anchored");
    experimental("foo anchored[5m]", "foo[5m] anchored");
    experimental("foo anchored[5m:1m]", "foo anchored[5m:1m]");
    experimental("foo[5m] smoothed", "foo[5m] smoothed");
    experimental("deriv(foo[5m] anchored)", "deriv(foo[5m] anchored)");
    experimental("delta((foo[5m] @ 1 SMOOTHED offset 1m))", "delta((foo[5m] smoothed @ 1.000 offset 1m))");
}

#[test]
fn trims() {
    experimental("foo </ 1", "foo </ 1");
    experimental("foo>/0.1+2", "foo >/ 0.1 + 2");
    experimental("foo </ on (a) bar", "foo </ on (a) bar");
}

#[test]
fn duration_expressions() {
    experimental("foo[5m+1m]", "foo[5m + 1m]");
    experimental("foo[5m*2]", "foo[5m * 2]");
    experimental("foo[(5+2) * 1m]", "foo[(5 + 2) * 1m]");
    experimental("foo[-1m ^ 2 + 3 % 2 / 1 - 1]", "foo[-1m ^ 2 + 3 % 2 / 1 - 1]");
    experimental("foo[step()]", "foo[step()]");
    experimental("foo[range() + 1]", "foo[range() + 1]");
    experimental("foo[max_of(step(), 5s)]", "foo[max_of(step(), 5s)]");
    experimental("foo[MIN_OF(2 * step() + 5s, 5m)]", "foo[min_of(2 * step() + 5s, 5m)]");
    experimental("foo[1h:step()]", "foo[1h:step()]");
    experimental("foo[1h+1m:1m*2] @ end()", "foo[1h + 1m:1m * 2] @ end()");
    experimental("foo offset (100+2)", "foo offset (100 + 2)");
    experimental("foo offset -(5m)", "foo offset -(5m)");
    experimental("foo offset -step()", "foo offset -step()");
    experimental("foo offset max_of(step(), 1m) + 1", "foo offset max_of(step(), 1m) + 1");
    experimental("foo[-(5m)]", "foo[-(5m)]");
    canonical("foo offset 5m * 2", EXPERIMENTAL, "foo offset 5m * 2");
    canonical("foo offset 1m + 2", crate::STABLE, "foo offset 1m + 2");
}
