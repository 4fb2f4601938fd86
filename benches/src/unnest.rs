//! One metric over an hour by SQL, through the view that every client sees.

use anyhow::{Context, Result};

use crate::database::Database;
use crate::requests::Sent;
use crate::results::median;
use crate::verify::sql_time;

/// Which one: noisy to the nanosecond, 47 series a target.
const METRIC: &str = "node_scrape_collector_duration_seconds";

/// Samples a second, the median of so many runs after one that does not count, and the plan. A statement that takes more
/// than half a minute is an error.
pub(crate) async fn ask(database: &Database, sent: &Sent, runs: usize) -> Result<(f64, String)> {
    let statement = format!(
        "SELECT count(*), sum(value) FROM metrics_ts WHERE metric_name = '{METRIC}' AND \"timestamp\" BETWEEN {} AND {}",
        sql_time(sent.first),
        sql_time(sent.last)
    );
    let asked = format!("{statement};\n").repeat(runs + 1);
    let output = database
        .query(&format!("SET statement_timeout = '30s';\n\\timing on\n{asked}\\timing off\n"))
        .await?;
    let times =
        output.lines().filter_map(|line| line.strip_prefix("Time: ")?.split(' ').next()?.parse::<f64>().ok());
    let millis = median(times.skip(1).collect()).context("psql says nothing of time")?;
    let count =
        output.lines().find_map(|line| line.split_once('|')?.0.parse::<f64>().ok()).context("no count")?;
    anyhow::ensure!(count > 0.0, "metrics_ts has nothing of {METRIC}");
    let plan = database.query(&format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}")).await?;
    Ok((count / millis * 1e3, format!("{statement}\n\n{plan}")))
}
