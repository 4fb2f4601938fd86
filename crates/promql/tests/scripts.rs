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
    choices,
    classic_histograms,
    dates,
    labels,
    literals,
    matching,
    math,
    native_histograms,
    operators,
    over_time,
    rates,
    regression,
    selectors,
    sets,
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
    assert!(evaluations >= 400, "only {evaluations} evaluations");
}
