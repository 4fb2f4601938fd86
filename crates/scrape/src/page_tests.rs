//! Pages one after the other, and what is stored of each.

use std::sync::Arc;

use metricsd_codec::exposition::Format;
use metricsd_ingest::{Admission, Limits, SeriesTracker};
use metricsd_model::{
    CollectionMethod, FailureReason, FilterAction, MetricFilter, MetricSource, MetricType, PromDuration,
    Refusal, ScrapeConfig, Series, TargetSpec,
};
use metricsd_ports::memory::MemoryStore;
use prometheus_client::metrics::gauge::Gauge;

use crate::client::ScrapeError;
use crate::naming::Namer;
use crate::page::{PageReader, Scraped};

pub(crate) fn spec() -> TargetSpec {
    TargetSpec {
        target_id: "t".into(),
        source_id: "shop".into(),
        source_type: MetricSource::Application,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: "http://host:9100".into(),
            scrape_interval: PromDuration::from_secs(15),
            scrape_timeout: PromDuration::from_secs(10),
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: std::sync::Arc::default(),
        },
        labels: [("zone".to_owned(), "z1".to_owned())].into(),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}

pub(crate) struct Bench {
    pub(crate) namer: Namer,
    pub(crate) reader: PageReader,
    series: Arc<SeriesTracker>,
}

pub(crate) const NOW: i64 = 1_750_000_000_000;

impl Bench {
    pub(crate) fn new(spec: TargetSpec, limits: Limits) -> Self {
        let series = SeriesTracker::new(limits.series(), Arc::new(MemoryStore::new()), Gauge::default());
        let namer = Namer::new(spec, Arc::new(limits));
        let reader = PageReader::new(&namer);
        Self { namer, reader, series }
    }

    fn read(&mut self, page: &str) -> Scraped {
        self.try_read(page.as_bytes(), Format::Text).unwrap()
    }

    pub(crate) fn try_read(&mut self, page: &[u8], format: Format) -> Result<Scraped, ScrapeError> {
        self.read_at(page, format, NOW)
    }

    pub(crate) fn read_at(&mut self, page: &[u8], format: Format, at: i64) -> Result<Scraped, ScrapeError> {
        let mut admission = self.series.admission("shop");
        let read = |reader: &mut PageReader, admission: &mut Admission| {
            reader.read(page, format, &self.namer, at, admission)
        };
        if let Some(scraped) = read(&mut self.reader, &mut admission)? {
            return Ok(scraped);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(admission.settle()).unwrap();
        Ok(read(&mut self.reader, &mut admission)?.expect("nothing is in doubt twice"))
    }
}

fn names(series: &[Arc<Series>]) -> Vec<String> {
    series.iter().map(|series| series.labels.to_string()).collect()
}

fn page_names(scraped: &Scraped) -> Vec<String> {
    names(&scraped.layout.series[..scraped.values.len()])
}

#[test]
fn a_page_becomes_columns_and_the_same_page_the_same_layout() {
    let mut bench = Bench::new(spec(), Limits::default());
    let page = "# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\n";
    let first = bench.read(page);
    let expected = [
        r#"a_total{instance="host:9100",job="shop",x="1",zone="z1"}"#,
        r#"a_total{instance="host:9100",job="shop",x="2",zone="z1"}"#,
    ];
    assert_eq!(page_names(&first), expected);
    assert_eq!(first.values, [1.0, 2.0]);
    assert_eq!((first.added, first.ledger.received, first.ledger.stored, first.types.counters), (2, 2, 2, 2));
    assert_eq!(first.layout.series.len(), 2 + 5, "the reports' columns follow");
    let second = bench.read(&page.replace("} 2", "} 5"));
    assert!(Arc::ptr_eq(&first.layout, &second.layout), "an unchanged page costs no new layout");
    assert_eq!((second.values.as_slice(), second.added), ([1.0, 5.0].as_slice(), 0));
}

#[test]
fn series_that_vanish_are_told_and_those_that_come_are_counted() {
    let mut bench = Bench::new(spec(), Limits::default());
    bench.read("a 1\nb 2\n");
    let scraped = bench.read("b 2\nc 3\nd 4\n");
    assert_eq!(names(&scraped.vanished), [r#"a{instance="host:9100",job="shop",zone="z1"}"#]);
    assert_eq!(scraped.added, 2);
    let (layout, vanished) = bench.reader.fail();
    assert_eq!((layout.series.len(), vanished.len()), (5, 3));
    let back = bench.read("b 2\n");
    assert_eq!((back.added, back.vanished.len()), (1, 0));
}

#[test]
fn what_another_process_stored_is_not_new_nor_is_anything_where_that_is_not_known() {
    let mut first = Bench::new(spec(), Limits::default());
    let known = first.read("a 1\nb 2\n").layout.series.clone();
    let mut next = Bench::new(spec(), Limits::default());
    next.reader.assume(&known[..2]);
    let scraped = next.read("b 2\nc 3\n");
    assert_eq!((names(&scraped.vanished).len(), scraped.added), (1, 1));

    let mut next = Bench::new(spec(), Limits::default());
    next.reader.assume_any();
    assert_eq!(next.read("b 2\nc 3\n").added, 0);
    assert_eq!(next.read("b 2\nc 3\nd 4\n").added, 1, "from then on it is known");
}

#[test]
fn a_new_type_or_help_is_taken_over() {
    let mut bench = Bench::new(spec(), Limits::default());
    assert_eq!(bench.read("a 1\n").layout.series[0].metric_type, MetricType::Custom);
    let typed = bench.read("# HELP a Things \\\\ done\n# TYPE a gauge\na 1\n");
    assert_eq!(typed.layout.series[0].metric_type, MetricType::Gauge);
    assert_eq!(typed.layout.series[0].help.as_deref(), Some("Things \\ done"));
    assert_eq!((typed.vanished.len(), typed.added), (0, 0), "it is the same series");
}

#[test]
fn the_targets_labels_win_unless_the_page_is_honoured() {
    let page = "a{job=\"own\",instance=\"\",exported_job=\"x\"} 1\n";
    let mut bench = Bench::new(spec(), Limits::default());
    let expected =
        r#"a{exported_exported_job="own",exported_job="x",instance="host:9100",job="shop",zone="z1"}"#;
    assert_eq!(page_names(&bench.read(page)), [expected]);
    // An empty label is none: its name is free.
    let expected = r#"a{exported_job="own",instance="host:9100",job="shop",zone="z1"}"#;
    assert_eq!(page_names(&bench.read("a{exported_job=\"\",job=\"own\"} 1\n")), [expected]);
    let mut honoured = spec();
    honoured.scrape_config.honor_labels = true;
    let mut bench = Bench::new(honoured, Limits::default());
    assert_eq!(page_names(&bench.read(page)), [r#"a{exported_job="x",job="own",zone="z1"}"#]);
}

#[test]
fn a_series_that_comes_twice_is_stored_once() {
    let mut filtered = spec();
    filtered.filters = vec![MetricFilter {
        action: FilterAction::DropLabels,
        name: None,
        labels: Default::default(),
        drop_labels: vec!["pod".into()],
    }];
    let mut bench = Bench::new(filtered, Limits::default());
    let page = "a{pod=\"1\"} 1\na{pod=\"2\"} 2\nb 3\nb 4\nup 7\n";
    for _ in 0..2 {
        let scraped = bench.read(page);
        assert_eq!(scraped.values, [1.0, 3.0]);
        assert_eq!(scraped.ledger.refused, [(Refusal::Duplicate, 3)].into());
        assert_eq!((scraped.ledger.received, scraped.ledger.stored), (5, 2));
    }
}

#[test]
fn filters_and_limits_count_what_they_take() {
    let mut filtered = spec();
    filtered.filters = vec![MetricFilter {
        action: FilterAction::Exclude,
        name: Some("drop_.*".into()),
        labels: Default::default(),
        drop_labels: Vec::new(),
    }];
    let limits =
        Limits { max_labels: 6, max_label_value_bytes: 10, max_metric_name_bytes: 8, ..Limits::default() };
    let mut bench = Bench::new(filtered, limits);
    let page = "ok 1\ndrop_me 2\nname_too_long 3\nmany{a=\"1\",b=\"2\",c=\"3\"} 4\nlong{a=\"12345678901\"} 5\n\
                old 6 1000\nnew 7 1750000000001\n";
    let scraped = bench.read(page);
    let refused = [
        (Refusal::InvalidName, 1),
        (Refusal::LabelLimit, 1),
        (Refusal::InvalidLabel, 1),
        (Refusal::TooOld, 1),
    ];
    assert_eq!(scraped.ledger.refused, refused.into());
    assert_eq!((scraped.ledger.received, scraped.ledger.dropped, scraped.ledger.stored), (7, 1, 2));
    assert_eq!((scraped.values.as_slice(), scraped.timed.len()), ([1.0].as_slice(), 1));
    let limits = Limits { max_scrape_samples: 2, ..Limits::default() };
    let mut bench = Bench::new(spec(), limits);
    let mut admission = bench.series.admission("shop");
    let page = b"a 1\nb 2\nc 3\n";
    let error = bench.reader.read(page, Format::Text, &bench.namer, NOW, &mut admission).err().unwrap();
    assert_eq!(error.reason, FailureReason::Limit);
}

#[test]
fn lines_of_old_pages_do_not_add_up() {
    let mut bench = Bench::new(spec(), Limits::default());
    for round in 0..50 {
        let page: String =
            (0..500).map(|line| format!("a{{x=\"{}\"}} {line}\n", round * 500 + line)).collect();
        let scraped = bench.read(&page);
        assert_eq!((scraped.values.len(), scraped.added), (500, 500));
        let again = bench.read(&page);
        assert!(Arc::ptr_eq(&scraped.layout, &again.layout));
        assert_eq!(again.values, scraped.values);
    }
    assert!(bench.reader.lines_kept() <= 2_500, "{}", bench.reader.lines_kept());
}

#[test]
fn a_source_with_all_its_series_goes_on_with_those() {
    let limits = Limits { max_active_series_per_source: 2, ..Limits::default() };
    let mut bench = Bench::new(spec(), limits);
    let first = bench.read("a 1\nb 2\n");
    assert_eq!(first.ledger.stored, 2);
    for _ in 0..2 {
        let more = bench.read("c 3\na 4\nb 5\nd 6 1750000000000\n");
        assert_eq!(more.ledger.refused, [(Refusal::SeriesLimit, 2)].into());
        assert_eq!((more.ledger.received, more.values.as_slice()), (4, [4.0, 5.0].as_slice()));
        assert!(Arc::ptr_eq(&more.layout, &first.layout), "refused lines change nothing about the others");
    }
    let limits = Limits { max_new_series_per_minute_per_source: 60, ..Limits::default() };
    let mut bench = Bench::new(spec(), limits);
    let page: String = (0..61).map(|line| format!("a{{x=\"{line}\"}} {line}\n")).collect();
    assert_eq!(bench.read(&page).ledger.refused, [(Refusal::SeriesRateLimit, 1)].into());
    // A second brings room for one.
    std::thread::sleep(std::time::Duration::from_millis(1_010));
    let whole = bench.read(&page);
    assert_eq!((whole.ledger.stored, whole.ledger.refused_total(), whole.added), (61, 0, 1));
}

#[test]
fn what_a_page_held_before_it_stopped_to_read_is_told() {
    let drop = metricsd_model::RelabelConfig {
        action: metricsd_model::RelabelAction::Drop,
        source_labels: vec!["__name__".into()],
        regex: Some("go_.*".into()),
        ..Default::default()
    };
    for converts in [false, true] {
        let mut spec = spec();
        spec.scrape_config.options = Arc::new(metricsd_model::ScrapeOptions {
            metric_relabel_configs: vec![drop.clone()],
            convert_classic_histograms_to_nhcb: converts,
            ..Default::default()
        });
        let mut bench = Bench::new(spec, Limits::default());
        let mut fails = |page: &str, counts| {
            let error = bench.try_read(page.as_bytes(), Format::Text).err().unwrap();
            assert_eq!(error.reason, FailureReason::Parse, "{page}");
            let failed = bench.reader.failed();
            assert_eq!((failed.received, failed.dropped), counts, "{page}");
        };
        fails("a 1\ngo_a 2\nb 3\nc{ 4\nd 5\n", (3, 1));
        fails("a 1\ngo_a 2\nb 3\nc{ 4\nd 5\n", (3, 1));
        fails("a{ 1\n", (0, 0));
        let whole = bench.read("a 1\ngo_a 2\nb 3\n");
        assert_eq!((whole.values.as_slice(), whole.ledger.dropped), ([1.0, 3.0].as_slice(), 1));
        // What is known of the whole page outlives its broken neighbours, which are not taken for it.
        let mut fails = |page: &str, counts| {
            assert!(bench.try_read(page.as_bytes(), Format::Text).is_err(), "{page}");
            let failed = bench.reader.failed();
            assert_eq!((failed.received, failed.dropped), counts, "{page}");
        };
        fails("a 1\ngo_a 2\nb 3\n}\n", (3, 1));
        fails("a 1\n}\n", (1, 0));
        assert_eq!(bench.reader.lines_kept(), 3);
        let again = bench.read("a 4\ngo_a 2\nb 5\n");
        assert!(Arc::ptr_eq(&whole.layout, &again.layout), "its lines are known still");
        assert_eq!(again.values, [4.0, 5.0]);
    }
}
