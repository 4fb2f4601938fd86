//! A range query over the series of the writing figure, asked for the first time and again.

use std::time::Duration;

use anyhow::Result;

use crate::ask;
use crate::fleet;
use crate::requests::Load;
use crate::results::{Results, median};
use crate::server::Subject;

/// From point to point, in milliseconds.
const STEP: i64 = 15_000;

/// Points.
const POINTS: i64 = 37;

/// How often it is asked again.
const AGAIN: usize = 5;

/// VictoriaMetrics shows what it has taken in a second later; everyone gets this time before the first question.
const PAUSE: Duration = Duration::from_secs(2);

/// Asks, and notes how long it took.
pub(crate) async fn ask(subject: &Subject, load: &Load, results: &mut Results) -> Result<()> {
    tokio::time::sleep(PAUSE).await;
    let end = load.sent.last;
    let start = end - STEP * (POINTS - 1);
    let first = ask::range(subject.process(), fleet::RATE_BY_ZONE, start, end, STEP).await?;
    results.add("range.first", subject.kind, first.seconds);
    let mut again = Vec::new();
    for _ in 0..AGAIN {
        let answer = ask::range(subject.process(), fleet::RATE_BY_ZONE, start, end, STEP).await?;
        anyhow::ensure!(!answer.result()?.is_empty(), "{} answers nothing", subject.kind.name());
        again.push(answer.seconds);
    }
    if let Some(median) = median(again) {
        results.add("range.repeated", subject.kind, median);
    }
    Ok(())
}
