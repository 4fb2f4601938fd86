//! Evaluation scripts, carried out by the engine over a store in memory. `script/mod.rs` tells their language.

mod script;

use std::collections::BTreeSet;
use std::path::PathBuf;

use metricsd_promql::ast::{AggregationOp, BinaryOp};
use metricsd_promql::{ParseOptions, functions};

/// Every script, and a test of each.
macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        $(#[tokio::test]
        async fn $name() {
            check(stringify!($name)).await;
        })+
    };
}

scripts!(
    absent,
    aggregations,
    annotations,
    choices,
    classic_histograms,
    custom_buckets,
    dates,
    durations,
    extended,
    histogram_aggregations,
    histogram_mixes,
    histogram_rates,
    info,
    labels,
    literals,
    matching,
    math,
    names,
    native_histograms,
    operators,
    over_time,
    rates,
    regression,
    selectors,
    sets,
    steps,
    subqueries,
);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

fn read(name: &str) -> String {
    let path = folder().join(format!("{name}.test"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn check(name: &str) {
    let report = script::run(&format!("tests/scripts/{name}.test"), &read(name)).await;
    let failures = report.failures.len();
    assert!(
        failures == 0,
        "{failures} of {} evaluations:\n{}",
        report.evaluations,
        report.failures.join("\n")
    );
}

#[test]
fn every_script_is_carried_out() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(files, NAMES.iter().map(|name| (*name).to_owned()).collect());
}

/// Every operator between two expressions.
const OPERATORS: [BinaryOp; 18] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Mod,
    BinaryOp::Pow,
    BinaryOp::Atan2,
    BinaryOp::Eq,
    BinaryOp::Ne,
    BinaryOp::Gt,
    BinaryOp::Lt,
    BinaryOp::Ge,
    BinaryOp::Le,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Unless,
    BinaryOp::TrimUpper,
    BinaryOp::TrimLower,
];

#[test]
fn scripts_visit_the_whole_language() {
    let mut evaluations = 0;
    let mut seen = BTreeSet::new();
    for name in NAMES {
        for command in script::parse::parse(&read(name)).unwrap() {
            let script::parse::Action::Eval(eval) = command.action else { continue };
            evaluations += 1;
            if eval.expected.fail.is_some() {
                continue;
            }
            if let Ok(expr) = metricsd_promql::parse(&eval.expr, ParseOptions { experimental: true }) {
                script::coverage::collect(&expr, &mut seen);
            }
        }
    }
    let functions = functions::TABLE.iter().map(|function| function.name);
    let operators = OPERATORS.iter().map(|op| op.as_str());
    let aggregations = AggregationOp::ALL.iter().map(|op| op.as_str());
    let all = functions.chain(operators).chain(aggregations);
    let missing: Vec<_> = all.filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "no script visits {missing:?}");
    assert!(evaluations >= 1_000, "only {evaluations} evaluations");
}

#[tokio::test]
async fn what_is_not_as_expected_is_told() {
    let cases = [
        ("eval instant at 1m 1\n  2", "s.test:1: 1\n  expected the scalar Some(2.0), got 1"),
        (
            "clear\n\neval instant at 1m vector(1)",
            "s.test:3: vector(1)\n  expected nothing\n  got\n    : 1@60000",
        ),
        ("eval instant at 0 vector(1)\n  {} 1.001", "expected\n    : 1.001@0\n  got\n    : 1@0"),
        ("eval instant at 0 vector(1)\n  {a=\"b\"} 1", "expected\n    {a=\"b\"}: 1@0"),
        ("eval instant at 0 vector(1)\n  expect fail", "expected a failure"),
        ("eval instant at 0 vector(1)\n  expect warn\n  {} 1", "expected warnings, got none"),
        ("eval instant at 0 quantile(2, vector(1))\n  {} Inf", "unexpected warnings"),
        ("eval instant at 0 1 +\n  1", "failed: "),
        ("eval_fail instant at 0 1 +\n  expect fail msg: other", "expected the failure"),
        ("eval range from 0 to 2m step 1m time()\n  {} 0 60 _", "got\n    : 0@0 60@60000 120@120000"),
        ("load 1m\n  a 1 ?", "s.test: line 2: expected a number"),
        ("evaluate", "s.test: line 1: \"evaluate\" is no command"),
        (
            "load 1m\n  a 1\n  b 2\neval_ordered instant at 0 sort({__name__=~\"a|b\"})\n  b 2\n  a 1",
            "expected\n    b: 2@0\n    a: 1@0\n  got\n    a: 1@0\n    b: 2@0",
        ),
    ];
    for (text, expected) in cases {
        let report = script::run("s.test", text).await;
        assert_eq!(report.failures.len(), 1, "{text}: {:?}", report.failures);
        assert!(report.failures[0].contains(expected), "{text}: {}", report.failures[0]);
    }
}

#[tokio::test]
async fn older_forms_say_the_same() {
    let text = "load 1m\n  b 1 2 _ _x2 stale 5-1x2 0x1 Inf -Inf NaN 1e1\n\
                eval_fail instant at 0 1 +\n\
                eval_warn instant at 0 quantile(2, b)\n  {} Inf\n\
                eval_info instant at 1m rate(b[2m])\n  {} 0.016666666666666666\n\
                eval_ordered instant at 0 sort_desc(b)\n  b 1\n\
                eval range from 0 to 15m step 1m b\n  b 1 2 2 2 2 _ 5 4 3 0 0 Inf -Inf NaN 10x1\n";
    let report = script::run("s.test", text).await;
    assert_eq!((report.failures, report.evaluations), (vec![], 5));
}

/// Carries any script out: `SCRIPT=path cargo test -p metricsd-promql --test scripts any_script -- --ignored`.
#[tokio::test]
#[ignore = "needs the path of a script"]
async fn any_script() {
    let path = std::env::var("SCRIPT").expect("SCRIPT names a file");
    let report = script::run(&path, &std::fs::read_to_string(&path).unwrap()).await;
    let failures = report.failures.len();
    assert!(failures == 0, "{failures} of {}:\n{}", report.evaluations, report.failures.join("\n"));
}
