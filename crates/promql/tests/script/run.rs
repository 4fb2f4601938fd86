//! Carries a script out.

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::Millis;
use metricsd_ports::memory::MemoryStore;
use metricsd_promql::syntax::pretty;
use metricsd_promql::{Engine, EngineOptions, ParseOptions, QueryError, parse};

use super::eval::{Data, data_of, evaluate};
use super::load;
use super::parse::{self as script, Action, Eval, Steps, When};
use super::{annotations, compare};

/// What came of a script.
#[derive(Debug, Default)]
pub struct Report {
    /// Expressions that were evaluated and are expected to succeed.
    pub expressions: Vec<String>,
    /// All evaluations.
    pub evaluations: usize,
    /// What was not as expected, each with its place, what was expected and what came.
    pub failures: Vec<String>,
}

/// How far before and after its moment an instant case is also evaluated as a range.
const AROUND: Millis = 60_000;

/// Carries a script out; `name` is for messages.
pub async fn run(name: &str, text: &str) -> Report {
    let mut report = Report::default();
    let commands = match script::parse(text) {
        Ok(commands) => commands,
        Err(error) => {
            report.failures.push(format!("{name}: {error}"));
            return report;
        }
    };
    let mut store = Arc::new(MemoryStore::new());
    for command in commands {
        let result = match &command.action {
            Action::Clear => {
                store = Arc::new(MemoryStore::new());
                Ok(())
            }
            Action::Load(series) => load::load(&store, series, command.line).await,
            Action::Eval(eval) => {
                report.evaluations += 1;
                if eval.expected.fail.is_none() {
                    report.expressions.push(eval.expr.clone());
                }
                check(&engine(store.clone()), eval).await.map_err(|error| format!("{}\n  {error}", eval.expr))
            }
        };
        if let Err(error) = result {
            report.failures.push(format!("{name}:{}: {error}", command.line));
        }
    }
    report
}

/// The engine that scripts are written for.
pub fn engine(store: Arc<MemoryStore>) -> Engine {
    let options = EngineOptions {
        experimental: true,
        timeout: Duration::from_secs(20),
        max_samples: 1_000_000,
        ..EngineOptions::default()
    };
    Engine::new(store, options)
}

async fn check(engine: &Engine, eval: &Eval) -> Result<(), String> {
    let answer = evaluate(engine, &eval.expr, eval.when).await;
    if let Some(pattern) = &eval.expected.fail {
        check_failure(pattern.as_ref(), answer.map(|value| value.data).map_err(|error| error.to_string()))?;
        return check_around(engine, eval, None).await;
    }
    let value = answer.map_err(|error| format!("failed: {error}"))?;
    let data = data_of(&value, eval.when)?;
    check_data(eval, &data)?;
    check_printed(engine, eval).await?;
    eval.expected.warnings.check("warnings", &value.warnings)?;
    eval.expected.infos.check("infos", &value.infos)?;
    check_around(engine, eval, Some(data)).await
}

/// An expression says the same once it is read and written again, on one line and on several.
async fn check_printed(engine: &Engine, eval: &Eval) -> Result<(), String> {
    let read =
        |text: &str| parse(text, ParseOptions { experimental: true }).map_err(|error| error.to_string());
    let tree = read(&eval.expr)?;
    for printed in [tree.to_string(), pretty(&tree)] {
        let answer = evaluate(engine, &printed, eval.when).await;
        let value = answer.map_err(|error| format!("failed as {printed}: {error}"))?;
        let data = data_of(&value, eval.when)?;
        // What `absent` answers depends on the order of matchers, which may be another one.
        if !eval.expr.starts_with("absent(") || without_spaces(&printed) == without_spaces(&eval.expr) {
            check_data(eval, &data).map_err(|error| format!("as {printed}: {error}"))?;
        }
        if read(&printed)?.to_string() != tree.to_string() {
            return Err(format!("{printed} is written as another expression"));
        }
    }
    Ok(())
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

fn check_failure(
    pattern: Option<&annotations::Pattern>,
    answer: Result<metricsd_promql::QueryData, String>,
) -> Result<(), String> {
    match (answer, pattern) {
        (Ok(data), _) => Err(format!("expected a failure, got {data:?}")),
        (Err(message), Some(pattern)) if !pattern.matches(&message) => {
            Err(format!("expected the failure {pattern:?}, got {message:?}"))
        }
        _ => Ok(()),
    }
}

fn check_data(eval: &Eval, data: &Data) -> Result<(), String> {
    let expected = &eval.expected;
    match (data, eval.when) {
        (Data::Scalar(got), _) => match expected.scalar {
            Some(value) if compare::float(value, *got) => Ok(()),
            other => Err(format!("expected the scalar {other:?}, got {got}")),
        },
        (Data::Text(got), _) if expected.string.as_ref() == Some(got) => Ok(()),
        (Data::Text(got), _) => Err(format!("expected the text {:?}, got {got:?}", expected.string)),
        _ if expected.scalar.is_some() || expected.string.is_some() => {
            Err(format!("expected {:?} {:?}, got {data:?}", expected.scalar, expected.string))
        }
        (Data::Series(got), When::Instant(at)) => {
            if expected.series.iter().any(|(_, slots)| slots.len() != 1) {
                return Err("each series of an instant case needs one value".to_owned());
            }
            compare::series(&compare::expected(&expected.series, |_| at)?, got, expected.ordered)
        }
        (Data::Series(got), When::Range(steps)) => {
            compare::series(&compare::expected(&expected.series, |index| steps.at(index))?, got, false)
        }
        (Data::Range(got), _) => {
            let steps = expected.range_vector.ok_or("a range vector, which was not expected")?;
            compare::series(&compare::expected(&expected.series, |index| steps.at(index))?, got, false)
        }
    }
}

/// An instant case says the same as the same step of a range around it; `None`: it fails.
async fn check_around(engine: &Engine, eval: &Eval, data: Option<Data>) -> Result<(), String> {
    let When::Instant(at) = eval.when else {
        return Ok(());
    };
    let of_range = ["start()", "end()", "step()", "range()"].iter().any(|call| eval.expr.contains(call));
    if of_range || matches!(data, Some(Data::Text(_) | Data::Range(_))) {
        return Ok(());
    }
    let when = When::Range(Steps { start: at - AROUND, end: at + AROUND, step: AROUND });
    let answer = evaluate(engine, &eval.expr, when).await;
    let Some(data) = data else {
        let message = |error: QueryError| error.to_string();
        return check_failure(None, answer.map(|value| value.data).map_err(message));
    };
    let value = answer.map_err(|error| format!("failed as a range: {error}"))?;
    let Data::Series(range) = data_of(&value, when)? else {
        return Err("a range is always a matrix".to_owned());
    };
    let got: Vec<_> = range
        .into_iter()
        .filter_map(|(labels, mut points)| points.remove(&at).map(|value| (labels, [(at, value)].into())))
        .collect();
    let expected = match data {
        Data::Scalar(value) => {
            let point = metricsd_promql::PointValue::Float(value);
            vec![(metricsd_model::LabelSet::default(), [(at, (point, false))].into())]
        }
        Data::Series(series) => compare::as_expected(&series),
        Data::Text(_) | Data::Range(_) => return Ok(()),
    };
    compare::series(&expected, &got, false).map_err(|error| format!("as a range: {error}"))
}
