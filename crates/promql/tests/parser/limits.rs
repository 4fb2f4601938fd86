//! Texts that are made to exhaust: they are refused, in time that grows with their length only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_ports::memory::MemoryStore;
use metricsd_promql::syntax::{MAX_DEPTH, MAX_TEXT, pretty, to_json};
use metricsd_promql::{Engine, EngineOptions, ParseError, QueryEngine, QueryOptions, parse, parse_selector};

use super::EXPERIMENTAL;

/// As little stack as threads have by default.
const STACK: usize = 2 << 20;

/// Reads, writes and drops on a thread of an ordinary stack.
fn outcome(text: String) -> Result<usize, ParseError> {
    let work = move || {
        let begin = Instant::now();
        let outcome = parse(&text, EXPERIMENTAL).map(|expr| {
            let shown = expr.to_string();
            assert_eq!(expr.clone(), expr);
            to_json(&expr).to_string().len() + pretty(&expr).len() + shown.len()
        });
        assert!(begin.elapsed() < Duration::from_secs(20), "took {:?}", begin.elapsed());
        outcome
    };
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap()
}

fn wraps(before: &str, inner: &str, after: &str, times: usize) -> String {
    format!("{}{inner}{}", before.repeat(times), after.repeat(times))
}

#[test]
fn deep_texts_are_refused() {
    let deep = |text: String| {
        let error = outcome(text).unwrap_err();
        let expected = format!("expression is nested deeper than {MAX_DEPTH} levels");
        assert_eq!(error.message, expected);
    };
    deep(wraps("(", "1", ")", 100_000));
    deep("(".repeat(100_000));
    deep(wraps("-", "foo", "", 10_000));
    deep(wraps("-", "1", "", 10_000));
    deep(vec!["a"; 10_000].join("+"));
    deep(vec!["a"; 10_000].join(" or "));
    deep(vec!["2"; 10_000].join("^"));
    deep(wraps("abs(", "a", ")", 10_000));
    deep(wraps("sum(", "a", ")", 10_000));
    deep(wraps("sum by (x) (1 + ", "a", ")", 10_000));
    deep(wraps("1 + -(", "a", ")", 10_000));
    deep(wraps("max_over_time((", "a", ")[5m:])", 5_000));
    deep(format!("foo{}", "[5m:]".repeat(2)).replace("foo", &wraps("(", "foo", ")", 1_000)));
    deep(format!("foo[{}]", wraps("(", "1", ")", 10_000)));
    deep(format!("foo[{}]", vec!["1"; 10_000].join("+")));
    deep(format!("foo[{}]", wraps("-", "step()", "", 10_000)));
    deep(format!("foo[{}]", wraps("max_of(1,", "1", ")", 10_000)));
    deep(format!("foo offset {}", wraps("-", "(1)", "", 10_000)));
}

/// Trees of the greatest height, one of each way to get there.
fn highest() -> Vec<String> {
    let high = MAX_DEPTH - 1;
    vec![
        wraps("(", "1", ")", high),
        wraps("abs(", "a", ")", high),
        wraps("sum by (x) (", "a", ")", high),
        vec!["a"; high].join(" + on (x) group_left (y) "),
        vec!["a"; high].join(" or "),
        vec!["2"; high / 2].join("^"),
        wraps("- + ", "a", "", high / 4),
        wraps("a + on (x) fill(1) abs(", "a", ")", high / 2),
        wraps("max_over_time(", "a", "[5m:1m])", high / 2),
        format!("foo[{}]", vec!["1"; high - 2].join("+")),
        format!("foo[{}]", wraps("max_of(1,(", "1", "))", high / 2 - 2)),
    ]
}

#[test]
fn trees_up_to_the_bound_can_be_handled() {
    for text in highest() {
        outcome(text).unwrap();
    }
}

#[test]
fn trees_up_to_the_bound_can_be_evaluated() {
    let options = EngineOptions { experimental: true, ..EngineOptions::default() };
    let engine = Engine::new(Arc::new(MemoryStore::default()), options);
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build();
    let runtime = runtime.unwrap();
    for text in highest() {
        // Long sub-queries reach back further than is allowed, which is an answer too.
        let _ = runtime.block_on(engine.instant(&text, 1_000_000, QueryOptions::default()));
    }
}

#[test]
fn long_texts_are_refused() {
    let long = " ".repeat(MAX_TEXT) + "1";
    let expected = "1:1: parse error: query is 1048577 bytes long, 1048576 are allowed";
    assert_eq!(parse(&long, EXPERIMENTAL).unwrap_err().to_string(), expected);
    assert_eq!(parse_selector(&long).unwrap_err().to_string(), expected);
}

#[test]
fn wide_texts_are_read() {
    let matchers: Vec<String> = (0..20_000).map(|n| format!("l{n}=\"v\"")).collect();
    outcome(format!("foo{{{}}}", matchers.join(","))).unwrap();
    let labels: Vec<String> = (0..50_000).map(|n| format!("l{n}")).collect();
    outcome(format!("sum by ({}) (foo)", labels.join(","))).unwrap();
    outcome(format!("{}1", "#\n".repeat(400_000))).unwrap();
    outcome(format!("\"{}\"", "\\n".repeat(400_000))).unwrap();
    outcome(format!("label_join(foo, \"a\", \"b\"{})", ", \"c\"".repeat(100_000))).unwrap();
}

#[test]
fn label_lists_of_operators_are_compared_in_time() {
    let labels = |prefix: &str| (0..30_000).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>().join(",");
    outcome(format!("a + on ({}) group_left ({}) b", labels("x"), labels("y"))).unwrap();
}

#[test]
fn regular_expressions_are_counted() {
    let matchers = |count: usize| (0..count).map(|n| format!("a=~\"b{n}\"")).collect::<Vec<_>>().join(",");
    outcome(format!("foo{{{}}}", matchers(256))).unwrap();
    let error = outcome(format!("foo{{{}}}", matchers(257))).unwrap_err();
    assert_eq!(error.message, "more than 256 different regular expressions in one query");
    let same = vec!["a=~\"b.*\""; 10_000].join(",");
    outcome(format!("foo{{{same}}}")).unwrap();
}
