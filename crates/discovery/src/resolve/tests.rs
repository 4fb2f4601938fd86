use std::time::Instant;

use super::*;
use crate::prometheus_config;
use crate::provider::TargetGroup;

fn job(yaml: &str) -> JobConfig {
    let lines: String = yaml.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("scrape_configs:\n  - job_name: app\n{lines}");
    let path = std::path::Path::new("/etc/prometheus.yml");
    let mut config = prometheus_config::parse(&text, path).unwrap_or_else(|error| panic!("{error}"));
    config.jobs.remove(0)
}

fn labels(pairs: &[(&str, &str)]) -> FoundLabels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(yaml: &str, found: &[(&str, &str)]) -> Result<Resolved, TargetError> {
    let job = job(yaml);
    let resolver = JobResolver::new(&job).unwrap();
    resolver.resolve(&labels(found))
}

fn spec(yaml: &str, found: &[(&str, &str)]) -> TargetSpec {
    match resolve(yaml, found) {
        Ok(Resolved::Active(spec, _)) => *spec,
        other => panic!("{other:?}"),
    }
}

fn error(yaml: &str, found: &[(&str, &str)]) -> String {
    resolve(yaml, found).unwrap_err().to_string()
}

fn group(targets: impl IntoIterator<Item = FoundLabels>) -> FoundGroup {
    let targets = targets.into_iter().collect();
    FoundGroup::new("static", TargetGroup { source: "0".into(), labels: FoundLabels::new(), targets })
}

#[test]
fn a_bare_address_gets_what_the_job_says() {
    let spec =
        spec("scrape_interval: 7s\nhonor_labels: true\nhonor_timestamps: false", &[(ADDRESS, "h:9100")]);
    assert_eq!(spec.scrape_url(), "http://h:9100/metrics");
    assert_eq!(spec.labels, labels(&[("job", "app"), ("instance", "h:9100")]));
    assert_eq!((spec.source_id.as_str(), spec.enabled), ("app", true));
    assert!(spec.scrape_config.options.unconfined_secrets, "the operator wrote the file");
    let config = &spec.scrape_config;
    assert_eq!(
        (config.scrape_interval.to_string(), config.scrape_timeout.to_string()),
        ("7s".into(), "7s".into())
    );
    assert_eq!(
        (config.honor_labels, config.honor_timestamps, config.options.exact_labels),
        (true, false, true)
    );
}

#[test]
fn discovered_labels_are_those_before_relabelling() {
    let yaml = "scrape_interval: 30s\nmetrics_path: /m\nscheme: https\nparams: {module: [a, b]}\nrelabel_configs: \
                [{target_label: job, replacement: other}]";
    let job = job(yaml);
    let resolver = JobResolver::new(&job).unwrap();
    let found = labels(&[(ADDRESS, "h:1"), ("env", "own"), ("team", "x"), ("empty", ""), ("__meta_a", "1")]);
    let Ok(Resolved::Active(spec, discovered)) = resolver.resolve(&found) else { panic!() };
    assert_eq!(
        discovered,
        labels(&[
            (ADDRESS, "h:1"),
            ("__meta_a", "1"),
            (METRICS_PATH, "/m"),
            ("__param_module", "a"),
            (SCHEME, "https"),
            (SCRAPE_INTERVAL, "30s"),
            (SCRAPE_TIMEOUT, "10s"),
            ("env", "own"),
            ("job", "app"),
            ("team", "x"),
        ])
    );
    assert_eq!(spec.labels, labels(&[("env", "own"), ("instance", "h:1"), ("job", "other"), ("team", "x")]));
    assert_eq!(
        (spec.source_id.as_str(), spec.scrape_url().as_str()),
        ("other", "https://h:1/m?module=a&module=b")
    );
}

#[test]
fn what_was_found_wins_over_the_job() {
    let found = [
        (ADDRESS, "h:1"),
        (SCHEME, "https"),
        (METRICS_PATH, "/own"),
        (SCRAPE_INTERVAL, "1m"),
        (SCRAPE_TIMEOUT, "20s"),
        ("__param_module", "mine"),
        ("job", "given"),
        ("instance", "named"),
    ];
    let spec = spec("params: {module: [a], other: [o]}", &found);
    assert_eq!(spec.scrape_url(), "https://h:1/own?module=mine&other=o");
    assert_eq!(spec.labels, labels(&[("instance", "named"), ("job", "given")]));
    let config = &spec.scrape_config;
    assert_eq!(
        (config.scrape_interval.to_string(), config.scrape_timeout.to_string()),
        ("1m".into(), "20s".into())
    );
}

#[test]
fn no_port_is_added() {
    for (scheme, address) in
        [("http", "h"), ("https", "h"), ("http", "h:80"), ("https", "h:443"), ("http", "[::1]")]
    {
        let spec = spec("", &[(ADDRESS, address), (SCHEME, scheme)]);
        assert_eq!(spec.labels["instance"], address);
        assert_eq!(spec.scrape_url(), format!("{scheme}://{address}/metrics"));
    }
}

#[test]
fn a_probe_keeps_its_target_as_instance() {
    let yaml = "metrics_path: /probe\nparams: {module: [http]}\nrelabel_configs:\n\
                - {source_labels: [__address__], target_label: __param_target}\n\
                - {source_labels: [__param_target], target_label: instance}\n\
                - {target_label: __address__, replacement: 'blackbox:9115'}";
    let spec = spec(yaml, &[(ADDRESS, "https://example.com/?q=a b&c=ü")]);
    let url =
        "http://blackbox:9115/probe?module=http&target=https%3A%2F%2Fexample.com%2F%3Fq%3Da+b%26c%3D%C3%BC";
    assert_eq!(spec.scrape_url(), url);
    assert_eq!(spec.labels["instance"], "https://example.com/?q=a b&c=ü");
    assert!(spec.scrape_config.options.params.is_empty());
}

#[test]
fn long_parameters_stay_with_the_options() {
    let long = "x".repeat(600);
    let spec = spec("params: {a: [b]}", &[(ADDRESS, "h:1"), ("__param_target", &long)]);
    assert_eq!(spec.scrape_config.target_url, "http://h:1/metrics");
    assert_eq!(spec.scrape_config.options.params["target"], [long]);
    assert_eq!(spec.scrape_config.options.params["a"], ["b"]);
    assert!(error("", &[(ADDRESS, &"h".repeat(600))]).contains("500 characters"));
}

#[test]
fn dropped_targets_show_what_was_found() {
    let yaml = "relabel_configs: [{source_labels: [env], regex: prod, action: keep}]";
    let dropped = resolve(yaml, &[(ADDRESS, "h:1"), ("env", "test")]).unwrap();
    let Resolved::Dropped(discovered) = dropped else { panic!("{dropped:?}") };
    assert_eq!((discovered["env"].as_str(), discovered["job"].as_str()), ("test", "app"));
    assert!(matches!(resolve(yaml, &[(ADDRESS, "h:1"), ("env", "prod")]), Ok(Resolved::Active(..))));
}

#[test]
fn labels_that_begin_with_underscores_go() {
    let yaml =
        "relabel_configs: [{action: labelmap, regex: __meta_(.+)}, {target_label: __tmp, replacement: x}]";
    let spec = spec(yaml, &[(ADDRESS, "h:1"), ("__meta_zone", "a"), ("_own", "kept"), ("größe", "ü")]);
    let expected = [("_own", "kept"), ("größe", "ü"), ("instance", "h:1"), ("job", "app"), ("zone", "a")];
    assert_eq!(spec.labels, labels(&expected));
}

#[test]
fn what_cannot_be_scraped_says_why() {
    let check = |found: &[(&str, &str)], expected: &str| assert_eq!(error("", found), expected);
    check(&[("a", "b")], "it has no address: __address__ is empty after relabelling");
    check(
        &[(ADDRESS, "http://h:1")],
        "\"http://h:1\" is not host:port; scheme and path have labels of their own",
    );
    for address in ["h h:1", "h:port", "h:1?x", "u@h:1", "::1", "h:99999", "h#1", "h\\1"] {
        check(&[(ADDRESS, address)], &format!("{address:?} is not host:port"));
    }
    check(&[(ADDRESS, "h:1"), (SCHEME, "ftp")], "__scheme__ is \"ftp\"; it must be http or https");
    check(&[(ADDRESS, "h:1"), (SCRAPE_INTERVAL, "0s")], "__scrape_interval__ cannot be 0");
    check(&[(ADDRESS, "h:1"), (SCRAPE_TIMEOUT, "0")], "__scrape_timeout__ cannot be 0");
    check(
        &[(ADDRESS, "h:1"), (SCRAPE_INTERVAL, "x")],
        "__scrape_interval__: \"x\" is not a duration; write it like 15s, 1m30s or 250ms",
    );
    check(
        &[(ADDRESS, "h:1"), (SCRAPE_INTERVAL, "5s")],
        "__scrape_timeout__, 10s, is longer than __scrape_interval__, 5s",
    );
    check(
        &[(ADDRESS, "h:1"), (SCRAPE_INTERVAL, "10ms"), (SCRAPE_TIMEOUT, "5ms")],
        "__scrape_interval__ is 10ms; the shortest interval is 100ms",
    );
    let yaml = "relabel_configs: [{target_label: __address__, replacement: ''}]";
    assert_eq!(error(yaml, &[(ADDRESS, "h:1")]), "it has no address: __address__ is empty after relabelling");
}

#[test]
fn paths_are_escaped_as_a_request_needs_it() {
    let check = |path: &str, expected: &str| assert_eq!(address::path(path), expected);
    check("/metrics", "/metrics");
    check("metrics", "/metrics");
    check("", "/");
    check("/a b/c?d=e", "/a%20b/c%3Fd=e");
    check("/100%/ü", "/100%25/%C3%BC");
    check("/a;b,c:d@e$f&g+h=i~j", "/a;b,c:d@e$f&g+h=i~j");
}

#[test]
fn names_are_stable_and_fit() {
    let id = |found: &[(&str, &str)]| spec("", found).target_id;
    // Pinned: rows of a catalogue are found again by it.
    assert_eq!(id(&[(ADDRESS, "h:9100")]), "app@h:9100-ca1fa96ff1ca");
    assert_eq!(
        id(&[(ADDRESS, "h:9100"), ("__meta_x", "1"), (SCRAPE_INTERVAL, "5m")]),
        id(&[(ADDRESS, "h:9100")])
    );
    let one = id(&[(ADDRESS, "h:9100"), ("a", "bc")]);
    assert_ne!(one, id(&[(ADDRESS, "h:9100"), ("ab", "c")]));
    assert_ne!(one, id(&[(ADDRESS, "h:9100"), ("a", "bc"), (METRICS_PATH, "/x")]));
    let long = id(&[(ADDRESS, "h:1"), ("instance", &"ä/".repeat(200))]);
    assert!(long.len() <= 100 && long.starts_with("app@----"), "{long}");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:@-".contains(c);
    assert!(long.chars().all(allowed));
    assert!(id::target_id("__ü", &FoundLabels::new(), "u").starts_with("job@-"));
}

#[test]
fn long_job_labels_are_cut_for_the_source_alone() {
    let long = "j".repeat(150);
    let spec = spec("", &[(ADDRESS, "h:1"), ("job", &long)]);
    assert_eq!((spec.source_id.chars().count(), &spec.labels["job"]), (100, &long));
    assert!(spec.source_id.starts_with("jjj") && spec.source_id.contains('~'));
    assert_eq!(id::source_id(&"ü".repeat(100)), "ü".repeat(100));
}

#[test]
fn a_job_without_its_label_is_still_a_source() {
    let spec = spec("relabel_configs: [{action: labeldrop, regex: job}]", &[(ADDRESS, "h:1")]);
    assert_eq!((spec.labels.get("job"), spec.source_id.as_str()), (None, "app"));
}

#[test]
fn pods_are_of_kubernetes() {
    assert_eq!(spec("", &[(ADDRESS, "h:1")]).source_type, MetricSource::Application);
    let pod = spec("", &[(ADDRESS, "h:1"), ("__meta_kubernetes_pod_name", "p")]);
    assert_eq!(pod.source_type, MetricSource::Kubernetes);
}

#[test]
fn the_same_target_is_scraped_once() {
    let found =
        [labels(&[(ADDRESS, "h:1"), ("__meta_a", "1")]), labels(&[(ADDRESS, "h:1"), ("__meta_a", "2")])];
    let targets = resolve_job(&job(""), [&group(found.clone()), &group(found)]).unwrap();
    assert_eq!(targets.active.len(), 1);
    assert_eq!(targets.active[0].discovered["__meta_a"], "1");
}

fn many(count: usize) -> FoundGroup {
    group((0..count).map(|n| labels(&[(ADDRESS, &format!("h{n}:1")), ("n", &(n % 10).to_string())])))
}

#[test]
fn who_found_a_target_and_where_in_its_life_it_is_goes_along() {
    let found = labels(&[(ADDRESS, "h:1"), (crate::provider::LIFECYCLE_LABEL, "ending")]);
    let targets = resolve_job(&job(""), [&group([found])]).unwrap();
    assert_eq!((targets.active[0].provider, targets.active[0].lifecycle), ("static", Lifecycle::Ending));
}

#[test]
fn a_job_over_its_limit_scrapes_nothing() {
    let within = resolve_job(&job("target_limit: 5"), [&many(5)]).unwrap();
    assert_eq!((within.active.len(), within.over_limit), (5, None));
    let beyond = resolve_job(&job("target_limit: 5"), [&many(6)]).unwrap();
    assert_eq!((beyond.active.len(), beyond.over_limit), (0, Some(OverLimit { found: 6, limit: 5 })));
    // Dropped and repeated ones do not count.
    let yaml = "target_limit: 5\nrelabel_configs: [{source_labels: [n], regex: 0, action: drop}]";
    let within = resolve_job(&job(yaml), [&many(6), &many(6)]).unwrap();
    assert_eq!((within.active.len(), within.dropped.len(), within.over_limit), (5, 2, None));
}

#[test]
fn dropped_targets_and_errors_are_bounded() {
    let yaml = "keep_dropped_targets: 3\nrelabel_configs: [{source_labels: [n], regex: 0, action: drop}]";
    let targets = resolve_job(&job(yaml), [&many(100)]).unwrap();
    assert_eq!((targets.active.len(), targets.dropped.len(), targets.dropped_beyond_limit), (90, 3, 7));
    let wrong = group((0..MAX_ERRORS + 5).map(|n| labels(&[(ADDRESS, &format!("h/{n}"))])));
    let targets = resolve_job(&job(""), [&wrong]).unwrap();
    assert_eq!((targets.errors.len(), targets.errors_beyond_limit), (MAX_ERRORS, 5));
}

#[test]
fn a_rule_that_does_not_compile_is_an_error() {
    let mut job = job("");
    job.relabel_configs = vec![RelabelConfig { regex: Some("(".into()), ..RelabelConfig::default() }];
    assert!(resolve_job(&job, [&many(1)]).is_err());
}

/// Tests are not optimised; a release build takes a tenth of it.
#[test]
fn ten_thousand_targets_resolve_quickly() {
    let yaml = "relabel_configs:\n- {source_labels: [__address__], regex: '([^:]+):.*', target_label: host}\n\
                - {source_labels: [__address__], modulus: 8, target_label: __tmp_shard, action: hashmod}\n\
                - {action: labelmap, regex: __meta_(.+)}\n- {source_labels: [n], regex: 3, action: drop}";
    let (job, found) = (job(yaml), many(10_000));
    let started = Instant::now();
    let targets = resolve_job(&job, [&found]).unwrap();
    let took = started.elapsed();
    println!("10 000 targets took {took:?}");
    assert_eq!((targets.active.len(), targets.dropped.len()), (9_000, 1_000));
    assert!(took.as_secs() < 10, "{took:?}");
}
