//! What a target's settings make of its pages: relabelling, limits, names, timestamps.

use std::sync::Arc;

use metricsd_codec::exposition::Format;
use metricsd_ingest::Limits;
use metricsd_model::{
    FailureReason, NameValidation, OnLimit, Refusal, RelabelAction, RelabelConfig, ScrapeOptions, Series,
    TargetSpec,
};

use crate::client::ScrapeError;
use crate::page::Scraped;
use crate::page_tests::{Bench, spec};

fn with(options: ScrapeOptions) -> TargetSpec {
    let mut spec = spec();
    spec.labels.clear();
    spec.scrape_config.options = Arc::new(ScrapeOptions { exact_labels: true, ..options });
    spec
}

fn bench(options: ScrapeOptions) -> Bench {
    Bench::new(with(options), Limits::default())
}

fn read(bench: &mut Bench, page: &str) -> Result<Scraped, ScrapeError> {
    bench.try_read(page.as_bytes(), Format::Text)
}

/// Reads a page twice: line by line, and by what is known of its lines.
fn read_both(bench: &mut Bench, page: &str) -> Scraped {
    let first = read(bench, page).unwrap();
    let again = read(bench, page).unwrap();
    assert!(Arc::ptr_eq(&first.layout, &again.layout));
    assert_eq!((&first.values, &first.ledger), (&again.values, &again.ledger));
    assert_eq!(first.offenders, again.offenders);
    again
}

fn names(series: &[Arc<Series>]) -> Vec<String> {
    series.iter().map(|series| series.labels.to_string()).collect()
}

fn page_names(scraped: &Scraped) -> Vec<String> {
    names(&scraped.layout.series[..scraped.values.len()])
}

fn rule(action: RelabelAction, source: &str, regex: &str, target: &str, replacement: &str) -> RelabelConfig {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    RelabelConfig {
        action,
        source_labels: given(source).into_iter().collect(),
        regex: given(regex),
        target_label: given(target),
        replacement: given(replacement),
        ..RelabelConfig::default()
    }
}

fn rules(rules: Vec<RelabelConfig>) -> ScrapeOptions {
    ScrapeOptions { metric_relabel_configs: rules, ..ScrapeOptions::default() }
}

#[test]
fn relabelling_sees_all_labels_after_the_targets_own() {
    let mut spec = spec();
    spec.scrape_config.options = Arc::new(rules(vec![
        rule(RelabelAction::Drop, "__name__", "go_.*", "", ""),
        rule(RelabelAction::Replace, "job", "", "team", ""),
        rule(RelabelAction::Replace, "exported_job", "(.+)", "__name__", "${1}_total"),
        rule(RelabelAction::Replace, "instance", "", "__tmp", ""),
        rule(RelabelAction::LabelDrop, "", "zone|instance|job", "", ""),
    ]));
    let mut bench = Bench::new(spec, Limits::default());
    let scraped = read_both(&mut bench, "go_x 1\na 2\nb{job=\"own\"} 3\n");
    assert_eq!(
        page_names(&scraped),
        [
            r#"a{__tmp="host:9100",team="shop"}"#,
            r#"own_total{__tmp="host:9100",exported_job="own",team="shop"}"#
        ],
        "labels that begin with two underscores are kept, as Prometheus does"
    );
    assert_eq!((scraped.values.as_slice(), scraped.ledger.dropped), ([2.0, 3.0].as_slice(), 1));
    let reports = names(&scraped.layout.series[2..]);
    assert!(reports[0].contains("zone=\"z1\""), "reports are not relabelled: {reports:?}");
}

#[test]
fn a_sample_that_rules_leave_without_a_name_is_refused_and_named() {
    let mut bench = bench(rules(vec![
        rule(RelabelAction::Replace, "x", "nameless", "__name__", "$2"),
        rule(RelabelAction::LabelDrop, "", "y.*", "", ""),
    ]));
    let scraped = read_both(&mut bench, "a{x=\"nameless\"} 1\na{y1=\"1\"} 2\na{y2=\"2\"} 3\n");
    assert_eq!(scraped.ledger.refused, [(Refusal::InvalidName, 1), (Refusal::Duplicate, 1)].into());
    assert_eq!(page_names(&scraped), ["a"]);
    assert_eq!(
        *scraped.offenders,
        ["a{x=\"nameless\"}: the name is empty", "a{y2=\"2\"}: it comes a second time"]
    );
    let mut bench =
        super::page_settings_tests::bench(rules(vec![rule(RelabelAction::LabelKeep, "", "no", "", "")]));
    let scraped = read_both(&mut bench, "a{x=\"1\"} 1\n");
    assert_eq!(scraped.ledger.dropped, 1, "without any label it is dropped");
}

#[test]
fn rules_that_do_not_compile_let_nothing_through() {
    let mut bench = bench(rules(vec![rule(RelabelAction::Drop, "a", "(", "", "")]));
    let error = read(&mut bench, "a 1\n").err().unwrap();
    assert_eq!(error.reason, FailureReason::Internal);
    assert!(error.message.starts_with("metric_relabel_configs: rule 1: regex: "), "{}", error.message);
}

#[test]
fn a_type_is_found_by_the_name_on_the_page() {
    let mut bench = bench(rules(vec![rule(RelabelAction::Replace, "", "", "__name__", "renamed")]));
    let scraped = read_both(&mut bench, "# TYPE a_total counter\na_total 1\n");
    assert_eq!((page_names(&scraped), scraped.types.counters), (vec!["renamed".to_owned()], 1));
}

#[test]
fn limits_on_labels_fail_the_page_or_keep_its_good_part() {
    let check = |options: ScrapeOptions, bad: &str, refusal, why: &str| {
        let page = format!("ok{{l=\"v\"}} 1\n{bad} 2\nok2 3\n");
        let mut failing = bench(options.clone());
        for _ in 0..2 {
            let error = read(&mut failing, &page).err().unwrap();
            assert_eq!(
                (error.reason, error.message.as_str()),
                (FailureReason::Limit, &*format!("{bad}: {why}"))
            );
            let failed = failing.reader.failed();
            assert_eq!((failed.received, failed.dropped), (3, 0), "what it held is known all the same");
        }
        let good = read_both(&mut failing, "ok{l=\"v\"} 1\n");
        assert_eq!((good.values.as_slice(), good.added), ([1.0].as_slice(), 0));
        let mut cutting = bench(ScrapeOptions { on_limit: OnLimit::Truncate, ..options });
        let scraped = read_both(&mut cutting, &page);
        assert_eq!(
            (scraped.values.as_slice(), scraped.ledger.refused),
            ([1.0, 3.0].as_slice(), [(refusal, 1)].into())
        );
        assert_eq!(*scraped.offenders, [format!("{bad}: {why}")]);
    };
    let options = || ScrapeOptions::default();
    check(
        ScrapeOptions { label_limit: 2, ..options() },
        "m{a=\"1\",b=\"2\"}",
        Refusal::LabelLimit,
        "it has 3 labels, and label_limit is 2",
    );
    check(
        ScrapeOptions { label_name_length_limit: 8, ..options() },
        "m{abcdefghi=\"1\"}",
        Refusal::InvalidLabel,
        "the name of label \"abcdefghi\" has 9 bytes, and label_name_length_limit is 8",
    );
    check(
        ScrapeOptions { label_value_length_limit: 4, ..options() },
        "m{a=\"12345\"}",
        Refusal::InvalidLabel,
        "the value of label \"a\" has 5 bytes, and label_value_length_limit is 4",
    );
    // The name is a label's value too.
    let mut named = bench(ScrapeOptions { label_value_length_limit: 4, ..options() });
    assert!(read(&mut named, "long_name 1\n").is_err() && read(&mut named, "name 1\n").is_ok());
}

#[test]
fn a_label_that_is_given_twice_fails_the_page_as_prometheus_has_it() {
    let page = "ok 1\ntwice{a=\"1\",a=\"2\"} 2\n";
    let error = read(&mut bench(ScrapeOptions::default()), page).err().unwrap();
    assert_eq!(error.reason, FailureReason::Parse);
    assert!(error.message.contains("twice{a=\"1\",a=\"2\"}") && error.message.contains("more than once"));
    let options = ScrapeOptions { on_limit: OnLimit::Truncate, ..ScrapeOptions::default() };
    let scraped = read_both(&mut bench(options), page);
    assert_eq!((scraped.values.as_slice(), scraped.ledger.refused_total()), ([1.0].as_slice(), 1));
}

#[test]
fn of_a_series_that_comes_twice_the_first_is_stored_as_prometheus_has_it() {
    let scraped = read_both(&mut bench(ScrapeOptions::default()), "a{x=\"1\"} 1\na{ x = \"1\" } 2\nb 3\n");
    assert_eq!(scraped.values, [1.0, 3.0]);
    assert_eq!(scraped.ledger.refused, [(Refusal::Duplicate, 1)].into());
    assert_eq!(*scraped.offenders, ["a{ x = \"1\" }: it comes a second time"]);
}

#[test]
fn legacy_names_are_asked_for() {
    let legacy =
        ScrapeOptions { metric_name_validation_scheme: NameValidation::Legacy, ..ScrapeOptions::default() };
    for (page, name) in [
        ("{\"a.b\"} 1\n", "the metric is called \"a.b\""),
        ("{\"0a\"} 1\n", "the metric is called \"0a\""),
        ("a{\"b.c\"=\"1\"} 1\n", "a label is called \"b.c\""),
        ("a{\"b:c\"=\"1\"} 1\n", "a label is called \"b:c\""),
    ] {
        let error = read(&mut bench(legacy.clone()), page).err().unwrap();
        assert_eq!(error.reason, FailureReason::Parse);
        assert!(error.message.contains(name), "{}", error.message);
        assert_eq!(read_both(&mut bench(ScrapeOptions::default()), page).values, [1.0]);
    }
    assert_eq!(read_both(&mut bench(legacy.clone()), "a:b_0{_c0=\"ü\"} 1\n").values, [1.0]);
    // Rules may make a name valid.
    let renamed = rule(RelabelAction::Replace, "__name__", "(.*)[.](.*)", "__name__", "${1}_${2}");
    let options = ScrapeOptions { metric_relabel_configs: vec![renamed], ..legacy };
    assert_eq!(page_names(&read_both(&mut bench(options), "{\"a.b\"} 1\n")), ["a_b"]);
}

#[test]
fn a_page_with_too_many_samples_fails() {
    let drop = rule(RelabelAction::Drop, "__name__", "go_.*", "", "");
    let options =
        ScrapeOptions { sample_limit: 2, metric_relabel_configs: vec![drop], ..ScrapeOptions::default() };
    let mut bench = bench(options);
    assert_eq!(
        read_both(&mut bench, "a 1\ngo_a 2\nb 3\n").values,
        [1.0, 3.0],
        "what is dropped does not count"
    );
    for _ in 0..2 {
        let error = read(&mut bench, "a 1\ngo_a 2\nb 3\nc 4\n").err().unwrap();
        assert_eq!(error.reason, FailureReason::Limit);
        assert_eq!(error.message, "the page has 3 samples after relabelling, and sample_limit is 2");
        let failed = bench.reader.failed();
        assert_eq!((failed.received, failed.dropped), (4, 1));
    }
    assert_eq!(read_both(&mut bench, "a 1\ngo_a 2\nb 3\n").values, [1.0, 3.0]);
}

#[test]
fn samples_that_are_refused_count_towards_the_limit() {
    let options = ScrapeOptions { sample_limit: 1, ..ScrapeOptions::default() };
    let limits = Limits { max_metric_name_bytes: 3, ..Limits::default() };
    let mut bench = Bench::new(with(options), limits);
    for _ in 0..3 {
        assert_eq!(read(&mut bench, "long_a 1\nlong_b 2\n").err().unwrap().reason, FailureReason::Limit);
    }
    assert_eq!(read(&mut bench, "long_a 1\n").unwrap().ledger.refused_total(), 1);
}

#[test]
fn a_page_that_is_cut_keeps_the_series_that_were_known() {
    let options = ScrapeOptions { sample_limit: 2, on_limit: OnLimit::Truncate, ..ScrapeOptions::default() };
    let mut bench = bench(options);
    assert_eq!(page_names(&read_both(&mut bench, "b 1\nc 2\n")), ["b", "c"]);
    let cut = read_both(&mut bench, "a 0\nb 1\nc 2\nd 3\n");
    assert_eq!((page_names(&cut), cut.added), (vec!["b".to_owned(), "c".to_owned()], 0));
    assert_eq!(cut.ledger.refused, [(Refusal::SampleLimit, 2)].into());
    assert_eq!(cut.ledger.received, 4);
    let why = "it is beyond sample_limit, which is 2";
    assert_eq!(*cut.offenders, [format!("a: {why}"), format!("d: {why}")]);
    // There is room again: the first of the new ones gets it, and stays.
    let room = read_both(&mut bench, "a 0\nb 1\nd 3\n");
    assert_eq!((page_names(&room), names(&room.vanished).len()), (vec!["a".to_owned(), "b".to_owned()], 0));
    assert_eq!(page_names(&read_both(&mut bench, "d 3\nc 2\nb 1\na 0\n")), ["b", "a"]);
    assert_eq!(read_both(&mut bench, "a 1\n").offenders.len(), 0);
}

#[test]
fn few_lines_are_named_and_long_ones_shortened() {
    let options = ScrapeOptions { label_limit: 1, on_limit: OnLimit::Truncate, ..ScrapeOptions::default() };
    let page: String = (0..50).map(|n| format!("m{{l{n}=\"{}\"}} 1\n", "x".repeat(500))).collect();
    let scraped = read_both(&mut bench(options), &page);
    assert_eq!((scraped.ledger.refused_total(), scraped.offenders.len()), (50, 3));
    assert!(scraped.offenders.iter().all(|line| line.len() < 250), "{:?}", scraped.offenders);
}

#[test]
fn series_with_timestamps_end_with_the_page_where_that_is_asked_for() {
    let at = 1_750_000_000_000_i64;
    let page = format!("a 1\nb 2 {at}\nc 3 {at}\n");
    let mut plain = bench(ScrapeOptions::default());
    assert_eq!(read_both(&mut plain, &page).timed.len(), 2);
    assert_eq!(read(&mut plain, "a 1\n").unwrap().vanished.len(), 0);
    assert_eq!(names(&plain.reader.fail().1), ["a"]);
    let mut tracking = bench(ScrapeOptions { track_timestamps_staleness: true, ..ScrapeOptions::default() });
    assert_eq!(read_both(&mut tracking, &page).vanished.len(), 0);
    let fewer = read(&mut tracking, &format!("a 1\nb 2 {at}\n")).unwrap();
    assert_eq!(names(&fewer.vanished), ["c"]);
    assert_eq!(
        read(&mut tracking, "a 1\nb 2\n").unwrap().vanished.len(),
        0,
        "it goes on without a timestamp"
    );
    let back = read(&mut tracking, &page).unwrap();
    assert_eq!((back.vanished.len(), back.timed.len()), (0, 2));
    assert_eq!(names(&tracking.reader.fail().1), ["a", "b", "c"]);
    assert_eq!(tracking.reader.fail().1.len(), 0, "they end once");
}

#[test]
fn timestamps_are_not_honoured_where_that_is_not_wanted() {
    let mut spec = with(ScrapeOptions::default());
    spec.scrape_config.honor_timestamps = false;
    let mut bench = Bench::new(spec, Limits::default());
    let scraped = read_both(&mut bench, "a 1 1000\n");
    assert_eq!((scraped.values.as_slice(), scraped.timed.len()), ([1.0].as_slice(), 0));
}

#[test]
fn labels_may_be_exactly_those_of_the_target() {
    let mut exact = spec();
    exact.scrape_config.options = Arc::new(ScrapeOptions { exact_labels: true, ..ScrapeOptions::default() });
    let scraped = read_both(&mut Bench::new(exact, Limits::default()), "a{job=\"own\"} 1\n");
    assert_eq!(page_names(&scraped), [r#"a{job="own",zone="z1"}"#]);
    assert_eq!(names(&scraped.layout.series[1..2]), [r#"up{zone="z1"}"#]);
}

#[test]
fn more_reports_come_by_option() {
    let mut plain = bench(ScrapeOptions::default());
    assert_eq!(read_both(&mut plain, "a 1\n").layout.series.len(), 1 + 5);
    let mut extra = bench(ScrapeOptions { extra_scrape_metrics: true, ..ScrapeOptions::default() });
    let scraped = read_both(&mut extra, "a 1\n");
    assert_eq!(
        names(&scraped.layout.series[6..]),
        ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"]
    );
}
