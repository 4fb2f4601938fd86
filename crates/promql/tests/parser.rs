//! The language, as a table: what reads, what is refused and where.

use metricsd_model::{MatchOp, Matcher};
use metricsd_promql::{Selector, parse};
use proptest::prelude::*;

#[test]
fn selectors_read() {
    let check = |query: &str, expected: &str| {
        let selector = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(selector.to_string(), expected, "{query}");
    };
    check("up", "up");
    check("node:cpu:rate5m", "node:cpu:rate5m");
    check(" up \n # a comment\n{ } # the end", "up");
    check(r#"up{job="node"}"#, r#"up{job="node"}"#);
    check(r#"up{job='node',}"#, r#"up{job="node"}"#);
    check("up{path=`\\a\"`}", r#"up{path="\\a\""}"#);
    check(r#"name{a="b",c=~"d.*",e!="f",g!~"h"}"#, r#"name{a="b",c=~"d.*",e!="f",g!~"h"}"#);
    check(r#"{__name__="up"}"#, "up");
    check(r#"{job="a",__name__="up"}"#, r#"up{job="a"}"#);
    check(r#"{__name__=~"up|down"}"#, r#"{__name__=~"up|down"}"#);
    check(r#"{"utf8.name"}"#, r#"{__name__="utf8.name"}"#);
    check(r#"{"utf8.name", "a.b"="c"}"#, r#"{__name__="utf8.name","a.b"="c"}"#);
    check(r#"{"up", job="a"}"#, r#"up{job="a"}"#);
    check(r#"up{a="\x41\101\u00e9\U0001f600\t"}"#, r#"up{a="AAé😀\t"}"#);
    check(r#"up{a='\'"'}"#, r#"up{a="'\""}"#);
    check(r#"up{by="x",offset="y"}"#, r#"up{by="x",offset="y"}"#);
    check(r#"{__name__="nan"}"#, r#"{__name__="nan"}"#);
}

#[test]
fn what_is_not_a_selector_is_refused_with_its_place() {
    let check = |query: &str, expected: &str| {
        let error = parse(query).expect_err(query).to_string();
        assert!(error.contains(expected), "{query}: {error}");
    };
    check("", "1:1: the query is empty");
    check("  # nothing", "1:12: the query is empty");
    check("up{", "1:4: expected a label name or \"}\", found the end of the query");
    check("up{job", "1:7: expected one of =, !=, =~ or !~, found the end");
    check("up{job}", "1:7: expected one of =, !=, =~ or !~, found \"}\"");
    check("up{job=node}", "1:8: expected a quoted value, found \"node\"");
    check("up{job=\"a\" x=\"b\"}", "1:12: expected \",\" or \"}\", found \"x\"");
    check("up{,}", "1:4: expected a label name");
    check("up{job=\"a\n\"}", "1:8: this string has no end");
    check("up{job=`a", "1:8: this string has no end");
    check("up{\n  job=~\"(\"}", "2:8: not a regular expression: unclosed group");
    check(r#"up{a="\q"}"#, r#"1:7: "\q" is not an escape"#);
    check(r#"up{a="\xff"}"#, "1:6: the escapes of this string do not make UTF-8");
    check(r#"up{a="\u12"}"#, "without its 4 digits");
    check(r#"up{a="\ud800"}"#, "the number of no character");
    check(r#"up{__name__="down"}"#, "1:4: the metric name is given twice");
    check(r#"up{"down"}"#, "1:4: the metric name is given twice");
    check(r#"up{a:b="c"}"#, "1:4: \"a:b\" is not a label name");
    check("{}", "1:1: a selector must hold at least one matcher");
    check(r#"{a=~".*"}"#, "1:1: a selector must hold at least one matcher");
    check(r#"{a!="b"}"#, "1:1: a selector must hold at least one matcher");
    check("rate(up[5m])", "1:5: functions and aggregations are not supported yet");
    check("sum by (job) (up)", "1:5: functions and aggregations are not supported yet");
    check("up[5m]", "1:3: range selectors are not supported yet");
    check("up offset 5m", "1:4: the offset modifier is not supported yet");
    check("up @ 5", "1:4: the @ modifier is not supported yet");
    check("up + 1", "1:4: operators are not supported yet");
    check("up == 1", "1:4: operators are not supported yet");
    check("up and down", "1:4: operators are not supported yet");
    check("up down", "1:4: expected \"{\" or the end of the query, found \"down\"");
    check("(up)", "1:1: operators and parentheses are not supported yet");
    check("-up", "1:1: operators and parentheses are not supported yet");
    check("1", "1:1: numbers are not supported yet");
    check("NaN", "1:1: numbers are not supported yet");
    check("'text'", "1:1: strings are not supported yet");
    check("é", "1:1: expected a metric name or \"{\", found \"é\"");
    check("up}", "1:3: expected the end of the query");
    check(&format!("{{a=\"{}\"}}", "x".repeat(70_000)), "1:1: the query is longer than 65536 bytes");
    check(&format!("up{{{}}}", "a=\"b\",".repeat(70)), "more than 64 matchers");
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let name = prop_oneof!["[a-z_][a-z0-9_]{0,6}", "\\PC{1,6}", Just("__name__".to_owned())];
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex)
    ];
    (name, op, any::<String>())
        .prop_filter_map("not a regular expression", |(name, op, value)| Matcher::new(name, op, value).ok())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_mixture_of_tokens_makes_the_parser_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "up", "{", "}", ",", "=", "!=", "=~", "!~", "\"a\"", "'b\\'", "`c`", "\\", "\"\\x", " ", "\n", "#", "é", "(", "1",
            ]),
            0..12,
        )
    ) {
        let _ = parse(&parts.concat());
    }

    #[test]
    fn what_is_written_reads_back(mut matchers in prop::collection::vec(any_matcher(), 1..5)) {
        matchers.insert(0, Matcher::equal("anchor", "not empty"));
        if let Some(place) = matchers.iter().position(|matcher| matcher.name == "__name__") {
            matchers[..=place].rotate_right(1);
        }
        // A plain name before the braces allows no other word on the name inside them; the writer must know.
        let selector = Selector { matchers };
        let text = selector.to_string();
        let back = parse(&text);
        prop_assert_eq!(back, Ok(selector), "{}", text);
    }
}
