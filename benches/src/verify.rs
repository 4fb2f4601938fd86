//! Whether a server holds what was sent: as many samples, and values that come to the same sum.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::ask;
use crate::requests::Sent;
use crate::server::Subject;

/// How often a peer is asked again, a second apart: VictoriaMetrics shows what it took in a little later.
const ATTEMPTS: u32 = 15;

/// Asks the engine of the server, and where metricsd stores in TimescaleDB its view `metrics_ts` too; fails unless all
/// equals what was sent. metricsd is asked once, since it has acknowledged everything; its peers are given time, and what
/// they lack is only said.
pub(crate) async fn all(subject: &Subject, sent: &Sent) -> Result<()> {
    let attempts = if subject.kind.is_ours() { 1 } else { ATTEMPTS };
    let mut attempt = 1;
    while let Err(error) = engine(subject, sent).await {
        if attempt == attempts {
            let error = error.context(format!("{} does not hold what was sent", subject.kind.name()));
            if subject.kind.is_ours() {
                return Err(error);
            }
            println!("  {error:#}");
            return Ok(());
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    if let Some(database) = subject.database() {
        let statement = format!(
            "SELECT count(*), sum(value) FROM metrics_ts WHERE \"timestamp\" BETWEEN {} AND {}",
            sql_time(sent.first),
            sql_time(sent.last)
        );
        let row = database.query(&statement).await?;
        let (count, sum) = row.split_once('|').context("no count and sum")?;
        equal("metrics_ts", sent, count.parse()?, sum.parse().unwrap_or(0.0))?;
    }
    Ok(())
}

/// A time of the database.
pub(crate) fn sql_time(millis: i64) -> String {
    // A double holds milliseconds of this century exactly enough: timestamptz counts microseconds.
    format!("to_timestamp({}.{:03}::double precision)", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// Count and sum by PromQL, which the engine is asked for each name: series that differ by their names only cannot stand
/// beside each other in an answer. Ranges do not hold their left end, so this one begins before the first sample.
pub(crate) async fn by_engine(subject: &Subject, sent: &Sent) -> Result<(f64, f64)> {
    let at = sent.last + 1000;
    let range = at - sent.first + 1000;
    let (mut count, mut sum) = (0.0, 0.0);
    for name in &sent.names {
        for (over, total) in [("count_over_time", &mut count), ("sum_over_time", &mut sum)] {
            let query = format!("sum({over}({name}{{{}}}[{range}ms]))", sent.matcher);
            *total += ask::number(subject.process(), &query, at).await?.unwrap_or(0.0);
        }
    }
    Ok((count, sum))
}

async fn engine(subject: &Subject, sent: &Sent) -> Result<()> {
    let (count, sum) = by_engine(subject, sent).await?;
    equal("the engine", sent, count, sum)
}

/// Sums of fractions depend on the order in which they are added up, in the last digits.
pub(crate) fn equal(what: &str, sent: &Sent, count: f64, sum: f64) -> Result<()> {
    let apart = (sum - sent.sum).abs();
    let same =
        count == sent.count as f64 && if sent.exact { apart == 0.0 } else { apart <= 1e-9 * sent.sum.abs() };
    anyhow::ensure!(
        same,
        "{what} has {count} samples that sum up to {sum}; sent were {} that sum up to {}",
        sent.count,
        sent.sum
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_keep_their_milliseconds() {
        assert_eq!(super::sql_time(1_700_000_000_007), "to_timestamp(1700000000.007::double precision)");
    }
}
