//! How fast remote-write requests become batches on this machine, without a store:
//! `cargo run --release -p metricsd-ingest --example remote_write_speed [SERIES [SAMPLES_A_REQUEST]]`.
//!
//! Every series is sent once a round, as a sender does that passes on one scrape after another; in the first round all
//! are new, in the others all are known. Figures are for one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metricsd_codec::remote_write::message::{Label, Sample, TimeSeries, WriteRequest as Message};
use metricsd_codec::remote_write::{SeriesItem, WriteScanner, pack, unpack};
use metricsd_ingest::{
    AfterCommit, CommitOptions, GroupCommit, Ingest, IngestMetrics, Limits, Protocol, WriteOrigin,
    WriteRequest,
};
use metricsd_model::Batch;
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{PortError, Receipt, SampleSink};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

/// Takes everything and keeps nothing.
struct Nowhere;

#[async_trait]
impl SampleSink for Nowhere {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        Ok(vec![Receipt::Stored; batches.len()])
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

const ROUNDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |at: usize, default: usize| match std::env::args().nth(at) {
        Some(text) => text.parse().map_err(|_| format!("{text:?} is not a number")),
        None => Ok(default),
    };
    let (series, samples) = (argument(1, 100_000)?, argument(2, 10_000)?);
    let ingest = door();
    let now = chrono::Utc::now().timestamp_millis();
    let bodies: Vec<Vec<u8>> = (0..series)
        .step_by(samples.max(1))
        .map(|first| body(first, samples.min(series - first), now))
        .collect();
    let packed = bodies.iter().map(|body| pack(body)).collect::<Result<Vec<_>, _>>()?;
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    println!("{series} series, {samples} samples a request, {} bytes a sample", bytes / series.max(1));
    let per_sample = |what: &str, spent: Duration, rounds: usize| {
        println!("{what}: {:.0} ns a sample", spent.as_nanos() as f64 / (series * rounds) as f64);
    };
    per_sample(
        "unpacked",
        timed(ROUNDS, || {
            packed.iter().try_for_each(|packed| unpack(packed, usize::MAX).map(drop)).map_err(Into::into)
        })?,
        ROUNDS,
    );
    per_sample("scanned", timed(ROUNDS, || bodies.iter().try_for_each(|body| scan(body)))?, ROUNDS);
    let origin = WriteOrigin::new("speed", Protocol::RemoteWrite);
    let read = || {
        bodies.iter().try_for_each(|body| {
            let request = WriteRequest { origin: &origin, body, received_at: now };
            ingest.read_write(request).map(drop).map_err(Into::into)
        })
    };
    per_sample("series not known", timed(1, read)?, 1);
    per_sample("series known", timed(ROUNDS, read)?, ROUNDS);
    Ok(())
}

fn timed(
    rounds: usize,
    mut work: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let started = Instant::now();
    for _ in 0..rounds {
        work()?;
    }
    Ok(started.elapsed())
}

/// Walks a body without looking anything up.
fn scan(body: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    let (mut scanner, mut sum) = (WriteScanner::new(body), 0.0);
    while let Some(series) = scanner.next_series()? {
        let mut items = series.items();
        while let Some(item) = items.next_item()? {
            if let SeriesItem::Sample { value, .. } = item {
                sum += value;
            }
        }
    }
    std::hint::black_box(sum);
    Ok(())
}

fn door() -> Ingest {
    let store = Arc::new(MemoryStore::new());
    let metrics = IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let (after, _) =
        AfterCommit::start(store, Arc::new(MemoryCache::new(1 << 20)), metrics.clone(), stop.clone());
    let (commit, _) = GroupCommit::start(Arc::new(Nowhere), CommitOptions::default(), metrics, after, stop);
    Ingest::new(commit, Arc::new(Limits::default()))
}

/// One request: a sample each of series as an exporter has them.
fn body(first: usize, count: usize, now: i64) -> Vec<u8> {
    let timeseries = (first..first + count).map(|number| {
        let (name, instance, path) = (
            format!("http_requests_{}_total", number % 500),
            format!("10.0.{}.7:9100", number / 500),
            format!("/api/v1/items/{}", number % 97),
        );
        let labels = [
            ("__name__", name.as_str()),
            ("cluster", "production-eu-west-1"),
            ("instance", &instance),
            ("job", "application-server"),
            ("method", "GET"),
            ("path", &path),
            ("status", "200"),
        ];
        TimeSeries {
            labels: Label::list(labels),
            samples: vec![Sample { value: number as f64, timestamp: now }],
            ..TimeSeries::default()
        }
    });
    Message { timeseries: timeseries.collect(), metadata: Vec::new() }.to_bytes()
}
