//! What a file comes to, for people and for scripts.

use std::io::{self, Write};
use std::path::Path;

use metricsd_discovery::JobTargets;
use metricsd_discovery::prometheus_config::{Notice, PrometheusConfig};
use serde_json::{Value, json};

use super::found::LookedAt;
use crate::cli::output::{self, escaped};

/// Targets that the table shows; `--output json` has them all.
const SHOWN_TARGETS: usize = 100;

/// Tables and lists.
pub(super) fn print(
    out: &mut impl Write,
    config: &PrometheusConfig,
    jobs: &[LookedAt<'_>],
) -> io::Result<()> {
    let mut table = output::table(&["job", "interval", "timeout", "targets", "dropped", "found by"]);
    for looked in jobs {
        let scrape = &looked.job.scrape;
        let (active, dropped) = counts(looked);
        let found_by: Vec<String> =
            looked.providers.iter().map(|(kind, what)| format!("{kind}: {}", escaped(what))).collect();
        let found_by = if found_by.is_empty() { "-".to_owned() } else { found_by.join("; ") };
        table.add_row([
            escaped(&looked.job.name),
            scrape.scrape_interval.to_string(),
            scrape.scrape_timeout.to_string(),
            active,
            dropped,
            found_by,
        ]);
    }
    output::print_table(out, &table)?;
    print_targets(out, jobs)?;
    print_errors(out, jobs)?;
    print_notices(out, "Not supported:", &config.unsupported)?;
    print_notices(out, "Without effect:", &config.notes)?;
    print_notices(out, "Files that cannot be read from here:", &unreadable(config))?;
    out.flush()
}

/// Targets known now, and dropped ones; with a plus where more may be found.
fn counts(looked: &LookedAt<'_>) -> (String, String) {
    let more = if looked.not_asked > 0 { "+" } else { "" };
    match &looked.targets {
        Ok(targets) => {
            let dropped = targets.dropped.len() as u64 + targets.dropped_beyond_limit;
            (format!("{}{more}", targets.active.len()), format!("{dropped}{more}"))
        }
        Err(_) => ("-".to_owned(), "-".to_owned()),
    }
}

fn print_targets(out: &mut impl Write, jobs: &[LookedAt<'_>]) -> io::Result<()> {
    let active: Vec<_> =
        jobs.iter().filter_map(|looked| looked.targets.as_ref().ok()).flat_map(|it| &it.active).collect();
    if active.is_empty() {
        return Ok(());
    }
    let mut table = output::table(&["target", "labels"]);
    for target in active.iter().take(SHOWN_TARGETS) {
        let url = target.spec.scrape_url();
        table.add_row([escaped(&url), output::series(&target.spec.labels)]);
    }
    writeln!(out)?;
    output::print_table(out, &table)?;
    if active.len() > SHOWN_TARGETS {
        writeln!(out, "and {} more; --output json has them all", active.len() - SHOWN_TARGETS)?;
    }
    Ok(())
}

fn print_errors(out: &mut impl Write, jobs: &[LookedAt<'_>]) -> io::Result<()> {
    let lines: Vec<String> = jobs
        .iter()
        .flat_map(|looked| sentences(looked).into_iter().map(|line| format!("{}: {line}", looked.job.name)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nCannot be scraped as it stands:")?;
    lines.iter().try_for_each(|line| writeln!(out, "  {}", escaped(line)))
}

/// All that is wrong with a job's targets.
fn sentences(looked: &LookedAt<'_>) -> Vec<String> {
    let mut sentences = looked.errors.clone();
    match &looked.targets {
        Ok(targets) => sentences.extend(of_targets(targets)),
        Err(error) => sentences.push(error.clone()),
    }
    sentences
}

fn of_targets(targets: &JobTargets) -> Vec<String> {
    let named = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get("__address__").cloned().unwrap_or_else(|| output::series(labels))
    };
    let mut sentences: Vec<String> = targets
        .errors
        .iter()
        .map(|error| format!("{}: {}", named(&error.discovered), error.message))
        .collect();
    if targets.errors_beyond_limit > 0 {
        sentences.push(format!("{} more targets cannot be scraped", targets.errors_beyond_limit));
    }
    sentences.extend(targets.over_limit.map(|limit| limit.to_string()));
    sentences
}

fn print_notices(out: &mut impl Write, title: &str, notices: &[Notice]) -> io::Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    notices.iter().try_for_each(|notice| writeln!(out, "  {}", escaped(&notice.to_string())))
}

/// Files that are named and not there. They may be for another user: that is no mistake.
fn unreadable(config: &PrometheusConfig) -> Vec<Notice> {
    let why = |path: &str| std::fs::File::open(path).err().map(|error| error.to_string());
    let notice = |reference: &Notice| {
        let message = format!("{} ({})", why(&reference.what)?, reference.message);
        Some(Notice { message, ..reference.clone() })
    };
    config.references.iter().filter_map(notice).collect()
}

/// Everything, for scripts.
pub(super) fn json(file: &Path, config: &PrometheusConfig, jobs: &[LookedAt<'_>]) -> Value {
    let notices = |notices: &[Notice]| -> Value { notices.iter().map(of_notice).collect() };
    json!({
        "file": file,
        "jobs": jobs.iter().map(of_job).collect::<Vec<_>>(),
        "unsupported": notices(&config.unsupported),
        "without_effect": notices(&config.notes),
        "unreadable": notices(&unreadable(config)),
    })
}

fn of_notice(notice: &Notice) -> Value {
    json!({
        "file": notice.file,
        "line": notice.place.line,
        "column": notice.place.column,
        "what": notice.what,
        "message": notice.message,
    })
}

fn of_job(looked: &LookedAt<'_>) -> Value {
    let empty = JobTargets::default();
    let targets = looked.targets.as_ref().unwrap_or(&empty);
    let active = |target: &metricsd_discovery::ActiveTarget| json!({"target_id": target.spec.target_id, "url": target.spec.scrape_url(), "labels": target.spec.labels});
    let provider = |(kind, what): &(&str, String)| json!({"kind": kind, "settings": what});
    json!({
        "job": looked.job.name,
        "scrape_interval": looked.job.scrape.scrape_interval,
        "scrape_timeout": looked.job.scrape.scrape_timeout,
        "providers": looked.providers.iter().map(provider).collect::<Vec<_>>(),
        "providers_not_asked": looked.not_asked,
        "targets": targets.active.iter().map(active).collect::<Vec<_>>(),
        "dropped": targets.dropped.len() as u64 + targets.dropped_beyond_limit,
        "errors": sentences(looked),
    })
}
