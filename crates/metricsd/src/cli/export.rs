//! `metricsd export`: writes samples into a file.

use std::fs::File;
use std::io::{self, Write};

use clap::Args;
use futures::StreamExt;
use metricsd_files::{Compression, FileFormat};
use reqwest::Method;

use super::failure::{Exit, Failure};
use super::{Connection, Environment, time};

const HELP: &str = "\
Examples:
  metricsd export '{job=\"node\"}' --out node.parquet
  metricsd export node_load1 up --start 2026-01-01T00:00:00Z --format csv > load.csv
  metricsd export '{__name__=~\"http_.*\"}' --out http.ndjson.zst

DuckDB and Polars read the Parquet as it is; metricsd push takes every format back.";

/// `metricsd export`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ExportArgs {
    /// Selectors of series; one that several match is written once
    #[arg(required = true)]
    selectors: Vec<String>,
    /// First moment: RFC 3339, seconds since the epoch, or 1h for that long ago [default: all that there is]
    #[arg(long)]
    start: Option<String>,
    /// Last moment [default: now]
    #[arg(long)]
    end: Option<String>,
    /// csv, ndjson, openmetrics or parquet [default: by the file's name, else ndjson]
    #[arg(long)]
    format: Option<String>,
    /// Where to, may end in .gz or .zst; - for standard output
    #[arg(long, default_value = "-", value_name = "FILE")]
    out: String,
    #[command(flatten)]
    connection: Connection,
}

/// Writes the file; one that breaks off is removed.
pub(super) async fn run(args: &ExportArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.connection.client(environment)?;
    let named = FileFormat::from_file_name(&args.out).unwrap_or(FileFormat::Ndjson);
    let format = args.format.as_deref().unwrap_or(named.as_str());
    let mut query = vec![("format", format)];
    query.extend(args.selectors.iter().map(|selector| ("match[]", selector.as_str())));
    let now = chrono::Utc::now().timestamp_millis();
    let moment = |text: &Option<String>| {
        let read = |text: &String| time::parse(text, now).map(time::seconds).map_err(Failure::usage);
        text.as_ref().map(read).transpose()
    };
    let (start, end) = (moment(&args.start)?, moment(&args.end)?);
    query.extend(start.as_deref().map(|start| ("start", start)));
    query.extend(end.as_deref().map(|end| ("end", end)));
    let compression = Compression::of_file_name(&args.out).1;
    if compression != Compression::None {
        query.push(("compression", compression.as_str()));
    }
    let response = client.open(client.request(Method::GET, &["export"]).query(&query)).await?;
    if args.out == "-" {
        write(response, &mut io::stdout().lock()).await?;
        return Ok(Exit::Done);
    }
    let unwritable = |error| Failure::failed(format!("{} cannot be written: {error}", args.out));
    let mut file = File::create(&args.out).map_err(unwritable)?;
    let written = match write(response, &mut file).await {
        Ok(()) => file.sync_all().map_err(unwritable),
        Err(failure) => Err(failure),
    };
    if written.is_err() {
        // Nobody is to take a part for the whole.
        let _ = std::fs::remove_file(&args.out);
    }
    written.map(|()| Exit::Done)
}

async fn write(response: reqwest::Response, out: &mut impl Write) -> Result<(), Failure> {
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Failure::failed(format!("the export broke off: {error}")))?;
        out.write_all(&piece)?;
    }
    out.flush()?;
    Ok(())
}
