//! `metricsd target add`: what is asked for, as a MetricCollectionRequest.

use std::io;
use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::pair;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format, cell};
use crate::cli::{ClientArgs, Environment};

const HELP: &str = "\
Examples:
  metricsd target add http://127.0.0.1:9100/metrics
  metricsd target add web-1:8080 --source-id shop --interval 5s --timeout 2s --label env=prod
  metricsd target add https://db-1:9187 --bearer-file /run/secrets/token --exclude 'go_.*'

The same target again changes nothing; the same target with other settings is refused, and what differs is shown.";

/// `metricsd target add`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct AddArgs {
    /// Address of the page: http://host:port/path or host:port
    #[arg(value_name = "URL")]
    page: String,
    /// Name of the target [default: made by the server]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Who the metrics belong to; also their job label [default: the host of URL]
    #[arg(long, value_name = "SOURCE")]
    source_id: Option<String>,
    /// Time between two scrapes, such as 15s
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,
    /// A scrape that takes longer has failed
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Path of the page, where URL has none
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// http or https, where URL says neither
    #[arg(long)]
    scheme: Option<String>,
    /// Label for every sample; may repeat
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Keep only metrics whose name matches; may repeat
    #[arg(long, value_name = "REGEX")]
    include: Vec<String>,
    /// Drop metrics whose name matches; may repeat
    #[arg(long, value_name = "REGEX")]
    exclude: Vec<String>,
    /// Drop a label from all metrics; may repeat
    #[arg(long, value_name = "NAME")]
    drop_label: Vec<String>,
    /// How long samples are kept, such as 30d
    #[arg(long, value_name = "DURATION")]
    retention: Option<String>,
    /// User for basic authentication; with --password-file
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File that holds the password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// File that holds a bearer token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "header"])]
    bearer_file: Option<PathBuf>,
    /// Name of a header that proves who asks; with --header-file
    #[arg(long, value_name = "NAME", requires = "header_file", conflicts_with = "user")]
    header: Option<String>,
    /// File that holds the header's value
    #[arg(long, value_name = "FILE", requires = "header")]
    header_file: Option<PathBuf>,
    /// Ask the target once and tell what would come of it; store nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks for a target.
pub(super) async fn add(args: &AddArgs, environment: &Environment) -> Result<Exit, Failure> {
    let body = request_body(args)?;
    let client = args.client.client(environment)?;
    let mut request = client.request(Method::POST, &["targets"]).json(&body);
    if args.dry_run {
        request = request.query(&[("dry_run", "true")]);
    }
    let answer = client.send(request).await?;
    let mut out = io::stdout().lock();
    if args.dry_run && args.client.output == Format::Table {
        output::print_pairs(&mut out, &dry_run(&answer.value))?;
        return Ok(Exit::Done);
    }
    if args.client.output == Format::Json {
        output::print_json(&mut out, &answer.value)?;
        return Ok(Exit::Done);
    }
    let what = if answer.status == 201 { "added" } else { "unchanged" };
    let lines = [(what, cell(&answer.value["target_id"])), ("url", cell(&answer.value["target_url"]))];
    output::print_pairs(&mut out, &lines)?;
    Ok(Exit::Done)
}

/// The main lines of what a dry run answers; the rest is in its JSON.
fn dry_run(answer: &Value) -> Vec<(&'static str, String)> {
    let (debug, page) = (&answer["debug"], &answer["debug"]["page"]);
    let mut lines = vec![
        ("target", cell(&answer["target"]["target_id"])),
        ("exists", cell(&answer["exists"])),
        ("took ms", cell(&debug["duration_ms"])),
    ];
    if debug["error"].is_object() {
        lines.push((
            "error",
            format!("{}: {}", cell(&debug["error"]["reason"]), cell(&debug["error"]["message"])),
        ));
    }
    if page.is_object() {
        lines.push(("format", cell(&page["format"])));
        lines.push(("bytes", cell(&page["bytes"])));
        lines.push(("samples", cell(&page["samples"]["received"])));
        lines.push(("series", cell(&page["samples"]["series"])));
    }
    lines
}

/// The MetricCollectionRequest: only what was given, so that the server's defaults hold for the rest.
fn request_body(args: &AddArgs) -> Result<Value, Failure> {
    let mut scrape = Map::new();
    scrape.insert("target_url".to_owned(), args.page.clone().into());
    let given = [
        ("scrape_interval", &args.interval),
        ("scrape_timeout", &args.timeout),
        ("metrics_path", &args.path),
        ("scheme", &args.scheme),
    ];
    for (name, text) in given {
        if let Some(text) = text {
            scrape.insert(name.to_owned(), text.clone().into());
        }
    }
    if let Some(authentication) = authentication(args)? {
        scrape.insert("authentication".to_owned(), authentication);
    }
    let source_id = args.source_id.clone().unwrap_or_else(|| host(&args.page).to_owned());
    let mut body = json!({
        "source_id": source_id,
        "collection_method": "PULL_SCRAPING",
        "scrape_config": scrape,
    });
    let filters = filters(args);
    if !filters.is_empty() {
        body["filters"] = filters.into();
    }
    if !args.labels.is_empty() {
        let labels = args.labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        body["labels"] = Value::Object(labels.collect());
    }
    if let Some(duration) = &args.retention {
        body["retention_policy"] = json!({"duration": duration});
    }
    if let Some(id) = &args.id {
        body["target_id"] = id.as_str().into();
    }
    Ok(body)
}

fn filters(args: &AddArgs) -> Vec<Value> {
    let named = |action: &'static str, names: &[String]| -> Vec<Value> {
        names.iter().map(|name| json!({"action": action, "name": name})).collect()
    };
    let mut filters = named("INCLUDE", &args.include);
    filters.extend(named("EXCLUDE", &args.exclude));
    if !args.drop_label.is_empty() {
        filters.push(json!({"action": "DROP_LABELS", "drop_labels": args.drop_label}));
    }
    filters
}

/// Secrets come from files: on the command line every user of the machine would see them.
fn authentication(args: &AddArgs) -> Result<Option<Value>, Failure> {
    let secret = |path: &PathBuf| {
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
        Ok::<_, Failure>(text.trim_end_matches(['\n', '\r']).to_owned())
    };
    Ok(match (&args.user, &args.password_file, &args.bearer_file, &args.header, &args.header_file) {
        (Some(user), Some(file), ..) => {
            Some(json!({"type": "basic", "username": user, "password": secret(file)?}))
        }
        (_, _, Some(file), ..) => Some(json!({"type": "bearer", "token": secret(file)?})),
        (.., Some(name), Some(file)) => Some(json!({"type": "header", "name": name, "value": secret(file)?})),
        _ => None,
    })
}

/// The host of an address, as far as one is to be seen; the server judges the address.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn body(arguments: &[&str]) -> Value {
        let all = ["metricsd", "target", "add"].iter().chain(arguments);
        match crate::cli::Cli::try_parse_from(all).unwrap().command {
            crate::cli::Command::Target(crate::cli::target::TargetCommand::Add(args)) => {
                request_body(&args).unwrap()
            }
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn only_what_was_given_is_asked_for() {
        let plain = json!({
            "source_id": "db.example",
            "collection_method": "PULL_SCRAPING",
            "scrape_config": {"target_url": "http://db.example:9100/metrics"},
        });
        assert_eq!(body(&["http://db.example:9100/metrics"]), plain);
        let folder = crate::testing::TempDir::new();
        let token = folder.write("token", "t0ken\n");
        let full = body(&[
            "web:80",
            "--id",
            "web",
            "--source-id",
            "shop",
            "--interval",
            "5s",
            "--timeout",
            "2s",
            "--path",
            "/m",
            "--scheme",
            "https",
            "--label",
            "env=prod=1",
            "--include",
            "a.*",
            "--exclude",
            "a_b",
            "--drop-label",
            "x",
            "--retention",
            "30d",
            "--bearer-file",
            token.to_str().unwrap(),
        ]);
        let expected = json!({
            "target_id": "web",
            "source_id": "shop",
            "collection_method": "PULL_SCRAPING",
            "scrape_config": {
                "target_url": "web:80", "scrape_interval": "5s", "scrape_timeout": "2s", "metrics_path": "/m",
                "scheme": "https", "authentication": {"type": "bearer", "token": "t0ken"},
            },
            "filters": [
                {"action": "INCLUDE", "name": "a.*"},
                {"action": "EXCLUDE", "name": "a_b"},
                {"action": "DROP_LABELS", "drop_labels": ["x"]},
            ],
            "labels": {"env": "prod=1"},
            "retention_policy": {"duration": "30d"},
        });
        assert_eq!(full, expected);
    }

    #[test]
    fn the_host_is_found() {
        let check = |url: &str, expected: &str| assert_eq!(host(url), expected, "{url}");
        check("http://a:9100/metrics", "a");
        check("a:9100", "a");
        check("https://me@[::1]:9/x?y", "::1");
        check("http://[fe80::1]/", "fe80::1");
        check("a", "a");
    }
}
