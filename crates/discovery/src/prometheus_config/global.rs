//! The section `global`, and the settings that a job may say itself or take from there.

use std::collections::BTreeMap;

use metricsd_model::{NameEscaping, NameValidation, PromDuration, ScrapeProtocol};

use super::section::Section;
use super::value::{nearest, number, shown};

/// Prometheus' defaults.
const SCRAPE_INTERVAL: PromDuration = PromDuration::from_secs(60);
const SCRAPE_TIMEOUT: PromDuration = PromDuration::from_secs(10);
const EVALUATION_INTERVAL: PromDuration = PromDuration::from_secs(60);

/// What is valid for all jobs unless they say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalConfig {
    /// Time between two scrapes.
    pub scrape_interval: PromDuration,
    /// How long a scrape may take.
    pub scrape_timeout: PromDuration,
    /// Of rules, which are not evaluated here.
    pub evaluation_interval: PromDuration,
    /// Labels for other systems; never part of what is stored.
    pub external_labels: BTreeMap<String, String>,
    /// Where Prometheus would log queries.
    pub query_log_file: Option<String>,
    /// With more targets none of a job is scraped; 0 is no limit.
    pub target_limit: u64,
    /// Dropped targets of a job that are kept; 0 is no limit.
    pub keep_dropped_targets: u64,
    /// Settings of scrapes.
    pub(super) scrape: Inherited,
}

/// Settings of scrapes that stand in `global` and in a job: what is absent is taken from `global`, or is the default.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Inherited {
    pub(super) scrape_protocols: Option<Vec<ScrapeProtocol>>,
    pub(super) scrape_native_histograms: Option<bool>,
    pub(super) always_scrape_classic_histograms: Option<bool>,
    pub(super) convert_classic_histograms_to_nhcb: Option<bool>,
    pub(super) extra_scrape_metrics: Option<bool>,
    pub(super) body_size_limit: u64,
    pub(super) sample_limit: u64,
    pub(super) label_limit: u64,
    pub(super) label_name_length_limit: u64,
    pub(super) label_value_length_limit: u64,
    pub(super) native_histogram_bucket_limit: u64,
    pub(super) native_histogram_min_bucket_factor: f64,
    pub(super) metric_name_validation_scheme: Option<NameValidation>,
    pub(super) metric_name_escaping_scheme: Option<NameEscaping>,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self {
            scrape_interval: SCRAPE_INTERVAL,
            scrape_timeout: SCRAPE_TIMEOUT,
            evaluation_interval: EVALUATION_INTERVAL,
            external_labels: BTreeMap::new(),
            query_log_file: None,
            target_limit: 0,
            keep_dropped_targets: 0,
            scrape: Inherited::default(),
        }
    }
}

/// Takes `global` out of the file.
pub(super) fn read(root: &mut Section<'_>) -> GlobalConfig {
    let Some(mut global) = root.section("global") else { return GlobalConfig::default() };
    let scrape_interval = filled(global.duration("scrape_interval")).unwrap_or(SCRAPE_INTERVAL);
    let written_timeout = filled(global.duration("scrape_timeout"));
    if written_timeout.is_some_and(|timeout| timeout > scrape_interval) {
        let message = format!("the timeout is longer than the interval, {scrape_interval}");
        global.problem("scrape_timeout", message);
    }
    let config = GlobalConfig {
        scrape_interval,
        scrape_timeout: written_timeout.unwrap_or(SCRAPE_TIMEOUT.min(scrape_interval)),
        evaluation_interval: filled(global.duration("evaluation_interval")).unwrap_or(EVALUATION_INTERVAL),
        external_labels: external_labels(&mut global),
        query_log_file: global.filled("query_log_file").map(|path| global.cx.resolve(&path)),
        target_limit: global.count("target_limit").unwrap_or_default(),
        keep_dropped_targets: global.count("keep_dropped_targets").unwrap_or_default(),
        scrape: inherited(&mut global),
    };
    notes(&mut global, &config);
    global.close();
    config
}

/// A duration of 0 is as if nothing were written.
pub(super) fn filled(duration: Option<PromDuration>) -> Option<PromDuration> {
    duration.filter(|duration| !duration.0.is_zero())
}

fn external_labels(global: &mut Section<'_>) -> BTreeMap<String, String> {
    let labels = global.text_map("external_labels");
    for name in labels.keys().filter(|name| name.is_empty() || *name == metricsd_model::METRIC_NAME) {
        global.problem("external_labels", format!("{} cannot be the name of a label", shown(name)));
    }
    labels
}

fn notes(global: &mut Section<'_>, config: &GlobalConfig) {
    global.duration("rule_query_offset");
    let note = |global: &Section<'_>, name: &str, message: &str| {
        global.cx.note(global.place_of(name), global.path_of(name), message);
    };
    if !config.external_labels.is_empty() {
        let message = "not added to what is stored, as in Prometheus: they are for federation, remote storage and \
                       alerts, none of which goes out from here";
        note(global, "external_labels", message);
    }
    if config.query_log_file.is_some() {
        note(global, "query_log_file", "queries are not written to a file");
    }
    for name in ["evaluation_interval", "rule_query_offset"] {
        if global.is_written(name) {
            note(global, name, "rules are not evaluated, so this has no effect");
        }
    }
    failure_log(global);
}

/// `scrape_failure_log_file` stands in `global` and in jobs.
pub(super) fn failure_log(section: &mut Section<'_>) {
    if section.filled("scrape_failure_log_file").is_some() {
        let message = "failed scrapes are not written to a file: they are in metricsd's log, in the target's health and \
                       in /api/v1/metrics/jobs";
        let name = "scrape_failure_log_file";
        section.cx.note(section.place_of(name), section.path_of(name), message);
    }
}

/// Takes the settings that `global` and jobs share out of either.
pub(super) fn inherited(section: &mut Section<'_>) -> Inherited {
    let settings = Inherited {
        scrape_protocols: protocols(section),
        scrape_native_histograms: section.flag("scrape_native_histograms"),
        always_scrape_classic_histograms: classic(section),
        convert_classic_histograms_to_nhcb: section.flag("convert_classic_histograms_to_nhcb"),
        extra_scrape_metrics: section.flag("extra_scrape_metrics"),
        body_size_limit: section.size("body_size_limit").unwrap_or_default(),
        sample_limit: section.count("sample_limit").unwrap_or_default(),
        label_limit: section.count("label_limit").unwrap_or_default(),
        label_name_length_limit: section.count("label_name_length_limit").unwrap_or_default(),
        label_value_length_limit: section.count("label_value_length_limit").unwrap_or_default(),
        native_histogram_bucket_limit: section.count("native_histogram_bucket_limit").unwrap_or_default(),
        native_histogram_min_bucket_factor: section
            .scalar("native_histogram_min_bucket_factor", number)
            .unwrap_or_default(),
        metric_name_validation_scheme: section.scalar("metric_name_validation_scheme", validation).flatten(),
        metric_name_escaping_scheme: section.scalar("metric_name_escaping_scheme", escaping).flatten(),
    };
    if settings.metric_name_validation_scheme == Some(NameValidation::Legacy)
        && settings.metric_name_escaping_scheme == Some(NameEscaping::AllowUtf8)
    {
        let message = "allow-utf-8 asks for names that metric_name_validation_scheme, legacy, does not allow";
        section.problem("metric_name_escaping_scheme", message);
    }
    settings
}

/// The setting, or what it was called before Prometheus 3.
fn classic(section: &mut Section<'_>) -> Option<bool> {
    let now = section.flag("always_scrape_classic_histograms");
    let before = section.flag("scrape_classic_histograms");
    if before.is_some() {
        let name = "scrape_classic_histograms";
        let message = "read as always_scrape_classic_histograms, its name since Prometheus 3";
        section.cx.note(section.place_of(name), section.path_of(name), message);
    }
    now.or(before)
}

fn protocols(section: &mut Section<'_>) -> Option<Vec<ScrapeProtocol>> {
    let is_written = section.field("scrape_protocols").is_some();
    let mut protocols = Vec::new();
    for (text, place) in section.texts("scrape_protocols") {
        let path = section.path_of("scrape_protocols");
        match protocol(&text) {
            Ok(protocol) if protocols.contains(&protocol) => {
                section.cx.problem(place, &path, format!("{text} is there twice"));
            }
            Ok(protocol) => protocols.push(protocol),
            Err(message) => section.cx.problem(place, &path, message),
        }
    }
    if section.list("scrape_protocols").is_empty() && is_written {
        section.problem("scrape_protocols", "the list is empty; leave it out for the usual formats");
    }
    is_written.then_some(protocols)
}

/// A format's name, case and all.
pub(super) fn protocol(text: &str) -> Result<ScrapeProtocol, String> {
    ScrapeProtocol::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = ScrapeProtocol::ALL.iter().map(|protocol| protocol.as_str()).collect();
        let near = nearest(text, names.iter().copied());
        let meant = near.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
        format!("{} is not a format{meant}; there are {}", shown(text), names.join(", "))
    })
}

fn validation(text: &str) -> Result<Option<NameValidation>, String> {
    match text {
        "" => Ok(None),
        "utf8" => Ok(Some(NameValidation::Utf8)),
        "legacy" => Ok(Some(NameValidation::Legacy)),
        other => Err(format!("{} is neither utf8 nor legacy", shown(other))),
    }
}

fn escaping(text: &str) -> Result<Option<NameEscaping>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let known = NameEscaping::from_name(text).map(Some);
    known.ok_or_else(|| format!("{} is none of allow-utf-8, underscores, dots and values", shown(text)))
}
