//! What would become of one line of a target's page, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_codec::exposition::{Entry, Format, MetricKind, Parser};
use metricsd_ingest::Limits;
use metricsd_ingest::validate::check_timestamp;
use metricsd_model::{FailureReason, METRIC_NAME, Millis, Refusal, TargetSpec};
use serde::Serialize;

use crate::naming::{Labels, LineFault, Namer, normalize};

/// What the step of timestamps says of a sample that brings one.
pub(crate) const OWN_TIME: &str = "it keeps its own timestamp";

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is stored, if its page is within `sample_limit` and its source may have the series.
    Stored,
    /// A filter or a rule drops it, as configured.
    Dropped,
    /// It is not stored; the others of its page are.
    Refused,
    /// The page that holds it is not stored.
    FailsPage,
    /// It is not the text of a sample: metadata, a comment, or nothing.
    NoSample,
}

/// One step of [`Explanation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainStep {
    /// Which: `parse`, `target_labels`, `filters`, `metric_relabel_configs`, `checks` or `timestamp`.
    pub step: &'static str,
    /// What it did, as a sentence.
    pub says: String,
    /// All labels after it, the name among them.
    pub labels: BTreeMap<String, String>,
    /// What each rule did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<metricsd_relabel::Step>,
}

/// What becomes of a line, and how it comes to that.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// In one word.
    pub outcome: Outcome,
    /// The same as a sentence.
    pub message: String,
    /// The series as which it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<BTreeMap<String, String>>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Refusal>,
    /// The steps that were taken, up to the one that decided.
    pub steps: Vec<ExplainStep>,
}

/// Tells what becomes of one line of a target's page that is scraped at `now`: a sample as pages write it, or only the
/// series of one. What depends on the rest of the page or on other pages (`sample_limit`, whether the series is there
/// twice, limits of the source) is not told.
pub fn explain(spec: &TargetSpec, limits: Arc<Limits>, line: &str, now: Millis) -> Explanation {
    explain_of(&Namer::new(spec.clone(), limits), line, now, &mut likely_kind)
}

/// The kind of the family that a lone line is most likely of, going by its name and labels.
fn likely_kind(name: &str, labels: &Labels) -> MetricKind {
    let has = |label: &str| labels.iter().any(|(name, _)| name == label);
    match name {
        _ if name.ends_with("_bucket") && has("le") => MetricKind::Histogram,
        _ if has("quantile") => MetricKind::Summary,
        _ => MetricKind::Unknown,
    }
}

/// The same for a line of a page that says, or from which it can be guessed, of which kind a sample's family is.
pub(crate) fn explain_of(
    namer: &Namer,
    line: &str,
    now: Millis,
    kind: &mut dyn FnMut(&str, &Labels) -> MetricKind,
) -> Explanation {
    let mut steps = Vec::new();
    let (outcome, message, reason, series) = match follow(namer, line, now, kind, &mut steps) {
        Ok(series) => (Outcome::Stored, "it is stored".to_owned(), None, Some(series)),
        Err(End::NoSample) => (Outcome::NoSample, "the line holds no sample".to_owned(), None, None),
        Err(End::Dropped(message)) => (Outcome::Dropped, message, None, None),
        Err(End::Fault(fault)) => {
            let outcome = if fault.fatal.is_some() { Outcome::FailsPage } else { Outcome::Refused };
            (outcome, fault.message, Some(fault.reason), None)
        }
    };
    Explanation { outcome, message, series, reason, steps }
}

/// Why a line does not become a series.
enum End {
    NoSample,
    Dropped(String),
    Fault(LineFault),
}

impl From<LineFault> for End {
    fn from(fault: LineFault) -> Self {
        Self::Fault(fault)
    }
}

fn follow(
    namer: &Namer,
    line: &str,
    now: Millis,
    kind: &mut dyn FnMut(&str, &Labels) -> MetricKind,
    steps: &mut Vec<ExplainStep>,
) -> Result<BTreeMap<String, String>, End> {
    let (raw, timestamp, value) = sample(line)?;
    let (name, mut labels) = namer.parse(&raw)?;
    let kind = kind(&name, &labels);
    let rewritten = normalize(&mut labels, kind);
    let mut note = |step, says: String, labels: &Labels, rules| {
        let labels = with_name(&name, labels);
        steps.push(ExplainStep { step, says, labels, rules });
    };
    let rewritten =
        rewritten.map_or(String::new(), |label| format!("; {label} is written in its normal form"));
    note("parse", format!("a sample of {name} with {value}{rewritten}"), &labels, Vec::new());
    let mut labels = namer.join(labels);
    let honoured = if namer.spec().scrape_config.honor_labels { "page's" } else { "target's" };
    note("target_labels", format!("joined; the {honoured} labels win"), &labels, Vec::new());
    let before = labels.len();
    let passed = namer.filter(&name, &mut labels);
    let says = match (passed, before - labels.len()) {
        (false, _) => "dropped by the target's filters".to_owned(),
        (true, 0) => "passed".to_owned(),
        (true, taken) => format!("passed, without {taken} of its labels"),
    };
    note("filters", says.clone(), &labels, Vec::new());
    if !passed {
        return Err(End::Dropped(says));
    }
    labels.push((METRIC_NAME.to_owned(), name.clone()));
    relabel(namer, &mut labels, steps)?;
    let checked = namer.check(labels.clone());
    let says = checked
        .as_ref()
        .map_or_else(|fault| fault.message.clone(), |_| "names and limits are kept".to_owned());
    steps.push(step("checks", says, &labels));
    let series: BTreeMap<String, String> =
        checked?.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    steps.push(step("timestamp", time(namer, timestamp, now)?, &labels));
    Ok(series)
}

/// Takes a line apart: the series, the timestamp, and the value as people read it.
fn sample(line: &str) -> Result<(String, Option<Millis>, String), End> {
    let line = line.trim();
    if line.contains('\n') {
        return Err(End::Fault(LineFault {
            reason: Refusal::InvalidValue,
            fatal: Some(FailureReason::Parse),
            message: "these are several lines; one at a time is explained".to_owned(),
        }));
    }
    let read = |text: &str, format| match Parser::new(text.as_bytes(), format).next_entry() {
        Ok(Some(Entry::Sample(sample))) => {
            Ok(Some((sample.series.to_owned(), sample.timestamp, format!("the value {}", sample.value))))
        }
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    let found = read(line, Format::Text)
        // A line of OpenMetrics may have seconds and an exemplar behind its value.
        .or_else(|error| read(&format!("{line}\n# EOF\n"), Format::OpenMetrics).map_err(|_| error))
        // Whoever only asks for a series has no value to give.
        .or_else(|error| match read(&format!("{line} 0"), Format::Text) {
            Ok(Some((series, ..))) => Ok(Some((series, None, "no value".to_owned()))),
            _ => Err(error),
        });
    match found {
        Ok(found) => found.ok_or(End::NoSample),
        Err(error) => Err(End::Fault(LineFault {
            reason: Refusal::InvalidValue,
            fatal: Some(FailureReason::Parse),
            message: error.to_string(),
        })),
    }
}

fn relabel(namer: &Namer, labels: &mut Labels, steps: &mut Vec<ExplainStep>) -> Result<(), End> {
    let rules = namer.rules()?;
    let done = rules.explain(labels);
    let kept = done.iter().all(|step| step.kept);
    let says = match done.last() {
        None => "there are no rules".to_owned(),
        Some(last) if !kept => format!("dropped by rule {} ({})", last.rule + 1, last.action.as_str()),
        Some(_) if labels.iter().all(|(_, value)| value.is_empty()) => {
            "dropped: the rules leave no label".to_owned()
        }
        Some(last) => format!("kept by all {} rules", last.rule + 1),
    };
    let dropped = says.starts_with("dropped");
    steps.push(ExplainStep { rules: done, ..step("metric_relabel_configs", says.clone(), labels) });
    if dropped { Err(End::Dropped(says)) } else { Ok(()) }
}

/// Which time the sample gets.
fn time(namer: &Namer, timestamp: Option<Millis>, now: Millis) -> Result<String, LineFault> {
    let Some(timestamp) = timestamp else {
        return Ok("it gets the time of its scrape".to_owned());
    };
    if !namer.spec().scrape_config.honor_timestamps {
        return Ok("it gets the time of its scrape, as honor_timestamps is false".to_owned());
    }
    match check_timestamp(timestamp, now, namer.limits()) {
        Ok(()) => Ok(OWN_TIME.to_owned()),
        Err(fault) => Err(LineFault { reason: fault.reason, fatal: None, message: fault.message }),
    }
}

fn step(step: &'static str, says: String, labels: &Labels) -> ExplainStep {
    let present = labels.iter().filter(|(_, value)| !value.is_empty());
    ExplainStep { step, says, labels: present.cloned().collect(), rules: Vec::new() }
}

fn with_name(name: &str, labels: &Labels) -> BTreeMap<String, String> {
    let name = (METRIC_NAME.to_owned(), name.to_owned());
    labels.iter().cloned().chain([name]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page_tests::spec;
    use metricsd_model::{FilterAction, MetricFilter, OnLimit, RelabelAction, RelabelConfig, ScrapeOptions};

    const NOW: Millis = 1_750_000_000_000;

    fn target() -> TargetSpec {
        let mut target = spec();
        let drop = RelabelConfig {
            action: RelabelAction::Drop,
            source_labels: vec!["__name__".into()],
            regex: Some("go_.*".into()),
            ..RelabelConfig::default()
        };
        let rename = RelabelConfig {
            source_labels: vec!["exported_job".into()],
            target_label: Some("team".into()),
            ..RelabelConfig::default()
        };
        target.scrape_config.options = Arc::new(ScrapeOptions {
            metric_relabel_configs: vec![drop, rename],
            label_limit: 6,
            ..ScrapeOptions::default()
        });
        target.filters = vec![MetricFilter {
            action: FilterAction::Exclude,
            name: Some("secret".into()),
            labels: Default::default(),
            drop_labels: Vec::new(),
        }];
        target
    }

    fn told(line: &str) -> Explanation {
        explain(&target(), Arc::new(Limits::default()), line, NOW)
    }

    #[test]
    fn a_line_that_is_stored_shows_every_step() {
        let told = told("a{job=\"own\"} 1.5 1750000000000");
        assert_eq!((told.outcome, told.reason), (Outcome::Stored, None));
        let series = told.series.unwrap();
        let series: Vec<String> = series.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            series,
            ["__name__=a", "exported_job=own", "instance=host:9100", "job=shop", "team=own", "zone=z1"]
        );
        let steps: Vec<&str> = told.steps.iter().map(|step| step.step).collect();
        assert_eq!(
            steps,
            ["parse", "target_labels", "filters", "metric_relabel_configs", "checks", "timestamp"]
        );
        assert_eq!(told.steps[0].says, "a sample of a with the value 1.5");
        assert_eq!(told.steps[3].rules.len(), 2);
        assert_eq!(told.steps[5].says, "it keeps its own timestamp");
    }

    #[test]
    fn bounds_are_written_as_they_are_stored() {
        let of = |line: &str, label: &str| {
            let told = told(line);
            (told.series.unwrap()[label].clone(), told.steps[0].says.contains("normal form"))
        };
        assert_eq!(of("h_bucket{le=\"1\"} 2", "le"), ("1.0".to_owned(), true));
        assert_eq!(of("h_bucket{le=\"1.0\"} 2", "le"), ("1.0".to_owned(), false));
        assert_eq!(of("s{quantile=\"1e0\"} 2", "quantile"), ("1.0".to_owned(), true));
        assert_eq!(of("h{le=\"1\"} 2", "le"), ("1".to_owned(), false), "only of buckets");
    }

    #[test]
    fn what_becomes_of_a_line_is_what_the_page_reader_does() {
        let check = |line: &str, outcome, message: &str, last: &str| {
            let told = told(line);
            assert_eq!((told.outcome, told.message.as_str()), (outcome, message), "{line}");
            assert_eq!(told.steps.last().map_or("", |step| step.step), last, "{line}");
        };
        check("a", Outcome::Stored, "it is stored", "timestamp");
        check("secret 1", Outcome::Dropped, "dropped by the target's filters", "filters");
        check("go_x 1", Outcome::Dropped, "dropped by rule 1 (drop)", "metric_relabel_configs");
        check(
            "a{x=\"1\",y=\"2\",z=\"3\"} 1",
            Outcome::FailsPage,
            "it has 7 labels, and label_limit is 6",
            "checks",
        );
        check("a_total 1 1750000000.5 # {trace_id=\"x\"} 0.5", Outcome::Stored, "it is stored", "timestamp");
        let two = "these are several lines; one at a time is explained";
        check("a 1\nb 2", Outcome::FailsPage, two, "");
        check("\n  a 1\n\n", Outcome::Stored, "it is stored", "timestamp");
        check("# HELP a b", Outcome::NoSample, "the line holds no sample", "");
        check("", Outcome::NoSample, "the line holds no sample", "");
        assert_eq!(told("a 1 1000").reason, Some(Refusal::TooOld));
        assert_eq!(told("a{x=\"1\",x=\"2\"} 1").outcome, Outcome::FailsPage);
        assert_eq!(told("a{x=} 1").reason, Some(Refusal::InvalidValue));
        let mut cuts = target();
        let options = ScrapeOptions { on_limit: OnLimit::Truncate, ..(*cuts.scrape_config.options).clone() };
        cuts.scrape_config.options = Arc::new(options);
        let told = explain(&cuts, Arc::new(Limits::default()), "a{x=\"1\",y=\"2\",z=\"3\"} 1", NOW);
        assert_eq!((told.outcome, told.reason), (Outcome::Refused, Some(Refusal::LabelLimit)));
    }
}
