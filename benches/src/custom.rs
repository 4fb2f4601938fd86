//! Pushes of prepared items to metricsd's own routes: lists of JSON, lines of JSON, protobuf, a stream of lines, and the same
//! samples as remote write 2.0.

use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use metricsd_codec::custom::message::{Metric, Metrics};
use metricsd_codec::remote_write::{message::Label, pack};
use metricsd_codec::remote_write2::message::{Request, Sample, TimeSeries};
use serde_json::{Value, json};

use crate::results::Results;
use crate::server::{Extra, Failures, Setup, Subject};

/// How much is pushed.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Pushes of each form.
    #[arg(long, default_value_t = 200)]
    pub(crate) pushes: usize,
    /// Items of each push.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) items: usize,
    /// Pushes under way at once.
    #[arg(long, default_value_t = 4)]
    pub(crate) clients: usize,
}

/// How items are written.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Lines,
    Protobuf,
    Stream,
    Write2,
}

impl Form {
    const ALL: [Self; 5] = [Self::Json, Self::Lines, Self::Protobuf, Self::Stream, Self::Write2];

    /// How its figures are called.
    fn name(self) -> &'static str {
        match self {
            Self::Json => "",
            Self::Lines => "/ndjson",
            Self::Protobuf => "/protobuf",
            Self::Stream => "/stream",
            Self::Write2 => "/write2",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Stream => "/api/v1/metrics/stream",
            Self::Write2 => "/api/v1/write",
            _ => "/api/v1/metrics/custom",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines | Self::Stream => "application/x-ndjson",
            Self::Protobuf => "application/x-protobuf",
            Self::Write2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// A push of items at a time.
    fn body(self, items: usize, timestamp: i64) -> Result<Bytes> {
        Ok(match self {
            Self::Json => {
                Value::Array((0..items).map(|item| object(item, timestamp)).collect()).to_string().into()
            }
            Self::Lines | Self::Stream => {
                let line = |item| object(item, timestamp).to_string() + "\n";
                (0..items).map(line).collect::<String>().into()
            }
            Self::Protobuf => {
                let metrics = (0..items).map(|item| metric(item, timestamp)).collect();
                Metrics { metrics, first_sequence: 0 }.to_bytes().into()
            }
            Self::Write2 => pack(&request(items, timestamp).to_bytes())?.into(),
        })
    }
}

fn zone(item: usize) -> String {
    format!("z{}", item % 7)
}

fn object(item: usize, timestamp: i64) -> Value {
    json!({"name": "bench_pushed", "metric_type": "GAUGE", "value": item as f64 + 0.5, "source": "APPLICATION",
           "labels": {"item": item.to_string(), "zone": zone(item)}, "timestamp": timestamp})
}

fn metric(item: usize, timestamp: i64) -> Metric {
    let (place, zone) = (item.to_string(), zone(item));
    Metric {
        name: "bench_pushed".to_owned(),
        labels: Label::list([("item", place.as_str()), ("zone", zone.as_str())]),
        metric_type: 2,
        value: Some(item as f64 + 0.5),
        timestamp: Some(timestamp),
        ..Metric::default()
    }
}

/// The table of symbols: three names and the metric's, zones, then the places of items.
fn request(items: usize, timestamp: i64) -> Request {
    let mut symbols: Vec<String> =
        ["", "__name__", "bench_written", "item", "zone"].map(str::to_owned).to_vec();
    symbols.extend((0..7).map(zone));
    let places = symbols.len();
    symbols.extend((0..items).map(|item| item.to_string()));
    let series = |item: usize| TimeSeries {
        labels_refs: [1, 2, 3, places + item, 4, 5 + item % 7].map(|place| place as u32).to_vec(),
        samples: vec![Sample { value: item as f64 + 0.5, timestamp, start_timestamp: 0 }],
        ..TimeSeries::default()
    };
    Request { timeseries: (0..items).map(series).collect(), symbols }
}

/// One run over both of our servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    println!("custom: {} pushes of {} items in {} forms", options.pushes, options.items, Form::ALL.len());
    let mut failures = Failures::default();
    for kind in options.setup.available().into_iter().filter(|kind| kind.is_ours()) {
        let work = async |subject: &mut Subject| {
            for form in Form::ALL {
                push(subject, form, options, results).await?;
            }
            Ok(())
        };
        failures.with(kind, &options.setup, &Extra::default(), work).await;
    }
    failures.finish()
}

/// Pushes from several clients and checks that everything was accepted.
async fn push(subject: &Subject, form: Form, options: &Options, results: &mut Results) -> Result<()> {
    let clients = options.clients.max(1);
    // Each form has times of its own, so that none repeats another.
    let first = crate::system::now() - 600_000 + form as i64 * 100_000;
    let bodies: Vec<Bytes> = (0..options.pushes)
        .map(|push| form.body(options.items, first + push as i64))
        .collect::<Result<_>>()?;
    let (cpu, started) = (subject.cpu(), Instant::now());
    let mut tasks = Vec::new();
    for client in 0..clients {
        let mine: Vec<_> = bodies.iter().skip(client).step_by(clients).cloned().collect();
        let url = subject.url(form.path());
        tasks.push(tokio::spawn(push_all(subject.client(), url, form, client, mine)));
    }
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await??;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), subject.cpu().since(cpu).total());
    anyhow::ensure!(accepted as usize == options.pushes * options.items, "{accepted} items were accepted");
    let name = form.name();
    results.add(format!("custom.rate{name}"), subject.kind, accepted as f64 / seconds);
    results.add(format!("custom.cpu{name}"), subject.kind, cpu / accepted as f64 * 1e6);
    Ok(())
}

async fn push_all(
    client: reqwest::Client,
    url: String,
    form: Form,
    number: usize,
    bodies: Vec<Bytes>,
) -> Result<u64> {
    if let Form::Stream = form {
        return stream(&client, &format!("{url}?stream_id=bench-{number}"), bodies).await;
    }
    let mut accepted = 0;
    for body in bodies {
        let mut request = client.post(&url).header("content-type", form.media_type());
        if let Form::Write2 = form {
            request = request.header("content-encoding", "snappy");
        }
        let answer = request.body(body).send().await?.error_for_status()?;
        accepted += if let Form::Write2 = form {
            let written = answer.headers().get("x-prometheus-remote-write-samples-written");
            written
                .and_then(|count| count.to_str().ok()?.parse().ok())
                .context("no count of written samples")?
        } else {
            let answer: Value = answer.json().await?;
            answer["accepted"].as_u64().context("no count of accepted items")?
        };
    }
    Ok(accepted)
}

/// All bodies as one request; what its acknowledgements say was stored.
async fn stream(client: &reqwest::Client, url: &str, bodies: Vec<Bytes>) -> Result<u64> {
    let parts = futures::stream::iter(bodies.into_iter().map(Ok::<_, std::io::Error>));
    let body = reqwest::Body::wrap_stream(parts);
    let request = client.post(url).header("content-type", Form::Stream.media_type()).body(body);
    let text = request.send().await?.error_for_status()?.text().await?;
    let mut stored = 0;
    for line in text.lines().skip(1) {
        let line: Value = serde_json::from_str(line)?;
        stored += line["stored"].as_u64().with_context(|| line.to_string())?;
    }
    Ok(stored)
}
