//! How small samples become, and how quickly that goes: data as node_exporter has it, every 15 s.
//!
//! `cargo run --release -p metricsd-sqlite --example compact [TARGETS] [SERIES] [HOURS] [FOLDER]` makes a file of its own
//! in the folder (the system's for temporary files where none is given) and removes it at the end.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HealthStatus, JobStatus, LabelSet, Layout, Ledger,
    Matcher, MetricSource, MetricType, Millis, Series, SeriesId, TypeCounts,
};
use metricsd_ports::{
    Compacted, Compaction, CompactionPolicy, SampleSink, SampleSource, SelectLimits, Selection,
};
use metricsd_sqlite::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};

const START: Millis = 1_750_464_000_000;
const INTERVAL: Millis = 15_000;
const HOUR: Millis = 3_600_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (targets, series, hours) = (number(22)?, number(1_000)?, number(1)?);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("metricsd-sqlite-{}", uuid::Uuid::new_v4().simple()));
    let measured = Box::pin(measure(&folder.join("metricsd.db"), targets, series, hours)).await;
    std::fs::remove_dir_all(folder)?;
    measured
}

async fn measure(path: &Path, targets: usize, series: usize, hours: usize) -> Result<(), Box<dyn Error>> {
    let store = SqliteStore::open(path).await?;
    let mut hosts: Vec<Host> = (0..targets).map(|target| Host::new(target, series)).collect();
    let (mut appending, mut compacting, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut total = Compacted::default();
    for hour in 0..hours as i64 {
        for round in 0..HOUR / INTERVAL {
            let time = START + hour * HOUR + round * INTERVAL;
            let group: Vec<_> = hosts.iter_mut().map(|host| host.scrape(time)).collect();
            let begun = Instant::now();
            store.append(&group).await?;
            appending += begun.elapsed();
        }
        if hour == 0 {
            select(&store, "frames: ", START, START + HOUR - 1).await?;
        }
        let before = START + (hour + 1) * HOUR;
        let policy =
            CompactionPolicy { before, pack_before: None, max_samples: 4_000_000, rest: Duration::ZERO };
        loop {
            let begun = Instant::now();
            let done = store.compact(&policy).await?;
            compacting += begun.elapsed();
            longest = longest.max(begun.elapsed());
            total += done;
            if !done.more {
                break;
            }
        }
    }
    let samples = total.samples as f64;
    println!("appended {samples} samples in {appending:.2?}");
    println!(
        "compacted them into {} segments in {compacting:.2?}, {:.0} samples/s; the longest call took {longest:.2?}",
        total.segments,
        samples / compacting.as_secs_f64()
    );
    let end = START + hours as i64 * HOUR - 1;
    select(&store, "segments: ", START, end).await?;
    select(&store, "segments, 10 min: ", end - 600_000, end).await?;
    store.close().await;
    sizes(path, samples).await
}

async fn select(store: &SqliteStore, what: &str, start: Millis, end: Millis) -> Result<(), Box<dyn Error>> {
    for (name, matcher) in [
        ("all series", Matcher::equal("job", "node")),
        ("one target", Matcher::equal("instance", "host-3:9100")),
        ("one metric", Matcher::equal("__name__", "metric_7")),
        ("one series", Matcher::equal("only", "3-19")),
        ("one constant series", Matcher::equal("only", "3-1")),
    ] {
        let limits = SelectLimits { max_series: 1_000_000, max_samples: 1_000_000_000 };
        let selection = Selection { matchers: vec![matcher], start, end, limits };
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..5 {
            let begun = Instant::now();
            let selected = store.select(&selection).await?;
            times.push(begun.elapsed());
            found = selected.iter().map(|series| series.values.len()).sum();
        }
        times.sort();
        println!(
            "{what}{name}: {found} samples in {:.2?} (first to last of 5: {:.2?} to {:.2?})",
            times[2], times[0], times[4]
        );
    }
    Ok(())
}

/// Pages that hold something, and what each table has of them.
async fn sizes(path: &Path, samples: f64) -> Result<(), Box<dyn Error>> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let row = sqlx::query(
        "SELECT page_size, page_count, freelist_count
        FROM pragma_page_size, pragma_page_count, pragma_freelist_count",
    );
    let row = row.fetch_one(&mut connection).await?;
    let (size, pages, free): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    println!(
        "the file: {pages} pages, {free} of them free; {:.3} bytes a sample",
        ((pages - free) * size) as f64 / samples
    );
    for (table, offsets) in [("segments", "times"), ("segments_daily", "times"), ("timelines", "offsets")] {
        let own = format!("sum(length({offsets})) FILTER (WHERE typeof({offsets}) = 'blob')");
        let text = format!("SELECT count(*), {own} FROM {table}");
        let row = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut connection).await?;
        let (rows, offsets): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        println!("{table}: {rows} rows, offsets {:.4} bytes a sample", offsets.unwrap_or(0) as f64 / samples);
    }
    let row = sqlx::query(
        "SELECT sum(length(\"values\")), avg(length(\"values\")), max(length(\"values\")), sum(length(\"values\") > 900) FROM segments",
    );
    let row = row.fetch_one(&mut connection).await?;
    let (values, mean, max, large): (Option<i64>, Option<f64>, Option<i64>, Option<i64>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    println!(
        "values: {:.3} bytes a sample, {:.0} a segment, {} at most, {} of more than 900",
        values.unwrap_or(0) as f64 / samples,
        mean.unwrap_or(0.0),
        max.unwrap_or(0),
        large.unwrap_or(0)
    );
    let tables =
        "SELECT name, sum(pgsize) FROM dbstat GROUP BY name HAVING sum(pgsize) > 100000 ORDER BY 2 DESC";
    if let Ok(rows) = sqlx::query(tables).fetch_all(&mut connection).await {
        for row in rows {
            let (name, bytes): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            println!("{name}: {:.3} bytes a sample", bytes as f64 / samples);
        }
    }
    Ok(())
}

/// A machine: constants, counters that stand still mostly, seconds of processors, bytes, memory, loads, noise.
struct Host {
    target_id: String,
    layout: Arc<Layout>,
    values: Vec<f64>,
    state: u64,
}

impl Host {
    fn new(target: usize, series: usize) -> Self {
        let all = (0..series).map(|n| {
            let (name, instance) = (format!("metric_{n}"), format!("host-{target}:9100"));
            let only = format!("{target}-{n}");
            let pairs =
                [("__name__", name.as_str()), ("instance", &instance), ("job", "node"), ("only", &only)];
            let labels = LabelSet::new(pairs).expect("distinct names");
            Arc::new(Series {
                id: SeriesId::of(&labels),
                labels,
                metric_type: MetricType::Gauge,
                source_type: MetricSource::Application,
                source: "bench".into(),
                target_id: format!("target-{target}").into(),
                help: None,
                unit: None,
            })
        });
        let layout = Layout::shared(all.collect());
        let values = (0..series).map(|n| if n % 20 < 8 { (n % 5 * 1_024) as f64 } else { 1e6 }).collect();
        Self { target_id: format!("target-{target}"), layout, values, state: target as u64 + 1 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn scrape(&mut self, time: Millis) -> Arc<Batch> {
        for n in 0..self.values.len() {
            let before = self.values[n];
            self.values[n] = match n % 20 {
                0..8 => before,
                8..11 if self.random(10) > 0 => before,
                8..11 => before + self.random(5) as f64,
                11..14 => ((before + 2.0 + self.random(400) as f64 / 100.0) * 100.0).round() / 100.0,
                14..16 => before + self.random(1_000_000) as f64,
                16..18 => (before + self.random(200) as f64 * 4_096.0 - 409_600.0).abs(),
                18 => ((before % 100.0 + self.random(50) as f64 / 100.0) * 100.0).round() / 100.0,
                _ => self.random(1 << 30) as f64 / 1.234_567e9,
            };
        }
        let time = time + self.state as i64 % 5 + 5;
        let stored = self.values.len() as u64;
        let collection = Collection {
            source_id: "bench".into(),
            target_id: self.target_id.clone(),
            method: CollectionMethod::PullScraping,
            started: time,
            duration_ms: 5.0,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger { received: stored, stored, ..Ledger::default() },
            types: TypeCounts { gauges: stored, ..TypeCounts::default() },
        };
        let frame = Frame {
            layout: Arc::clone(&self.layout),
            time,
            offsets: None,
            values: self.values.clone(),
            histograms: Vec::new(),
        };
        Arc::new(Batch::new(BatchId::for_scrape(&self.target_id, time), collection, vec![frame]))
    }
}
