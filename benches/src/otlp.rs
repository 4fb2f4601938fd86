//! OTLP over HTTP: requests of many data points, whose bodies are prepared beforehand.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use metricsd_codec::otlp::messages::{
    CUMULATIVE, Data, ExportRequest, KeyValue, Metric, Number, NumberPoint, Sum,
};

use crate::results::Results;
use crate::server::{Extra, Failures, Setup, Subject};

/// How much is pushed.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Requests.
    #[arg(long, default_value_t = 200)]
    pub(crate) requests: usize,
    /// Data points of each request, every one of a series of its own.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) points: usize,
    /// Requests under way at once.
    #[arg(long, default_value_t = 4)]
    pub(crate) clients: usize,
}

/// Data points of one metric.
const POINTS_OF_METRIC: usize = 100;

/// One run over both of our servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    println!("otlp: {} requests of {} data points", options.requests, options.points);
    let mut failures = Failures::default();
    for kind in options.setup.available().into_iter().filter(|kind| kind.is_ours()) {
        let work = async |subject: &mut Subject| push(subject, options, results).await;
        failures.with(kind, &options.setup, &Extra::default(), work).await;
    }
    failures.finish()
}

/// What one service says: its counters, all at one time.
fn body(points: usize, time: i64, value: usize) -> Bytes {
    let point = |number: usize| NumberPoint {
        attributes: KeyValue::texts(&[
            ("http.request.method", "GET"),
            ("http.route", &format!("/api/{number}")),
            ("server.zone", &format!("z{}", number % 7)),
        ]),
        start_time_unix_nano: 1_000_000,
        time_unix_nano: time.cast_unsigned() * 1_000_000,
        value: Some(Number::Int((value + number) as i64)),
        ..NumberPoint::default()
    };
    let metric = |first: usize| {
        let data_points = (first..points.min(first + POINTS_OF_METRIC)).map(point).collect();
        let sum = Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true };
        Metric::new(&format!("bench.requests.{}", first / POINTS_OF_METRIC), "{request}", Data::Sum(sum))
    };
    let resource = [("service.name", "bench"), ("service.instance.id", "i-1"), ("host.name", "h")];
    let metrics = (0..points).step_by(POINTS_OF_METRIC).map(metric).collect();
    ExportRequest::of(KeyValue::texts(&resource), metrics).to_bytes().into()
}

/// Pushes from several clients and checks that everything was accepted.
async fn push(subject: &Subject, options: &Options, results: &mut Results) -> Result<()> {
    let now = crate::system::now();
    let bodies: Vec<Bytes> =
        (0..options.requests).map(|request| body(options.points, now + request as i64, request)).collect();
    // The first teaches metricsd the series, which is not what is measured.
    push_all(subject.client(), subject.url("/v1/metrics"), vec![body(options.points, now - 1, 0)]).await?;
    let (cpu, started) = (subject.cpu(), Instant::now());
    let mut clients = Vec::new();
    for client in 0..options.clients.max(1) {
        let mine: Vec<_> = bodies.iter().skip(client).step_by(options.clients.max(1)).cloned().collect();
        clients.push(tokio::spawn(push_all(subject.client(), subject.url("/v1/metrics"), mine)));
    }
    for client in clients {
        client.await??;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), subject.cpu().since(cpu).total());
    let accepted = (options.requests * options.points) as f64;
    results.add("otlp.rate", subject.kind, accepted / seconds);
    results.add("otlp.cpu", subject.kind, cpu / accepted * 1e6);
    Ok(())
}

async fn push_all(client: reqwest::Client, url: String, bodies: Vec<Bytes>) -> Result<()> {
    for body in bodies {
        let request = client.post(&url).header("content-type", "application/x-protobuf").body(body);
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        anyhow::ensure!(answer.is_empty(), "some data points were refused");
    }
    Ok(())
}
