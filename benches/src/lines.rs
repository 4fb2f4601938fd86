//! Line protocols on metricsd: Influx over HTTP, Graphite over TCP, StatsD over UDP.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::results::Results;
use crate::server::{Extra, Failures, Setup, Subject};

/// How much is pushed.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Series of each protocol.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) series: usize,
    /// Samples of each series.
    #[arg(long, default_value_t = 100)]
    pub(crate) rounds: usize,
}

/// Datagrams are of about this many bytes: what fits into one packet of a usual network.
const DATAGRAM: usize = 1_400;

/// How long the last sample may take to be stored.
const PATIENCE: Duration = Duration::from_secs(60);

/// One run over both of our servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    println!(
        "lines: {} series, {} samples each, over Influx, Graphite and StatsD",
        options.series, options.rounds
    );
    let port = || anyhow::Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
    let (graphite, statsd) = (format!("127.0.0.1:{}", port()?), format!("127.0.0.1:{}", port()?));
    let settings = vec![
        ("METRICSD_INFLUX_ENABLED", "true".to_owned()),
        ("METRICSD_GRAPHITE_LISTEN", graphite.clone()),
        ("METRICSD_STATSD_LISTEN", statsd.clone()),
        ("METRICSD_STATSD_FLUSH_INTERVAL", "1s".to_owned()),
    ];
    let extra = Extra { settings, ..Extra::default() };
    let mut failures = Failures::default();
    for kind in options.setup.available().into_iter().filter(|kind| kind.is_ours()) {
        let work = async |subject: &mut Subject| {
            influx(subject, options, results).await?;
            over_tcp(subject, options, &graphite, results).await?;
            over_udp(subject, options, &statsd, results).await
        };
        failures.with(kind, &options.setup, &extra, work).await;
    }
    failures.finish()
}

/// What one run took.
struct Course {
    started: Instant,
    cpu: crate::server::Cpu,
}

impl Course {
    fn start(subject: &Subject) -> Self {
        Self { cpu: subject.cpu(), started: Instant::now() }
    }

    fn note(self, what: &str, samples: usize, subject: &Subject, results: &mut Results) {
        let (seconds, cpu) = (self.started.elapsed().as_secs_f64(), subject.cpu().since(self.cpu).total());
        results.add(format!("lines.{what}.rate"), subject.kind, samples as f64 / seconds);
        results.add(format!("lines.{what}.cpu"), subject.kind, cpu / samples as f64 * 1e6);
    }
}

/// The sum of a query's values, 0 of none.
async fn asked(subject: &Subject, query: &str) -> Result<f64> {
    let url = subject.url("/api/v1/query");
    let answer: serde_json::Value =
        subject.client().get(url).query(&[("query", query)]).send().await?.error_for_status()?.json().await?;
    let text = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0");
    Ok(text.parse()?)
}

/// Waits until a query answers what was sent.
async fn stored(subject: &Subject, query: &str, expected: f64) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = asked(subject, query).await?;
        if found == expected {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "{query} is {found}, and {expected} were sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn influx(subject: &Subject, options: &Options, results: &mut Results) -> Result<()> {
    let (now, url) = (crate::system::now(), subject.url("/api/v2/write?precision=ms"));
    let line = |series: usize, at: i64| {
        format!("bench_influx,s=s{series},zone=z{} value={series} {at}\n", series % 7)
    };
    let body = |round: usize| -> String {
        (0..options.series).map(|series| line(series, now - (options.rounds - round) as i64)).collect()
    };
    let bodies: Vec<String> = (0..options.rounds).map(body).collect();
    let course = Course::start(subject);
    for body in bodies {
        subject.client().post(&url).body(body).send().await?.error_for_status()?;
    }
    let samples = options.series * options.rounds;
    course.note("influx", samples, subject, results);
    stored(subject, "sum(count_over_time(bench_influx[10m]))", samples as f64).await
}

async fn over_tcp(subject: &Subject, options: &Options, address: &str, results: &mut Results) -> Result<()> {
    let now = crate::system::now() / 1_000;
    let line = |series: usize, at: i64| format!("bench.graphite;s=s{series} {series} {at}\n");
    let text = |round: usize| -> String {
        (0..options.series).map(|series| line(series, now - (options.rounds - round) as i64)).collect()
    };
    let texts: Vec<String> = (0..options.rounds).map(text).collect();
    let course = Course::start(subject);
    let mut socket = TcpStream::connect(address).await?;
    for text in texts {
        socket.write_all(text.as_bytes()).await?;
    }
    socket.shutdown().await?;
    let samples = options.series * options.rounds;
    stored(subject, "sum(count_over_time(bench_graphite[10m]))", samples as f64).await?;
    course.note("graphite", samples, subject, results);
    Ok(())
}

/// Datagrams may be lost: what was taken is what the counters came to.
async fn over_udp(subject: &Subject, options: &Options, address: &str, results: &mut Results) -> Result<()> {
    let mut datagrams = Vec::new();
    let mut datagram = String::new();
    for series in 0..options.series {
        datagram.push_str(&format!("bench.statsd:1|c|#s:s{series}\n"));
        if datagram.len() > DATAGRAM || series + 1 == options.series {
            datagrams.push(std::mem::take(&mut datagram));
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let course = Course::start(subject);
    for _ in 0..options.rounds {
        for datagram in &datagrams {
            socket.send_to(datagram.as_bytes(), address).await?;
        }
        tokio::task::yield_now().await;
    }
    let (mut taken, sent) = (0.0, (options.series * options.rounds) as f64);
    let until = Instant::now() + Duration::from_secs(5);
    while taken < sent && Instant::now() < until {
        taken = asked(subject, "sum(bench_statsd)").await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::ensure!(taken > 0.0, "nothing of what was sent was taken");
    results.add("lines.statsd.taken", subject.kind, taken / sent * 100.0);
    course.note("statsd", taken as usize, subject, results);
    Ok(())
}
