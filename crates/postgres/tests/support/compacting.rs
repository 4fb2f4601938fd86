//! Compacting, and all samples as `select` and as `metrics_ts` tell them.

use std::collections::BTreeMap;
use std::time::Duration;

use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, is_stale};
use metricsd_ports::{Compacted, Compaction, CompactionPolicy, SelectedSeries};
use metricsd_postgres::PostgresStore;
use sqlx::{Executor, PgConnection, Row};

use super::HOUR;

/// One hour in milliseconds.
pub(crate) const WIDTH: Millis = 3_600_000;

/// The beginning of an hour.
pub(crate) const START: Millis = HOUR - HOUR % WIDTH;

pub(crate) fn policy() -> CompactionPolicy {
    CompactionPolicy {
        before: START + 400 * WIDTH,
        pack_before: None,
        max_samples: 1_000_000,
        rest: Duration::ZERO,
    }
}

pub(crate) async fn compact_all(store: &PostgresStore, policy: &CompactionPolicy) -> Compacted {
    let mut all = Compacted::default();
    loop {
        let done = store.compact(policy).await.expect("compact");
        all += done;
        if !done.more {
            return all;
        }
    }
}

pub(crate) type Samples = BTreeMap<(String, Millis), u64>;

/// What `select` answers, but for what the view leaves out.
pub(crate) fn shown(selected: &[SelectedSeries]) -> Samples {
    let mut samples = Samples::new();
    for series in selected {
        for (timestamp, value) in series.timestamps.iter().zip(&series.values) {
            if !is_stale(*value) && value.to_bits() != HISTOGRAM_MARKER_BITS {
                let i = series.labels.get("i").unwrap_or("").to_owned();
                samples.insert((i, *timestamp), value.to_bits());
            }
        }
    }
    samples
}

/// Everything that `select` answers, told by its bits.
pub(crate) fn exact(selected: &[SelectedSeries]) -> Vec<String> {
    let of = |series: &SelectedSeries| {
        let values: Vec<u64> = series.values.iter().map(|value| value.to_bits()).collect();
        format!("{:?} {:?} {values:?} {:?}", series.labels, series.timestamps, series.histograms)
    };
    selected.iter().map(of).collect()
}

pub(crate) async fn view(connection: &mut PgConnection) -> Samples {
    let sql = "SELECT labels ->> 'i', (extract(epoch FROM timestamp) * 1000)::int8, value FROM metrics_ts \
         WHERE metric_name = 'm' AND metric_type = 'GAUGE' AND source = 's' AND target_id = 't'";
    let rows = connection.fetch_all(sql).await.expect("the view");
    let samples: Samples =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get::<f64, _>(2).to_bits())).collect();
    assert_eq!(samples.len(), rows.len(), "each sample once");
    samples
}

pub(crate) async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    connection.fetch_one(sqlx::AssertSqlSafe(sql)).await.expect("count").get(0)
}
