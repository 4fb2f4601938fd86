//! What custom items cost from their bytes to a batch, in nanoseconds an item: `custom_speed [items] [rounds]`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use metricsd_codec::custom::message::{Metric, Metrics};
use metricsd_codec::custom::{CustomBody, CustomWriter};
use metricsd_codec::remote_write::message::Label;
use metricsd_ingest::custom::item_write;
use metricsd_ingest::{
    AfterCommit, CommitOptions, GroupCommit, Ingest, IngestMetrics, Limits, Protocol, WriteOrigin,
    WriteRequest,
};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

fn ingest() -> Ingest {
    let store = Arc::new(MemoryStore::new());
    let metrics = IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
    let (commit, _) = GroupCommit::start(store, CommitOptions::default(), metrics, after, stop);
    Ingest::new(commit, Arc::new(Limits::default()))
}

fn line(item: usize, at: i64) -> String {
    format!(
        "{{\"name\":\"bench_pushed\",\"metric_type\":\"GAUGE\",\"value\":{item}.5,\"labels\":{{\"item\":\"{item}\",\"zone\":\"z{}\"}},\"timestamp\":{at}}}",
        item % 7
    )
}

fn metric(item: usize, at: i64) -> Metric {
    let (place, zone) = (item.to_string(), format!("z{}", item % 7));
    Metric {
        name: "bench_pushed".to_owned(),
        labels: Label::list([("item", place.as_str()), ("zone", zone.as_str())]),
        metric_type: 2,
        value: Some(item as f64 + 0.5),
        timestamp: Some(at),
        ..Metric::default()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let number =
        |place, default| std::env::args().nth(place).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (items, rounds) = (number(1, 2_000), number(2, 200));
    let now = chrono::Utc::now().timestamp_millis();
    let ingest = ingest();
    for form in ["json", "lines", "protobuf"] {
        let bodies: Vec<Vec<u8>> = (0..rounds)
            .map(|round| {
                let at = now + round as i64;
                let lines = || (0..items).map(|item| line(item, at)).collect::<Vec<_>>();
                match form {
                    "json" => format!("[{}]", lines().join(",")).into_bytes(),
                    "lines" => lines().join("\n").into_bytes(),
                    _ => Metrics {
                        metrics: (0..items).map(|item| metric(item, at)).collect(),
                        first_sequence: 0,
                    }
                    .to_bytes(),
                }
            })
            .collect();
        let read = |body: &[u8]| -> CustomBody {
            let writer = CustomWriter::new(ingest.items(), now, 1_000_000);
            let read = match form {
                "json" => writer.json(body),
                "lines" => writer.lines(body),
                _ => writer.protobuf(body),
            };
            read.unwrap_or_default()
        };
        let started = Instant::now();
        let mut written: Vec<CustomBody> = bodies.iter().map(|body| read(body)).collect();
        let decoded = started.elapsed();
        let started = Instant::now();
        for items in &mut written {
            let write = item_write(WriteOrigin::new("bench", Protocol::Custom), items, now);
            let request = WriteRequest { origin: &write.origin, body: &write.body, received_at: now };
            black_box(ingest.read_write(request).is_ok());
        }
        let each = |elapsed: std::time::Duration| elapsed.as_nanos() as f64 / (items * rounds) as f64;
        let bytes: usize = bodies.iter().map(Vec::len).sum();
        println!(
            "{form:9} {:6.1} ns an item read, {:6.1} ns into the batch, {} bytes an item",
            each(decoded),
            each(started.elapsed()),
            bytes / (items * rounds)
        );
    }
}
