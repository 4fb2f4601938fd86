//! How many samples a second reach the disk, and come back: 1,000 scrapes of 500 series, in groups of 200.
//!
//! `cargo run --release -p metricsd-sqlite --example append [ROUNDS] [FOLDER]` makes a file of its own in the folder
//! (the system's for temporary files where none is given) and removes it at the end.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HealthStatus, JobStatus, LabelSet, Layout, Ledger,
    Matcher, MetricSource, MetricType, Millis, Series, SeriesId, TypeCounts,
};
use metricsd_ports::{SampleSink, SampleSource, SelectLimits, Selection};
use metricsd_sqlite::SqliteStore;

const TARGETS: usize = 200;
const SERIES: usize = 500;
const START: Millis = 1_750_500_000_000;
const INTERVAL: Millis = 15_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(Ok(5), |rounds| rounds.parse::<usize>())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("metricsd-sqlite-{}", uuid::Uuid::new_v4().simple()));
    let measured = measure(&folder.join("metricsd.db"), rounds).await;
    std::fs::remove_dir_all(folder)?;
    measured
}

async fn measure(path: &Path, rounds: usize) -> Result<(), Box<dyn Error>> {
    let store = SqliteStore::open(path).await?;
    let layouts: Vec<Arc<Layout>> = (0..TARGETS).map(layout).collect();
    let group = TARGETS * SERIES;
    let first = timed(async { store.append(&group_of(&layouts, 0)).await.map(|_| group) });
    report("the first group, whose series and layouts are new", first.await?);
    for values in ["random", "slow"] {
        let base = if values == "random" { 1 } else { rounds + 1 };
        let groups: Vec<_> = (base..base + rounds).map(|round| group_of(&layouts, round)).collect();
        let groups: Vec<_> = match values {
            "random" => groups,
            _ => groups.into_iter().map(slow).collect(),
        };
        let append = timed(async {
            for group in &groups {
                store.append(group).await?;
            }
            Ok::<_, metricsd_ports::PortError>(rounds * group)
        });
        report(&format!("{rounds} groups of {TARGETS} frames, {values} values"), append.await?);
    }
    for (what, matcher) in [
        ("one series of each target", Matcher::equal("__name__", "metric_7")),
        ("one target", Matcher::equal("instance", "host-7:9100")),
        ("one series", Matcher::equal("only", "7-7")),
    ] {
        let limits = SelectLimits { max_series: 1_000_000, max_samples: 100_000_000 };
        let selection = Selection { matchers: vec![matcher], start: START, end: i64::MAX, limits };
        let select = timed(async {
            let selected = store.select(&selection).await?;
            Ok::<_, metricsd_ports::PortError>(selected.iter().map(|series| series.values.len()).sum())
        });
        report(&format!("select {what}"), select.await?);
    }
    store.close().await;
    let bytes = std::fs::metadata(path)?.len() as f64;
    println!("the file: {:.1} bytes a sample", bytes / ((2 * rounds + 1) * group) as f64);
    Ok(())
}

async fn timed<E>(work: impl Future<Output = Result<usize, E>>) -> Result<(usize, Duration), E> {
    let begun = Instant::now();
    work.await.map(|samples| (samples, begun.elapsed()))
}

fn report(what: &str, (samples, took): (usize, Duration)) {
    let rate = samples as f64 / took.as_secs_f64();
    println!("{what}: {samples} samples in {:.4} s, {rate:.0} samples/s", took.as_secs_f64());
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

fn group_of(layouts: &[Arc<Layout>], round: usize) -> Vec<Arc<Batch>> {
    let targets = layouts.iter().enumerate();
    targets.map(|(target, layout)| batch(layout, target, round)).collect()
}

/// The same with values as counters have them: whole numbers of which each is near its neighbour.
fn slow(group: Vec<Arc<Batch>>) -> Vec<Arc<Batch>> {
    let slow = |batch: Arc<Batch>| {
        let mut batch = Arc::unwrap_or_clone(batch);
        for value in batch.frames.iter_mut().flat_map(|frame| &mut frame.values) {
            *value %= 1_000.0;
        }
        Arc::new(batch)
    };
    group.into_iter().map(slow).collect()
}

fn batch(layout: &Arc<Layout>, target: usize, round: usize) -> Arc<Batch> {
    let time = START + INTERVAL * round as i64 + target as i64 * 15;
    let target_id = format!("target-{target}");
    let mut state = (round * TARGETS + target) as u64 + 1;
    let values = (0..SERIES).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64
    });
    let values = values.collect();
    let layout = Arc::clone(layout);
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
        vec![Frame { layout, time, offsets: None, values, histograms: Vec::new() }],
    ))
}
