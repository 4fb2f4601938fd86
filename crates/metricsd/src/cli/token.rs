//! `metricsd token`: who may push, read and manage.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment};

const CREATE_HELP: &str = "\
Examples:
  metricsd token create prometheus-eu --push
  metricsd token create sensors --push --source-id sensors --samples-per-second 5000 --expires-in 30d
  metricsd token create grafana --read --output json | jq -r .token

The token is shown once: metricsd keeps only a hash of it. Clients send it as Authorization: Bearer TOKEN,
Authorization: Token TOKEN, or as the password of basic authentication.";

const LIST_HELP: &str = "\
Examples:
  metricsd token list
  metricsd token list --output json | jq -r '.[] | select(.status==\"active\").name'";

const REVOKE_HELP: &str = "\
Examples:
  metricsd token revoke 4f1c3c0e-6f3f-4f53-9d0a-0a8a4b9f2d11

Every process refuses it within some seconds.";

/// `metricsd token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and show it once
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// List tokens: rights, quotas, last use
    #[command(after_help = LIST_HELP, visible_alias = "ls")]
    List(ListArgs),
    /// Accept a token no longer
    #[command(after_help = REVOKE_HELP, visible_alias = "rm")]
    Revoke(RevokeArgs),
}

/// `metricsd token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What people call it
    name: String,
    /// Allow sending samples
    #[arg(long)]
    push: bool,
    /// Allow asking for samples, targets and events
    #[arg(long)]
    read: bool,
    /// Allow everything, targets and tokens included
    #[arg(long)]
    manage: bool,
    /// The only source that it may push as
    #[arg(long, value_name = "SOURCE")]
    source_id: Option<String>,
    /// Samples a second that it may send to one process
    #[arg(long, value_name = "N")]
    samples_per_second: Option<u64>,
    /// Series with a sample within an hour that it may have at one process
    #[arg(long, value_name = "N")]
    active_series: Option<u64>,
    /// Bytes of bodies a second that it may send to one process
    #[arg(long, value_name = "N")]
    body_bytes_per_second: Option<u64>,
    /// How long it is accepted, such as 30d
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// `metricsd token list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// `metricsd token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its id, as `metricsd token list` shows it
    id: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl TokenCommand {
    /// Does it.
    pub(super) async fn run(self, environment: &Environment) -> Result<Exit, Failure> {
        match self {
            Self::Create(args) => create(&args, environment).await,
            Self::List(args) => list(&args.client, environment).await,
            Self::Revoke(args) => revoke(&args, environment).await,
        }
    }
}

async fn create(args: &CreateArgs, environment: &Environment) -> Result<Exit, Failure> {
    let body = request(args).ok_or_else(|| {
        Failure::usage("say what the token allows: --push, --read, --manage, or several of them")
    })?;
    let client = args.client.client(environment)?;
    let answer = client.send(client.request(Method::POST, &["tokens"]).json(&body)).await?.value;
    let mut out = io::stdout().lock();
    if args.client.output == Format::Json {
        output::print_json(&mut out, &answer)?;
        return Ok(Exit::Done);
    }
    let names = ["id", "name", "rights", "source_id", "expires_at", "token"];
    let pairs = names.map(|name| (name, shown(&answer, name)));
    output::print_pairs(&mut out, &pairs)?;
    writeln!(out, "\nKeep the token now: it is not shown again.")?;
    Ok(Exit::Done)
}

/// The body of the request; `None` where no right is named.
fn request(args: &CreateArgs) -> Option<Value> {
    let rights = [("push", args.push), ("read", args.read), ("manage", args.manage)];
    let rights: Vec<&str> = rights.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if rights.is_empty() {
        return None;
    }
    let quota: Map<String, Value> = [
        ("samples_per_second", args.samples_per_second),
        ("active_series", args.active_series),
        ("body_bytes_per_second", args.body_bytes_per_second),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
    .collect();
    Some(json!({
        "name": args.name, "rights": rights, "source_id": args.source_id, "quota": quota,
        "expires_in": args.expires_in,
    }))
}

async fn list(args: &ClientArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client(environment)?;
    let answer = client.send(client.request(Method::GET, &["tokens"])).await?.value;
    let mut out = io::stdout().lock();
    if args.output == Format::Json {
        output::print_json(&mut out, &answer)?;
        return Ok(Exit::Done);
    }
    let names = ["id", "name", "status", "rights", "source_id", "quota", "expires_at", "last_used_at"];
    let mut table =
        output::table(&["id", "name", "status", "rights", "source", "quota", "expires", "last used"]);
    for token in answer.as_array().into_iter().flatten() {
        table.add_row(names.map(|name| shown(token, name)));
    }
    output::print_table(&mut out, &table)?;
    Ok(Exit::Done)
}

async fn revoke(args: &RevokeArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let answer = client.send(client.request(Method::DELETE, &["tokens", &args.id])).await?.value;
    let mut out = io::stdout().lock();
    match args.client.output {
        Format::Json => output::print_json(&mut out, &answer)?,
        Format::Table => writeln!(out, "{} is revoked", cell(&answer["name"]))?,
    }
    Ok(Exit::Done)
}

/// One field of a token: lists with commas, bounds that are there.
fn shown(token: &Value, name: &str) -> String {
    match &token[name] {
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let set = fields.iter().filter(|(_, value)| !value.is_null());
            let set: Vec<String> = set.map(|(name, value)| format!("{name}={}", cell(value))).collect();
            if set.is_empty() { cell(&Value::Null) } else { set.join(" ") }
        }
        value => cell(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_well() {
        let token = json!({
            "name": "a", "rights": ["push", "read"], "source_id": null,
            "quota": {"samples_per_second": 5, "active_series": null},
        });
        assert_eq!(shown(&token, "rights"), "push,read");
        assert_eq!(shown(&token, "quota"), "samples_per_second=5");
        assert_eq!(shown(&token, "name"), "a");
        assert_eq!(shown(&json!({"quota": {}}), "quota"), shown(&token, "source_id"));
    }
}
