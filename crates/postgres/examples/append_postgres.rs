//! How many samples a second reach the disk, and come back: groups of 1,000 scrapes of 500 series each.
//!
//! `source .services.env && cargo run --release -p metricsd-postgres --example append_postgres [GROUPS] [WRITERS]`
//! makes a database of its own on the test server and drops it at the end.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HealthStatus, JobStatus, LabelSet, Layout, Ledger,
    Matcher, MetricSource, MetricType, Millis, Series, SeriesId, TypeCounts,
};
use metricsd_ports::{SampleSink, SampleSource, SelectLimits, Selection};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use uuid::Uuid;

const TARGETS: usize = 1_000;
const SERIES: usize = 500;
const START: Millis = 1_750_500_000_000;
const INTERVAL: Millis = 15_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let groups = arguments.next().transpose()?.unwrap_or(40);
    let writers = arguments.next().transpose()?.unwrap_or(1).max(1);
    let server = std::env::var("METRICSD_TEST_POSTGRES_URL")
        .map_err(|_| "run `make services`, then source .services.env")?;
    let name = format!("metricsd_bench_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&server).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).await?;
    let (host, _) = server.rsplit_once('/').ok_or("the URL names a database")?;
    let measured = measure(&format!("{host}/{name}"), groups, writers).await;
    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
    measured
}

async fn measure(url: &str, groups: usize, writers: usize) -> Result<()> {
    let store = Arc::new(PostgresStore::connect(url, PostgresOptions::default()).await?);
    let layouts: Arc<Vec<Arc<Layout>>> = Arc::new((0..TARGETS).map(layout).collect());

    let begun = Instant::now();
    store.append(&group(&layouts, 0)).await?;
    report("first group: every series and layout is new", TARGETS * SERIES, begun.elapsed());

    let begun = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, layouts) = (Arc::clone(&store), Arc::clone(&layouts));
            tokio::spawn(async move {
                for round in (1..=groups).filter(|round| round % writers == writer) {
                    store.append(&group(&layouts, round)).await?;
                }
                Ok::<_, metricsd_ports::PortError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let appended = groups * TARGETS * SERIES;
    report(&format!("{groups} groups, {writers} writer(s)"), appended, begun.elapsed());

    for (what, matcher) in [
        ("select one series of each target", Matcher::equal("__name__", "metric_7")),
        ("select one target", Matcher::equal("instance", "host-7:9100")),
        ("select one series", Matcher::equal("only", "7-7")),
    ] {
        let limits = SelectLimits { max_series: 1_000_000, max_samples: 100_000_000 };
        let selection = Selection { matchers: vec![matcher], start: START, end: i64::MAX, limits };
        let begun = Instant::now();
        let selected = store.select(&selection).await?;
        report(what, selected.iter().map(|series| series.values.len()).sum(), begun.elapsed());
    }
    size(url, appended + TARGETS * SERIES).await
}

async fn size(url: &str, samples: usize) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let row = connection.fetch_one("SELECT hypertable_size('frames')").await?;
    let bytes: i64 = row.try_get(0)?;
    println!(
        "frames with their indexes: {:.1} bytes a sample (random values)",
        bytes as f64 / samples as f64
    );
    Ok(())
}

fn report(what: &str, samples: usize, took: Duration) {
    let rate = samples as f64 / took.as_secs_f64() / 1e6;
    println!("{what}: {samples} samples in {:.3} s, {rate:.2} M samples/s", took.as_secs_f64());
}

fn layout(target: usize) -> Arc<Layout> {
    let series = (0..SERIES).map(|n| {
        let (name, instance) = (format!("metric_{n}"), format!("host-{target}:9100"));
        let only = format!("{target}-{n}");
        let pairs = [("__name__", name.as_str()), ("instance", &instance), ("job", "bench"), ("only", &only)];
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
    Layout::shared(series.collect())
}

/// What 50 ms of scrapes bring: the cost of making it is small beside that of storing it.
fn group(layouts: &[Arc<Layout>], round: usize) -> Vec<Arc<Batch>> {
    layouts.iter().enumerate().map(|(target, layout)| batch(layout, target, round)).collect()
}

fn batch(layout: &Arc<Layout>, target: usize, round: usize) -> Arc<Batch> {
    let time = START + INTERVAL * round as i64 + target as i64 * 15;
    let target_id = format!("target-{target}");
    let mut state = (round * TARGETS + target) as u64 + 1;
    let values = (0..SERIES).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64
    });
    let stored = SERIES as u64;
    Arc::new(Batch::new(
        BatchId::for_scrape(&target_id, time),
        Collection {
            source_id: "bench".into(),
            target_id,
            method: CollectionMethod::PullScraping,
            started: time,
            duration_ms: 5.0,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger { received: stored, stored, ..Ledger::default() },
            types: TypeCounts { gauges: stored, ..TypeCounts::default() },
        },
        vec![Frame {
            layout: Arc::clone(layout),
            time,
            offsets: None,
            values: values.collect(),
            histograms: Vec::new(),
        }],
    ))
}
