//! `metricsd push`: sends metrics from a file.

mod upload;

use std::io::{self, Read, Write};

use clap::Args;
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment};

const HELP: &str = "\
Examples:
  metricsd push metrics.json --source-id nightly-backup
  backup --report-json | metricsd push - --source-id nightly-backup
  metricsd push metrics.json.gz --idempotency-key 2026-01-31
  metricsd push week.parquet --source-id plant-7
  pg_dump_metrics | metricsd push - --format csv

A file of CSV, NDJSON, OpenMetrics or Parquet (.csv, .ndjson, .om, .parquet, also with .gz or .zst) may be of any size: it
is sent in parts, goes on where a broken connection left it, and is followed until it is stored. Any other holds a list:
  [{\"name\": \"backup_bytes\", \"metric_type\": \"GAUGE\", \"value\": 1.5e9, \"labels\": {\"disk\": \"a\"},
    \"timestamp\": \"2026-01-31T03:00:00Z\", \"source\": \"APPLICATION\"}]

Good items are stored when others are rejected; then the exit code is 4 and each rejected item is shown with its
index and reason. The same --idempotency-key is stored once, so a push that broke off can be sent again.";

/// `metricsd push`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct PushArgs {
    /// File, may end in .gz or .zst; - for standard input
    file: String,
    /// Who the metrics belong to
    #[arg(long, value_name = "SOURCE")]
    source_id: Option<String>,
    /// Name of this push: a second one of the same name changes nothing
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// json, csv, ndjson, openmetrics, prometheus or parquet [default: by the file's name, else json]
    #[arg(long)]
    format: Option<String>,
    /// Do not wait until an uploaded file is stored
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Sends, and shows what became of the items.
pub(super) async fn run(args: &PushArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    if let Some(format) = upload::format_of(&args.file, args.format.as_deref())? {
        let upload = upload::Upload {
            file: &args.file,
            format,
            source_id: args.source_id.as_deref(),
            detach: args.detach,
            output: args.client.output,
        };
        return upload.run(&client).await;
    }
    let body =
        read(&args.file).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", args.file)))?;
    let mut request =
        client.request(Method::POST, &["custom"]).header(CONTENT_TYPE, "application/json").body(body);
    let extension = args.file.rsplit_once('.').map(|(_, extension)| extension);
    if let Some(encoding) = extension.and_then(|extension| match extension {
        "gz" => Some("gzip"),
        "zst" => Some("zstd"),
        _ => None,
    }) {
        request = request.header(CONTENT_ENCODING, encoding);
    }
    if let Some(source_id) = &args.source_id {
        request = request.query(&[("source_id", source_id)]);
    }
    if let Some(key) = &args.idempotency_key {
        request = request.header("Idempotency-Key", key);
    }
    let answer = client.send(request).await?.value;
    let mut out = io::stdout().lock();
    match args.client.output {
        Format::Json => output::print_json(&mut out, &answer)?,
        Format::Table => print(&mut out, &answer)?,
    }
    Ok(exit(&answer))
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    if file != "-" {
        return std::fs::read(file);
    }
    let mut body = Vec::new();
    io::stdin().lock().read_to_end(&mut body)?;
    Ok(body)
}

/// All rejected is a failure, some of them is not all.
fn exit(answer: &Value) -> Exit {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    match (count("rejected"), count("accepted")) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Failed,
        _ => Exit::Partial,
    }
}

fn print(out: &mut impl Write, answer: &Value) -> io::Result<()> {
    let mut pairs = vec![
        ("batch", cell(&answer["batch_id"])),
        ("accepted", cell(&answer["accepted"])),
        ("rejected", cell(&answer["rejected"])),
    ];
    if answer["duplicate"] == true {
        pairs.push(("duplicate", "yes: this push was stored before".to_owned()));
    }
    output::print_pairs(out, &pairs)?;
    let errors = answer["errors"].as_array().filter(|errors| !errors.is_empty());
    let Some(errors) = errors else { return Ok(()) };
    let mut table = output::table(&["item", "reason", "message"]);
    for error in errors {
        table.add_row([cell(&error["index"]), cell(&error["reason"]), cell(&error["message"])]);
    }
    writeln!(out)?;
    output::print_table(out, &table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_exit_code_says_how_much_was_stored() {
        let check = |accepted: u64, rejected: u64, expected: Exit| {
            assert_eq!(exit(&json!({"accepted": accepted, "rejected": rejected})), expected);
        };
        check(2, 0, Exit::Done);
        check(0, 0, Exit::Done);
        check(1, 1, Exit::Partial);
        check(0, 2, Exit::Failed);
    }

    #[test]
    fn rejected_items_are_shown() {
        let error = json!({"index": 3, "reason": "too_old", "message": "older than 1h"});
        let answer =
            json!({"batch_id": "b", "accepted": 2, "rejected": 1, "duplicate": false, "errors": [error]});
        let mut out = Vec::new();
        print(&mut out, &answer).unwrap();
        let expected = "\
batch     b
accepted  2
rejected  1

ITEM  REASON   MESSAGE
3     too_old  older than 1h
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
