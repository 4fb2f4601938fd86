//! `metricsd events`: follows the stream of `metrics_collected` events.

use std::io::{self, Write};

use clap::Args;
use futures::StreamExt;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{Format, cell};
use super::{ClientArgs, Environment};

/// A line of the stream that is longer is no event of ours.
const MAX_LINE: usize = 1 << 20;

const HELP: &str = "\
Examples:
  metricsd events
  metricsd events --output json | jq -r .metrics_collected.source_id
  metricsd events --limit 1 && echo something was collected

Runs until it is interrupted, or until --limit events came. With --output json every event is one line.
Exits 3 when the server goes away.";

/// `metricsd events`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct EventsArgs {
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only of this source
    #[arg(long, value_name = "SOURCE")]
    source_id: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Follows the stream.
pub(super) async fn run(args: &EventsArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let source: Vec<_> = args.source_id.iter().map(|source| ("source_id", source)).collect();
    let request = client.request(Method::GET, &["events"]).query(&source).header(ACCEPT, "text/event-stream");
    let mut chunks = client.open(request).await?.bytes_stream();
    let mut stream = EventStream::default();
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut out = io::stdout().lock();
    if args.client.output == Format::Table {
        writeln!(out, "{}", row(["TIME", "SOURCE", "METHOD", "METRICS", "MS", "HEALTH", "ERRORS"]))?;
        out.flush()?;
    }
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| client.unreachable(&error))?;
        for data in stream.read(&chunk).map_err(Failure::failed)? {
            let Ok(event) = serde_json::from_str::<Value>(&data) else {
                continue;
            };
            match args.client.output {
                Format::Json => writeln!(out, "{event}")?,
                Format::Table => writeln!(out, "{}", line(&event))?,
            }
            out.flush()?;
            left -= 1;
            if left == 0 {
                return Ok(Exit::Done);
            }
        }
    }
    Err(Failure::unreachable("the server ended the stream"))
}

fn line(event: &Value) -> String {
    let data = &event["metrics_collected"];
    let of = |name: &str| cell(&data[name]);
    row([
        &cell(&event["timestamp"]),
        &of("source_id"),
        &of("collection_method"),
        &of("metrics_count"),
        &of("collection_duration_ms"),
        &of("target_health"),
        &of("error_count"),
    ])
}

/// Columns of a fixed width, since a stream has no widest row yet.
fn row(cells: [&str; 7]) -> String {
    let [time, source, method, metrics, ms, health, errors] = cells;
    format!("{time:<24}  {source:<24}  {method:<13}  {metrics:>8}  {ms:>6}  {health:<9}  {errors}")
}

/// Takes server-sent events apart: `data:` lines up to an empty line are one event.
#[derive(Default)]
struct EventStream {
    line: Vec<u8>,
    data: Option<String>,
}

impl EventStream {
    /// The events that end in this chunk.
    fn read(&mut self, chunk: &[u8]) -> Result<Vec<String>, String> {
        let mut events = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > MAX_LINE {
                    return Err("the server sends something else than events".to_owned());
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.line.clear();
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                events.extend(self.data.take());
            } else if let Some(data) = line.strip_prefix("data:") {
                let data = data.strip_prefix(' ').unwrap_or(data);
                self.data = Some(match self.data.take() {
                    Some(earlier) => format!("{earlier}\n{data}"),
                    None => data.to_owned(),
                });
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_across_chunks() {
        let text = ": hello\n\nid: 1\nevent: metrics_collected\ndata: {\"a\":\ndata: 1}\r\n\r\n: still here\n\ndata:{}\n\ndata: half";
        for size in 1..text.len() {
            let mut stream = EventStream::default();
            let events: Vec<String> =
                text.as_bytes().chunks(size).flat_map(|chunk| stream.read(chunk).unwrap()).collect();
            assert_eq!(events, ["{\"a\":\n1}", "{}"], "chunks of {size}");
        }
        assert!(EventStream::default().read(&vec![b'x'; MAX_LINE + 1]).is_err());
    }
}
