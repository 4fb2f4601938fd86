//! What is no query, where it goes wrong, and what was expected there.

use super::{error_of, refused};
use crate::{EXPERIMENTAL, STABLE};
use metricsd_promql::parse_selector;

#[test]
fn nothing() {
    refused("", "1:1: no expression found in input");
    refused("  # only a comment", "1:19: no expression found in input");
}

#[test]
fn errors_tell_line_and_column() {
    let error = error_of("foo\n  + )", STABLE);
    assert_eq!((error.line, error.column), (2, 5));
    assert_eq!(error.to_string(), "2:5: parse error: unexpected right parenthesis ')'");
    refused("foo{a=\"é\"} bar", "1:13: unexpected identifier \"bar\"");
}

#[test]
fn signs() {
    refused("foo $", "1:5: unexpected character: '$'");
    refused("foo ! bar", "1:5: unexpected character after '!': ' '");
    refused("foo !", "1:5: unexpected end of input after '!'");
    refused("foo =~ bar", "1:5: unexpected character after '=': '~'");
    refused("foo = bar", "1:5: unexpected \"=\"");
    refused("foo bar", "1:5: unexpected identifier \"bar\"");
    refused("foo 5", "1:5: unexpected number \"5\"");
    refused("foo 5m", "1:5: unexpected duration \"5m\"");
    refused("foo \"x\"", r#"1:5: unexpected string "\"x\"""#);
    refused("foo,", "1:4: unexpected \",\"");
    refused("+", "1:2: unexpected end of input, expected an expression");
    refused("1 + * 2", "1:5: unexpected <op:*>, expected an expression");
    refused("(1", "1:3: unclosed left parenthesis");
    refused("(1))", "1:4: unexpected right parenthesis ')'");
    refused("()", "1:2: unexpected \")\", expected an expression");
    refused("foo}", "1:4: unexpected right brace '}'");
    refused("foo]", "1:4: unexpected right bracket ']'");
    refused("foo[5m", "1:7: unclosed left bracket");
    refused("foo[[5m]]", "1:5: unexpected left bracket '['");
    refused("{", "1:2: unexpected end of input inside braces");
    refused("on", "1:1: unexpected <on>, expected an expression");
    refused("bool{}", "1:1: unexpected <bool>, expected an expression");
    refused("atan2", "1:1: unexpected <op:atan2>, expected an expression");
}

#[test]
fn numbers() {
    for text in
        ["1x", "0x", "0xg", "1__0", "1_", "1.2.3", "1e", "1e400", "1.5h", "1_m", "0b1", "0o7", "1.e_5"]
    {
        refused(text, &format!("1:1: bad number or duration syntax: {text:?}"));
    }
    for text in ["1m1h", "1m1m", "1s1", "5mm", "1hm"] {
        refused(text, &format!("1:1: bad number or duration syntax: {text:?}"));
    }
    refused("foo[300y]", "1:5: duration out of range");
    refused("foo[99999999999999999999s]", "1:5: duration out of range");
    refused("foo[1e12]", "1:5: duration out of range");
    refused("foo offset NaN", "1:12: duration out of range");
    refused("foo[0]", "1:5: duration must be greater than 0");
    refused("foo[0s]", "1:5: duration must be greater than 0");
    refused("foo[-5m]", "1:5: duration must be greater than 0");
    refused("foo[5m:0]", "1:8: duration must be greater than 0");
}

#[test]
fn strings() {
    refused("\"abc", "1:1: unterminated quoted string");
    refused("'a\nb'", "1:1: unterminated quoted string");
    refused("`abc", "1:1: unterminated raw string");
    refused(r#""a\qb""#, "1:3: unknown escape sequence U+0071 'q'");
    refused(r#""\'""#, "1:2: unknown escape sequence U+0027 '\\''");
    refused(r#""\x4""#, "1:2: escape sequence needs 2 digits of base 16");
    refused(r#""\400""#, "1:2: octal escape value 256 > 255");
    refused(r#""\ud800""#, "1:2: escape sequence is an invalid Unicode code point");
    refused(r#""\xff""#, "1:2: escapes in a string must yield valid UTF-8");
}

#[test]
fn selectors() {
    let empty = "vector selector must contain at least one non-empty matcher";
    refused("{}", &format!("1:1: {empty}"));
    refused(r#"{job=~".*"}"#, &format!("1:1: {empty}"));
    refused(r#"1 + {a="",b!="x"}"#, &format!("1:5: {empty}"));
    refused(r#"{""}"#, &format!("1:1: {empty}"));
    refused("foo{a}", "1:6: unexpected \"}\" in label matching, expected label matching operator");
    refused("foo{a=b}", "1:7: unexpected identifier \"b\" in label matching, expected string");
    refused("foo{a=1}", "1:7: unexpected character inside braces: '1'");
    refused("foo{a>\"1\"}", "1:6: unexpected character inside braces: '>'");
    refused("foo{a:b=\"1\"}", "1:6: unexpected character inside braces: ':'");
    refused("foo{,}", "1:5: unexpected \",\" in label matching, expected identifier or \"}\"");
    refused(
        "foo{a=\"1\" b=\"2\"}",
        "1:11: unexpected identifier \"b\" in label matching, expected \",\" or \"}\"",
    );
    refused("foo{a==\"b\"}", "1:7: unexpected \"=\" in label matching, expected string");
    refused(r#"sum by ("") (foo)"#, r#"1:9: invalid label name for grouping: """#);
    refused(r#"foo{__name__="bar"}"#, r#"1:1: metric name must not be set twice: "foo" or "bar""#);
    refused(r#"foo{"bar"}"#, r#"1:1: metric name must not be set twice: "foo" or "bar""#);
    refused("foo{a=~\"(\"}", "1:8: error parsing regexp: unclosed group");
    refused("foo{a=~\"b\",\n  c!~'d)|(e'}", "2:6: error parsing regexp: unopened group");
}

#[test]
fn ranges_and_shifts() {
    refused("foo[]", "1:5: unexpected \"]\" in duration, expected number or duration");
    refused("foo[5m:1m:1s]", "1:10: unexpected \":\" in subquery selector, expected \"]\"");
    refused("foo[5m 1m]", "1:8: unexpected duration \"1m\" in range selector, expected \":\" or \"]\"");
    refused("foo[\"5m\"]", r#"1:5: unexpected string "\"5m\"" in duration, expected number or duration"#);
    refused("foo[bar]", "1:5: unexpected identifier \"bar\" in duration, expected number or duration");
    refused("foo[step]", "1:9: unexpected \"]\" in duration, expected \"(\"");
    refused("1[5m]", "1:2: ranges only allowed for vector selectors");
    refused("(foo)[5m]", "1:6: ranges only allowed for vector selectors");
    refused("foo[5m][5m]", "1:8: ranges only allowed for vector selectors");
    refused("foo offset 5m[5m]", "1:14: no offset modifiers allowed before range");
    refused("foo @ 5[5m]", "1:8: no @ modifiers allowed before range");
    refused("foo offset", "1:11: unexpected end of input in offset, expected number or duration");
    refused("foo offset 1m offset 2m", "1:15: offset may not be set multiple times");
    refused("foo @ 1 @ 2", "1:9: @ <timestamp> may not be set multiple times");
    refused("foo @ bar", "1:7: unexpected identifier \"bar\" in @, expected timestamp");
    refused("foo @ --1", "1:8: unexpected <op:-> in @, expected timestamp");
    refused("foo @ start", "1:12: unexpected end of input in @, expected \"(\"");
    refused("foo @ Inf", "1:1: timestamp out of bounds for @ modifier: +Inf");
    refused(
        "1 + foo @ -1e22",
        "1:5: timestamp out of bounds for @ modifier: -10000000000000000000000.000000",
    );
    let kinds = "must be preceded by an instant vector selector or range vector selector or a subquery";
    refused("sum(foo) offset 5m", &format!("1:10: offset modifier {kinds}"));
    refused("(foo) offset 5m", &format!("1:7: offset modifier {kinds}"));
    refused("1 @ 5", &format!("1:3: @ modifier {kinds}"));
    refused("foo[5m:1m] anchored", "1:1: anchored modifier is not supported for subqueries");
    refused("1 + (foo) smoothed", "1:5: smoothed modifier not implemented");
    refused(
        "rate(foo[5m] anchored smoothed)",
        "1:6: anchored and smoothed modifiers cannot be used together",
    );
}

#[test]
fn clauses() {
    refused("sum by foo", "1:8: unexpected identifier \"foo\" in grouping opts, expected \"(\"");
    refused("sum by (a) foo", "1:12: unexpected identifier \"foo\" in aggregation, expected \"(\"");
    refused(
        "sum by (a b) (foo)",
        "1:11: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\"",
    );
    refused("sum by (1) (foo)", "1:9: unexpected number \"1\" in grouping opts, expected label");
    refused(
        "sum by (a) (foo) by (b)",
        "1:18: unexpected <by> in aggregation, expected at most one \"by\" or \"without\"",
    );
    refused("sum(foo) by (a) without (b)", "1:17: unexpected <without>");
    refused("a + on b", "1:8: unexpected identifier \"b\" in grouping opts, expected \"(\"");
    refused("a + group_left b", "1:5: unexpected <group_left>, expected an expression");
    refused("a and on(x) group_left b", "1:13: no grouping allowed for \"and\" operation");
    refused("a + on(x) group_left(x) b", "1:11: label \"x\" must not occur in ON and GROUP clause at once");
    refused("a + bool b", "1:5: bool modifier can only be used on comparison operators");
    refused("a and bool b", "1:7: bool modifier can only be used on comparison operators");
    refused("a or fill(0) b", "1:6: filling in missing series not allowed for set operators");
    refused("a + fill(0) fill_left(1) b", "1:13: fill value may not be set multiple times");
    refused("a + fill(b) c", "1:10: unexpected identifier \"b\" in fill modifier, expected number");
    refused("rate(foo[5m],)", "1:13: trailing commas not allowed in function call args");
    refused("rate(foo[5m] 1)", "1:14: unexpected number \"1\" in arguments, expected \",\" or \")\"");
    refused("sum(foo", "1:8: unclosed left parenthesis");
}

#[test]
fn experimental_parts_name_their_setting() {
    let check = |text: &str, expected: &str| {
        let error = error_of(text, STABLE).to_string();
        assert_eq!(error, expected);
        assert!(metricsd_promql::parse(text, EXPERIMENTAL).is_ok(), "{text}");
    };
    let off = "is experimental and not enabled; promql.experimental enables it";
    check("info(foo)", &format!("1:1: parse error: function \"info\" {off}"));
    check("1 + limitk(1, foo)", &format!("1:5: parse error: aggregation \"limitk\" {off}"));
    check("a </ 1", &format!("1:3: parse error: operator \"</\" {off}"));
    check("a + fill(0) b", &format!("1:5: parse error: modifier \"fill\" {off}"));
    check("foo smoothed", &format!("1:5: parse error: smoothed modifier {off}"));
    check("foo[1m+1m]", &format!("1:5: parse error: a duration expression {off}"));
    check("foo offset (1m)", &format!("1:12: parse error: a duration expression {off}"));
}

#[test]
fn selectors_alone() {
    let matchers = parse_selector(r#" up{job="a"} # comment"#).unwrap();
    let shown: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [r#"__name__="up""#, r#"job="a""#]);
    assert_eq!(parse_selector(r#"{"my.metric"}"#).unwrap().len(), 1);
    assert_eq!(parse_selector("sum").unwrap()[0].value, "sum");
    for (text, expected) in [
        ("", "1:1: parse error: unexpected end of input, expected a series selector"),
        ("1", "1:1: parse error: unexpected number \"1\", expected a series selector"),
        ("up[5m]", "1:3: parse error: unexpected \"[\" in series selector, expected end of input"),
        ("up offset 5m", "1:4: parse error: unexpected <offset> in series selector, expected end of input"),
        ("sum(up)", "1:4: parse error: unexpected \"(\" in series selector, expected end of input"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ] {
        assert_eq!(parse_selector(text).unwrap_err().to_string(), expected);
    }
}
