//! `metricsd explain-relabel`: what rules do to labels, step by step.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use metricsd_codec::exposition::parse_series;
use metricsd_discovery::prometheus_config::{self, PrometheusConfigError};
use metricsd_model::{METRIC_NAME, NameValidation, RelabelConfig};
use metricsd_relabel::{Change, Relabeler, Step};
use serde_json::json;

use super::failure::{Exit, Failure};
use super::output;

/// What stands before the rules of a file of their own, so that they are read as those of a job are.
const WRAPPING: &str = "scrape_configs:\n- job_name: rules\n  relabel_configs:\n";
/// By how much that moves them.
const LINES: u64 = 3;
const COLUMNS: u64 = 2;

const HELP: &str = "\
Examples:
  metricsd explain-relabel --rules rules.yml __address__=web:80 __meta_env=prod
  metricsd explain-relabel --config prometheus.yml --job node __address__=web:9100
  metricsd explain-relabel --config prometheus.yml --job node --metric 'http_requests_total{code=\"200\"}'

Exit codes:
  0  the rules keep it
  1  the rules drop it
  2  the command line or the rules are wrong";

/// `metricsd explain-relabel`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ExplainRelabelArgs {
    /// YAML file with a list of rules
    #[arg(long, value_name = "FILE", required_unless_present = "config", conflicts_with = "config")]
    rules: Option<PathBuf>,
    /// A prometheus.yml, of which one job's rules are taken
    #[arg(long, value_name = "FILE", requires = "job")]
    config: Option<PathBuf>,
    /// Which job
    #[arg(long, requires = "config")]
    job: Option<String>,
    /// Take metric_relabel_configs rather than relabel_configs
    #[arg(long, requires = "config")]
    metric: bool,
    /// Write JSON rather than a table
    #[arg(long)]
    json: bool,
    /// Labels, each as NAME=VALUE, or a series as pages write it
    #[arg(value_name = "LABELS", required = true)]
    labels: Vec<String>,
}

/// Does it.
pub(crate) fn run(args: &ExplainRelabelArgs) -> Result<Exit, Failure> {
    let (rules, names) = rules(args)?;
    let relabeler =
        Relabeler::compile_for(&rules, names).map_err(|error| Failure::usage(error.to_string()))?;
    let mut labels = labels(&args.labels)?;
    let steps = relabeler.explain(&mut labels);
    let kept = steps.iter().all(|step| step.kept);
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort();
    let mut out = io::stdout().lock();
    match args.json {
        true => print_json(&mut out, &steps, kept, &labels)?,
        false => print_table(&mut out, &rules, &steps, kept, &labels)?,
    }
    Ok(if kept { Exit::Done } else { Exit::Failed })
}

fn rules(args: &ExplainRelabelArgs) -> Result<(Vec<RelabelConfig>, NameValidation), Failure> {
    let Some(path) = &args.config else {
        return Ok((from_rules(args.rules.as_deref().unwrap_or(Path::new("-")))?, NameValidation::Utf8));
    };
    let config = prometheus_config::load(path).map_err(|error| Failure::usage(error.to_string()))?;
    let wanted = args.job.as_deref().unwrap_or_default();
    let names: Vec<&str> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    let Some(job) = config.jobs.iter().find(|job| job.name == wanted) else {
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!("{} has no job {wanted:?}; its jobs: {known}", path.display());
        return Err(Failure::usage(message));
    };
    let options = &job.scrape.options;
    let rules = if args.metric { &options.metric_relabel_configs } else { &job.relabel_configs };
    Ok((rules.clone(), options.metric_name_validation_scheme))
}

/// Reads a file that holds nothing but a list of rules.
fn from_rules(path: &Path) -> Result<Vec<RelabelConfig>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    parse_rules(&text, path).map_err(|error| Failure::usage(error.to_string()))
}

fn parse_rules(text: &str, path: &Path) -> Result<Vec<RelabelConfig>, PrometheusConfigError> {
    let mut wrapped = WRAPPING.to_owned();
    for line in text.lines().filter(|line| *line != "---") {
        wrapped.extend(["  ", line, "\n"]);
    }
    let config = prometheus_config::parse(&wrapped, path).map_err(|mut error| {
        for problem in &mut error.problems {
            problem.place.line = problem.place.line.saturating_sub(LINES);
            problem.place.column = problem.place.column.saturating_sub(COLUMNS);
            problem.path = problem.path.replace("scrape_configs[0].relabel_configs", "rules");
        }
        error
    })?;
    Ok(config.jobs.into_iter().next().map(|job| job.relabel_configs).unwrap_or_default())
}

/// Labels as they are given: one by one, or as a series.
fn labels(given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut labels: Vec<(String, String)> = Vec::new();
    for text in given {
        let pair = text.split_once('=').filter(|(name, _)| !name.contains('{'));
        let found = match pair {
            Some((name, value)) => vec![(name.to_owned(), value.to_owned())],
            None => series(text)?,
        };
        for (name, value) in found {
            if name.is_empty() || labels.iter().any(|(known, _)| *known == name) {
                let message = match name.is_empty() {
                    true => format!("{text:?}: a label name is empty"),
                    false => format!("label {name:?} is given more than once"),
                };
                return Err(Failure::usage(message));
            }
            labels.push((name, value));
        }
    }
    Ok(labels)
}

fn series(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let series = parse_series(text)
        .map_err(|error| Failure::usage(format!("{text:?} is neither NAME=VALUE nor a series: {error}")))?;
    let name = (METRIC_NAME.to_owned(), series.name.into_owned());
    let labels = series.labels.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned()));
    Ok(std::iter::once(name).filter(|(_, name)| !name.is_empty()).chain(labels).collect())
}

fn print_json(
    out: &mut impl Write,
    steps: &[Step],
    kept: bool,
    labels: &[(String, String)],
) -> io::Result<()> {
    let labels: serde_json::Map<String, serde_json::Value> =
        labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    output::print_json(out, &json!({"kept": kept, "labels": labels, "steps": steps}))
}

fn print_table(
    out: &mut impl Write,
    rules: &[RelabelConfig],
    steps: &[Step],
    kept: bool,
    labels: &[(String, String)],
) -> io::Result<()> {
    let mut table = output::table(&["rule", "action", "reads", "regex", "matched", "does"]);
    for step in steps {
        let rule = rules.get(step.rule);
        let regex = rule.and_then(|rule| rule.regex.as_deref()).unwrap_or("(.*)");
        table.add_row([
            (step.rule + 1).to_string(),
            step.action.as_str().to_owned(),
            step.source
                .as_deref()
                .map_or_else(|| "names".to_owned(), |text| output::escaped(&format!("{text:?}"))),
            output::escaped(regex),
            if step.matched { "yes" } else { "no" }.to_owned(),
            does(step),
        ]);
    }
    output::print_table(out, &table)?;
    let last = steps.last().map_or(0, |step| step.rule + 1);
    match kept {
        true => writeln!(out, "\nkept, with these labels:")?,
        false => writeln!(out, "\ndropped by rule {last}, with these labels:")?,
    }
    for (name, value) in labels {
        writeln!(out, "  {}={}", output::escaped(name), output::escaped(&format!("{value:?}")))?;
    }
    out.flush()
}

/// What a rule did, in one cell.
fn does(step: &Step) -> String {
    let set = |change: &Change| format!("{}={:?}", change.name, change.after);
    let removed = |change: &Change| format!("-{}", change.name);
    let mut did: Vec<String> = step.set.iter().map(set).chain(step.removed.iter().map(removed)).collect();
    if !step.kept {
        did.push("drops".to_owned());
    }
    if did.is_empty() { "-".to_owned() } else { output::escaped(&did.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs_or_a_series() {
        let read = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
            labels(&given)
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(&["a=1", "b=x=y", "c="]).unwrap(), [pair("a", "1"), pair("b", "x=y"), pair("c", "")]);
        let series = read(&["up{a=\"1=2\"}", "job=x"]).unwrap();
        assert_eq!(series, [pair("__name__", "up"), pair("a", "1=2"), pair("job", "x")]);
        assert_eq!(read(&["up"]).unwrap(), [pair("__name__", "up")]);
        for wrong in [&["=1"][..], &["a=1", "a=2"], &["up{a=}"], &["up", "down"]] {
            assert_eq!(read(wrong).unwrap_err().parts().0, Exit::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn a_file_of_rules_is_read_as_a_jobs_rules_are() {
        let read = |text: &str| parse_rules(text, Path::new("rules.yml"));
        let rules =
            read("---\n- action: Keep\n  source_labels: [a]\n  regex: 80\n- target_label: b\n").unwrap();
        assert_eq!((rules.len(), rules[0].regex.as_deref()), (2, Some("80")));
        let error = read("- action: keep\n- action: hashmod\n  target_label: a\n").unwrap_err().to_string();
        assert!(error.starts_with("rules.yml:2:") && error.contains("rules[1]"), "{error}");
    }

    #[test]
    fn every_step_is_one_row() {
        let rules = parse_rules(
            "- {source_labels: [a, b], target_label: c}\n- {action: labeldrop, regex: a}\n- {action: drop, source_labels: [b]}\n",
            Path::new("r"),
        )
        .unwrap();
        let mut list = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
        let steps = Relabeler::compile(&rules).unwrap().explain(&mut list);
        let mut out = Vec::new();
        print_table(&mut out, &rules, &steps, false, &list).unwrap();
        let expected = "\
RULE  ACTION     READS  REGEX  MATCHED  DOES
1     replace    \"1;2\"  (.*)   yes      c=\"1;2\"
2     labeldrop  names  a      yes      -a
3     drop       \"2\"    (.*)   yes      drops

dropped by rule 3, with these labels:
  b=\"2\"
  c=\"1;2\"
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
