//! Frames become segments: each sample is read once at every moment, by `select` and by `metrics_ts`.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use metricsd_model::{HISTOGRAM_MARKER_BITS, Layout, Millis, NativeHistogram, is_stale, stale_marker};
use metricsd_ports::{Compacted, Compaction, CompactionPolicy, SampleSink, SelectedSeries};
use metricsd_postgres::PostgresStore;
use sqlx::{Executor, PgConnection, Row};
use support::{Database, HOUR, all_of_m, batch, frame, many};

/// One hour in milliseconds.
const WIDTH: Millis = 3_600_000;

/// The beginning of an hour.
const START: Millis = HOUR - HOUR % WIDTH;

fn policy() -> CompactionPolicy {
    CompactionPolicy {
        before: START + 400 * WIDTH,
        pack_before: None,
        max_samples: 1_000_000,
        rest: Duration::ZERO,
    }
}

async fn compact_all(store: &PostgresStore, policy: &CompactionPolicy) -> Compacted {
    let mut all = Compacted::default();
    loop {
        let done = store.compact(policy).await.expect("compact");
        all += done;
        if !done.more {
            return all;
        }
    }
}

type Samples = BTreeMap<(String, Millis), u64>;

/// What `select` answers, but for what the view leaves out.
fn shown(selected: &[SelectedSeries]) -> Samples {
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
fn exact(selected: &[SelectedSeries]) -> Vec<String> {
    let of = |series: &SelectedSeries| {
        let values: Vec<u64> = series.values.iter().map(|value| value.to_bits()).collect();
        format!("{:?} {:?} {values:?} {:?}", series.labels, series.timestamps, series.histograms)
    };
    selected.iter().map(of).collect()
}

async fn view(connection: &mut PgConnection) -> Samples {
    let sql = "SELECT labels ->> 'i', (extract(epoch FROM timestamp) * 1000)::int8, value FROM metrics_ts \
         WHERE metric_name = 'm' AND metric_type = 'GAUGE' AND source = 's' AND target_id = 't'";
    let rows = connection.fetch_all(sql).await.expect("the view");
    let samples: Samples =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get::<f64, _>(2).to_bits())).collect();
    assert_eq!(samples.len(), rows.len(), "each sample once");
    samples
}

async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    connection.fetch_one(sqlx::AssertSqlSafe(sql)).await.expect("count").get(0)
}

#[tokio::test]
async fn all_kinds_of_frames_become_segments_and_read_as_before() {
    let database = Database::create().await;
    let store = database.store().await;
    let (shared, inline) = (Layout::shared(many(5)), Layout::inline(many(7)));
    let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
    let mut frames = Vec::new();
    for n in 0..30 {
        let values = vec![n as f64, f64::NAN, stale_marker(), f64::INFINITY, marker];
        let mut one = frame(&shared, START + n * 15_000, values);
        one.histograms = vec![(4, NativeHistogram { count: n as f64, ..NativeHistogram::default() })];
        frames.push(one);
    }
    let mut spread = frame(&inline, START + 5, (0..7).map(f64::from).collect());
    spread.offsets = Some((0..7).map(|i| i * 1_000).collect());
    let next_hour = frame(&inline, START + WIDTH + 60_000, vec![f64::MIN_POSITIVE; 7]);
    store.append(&[batch(1, frames), batch(2, vec![spread, next_hour])]).await.expect("append");

    let before = all_of_m(&store).await;
    let mut connection = database.connection().await;
    assert_eq!(view(&mut connection).await, shown(&before));
    let done = compact_all(&store, &policy()).await;
    assert_eq!((done.samples, done.frames), (30 * 5 + 14, 32));
    assert_eq!(count(&mut connection, "frames").await, 0);
    assert_eq!(count(&mut connection, "segments").await, 5, "30 samples an hour");
    assert_eq!(count(&mut connection, "segments_daily").await, 7, "few samples");
    assert_eq!(exact(&all_of_m(&store).await), exact(&before));
    assert_eq!(view(&mut connection).await, shown(&before));
    assert_eq!(compact_all(&store, &policy()).await, Compacted::default());
}
