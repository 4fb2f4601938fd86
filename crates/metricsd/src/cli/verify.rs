//! `metricsd verify`: whether what is stored is what was accepted.

use std::io::{self, Write};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment};

const HELP: &str = "\
Examples:
  metricsd verify
  metricsd verify --start 2025-06-21T10:00:00Z --end 2025-06-21T11:00:00Z
  metricsd verify --target shop-1 --output json

Asks the ledger what became of every collection that began within the range (the last hour where none is
given), has the samples of every batch counted in the store, and compares. Batches that were compacted since
lie with those of others and are told apart. Exits with 1 where a sample is missing, too many, or unexplained.";

/// `metricsd verify`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct VerifyArgs {
    /// First moment: RFC 3339, or seconds since the epoch
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Moment after the last
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Only this target
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks both ledgers, and shows what they say.
pub(super) async fn run(args: &VerifyArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let ask = async |path: &[&str]| {
        let mut request = client.request(Method::GET, path);
        for (name, value) in [("start", &args.start), ("end", &args.end), ("target_id", &args.target)] {
            if let Some(value) = value {
                request = request.query(&[(name, value)]);
            }
        }
        client.send(request).await.map(|answer| answer.value)
    };
    let ledger = ask(&["integrity"]).await?;
    let recount = ask(&["integrity", "recount"]).await?;
    let faults = faults(&ledger, &recount);
    let mut out = io::stdout().lock();
    match args.client.output {
        Format::Table => show(&mut out, &ledger, &recount, &faults)?,
        _ => output::print_json(
            &mut out,
            &serde_json::json!({"ledger": ledger, "recount": recount, "faults": faults}),
        )?,
    }
    match faults.is_empty() {
        true => Ok(Exit::Done),
        false => {
            Err(Failure::failed(format!("what is stored is not what was accepted: {}", faults.join("; "))))
        }
    }
}

/// What is wrong, a sentence each.
fn faults(ledger: &Value, recount: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if ledger["unexplained"] != 0 {
        faults.push(format!("{} samples are unexplained", ledger["unexplained"]));
    }
    if recount["differences"] != 0 {
        faults.push(format!("{} batches hold other samples than their ledger says", recount["differences"]));
    }
    faults
}

fn show(out: &mut impl Write, ledger: &Value, recount: &Value, faults: &[String]) -> io::Result<()> {
    let collections = &ledger["collections"];
    let pairs: Vec<(&str, String)> = [
        ("range", Value::from(format!("{} to {}", cell(&ledger["start"]), cell(&ledger["end"])))),
        ("collections", collections["done"].clone()),
        ("missed", collections["missed"].clone()),
        ("samples expected", ledger["expected"].clone()),
        ("stored", ledger["stored"].clone()),
        ("dropped", ledger["dropped"].clone()),
        ("refused", ledger["refused"].clone()),
        ("unexplained", ledger["unexplained"].clone()),
        ("batches counted", recount["counted_batches"].clone()),
        ("samples counted", recount["counted"].clone()),
        ("batches compacted", recount["compacted_batches"].clone()),
        ("batches that differ", recount["differences"].clone()),
        ("verdict", Value::from(if faults.is_empty() { "all is there" } else { "NOT all is there" })),
    ]
    .into_iter()
    .map(|(name, value)| (name, cell(&value)))
    .collect();
    output::print_pairs(out, &pairs)?;
    for differing in recount["differing"].as_array().into_iter().flatten() {
        let (job, target) = (cell(&differing["job_id"]), cell(&differing["target_id"]));
        writeln!(out, "{job} of {target}: {} expected, {} found", differing["expected"], differing["found"])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn faults_are_named() {
        let check = |unexplained: i64, differences: u64, expected: usize| {
            let found = faults(&json!({"unexplained": unexplained}), &json!({"differences": differences}));
            assert_eq!(found.len(), expected, "{found:?}");
        };
        check(0, 0, 0);
        check(-1, 0, 1);
        check(3, 2, 2);
    }
}
