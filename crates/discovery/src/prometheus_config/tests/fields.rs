//! `global` and the settings of a job.

use metricsd_model::{
    NameEscaping, NameValidation, OnLimit, RelabelAction, RelabelConfig, ScrapeOptions, ScrapeProtocol,
};

use super::*;
use crate::config::ProviderConfig;

fn options(yaml: &str) -> ScrapeOptions {
    ScrapeOptions::clone(&job(yaml).scrape.options)
}

#[test]
fn a_job_has_the_defaults_of_prometheus() {
    let job = job("");
    assert_eq!(job.name, "a");
    assert_eq!(job.scrape.scrape_interval.to_string(), "1m");
    assert_eq!(job.scrape.scrape_timeout.to_string(), "10s");
    assert_eq!((job.scrape.metrics_path.as_str(), job.scrape.scheme.as_str()), ("/metrics", "http"));
    assert_eq!((job.scrape.honor_labels, job.scrape.honor_timestamps), (false, true));
    assert_eq!(*job.scrape.options, ScrapeOptions::default());
    assert_eq!((job.target_limit, job.keep_dropped_targets), (0, 0));
    assert_eq!((job.relabel_configs.len(), job.providers.len()), (0, 0));
}

#[test]
fn intervals_and_timeouts() {
    let check = |global: &str, own: &str, interval: &str, timeout: &str| {
        let text = format!("global: {{{global}}}\n{}", job_text(own));
        let scrape = read(&text).jobs.remove(0).scrape;
        let found = (scrape.scrape_interval.to_string(), scrape.scrape_timeout.to_string());
        assert_eq!(found, (interval.to_owned(), timeout.to_owned()), "{text}");
    };
    check("scrape_interval: 15s", "", "15s", "10s");
    check("scrape_interval: 5s", "", "5s", "5s");
    check("scrape_interval: 15s, scrape_timeout: 3s", "", "15s", "3s");
    check("scrape_interval: 15s, scrape_timeout: 12s", "scrape_interval: 2s", "2s", "2s");
    check("scrape_interval: 15s", "scrape_interval: 1m30s\nscrape_timeout: 1m", "1m30s", "1m");
    check("", "scrape_interval: 250ms", "250ms", "250ms");
    check("", "scrape_interval: 0", "1m", "10s");
}

#[test]
fn settings_of_a_job() {
    let job = job("honor_labels: true\nhonor_timestamps: false\nmetrics_path: /probe\nscheme: https\n\
                   target_limit: 5\nkeep_dropped_targets: 7");
    assert_eq!((job.scrape.honor_labels, job.scrape.honor_timestamps), (true, false));
    assert_eq!((job.scrape.metrics_path.as_str(), job.scrape.scheme.as_str()), ("/probe", "https"));
    assert_eq!((job.target_limit, job.keep_dropped_targets), (5, 7));
}

#[test]
fn settings_of_scrapes() {
    assert!(options("track_timestamps_staleness: true").track_timestamps_staleness);
    assert!(!options("enable_compression: false").enable_compression);
    assert_eq!(options("params: {a: [x, 1, true], b: y}").params["a"], ["x", "1", "true"]);
    assert_eq!(options("params: {a: [x], b: y}").params["b"], ["y"]);
    let fallback = options("fallback_scrape_protocol: PrometheusText0.0.4").fallback_scrape_protocol;
    assert_eq!(fallback, Some(ScrapeProtocol::PrometheusText004));
    // Ours alone.
    assert_eq!(options("on_limit: truncate").on_limit, OnLimit::Truncate);
    assert_eq!(options("adaptive_interval_max: 5m").adaptive_interval_max_ms, Some(300_000));
    assert!(options("created_timestamp_zero: true").created_timestamp_zero);
}

/// What may stand in `global` as well as in a job: the job wins.
#[test]
fn settings_that_a_job_inherits() {
    let check = |field: &str,
                 global: &str,
                 own: &str,
                 read_out: fn(&ScrapeOptions) -> String,
                 expected: [&str; 2]| {
        let global = format!("global: {{{field}: {global}}}\n");
        let of = |text: &str| read_out(&read(text).jobs[0].scrape.options);
        let inherited = of(&format!("{global}{}", job_text("")));
        let overridden = of(&format!("{global}{}", job_text(&format!("{field}: {own}"))));
        assert_eq!([inherited.as_str(), overridden.as_str()], expected, "{field}");
        assert_eq!(of(&job_text(&format!("{field}: {own}"))), expected[1], "{field} without global");
    };
    check("sample_limit", "10", "20", |o| o.sample_limit.to_string(), ["10", "20"]);
    check("label_limit", "10", "20", |o| o.label_limit.to_string(), ["10", "20"]);
    check("label_name_length_limit", "10", "20", |o| o.label_name_length_limit.to_string(), ["10", "20"]);
    check("label_value_length_limit", "10", "20", |o| o.label_value_length_limit.to_string(), ["10", "20"]);
    check("body_size_limit", "1KB", "2MB", |o| o.body_size_limit.to_string(), ["1024", "2097152"]);
    check(
        "native_histogram_bucket_limit",
        "1",
        "2",
        |o| o.native_histogram_bucket_limit.to_string(),
        ["1", "2"],
    );
    let factor = |o: &ScrapeOptions| o.native_histogram_min_bucket_factor.to_string();
    check("native_histogram_min_bucket_factor", "1.1", "1.5", factor, ["1.1", "1.5"]);
    check(
        "scrape_native_histograms",
        "true",
        "false",
        |o| o.scrape_native_histograms.to_string(),
        ["true", "false"],
    );
    let classic = |o: &ScrapeOptions| o.always_scrape_classic_histograms.to_string();
    check("always_scrape_classic_histograms", "true", "false", classic, ["true", "false"]);
    check("scrape_classic_histograms", "true", "false", classic, ["true", "false"]);
    let nhcb = |o: &ScrapeOptions| o.convert_classic_histograms_to_nhcb.to_string();
    check("convert_classic_histograms_to_nhcb", "true", "false", nhcb, ["true", "false"]);
    check("extra_scrape_metrics", "true", "false", |o| o.extra_scrape_metrics.to_string(), ["true", "false"]);
    let protocols = |o: &ScrapeOptions| format!("{:?}", o.scrape_protocols);
    check(
        "scrape_protocols",
        "[PrometheusProto]",
        "[OpenMetricsText1.0.0, PrometheusText1.0.0]",
        protocols,
        ["[PrometheusProto]", "[OpenMetricsText100, PrometheusText100]"],
    );
}

#[test]
fn limits_of_targets_are_inherited() {
    let text = format!("global: {{target_limit: 3, keep_dropped_targets: 4}}\n{}", job_text(""));
    let job = &read(&text).jobs[0];
    assert_eq!((job.target_limit, job.keep_dropped_targets), (3, 4));
}

#[test]
fn names_and_their_escaping() {
    let read = |yaml: &str| {
        let options = options(yaml);
        (options.metric_name_validation_scheme, options.metric_name_escaping_scheme)
    };
    assert_eq!(read("metric_name_validation_scheme: legacy"), (NameValidation::Legacy, None));
    assert_eq!(read("metric_name_validation_scheme: utf8"), (NameValidation::Utf8, None));
    for (name, scheme) in [
        ("allow-utf-8", NameEscaping::AllowUtf8),
        ("underscores", NameEscaping::Underscores),
        ("dots", NameEscaping::Dots),
        ("values", NameEscaping::Values),
    ] {
        assert_eq!(read(&format!("metric_name_escaping_scheme: {name}")).1, Some(scheme));
    }
}

#[test]
fn the_global_section() {
    let config = read(
        "global:\n  evaluation_interval: 30s\n  rule_query_offset: 1m\n  query_log_file: q.log\n  \
                       external_labels: {region: eu, replica: 1}\n  scrape_failure_log_file: f.log\n\
                       runtime: {gogc: 50}\n",
    );
    assert_eq!(config.global.evaluation_interval.to_string(), "30s");
    assert_eq!(config.global.external_labels["replica"], "1");
    assert_eq!(config.global.query_log_file.as_deref(), Some("/etc/prometheus/q.log"));
    assert_eq!(config.unsupported, []);
    let named: Vec<_> = config.notes.iter().map(|note| (note.place.line, note.what.as_str())).collect();
    assert_eq!(
        named,
        [
            (2, "global.evaluation_interval"),
            (3, "global.rule_query_offset"),
            (4, "global.query_log_file"),
            (5, "global.external_labels"),
            (6, "global.scrape_failure_log_file"),
            (7, "runtime"),
        ]
    );
}

#[test]
fn rules_keep_what_is_written() {
    let yaml = "relabel_configs:\n- {source_labels: [a, b], separator: '@', regex: 8080, target_label: t, \
                replacement: x$1, action: Replace}\n- {action: hashmod, source_labels: [a], modulus: 8, target_label: h}\n\
                - {regex: 'a.*', action: LabelDrop}\nmetric_relabel_configs:\n- {source_labels: [__name__], regex: on, \
                action: drop}\n- {source_labels: [a], target_label: b, replacement: \"\"}";
    let job = job(yaml);
    let first = RelabelConfig {
        source_labels: vec!["a".into(), "b".into()],
        separator: "@".into(),
        regex: Some("8080".into()),
        modulus: 0,
        target_label: Some("t".into()),
        replacement: Some("x$1".into()),
        action: RelabelAction::Replace,
    };
    assert_eq!(job.relabel_configs[0], first);
    assert_eq!((job.relabel_configs[1].action, job.relabel_configs[1].modulus), (RelabelAction::HashMod, 8));
    assert_eq!((job.relabel_configs[1].separator.as_str(), &job.relabel_configs[1].regex), (";", &None));
    assert_eq!(job.relabel_configs[2].action, RelabelAction::LabelDrop);
    let metric = &job.scrape.options.metric_relabel_configs;
    assert_eq!(metric[0].regex.as_deref(), Some("on"));
    assert_eq!(metric[1].replacement.as_deref(), Some(""));
}

#[test]
fn every_action_reads() {
    for action in RelabelAction::ALL {
        let yaml = format!(
            "relabel_configs: [{{action: {action}, regex: REGEX, source_labels: [a], target_label: t, modulus: 2, replacement: r}}]"
        );
        let yaml = match action {
            RelabelAction::LabelDrop | RelabelAction::LabelKeep => {
                format!("relabel_configs: [{{action: {action}, regex: a}}]")
            }
            RelabelAction::Lowercase
            | RelabelAction::Uppercase
            | RelabelAction::KeepEqual
            | RelabelAction::DropEqual => {
                format!("relabel_configs: [{{action: {action}, source_labels: [a], target_label: t}}]")
            }
            _ => yaml,
        };
        assert_eq!(job(&yaml).relabel_configs[0].action, *action);
    }
}

#[test]
fn scalars_stay_as_they_are_written() {
    let yaml = "static_configs: [{targets: [a:1], labels: {zero: 0123, big: 1e5, yes: yes, hex: 0x1F, none: ~, date: \
                2020-01-01, quoted: '~', nan: .nan, inf: 1e999}}]";
    let ProviderConfig::Static(groups) = &job(yaml).providers[0] else { panic!() };
    let expected = [
        ("zero", "0123"),
        ("big", "1e5"),
        ("yes", "yes"),
        ("hex", "0x1F"),
        ("none", ""),
        ("date", "2020-01-01"),
        ("quoted", "~"),
        ("nan", ".nan"),
        ("inf", "1e999"),
    ];
    for (name, value) in expected {
        assert_eq!(groups[0].labels[name], value, "{name}");
    }
}
