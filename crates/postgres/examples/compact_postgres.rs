//! How small and how quick segments are: writes an hour of node_exporter-like scrapes at 15 s, compacts it, and says
//! bytes and times.
//!
//! `cargo run --release -p metricsd-postgres --example compact_postgres -- URL [TARGETS [HOURS [PAGES]]]`: the database must be
//! empty. `PAGES` is a folder of 240 pages `ne.1`, `ne.2`, … that were scraped from one target one after the other;
//! without it values are made up: two fifths constant, two fifths counters, one fifth noisy.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HealthStatus, JobStatus, LabelSet, Layout, Ledger,
    Matcher, MetricSource, MetricType, Millis, Series, SeriesId, TypeCounts,
};
use metricsd_ports::{
    Compacted, Compaction, CompactionPolicy, SampleSink, SampleSource, SelectLimits, Selection,
};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use sqlx::{Connection, PgConnection, Row};

/// A round hour.
const START: Millis = 1_750_500_000_000;
const STEP: Millis = 15_000;
const SCRAPES: usize = 240;

type Fallible<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = arguments.first().ok_or("give the URL of an empty database")?;
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (targets, hours) = (number(1, 45)?, number(2, 1)?);
    let pages = arguments.get(3).map_or_else(|| Ok(made_up()), |folder| scraped(folder))?;
    let store = PostgresStore::connect(url, PostgresOptions::default()).await?;
    append(&store, &pages, targets, hours).await?;
    let mut connection = PgConnection::connect(url).await?;
    println!("frames: {}", bytes(&mut connection, &["frames"], "layouts").await?);
    compact(&store).await?;
    println!("segments: {}", bytes(&mut connection, &["segments", "segments_daily"], "timelines").await?);
    for name in ["one", "metric", "all"] {
        ask(&store, &pages, name, hours).await?;
    }
    view(&mut connection, &pages, hours).await?;
    store.close().await;
    Ok(())
}

/// Names with labels, and their values scrape by scrape.
struct Pages {
    names: Vec<String>,
    scrapes: Vec<Vec<f64>>,
}

fn scraped(folder: &str) -> Fallible<Pages> {
    let read = |n: usize| std::fs::read_to_string(format!("{folder}/ne.{n}"));
    let mut names: Vec<String> = Vec::new();
    let mut scrapes = Vec::new();
    for n in 1..=SCRAPES {
        let page = read(n)?;
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let samples: std::collections::BTreeMap<&str, f64> = lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        if names.is_empty() {
            names = samples.keys().map(ToString::to_string).collect();
        }
        let value = |name: &String| samples.get(name.as_str()).copied().unwrap_or(f64::NAN);
        scrapes.push(names.iter().map(value).collect());
    }
    Ok(Pages { names, scrapes })
}

fn made_up() -> Pages {
    let names: Vec<String> = (0..500).map(|n| format!("node_metric_{}{{n=\"{n}\"}}", n % 50)).collect();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut values: Vec<f64> = (0..names.len()).map(|n| (n as f64 * 1_234.5).floor()).collect();
    let mut scrapes = Vec::new();
    for _ in 0..SCRAPES {
        for (n, value) in values.iter_mut().enumerate() {
            match n % 5 {
                0 | 1 => {}
                2 | 3 => *value += (random() * 20.0).floor(),
                _ => *value = (random() * 1e9).floor() / 1e3,
            }
        }
        scrapes.push(values.clone());
    }
    Pages { names, scrapes }
}

fn layout(pages: &Pages, target: usize) -> Fallible<Arc<Layout>> {
    let mut all = Vec::new();
    for name in &pages.names {
        let (metric, rest) = name.split_once('{').unwrap_or((name, ""));
        let instance = format!("host-{target}");
        let pairs = [("__name__", metric), ("series", rest), ("instance", instance.as_str())];
        let labels = LabelSet::new(pairs.iter().filter(|(_, value)| !value.is_empty()).copied())?;
        all.push(Arc::new(Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type: MetricType::Gauge,
            source_type: MetricSource::Application,
            source: "bench".into(),
            target_id: format!("target-{target}").into(),
            help: None,
            unit: None,
        }));
    }
    Ok(Layout::shared(all))
}

async fn append(store: &PostgresStore, pages: &Pages, targets: usize, hours: usize) -> Fallible<()> {
    let started = Instant::now();
    for target in 0..targets {
        let layout = layout(pages, target)?;
        for hour in 0..hours {
            let frame = |(n, values): (usize, &Vec<f64>)| {
                // Scrapes start a little late, as they do.
                let jitter = (n * 7 + target * 13 + hour) as i64 % 3;
                let time =
                    START + hour as i64 * 3_600_000 + n as i64 * STEP + target as i64 % 15_000 + jitter;
                let values = values.iter().map(|value| value + hour as f64).collect();
                Frame { layout: Arc::clone(&layout), time, offsets: None, values, histograms: Vec::new() }
            };
            let batches = pages.scrapes.iter().enumerate().map(|scrape| {
                let id = ((target * hours + hour) * SCRAPES + scrape.0) as u128 + 1;
                batch(id, target, vec![frame(scrape)])
            });
            store.append(&batches.collect::<Vec<_>>()).await?;
        }
    }
    let samples = targets * hours * SCRAPES * pages.names.len();
    println!(
        "{samples} samples of {} series appended in {:?}",
        pages.names.len() * targets,
        started.elapsed()
    );
    Ok(())
}

fn batch(id: u128, target: usize, frames: Vec<Frame>) -> Arc<Batch> {
    let stored = frames.iter().map(|frame| frame.values.len() as u64).sum();
    let collection = Collection {
        source_id: "bench".into(),
        target_id: format!("target-{target}"),
        method: CollectionMethod::PullScraping,
        started: START,
        duration_ms: 10.0,
        status: JobStatus::Completed,
        health: HealthStatus::Healthy,
        reason: None,
        error: None,
        ledger: Ledger { received: stored, stored, ..Ledger::default() },
        types: TypeCounts::default(),
    };
    Arc::new(Batch::new(BatchId(id), collection, frames))
}

/// Bytes of tables with their indexes and arrays kept apart, and of one that goes with them, a sample.
async fn bytes(connection: &mut PgConnection, tables: &[&str], beside: &str) -> Fallible<String> {
    sqlx::query("VACUUM").execute(&mut *connection).await?;
    let mut told = Vec::new();
    let mut all = 0;
    for table in tables {
        let sql = "SELECT coalesce(sum(total_bytes), 0)::int8, coalesce(sum(index_bytes), 0)::int8, \
             coalesce(sum(toast_bytes), 0)::int8 FROM hypertable_detailed_size($1::text::regclass)";
        let row = sqlx::query(sql).bind(table).fetch_one(&mut *connection).await?;
        let (total, index, toast): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        all += total;
        told.push(format!("{table} {total} (indexes {index}, arrays apart {toast})"));
    }
    let sql = "SELECT pg_total_relation_size($1::text::regclass), \
         (SELECT count(*) FROM frames), (SELECT coalesce(sum(samples), 0)::int8 FROM counters)";
    let row = sqlx::query(sql).bind(beside).fetch_one(connection).await?;
    let (size, samples): (i64, i64) = (row.get(0), row.get(2));
    all += size;
    told.push(format!("{beside} {size}"));
    Ok(format!("{:.3} bytes a sample: {}", all as f64 / samples as f64, told.join(", ")))
}

async fn compact(store: &PostgresStore) -> Fallible<()> {
    let policy = CompactionPolicy {
        before: i64::MAX,
        pack_before: None,
        max_samples: 2_000_000,
        rest: Duration::ZERO,
    };
    let started = Instant::now();
    let mut all = Compacted::default();
    loop {
        let done = store.compact(&policy).await?;
        all += done;
        if !done.more {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{all:?} in {seconds:.2} s, {:.2} M samples/s", all.samples as f64 / seconds / 1e6);
    Ok(())
}

async fn ask(store: &PostgresStore, pages: &Pages, name: &str, hours: usize) -> Fallible<()> {
    let metric = pages.names.get(7).map_or("", |name| name.split('{').next().unwrap_or(name));
    let (end, half) = (START + hours as i64 * 3_600_000, START + 1_800_000);
    let (matchers, start, end) = match name {
        "one" => (vec![Matcher::equal("__name__", metric), Matcher::equal("instance", "host-0")], START, end),
        "metric" => (vec![Matcher::equal("__name__", metric)], START, end),
        _ => (vec![Matcher::equal("__name__", "")], half, half + 600_000),
    };
    let matchers = match name {
        "all" => vec![Matcher::new("instance", metricsd_model::MatchOp::Regex, "host-.*")?],
        _ => matchers,
    };
    let selection = Selection {
        matchers,
        start,
        end,
        limits: SelectLimits { max_series: 10_000_000, max_samples: 1_000_000_000 },
    };
    let mut times = Vec::new();
    let mut told = String::new();
    for _ in 0..6 {
        let started = Instant::now();
        let selected = store.select(&selection).await?;
        times.push(started.elapsed());
        let samples: usize = selected.iter().map(|series| series.values.len()).sum();
        told = format!("{} series, {samples} samples", selected.len());
    }
    times[1..].sort();
    println!("select {name}: {told}: first {:?}, median of the next five {:?}", times[0], times[3]);
    Ok(())
}

async fn view(connection: &mut PgConnection, pages: &Pages, hours: usize) -> Fallible<()> {
    let metric = pages.names.get(7).map_or("", |name| name.split('{').next().unwrap_or(name));
    let last = START + hours as i64 * 3_600_000;
    for from in [
        "metrics_ts WHERE \"timestamp\" >= to_timestamp($2) AND \"timestamp\" <= to_timestamp($3) AND",
        "metrics_between(to_timestamp($2), to_timestamp($3)) WHERE",
    ] {
        let sql = format!("SELECT count(*), sum(value) FROM {from} metric_name = $1");
        let mut times = Vec::new();
        let mut samples = 0;
        for _ in 0..6 {
            let started = Instant::now();
            let row = sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
                .bind(metric)
                .bind((last - 3_600_000) as f64 / 1_000.0)
                .bind((last - 1) as f64 / 1_000.0)
                .fetch_one(&mut *connection)
                .await?;
            times.push(started.elapsed());
            samples = row.get(0);
        }
        times[1..].sort();
        let rate = samples as f64 / times[3].as_secs_f64() / 1e6;
        println!("{}: {samples} samples, median {:?}, {rate:.2} M samples/s", &from[..12], times[3]);
    }
    Ok(())
}
