//! One case a documented field, one message a mistake.

mod fields;
mod files;
mod http;
mod mistakes;
mod providers;
mod realistic;

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::JobConfig;

/// The file of which the tests speak.
const FILE: &str = "/etc/prometheus/prometheus.yml";

fn read(text: &str) -> PrometheusConfig {
    parse(text, Path::new(FILE)).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

/// The one job that the fields `yaml` make, each line without indent.
fn job(yaml: &str) -> JobConfig {
    let mut config = read(&job_text(yaml));
    assert_eq!(config.jobs.len(), 1);
    config.jobs.remove(0)
}

fn job_text(yaml: &str) -> String {
    let lines: String = yaml.lines().map(|line| format!("    {line}\n")).collect();
    format!("scrape_configs:\n  - job_name: a\n{lines}")
}

/// What is wrong, without the name of the file.
fn wrong(text: &str) -> String {
    let error = parse(text, Path::new(FILE)).expect_err(text);
    error.to_string().replace(&format!("{FILE}:"), "")
}

fn check_job_wrong(yaml: &str, expected: &str) {
    assert_eq!(wrong(&job_text(yaml)), expected, "{yaml}");
}

/// Notices as lines, without the name of the file.
fn lines(notices: &[Notice]) -> Vec<String> {
    notices.iter().map(|notice| notice.to_string().replace(&format!("{FILE}:"), "")).collect()
}

/// Words that reach deep into the reader more often than random letters do.
fn yaml_like() -> impl Strategy<Value = String> {
    let words = [
        "scrape_configs",
        "global",
        "job_name",
        "static_configs",
        "targets",
        "labels",
        "relabel_configs",
        "regex",
        "basic_auth",
        "password",
        "tls_config",
        "params",
        "http_headers",
        "kubernetes_sd_configs",
        "role",
        "pod",
        ":",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "\n  - ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a",
        "*a",
        "<<: *a",
        "!!binary ",
        "|\n",
        "\"",
        "'",
        "#",
        "1s",
        "10MB",
        "true",
        "~",
        "null",
        "é",
        "\u{0}",
        "\t",
        "%YAML 1.2\n---\n",
        "...",
        "1e999",
        ".nan",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60)
        .prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text, Path::new(FILE));
    }

    #[test]
    fn no_yaml_makes_it_panic(text in yaml_like()) {
        let _ = parse(&text, Path::new(FILE));
    }

    #[test]
    fn no_field_makes_it_panic(yaml in yaml_like()) {
        let _ = parse(&job_text(&yaml), Path::new(FILE));
    }
}

#[test]
fn an_empty_file_has_no_jobs() {
    for text in ["", "\n\n", "# nothing\n", "{}", "global:\nscrape_configs:\n", "~"] {
        let config = read(text);
        assert_eq!(config.jobs, []);
        assert_eq!(config.global, GlobalConfig::default());
    }
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
        let aliases = vec![format!("*{of}"); 10].join(", ");
        text.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    let message = wrong(&text);
    assert!(message.contains("too large or too complex"), "{message}");
}

#[test]
fn depth_is_bounded() {
    let text = format!("scrape_configs: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(!wrong(&text).is_empty());
    let deep: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(!wrong(&deep).is_empty());
}

#[test]
fn one_anchor_may_serve_many_jobs() {
    let mut text = "scrape_configs:\n- {job_name: j, tls_config: &tls {ca_file: ca.pem}}\n".to_owned();
    (0..2_000).for_each(|n| text.push_str(&format!("- {{job_name: j{n}, tls_config: *tls}}\n")));
    assert_eq!(read(&text).jobs.len(), 2_001);
}
