//! What is wrong, and where.

use super::*;

#[test]
fn unknown_fields_are_told_with_what_was_meant() {
    let check = |text: &str, expected: &str| assert_eq!(wrong(text), expected, "{text}");
    check(
        "global:\n  scrape_intervall: 15s\n",
        "2:3: global.scrape_intervall: there is no such field; did you mean scrape_interval?",
    );
    check("scrape_config:\n", "1:1: scrape_config: there is no such field; did you mean scrape_configs?");
    check("nonsense: 1\n", "1:1: nonsense: there is no such field here");
    check_job_wrong(
        "metric_path: /x",
        "3:5: scrape_configs[0].metric_path: there is no such field; did you mean metrics_path?",
    );
    check_job_wrong(
        "relabel_configs: [{source_label: [a]}]",
        "3:24: scrape_configs[0].relabel_configs[0].source_label: there is no such field; did you mean source_labels?",
    );
    check_job_wrong(
        "static_configs: [{target: [a]}]",
        "3:23: scrape_configs[0].static_configs[0].target: there is no such field; did you mean targets?",
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "global:\n  scrape_interval: 15\nscrape_configs:\n  - job_name: a\n    scheme: ftp\n  - job_name: a\n  \
                - metrics_path: /x\n    honor_labels: maybe\n";
    assert_eq!(
        wrong(text),
        "2:20: global.scrape_interval: \"15\" is not a duration; write it like 15s, 1m30s or 250ms\n\
         5:5: scrape_configs[0].scheme: \"ftp\" is neither http nor https\n\
         6:5: scrape_configs[1]: there is a job \"a\" already, at 4\n\
         7:5: scrape_configs[2].job_name: job_name is missing\n\
         8:19: scrape_configs[2].honor_labels: \"maybe\" is neither true nor false"
    );
}

#[test]
fn a_hundred_mistakes_are_told_and_the_others_counted() {
    let text: String = (0..250).map(|n| format!("x{n}: 1\n")).collect();
    let message = wrong(&text);
    assert_eq!(message.lines().count(), 101);
    assert!(message.ends_with("150 further mistakes are not listed"), "{message}");
}

#[test]
fn broken_yaml_has_a_place() {
    let check = |text: &str, place: &str| {
        let message = wrong(text);
        assert!(message.starts_with(place), "{text:?}: {message}");
    };
    check("global: {scrape_interval: 15s\nscrape_configs: []\n", "2:");
    check("global:\n  a: [1\n", "");
    check("global: {}\nglobal: {}\n", "2:1: ");
    check("scrape_configs: *nobody\n", "1:");
}

#[test]
fn wrong_kinds_and_values() {
    let check = check_job_wrong;
    check(
        "scrape_interval: [1s]",
        "3:22: scrape_configs[0].scrape_interval: expected a single value, found a list",
    );
    check(
        "sample_limit: -1",
        "3:19: scrape_configs[0].sample_limit: \"-1\" is not a whole number of 0 or more",
    );
    check(
        "body_size_limit: 10",
        "3:22: scrape_configs[0].body_size_limit: \"10\" is not a size; write it like 512KB, 10MB or 1GB (0 is no limit)",
    );
    check(
        "scrape_interval: 5s\nscrape_timeout: 10s",
        "4:5: scrape_configs[0].scrape_timeout: the timeout, 10s, is longer than the interval, 5s",
    );
    check(
        "scrape_interval: 10ms",
        "3:5: scrape_configs[0].scrape_interval: 10ms is too short; the shortest interval is 100ms",
    );
    check(
        "scrape_protocols: [OpenMetricsText1.0]",
        "3:24: scrape_configs[0].scrape_protocols: \"OpenMetricsText1.0\" is not a format (did you mean \
         OpenMetricsText1.0.0?); there are PrometheusProto, PrometheusText0.0.4, PrometheusText1.0.0, \
         OpenMetricsText0.0.1, OpenMetricsText1.0.0",
    );
    check(
        "scrape_protocols: [PrometheusProto, PrometheusProto]",
        "3:41: scrape_configs[0].scrape_protocols: PrometheusProto is there twice",
    );
    check(
        "scrape_protocols: []",
        "3:5: scrape_configs[0].scrape_protocols: the list is empty; leave it out for the usual formats",
    );
    check(
        "metric_name_validation_scheme: legacy\nmetric_name_escaping_scheme: allow-utf-8",
        "4:5: scrape_configs[0].metric_name_escaping_scheme: allow-utf-8 asks for names that \
         metric_name_validation_scheme, legacy, does not allow",
    );
    check("params: [a]", "3:13: scrape_configs[0].params: expected a section, found a list");
    assert_eq!(
        wrong("scrape_configs: {a: 1}"),
        "1:17: scrape_configs: expected a list (`- …` or `[…]`), found a section"
    );
    assert_eq!(wrong("- a"), "1:1: expected a section, found a list");
    assert_eq!(
        wrong("global: {scrape_interval: 5s, scrape_timeout: 10s}"),
        "1:31: global.scrape_timeout: the timeout is longer than the interval, 5s"
    );
}

#[test]
fn rules_are_checked_where_they_stand() {
    let check = |rule: &str, place: &str| {
        let message = wrong(&job_text(&format!("relabel_configs:\n- {rule}")));
        assert!(message.starts_with(place), "{rule}: {message}");
    };
    check("{regex: '(', target_label: t}", "4:8: scrape_configs[0].relabel_configs[0].regex: ");
    check(
        "{action: hashmod, source_labels: [a], target_label: t}",
        "4:7: scrape_configs[0].relabel_configs[0].modulus: ",
    );
    check(
        "{action: replaces}",
        "4:16: scrape_configs[0].relabel_configs[0].action: \"replaces\" is not an action (did you \
           mean replace?); ",
    );
}

#[test]
fn what_is_not_supported_is_listed() {
    let config = read(
        "rule_files:\n- a.yml\nalerting: {alertmanagers: [{static_configs: [{targets: [am:9093]}]}]}\n\
                       remote_write: [{url: http://x}]\nremote_read: [{url: http://x}]\nstorage: {tsdb: {}}\n\
                       tracing: {endpoint: a}\notlp: {promote_resource_attributes: [a]}\n\
                       scrape_configs:\n- job_name: a\n  ec2_sd_configs: [{region: x}]\n  oauth2: {client_id: a, \
                       token_url: 'http://x', grant_type: jwt}\n",
    );
    let named: Vec<_> = config.unsupported.iter().map(|it| (it.place.line, it.what.as_str())).collect();
    assert_eq!(
        named,
        [
            (1, "rule_files"),
            (3, "alerting"),
            (4, "remote_write"),
            (5, "remote_read"),
            (7, "tracing"),
            (8, "otlp"),
            (11, "scrape_configs[0].ec2_sd_configs"),
            (12, "scrape_configs[0].oauth2.grant_type"),
        ]
    );
    assert!(config.unsupported.iter().all(|notice| notice.message.len() > 10));
}

/// As the file that comes with Prometheus has them.
#[test]
fn sections_that_say_nothing_are_no_loss() {
    let config = read(
        "alerting:\n  alertmanagers:\n    - static_configs:\n        - targets:\n          # - alertmanager:9093\n\
                       rule_files:\n  # - first.yml\nremote_write: []\n",
    );
    assert_eq!(config.unsupported, []);
}

#[test]
fn an_adaptive_interval_is_bounded() {
    check_job_wrong(
        "scrape_interval: 1m\nadaptive_interval_max: 30s",
        "4:5: scrape_configs[0].adaptive_interval_max: 30s is shorter than the interval, 1m, that it is to stretch",
    );
    check_job_wrong(
        "adaptive_interval_max: 25h",
        "3:5: scrape_configs[0].adaptive_interval_max: 1d1h is too long; at most 1d is taken",
    );
}
