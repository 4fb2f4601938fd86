//! Pages of other formats than plain lines, and what is stored of them.

use std::sync::Arc;

use metricsd_codec::exposition::Format;
use metricsd_codec::metric_family::message::{
    Bucket, BucketSpan, Counter, Exemplar, Histogram, LabelPair, Metric, MetricFamily, Quantile, Summary,
    Timestamp, Value, page,
};
use metricsd_ingest::Limits;
use metricsd_model::{
    FailureReason, HISTOGRAM_MARKER_BITS, LabelSet, MetricType, NativeHistogram, OnLimit, Refusal, ResetHint,
    SampleValue, ScrapeOptions, SeriesExemplar,
};

use crate::page::Scraped;
use crate::page_tests::{Bench, NOW, spec};

fn bench(options: ScrapeOptions) -> Bench {
    let mut spec = spec();
    spec.scrape_config.options = Arc::new(options);
    Bench::new(spec, Limits::default())
}

fn native() -> ScrapeOptions {
    ScrapeOptions { scrape_native_histograms: true, ..ScrapeOptions::default() }
}

fn seconds(millis: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: millis / 1_000, nanos: (millis % 1_000) as i32 * 1_000_000 })
}

fn exemplar(id: &str, value: f64, at: i64) -> Exemplar {
    Exemplar { label: LabelPair::list([("trace_id", id)]), value, timestamp: seconds(at) }
}

fn family(name: &str, kind: i32, metric: Vec<Metric>) -> MetricFamily {
    MetricFamily {
        name: name.into(),
        help: format!("About \"{name}\"."),
        r#type: kind,
        metric,
        unit: String::new(),
    }
}

fn labelled(value: &str) -> Metric {
    Metric { label: LabelPair::list([("x", value)]), ..Metric::default() }
}

fn counter(value: f64, created: i64) -> Metric {
    let counter =
        Counter { value, exemplar: Some(exemplar("c", 1.0, NOW - 5)), created_timestamp: seconds(created) };
    Metric { counter: Some(counter), ..labelled("1") }
}

fn histogram(counts: [u64; 2]) -> Histogram {
    let bucket = |count, bound, id: &str| Bucket {
        cumulative_count: count,
        upper_bound: bound,
        exemplar: Some(exemplar(id, bound / 2.0, NOW - 7)),
        ..Bucket::default()
    };
    Histogram {
        sample_count: counts[1],
        sample_sum: 3.5,
        bucket: vec![bucket(counts[0], 1.0, "a"), bucket(counts[1], 2.0, "b")],
        created_timestamp: seconds(NOW - 10_000),
        ..Histogram::default()
    }
}

fn with_native(counts: [u64; 2]) -> Histogram {
    Histogram {
        schema: 1,
        zero_threshold: 0.5,
        positive_span: vec![BucketSpan { offset: 0, length: 2 }],
        positive_delta: vec![counts[0] as i64, counts[1] as i64 - 2 * counts[0] as i64],
        ..histogram(counts)
    }
}

fn of(histogram: Histogram) -> Metric {
    Metric { histogram: Some(histogram), ..labelled("h") }
}

/// What every column of the page holds, in words; native histograms by their counts.
fn shown(scraped: &Scraped) -> Vec<String> {
    let name = |labels: &LabelSet| {
        let kept = labels.iter().filter(|(name, _)| !["job", "instance", "zone", "__name__"].contains(name));
        let kept: Vec<String> = kept.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {}", labels.metric_name(), kept.join(","))
    };
    let mut natives = scraped.histograms.iter();
    let columns = scraped.layout.series.iter().zip(&scraped.values);
    let lines = columns.enumerate().map(|(column, (series, value))| {
        let name = name(&series.labels);
        if value.to_bits() != HISTOGRAM_MARKER_BITS {
            return format!("{name} {value}");
        }
        let (place, native) = natives.next().unwrap();
        assert_eq!(*place as usize, column);
        format!("{name} {} of {:?}", native.count, native.positive_buckets)
    });
    lines.collect()
}

fn traces(exemplars: &[SeriesExemplar]) -> Vec<String> {
    let shown = |told: &SeriesExemplar| {
        let labels = &told.series.labels;
        let le = labels.get("le").unwrap_or_default();
        format!("{}{le} {} {}", labels.metric_name(), told.exemplar.labels, told.exemplar.timestamp - NOW)
    };
    exemplars.iter().map(shown).collect()
}

fn read(bench: &mut Bench, families: &[MetricFamily]) -> Scraped {
    bench.try_read(&page(families), Format::Protobuf).unwrap()
}

#[test]
fn a_protobuf_page_becomes_columns_and_the_same_page_the_same_layout() {
    let mut bench = bench(ScrapeOptions::default());
    let families = |counts, value| {
        let summary = Summary {
            sample_count: 2,
            sample_sum: 5.0,
            quantile: vec![Quantile { quantile: 1.0, value }],
            created_timestamp: None,
        };
        vec![
            family("c_total", 0, vec![counter(value, NOW - 5_000)]),
            family("my.gauge", 1, vec![Metric { gauge: Some(Value { value }), ..labelled("g") }]),
            family("s", 2, vec![Metric { summary: Some(summary), ..labelled("s") }]),
            family("h", 4, vec![of(with_native(counts))]),
        ]
    };
    let first = read(&mut bench, &families([1, 3], 4.0));
    let expected = |value: f64, counts: [u64; 2]| {
        vec![
            format!("c_total x=1 {value}"),
            format!("my.gauge x=g {value}"),
            "s_count x=s 2".to_owned(),
            "s_sum x=s 5".to_owned(),
            format!("s quantile=1.0,x=s {value}"),
            format!("h_count x=h {}", counts[1]),
            "h_sum x=h 3.5".to_owned(),
            format!("h_bucket le=1.0,x=h {}", counts[0]),
            format!("h_bucket le=2.0,x=h {}", counts[1]),
            format!("h_bucket le=+Inf,x=h {}", counts[1]),
        ]
    };
    assert_eq!(shown(&first), expected(4.0, [1, 3]));
    let series = &first.layout.series;
    assert_eq!((series[0].metric_type, series[7].metric_type), (MetricType::Counter, MetricType::Histogram));
    assert_eq!(series[7].help.as_deref(), Some("About \"h\"."));
    assert_eq!((first.ledger.received, first.ledger.stored, first.added), (10, 10, 10));
    assert!(first.starts.is_empty(), "zeros are stored by option");
    let second = read(&mut bench, &families([2, 6], 7.0));
    assert_eq!(shown(&second), expected(7.0, [2, 6]));
    assert!(Arc::ptr_eq(&first.layout, &second.layout));
    assert_eq!(second.added, 0);
}

#[test]
fn native_histograms_are_stored_with_classic_ones_or_without() {
    let families = |counts| vec![family("h", 4, vec![of(with_native(counts))])];
    let mut alone = bench(native());
    assert_eq!(shown(&read(&mut alone, &families([1, 3]))), ["h x=h 3 of [1.0, 2.0]"]);
    let next = read(&mut alone, &families([2, 6]));
    assert_eq!(shown(&next), ["h x=h 6 of [2.0, 4.0]"]);
    assert_eq!(next.layout.series[0].metric_type, MetricType::Histogram);
    let mut both = bench(ScrapeOptions { always_scrape_classic_histograms: true, ..native() });
    let scraped = read(&mut both, &families([1, 3]));
    assert_eq!((scraped.values.len(), shown(&scraped)[5].as_str()), (6, "h x=h 3 of [1.0, 2.0]"));
    let mut gauge = bench(native());
    let scraped = read(&mut gauge, &[family("h", 5, vec![of(with_native([1, 3]))])]);
    assert_eq!(scraped.histograms[0].1.reset_hint, ResetHint::Gauge);
}

#[test]
fn a_histogram_that_makes_no_sense_is_refused_alone_and_stored_when_it_does_again() {
    let mut bench = bench(native());
    let page = |count| {
        let wrong = Histogram { sample_count: count, ..with_native([1, 3]) };
        vec![
            family("h", 4, vec![of(wrong)]),
            family("g", 1, vec![Metric { gauge: Some(Value { value: 1.0 }), ..labelled("g") }]),
        ]
    };
    for _ in 0..2 {
        for _ in 0..2 {
            let scraped = read(&mut bench, &page(4));
            assert_eq!(shown(&scraped), ["g x=g 1"]);
            assert_eq!(scraped.ledger.refused, [(Refusal::InvalidValue, 1)].into());
            assert!(scraped.offenders[0].contains("its count says 4"), "{:?}", scraped.offenders);
        }
        let scraped = read(&mut bench, &page(3));
        assert_eq!(shown(&scraped), ["h x=h 3 of [1.0, 2.0]", "g x=g 1"]);
        assert_eq!(shown(&read(&mut bench, &page(3))).len(), 2);
    }
}

#[test]
fn too_many_buckets_are_merged_or_fail_the_page() {
    let options = |limit| ScrapeOptions { native_histogram_bucket_limit: limit, ..native() };
    let families = [family("h", 4, vec![of(with_native([1, 3]))])];
    assert_eq!(shown(&read(&mut bench(options(2)), &families)), ["h x=h 3 of [1.0, 2.0]"]);
    // Two buckets so far from each other are two at the coarsest resolution too.
    let far = Histogram {
        positive_span: vec![BucketSpan { offset: -200, length: 1 }, BucketSpan { offset: 399, length: 1 }],
        ..with_native([1, 3])
    };
    let families = [family("h", 4, vec![of(far)])];
    let error = bench(options(1)).try_read(&page(&families), Format::Protobuf).err().unwrap();
    assert_eq!(error.reason, FailureReason::Limit);
    assert!(error.message.contains("native_histogram_bucket_limit is 1"), "{}", error.message);
    let kept = read(&mut bench(ScrapeOptions { on_limit: OnLimit::Truncate, ..options(1) }), &families);
    assert_eq!((kept.values.len(), kept.ledger.refused_total()), (0, 1));
}

#[test]
fn bad_protobuf_pages_fail_and_say_where() {
    let whole = page(&[family("h", 4, vec![of(with_native([1, 3]))])]);
    let error = bench(native()).try_read(&whole[..whole.len() - 1], Format::Protobuf).err().unwrap();
    assert_eq!(error.reason, FailureReason::Parse);
    assert!(error.message.contains("the page is cut short"), "{}", error.message);
    let error = bench(native()).try_read(b"a 1\n", Format::Protobuf).err().unwrap();
    assert_eq!(error.reason, FailureReason::Parse);
}

#[test]
fn many_series_of_a_small_page_do_not_fill_the_memory() {
    let buckets = (0..3_000).map(|bound| Bucket { upper_bound: f64::from(bound), ..Bucket::default() });
    let mut metric = of(Histogram { bucket: buckets.collect(), ..Histogram::default() });
    metric.label = LabelPair::list([("x", "y".repeat(1_000).as_str())]);
    let page = page(&[family("h", 4, vec![metric])]);
    let limits = Limits { max_page_bytes: 100_000, ..Limits::default() };
    let mut bench = Bench::new(spec(), limits);
    assert!(page.len() < 100_000);
    let error = bench.try_read(&page, Format::Protobuf).err().unwrap();
    assert_eq!(error.reason, FailureReason::TooLarge);
}

#[test]
fn exemplars_are_stored_once() {
    let mut bench = bench(ScrapeOptions::default());
    let families =
        [family("c_total", 0, vec![counter(4.0, NOW)]), family("h", 4, vec![of(histogram([1, 3]))])];
    let first = read(&mut bench, &families);
    let expected =
        ["c_total {trace_id=\"c\"} -5", "h_bucket1.0 {trace_id=\"a\"} -7", "h_bucket2.0 {trace_id=\"b\"} -7"];
    assert_eq!(traces(&first.exemplars), expected);
    assert!(read(&mut bench, &families).exemplars.is_empty());
    let mut newer = families;
    newer[0].metric[0].counter.as_mut().unwrap().exemplar = Some(exemplar("d", 1.0, NOW - 1));
    assert_eq!(traces(&read(&mut bench, &newer).exemplars), ["c_total {trace_id=\"d\"} -1"]);
    let mut natives = self::bench(native());
    let scraped = read(&mut natives, &[family("h", 4, vec![of(with_native([1, 3]))])]);
    assert_eq!(traces(&scraped.exemplars), ["h {trace_id=\"a\"} -7", "h {trace_id=\"b\"} -7"]);
}

#[test]
fn exemplars_of_text_are_stored_too() {
    let mut bench = bench(ScrapeOptions::default());
    let text = |value: u32, trace: &str| {
        format!(
            "# TYPE a counter\na_total{{x=\"1\"}} {value} # {{trace_id=\"{trace}\"}} 0.5\na_total {value}\n# EOF\n"
        )
    };
    let mut read = |text: &str| bench.try_read(text.as_bytes(), Format::OpenMetrics).unwrap();
    assert_eq!(traces(&read(&text(1, "x")).exemplars), ["a_total {trace_id=\"x\"} 0"]);
    assert!(read(&text(2, "x")).exemplars.is_empty(), "without a time it is the same one");
    assert_eq!(traces(&read(&text(3, "y")).exemplars), ["a_total {trace_id=\"y\"} 0"]);
    let long = "z".repeat(121);
    assert!(read(&text(3, &long)).exemplars.is_empty(), "it is longer than an exemplar may be");
    assert_eq!(read(&text(4, &long)).values, [4.0, 4.0]);
}

fn starts(scraped: &Scraped) -> Vec<(String, i64, SampleValue)> {
    let name =
        |labels: &LabelSet| format!("{}{}", labels.metric_name(), labels.get("le").unwrap_or_default());
    scraped
        .starts
        .iter()
        .map(|(series, at, value)| (name(&series.labels), *at - NOW, value.clone()))
        .collect()
}

#[test]
fn series_that_begin_get_a_zero_once() {
    let options = ScrapeOptions { created_timestamp_zero: true, ..native() };
    let mut bench = bench(options);
    let families = |created| {
        vec![family("c_total", 0, vec![counter(4.0, created)]), family("h", 4, vec![of(with_native([1, 3]))])]
    };
    let first = read(&mut bench, &families(NOW - 5_000));
    let nothing = NativeHistogram {
        schema: 1,
        zero_threshold: 0.5,
        reset_hint: ResetHint::Yes,
        ..NativeHistogram::default()
    };
    let expected = vec![
        ("c_total".to_owned(), -5_000, SampleValue::Float(0.0)),
        ("h".to_owned(), -10_000, SampleValue::Histogram(Box::new(nothing))),
    ];
    assert_eq!(starts(&first), expected);
    assert_eq!(first.ledger.stored, 2, "zeros are no samples of the page");
    assert!(read(&mut bench, &families(NOW - 5_000)).starts.is_empty());
    let again = bench.read_at(&page(&families(NOW + 2_000)), Format::Protobuf, NOW + 5_000).unwrap();
    assert_eq!(starts(&again), [("c_total".to_owned(), 2_000, SampleValue::Float(0.0))]);
    let earlier = bench.read_at(&page(&families(NOW + 1_000)), Format::Protobuf, NOW + 9_000).unwrap();
    assert!(earlier.starts.is_empty(), "before the last page it did not begin");
    let later = bench.read_at(&page(&families(NOW + 20_000)), Format::Protobuf, NOW + 10_000).unwrap();
    assert!(later.starts.is_empty(), "what is to come did not begin");
    let mut other = self::bench(ScrapeOptions { created_timestamp_zero: true, ..native() });
    other.reader.assume_any();
    assert!(read(&mut other, &families(NOW - 5_000)).starts.is_empty(), "another process may have told so");
}

#[test]
fn created_lines_of_open_metrics_are_times_or_samples() {
    let text = format!(
        "# TYPE a counter\na_total{{x=\"1\"}} 5\na_created{{x=\"1\"}} {}\n# TYPE h histogram\n\
         h_bucket{{le=\"1.0\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_count 2\nh_sum 3\nh_created {}\n\
         # TYPE g gauge\ng 1\n# TYPE g_created gauge\ng_created 7\n# EOF\n",
        (NOW - 2_500) as f64 / 1e3,
        (NOW - 4_000) as f64 / 1e3,
    );
    let plain = bench(ScrapeOptions::default()).try_read(text.as_bytes(), Format::OpenMetrics).unwrap();
    assert_eq!((plain.values.len(), plain.starts.len()), (9, 0));
    let mut bench = bench(ScrapeOptions { created_timestamp_zero: true, ..ScrapeOptions::default() });
    let scraped = bench.try_read(text.as_bytes(), Format::OpenMetrics).unwrap();
    assert_eq!(scraped.values, [5.0, 1.0, 2.0, 2.0, 3.0, 1.0, 7.0]);
    let expected = [
        ("a_total", -2_500),
        ("h_bucket1.0", -4_000),
        ("h_bucket+Inf", -4_000),
        ("h_count", -4_000),
        ("h_sum", -4_000),
    ];
    let found = starts(&scraped);
    let found: Vec<(&str, i64)> = found.iter().map(|(name, at, _)| (name.as_str(), *at)).collect();
    assert_eq!(found, expected);
    let again = bench.try_read(text.as_bytes(), Format::OpenMetrics).unwrap();
    assert!(again.starts.is_empty() && Arc::ptr_eq(&again.layout, &scraped.layout));
}

#[test]
fn classic_histograms_become_native_ones() {
    let convert = |keeps| ScrapeOptions {
        convert_classic_histograms_to_nhcb: true,
        always_scrape_classic_histograms: keeps,
        ..ScrapeOptions::default()
    };
    let families = [family("h", 4, vec![of(histogram([1, 3]))])];
    let converted = read(&mut bench(convert(false)), &families);
    assert_eq!(shown(&converted), ["h x=h 3 of [1.0, 2.0]"]);
    let (_, native) = &converted.histograms[0];
    assert_eq!(
        (native.schema, native.custom_values.as_slice(), native.sum),
        (-53, [1.0, 2.0].as_slice(), 3.5)
    );
    assert_eq!(traces(&converted.exemplars).len(), 2);
    assert_eq!(converted.ledger.received, 1);
    let both = read(&mut bench(convert(true)), &families);
    assert_eq!((both.values.len(), shown(&both)[5].as_str()), (6, "h x=h 3 of [1.0, 2.0]"));
    // A native histogram is not converted, unless none is wanted.
    let families = [family("h", 4, vec![of(with_native([1, 3]))])];
    let scraped =
        read(&mut bench(ScrapeOptions { scrape_native_histograms: true, ..convert(false) }), &families);
    assert_eq!((scraped.histograms[0].1.schema, scraped.values.len()), (1, 1));
    assert_eq!(read(&mut bench(convert(false)), &families).histograms[0].1.schema, -53);
}

#[test]
fn classic_histograms_of_text_become_native_ones() {
    let text = |counts: [u32; 3]| {
        format!(
            "# HELP h About h.\n# TYPE h histogram\nh_bucket{{x=\"1\",le=\"1\"}} {}\nh_bucket{{x=\"1\",le=\"2\"}} {}\n\
             h_bucket{{x=\"1\",le=\"+Inf\"}} {}\nh_sum{{x=\"1\"}} 3.5\nh_count{{x=\"1\"}} {}\nother_bucket{{le=\"1\"}} 7\n",
            counts[0], counts[1], counts[2], counts[2]
        )
    };
    let options = ScrapeOptions { convert_classic_histograms_to_nhcb: true, ..ScrapeOptions::default() };
    let mut bench = bench(options);
    let first = bench.try_read(text([1, 1, 4]).as_bytes(), Format::Text).unwrap();
    assert_eq!(shown(&first), ["other_bucket le=1 7", "h x=1 4 of [1.0, 3.0]"]);
    assert_eq!(first.layout.series[1].help.as_deref(), Some("About h."));
    let second = bench.try_read(text([2, 3, 5]).as_bytes(), Format::Text).unwrap();
    assert_eq!(shown(&second), ["other_bucket le=1 7", "h x=1 5 of [2.0, 1.0, 2.0]"]);
    assert!(Arc::ptr_eq(&first.layout, &second.layout));
    let wrong = bench.try_read(text([2, 1, 5]).as_bytes(), Format::Text).unwrap();
    assert_eq!((wrong.values.len(), wrong.ledger.refused_total()), (1, 1));
    assert!(wrong.offenders[0].contains("cannot be converted"), "{:?}", wrong.offenders);
}

#[test]
fn bounds_and_quantiles_are_written_in_one_way() {
    let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1e6\"} 2\nh_bucket{le=\"+Inf\"} 2\n\
                # TYPE s summary\ns{quantile=\"0.50\"} 1\n# TYPE g gauge\ng{le=\"1\",quantile=\"1\"} 1\n";
    let scraped = bench(ScrapeOptions::default()).try_read(text.as_bytes(), Format::Text).unwrap();
    let expected = [
        "h_bucket le=1.0 1",
        "h_bucket le=1e+06 2",
        "h_bucket le=+Inf 2",
        "s quantile=0.5 1",
        "g le=1,quantile=1 1",
    ];
    assert_eq!(shown(&scraped), expected);
}

#[test]
fn timestamps_of_metrics_are_kept_unless_the_target_says_otherwise() {
    let metric = Metric { timestamp_ms: NOW - 100, ..of(with_native([1, 3])) };
    let families = [family("h", 4, vec![metric])];
    for _ in 0..2 {
        let scraped = read(&mut bench(native()), &families);
        let (series, at, value) = &scraped.timed[0];
        assert_eq!((series.labels.metric_name(), *at), ("h", NOW - 100));
        assert!(matches!(value, SampleValue::Histogram(histogram) if histogram.count == 3.0));
    }
    let mut ignoring = spec();
    ignoring.scrape_config.honor_timestamps = false;
    ignoring.scrape_config.options = Arc::new(native());
    let mut bench = Bench::new(ignoring, Limits::default());
    assert_eq!(shown(&read(&mut bench, &families)), ["h x=h 3 of [1.0, 2.0]"]);
}

#[test]
fn families_are_described_under_their_own_names_where_series_cannot_say_it() {
    let text = "# TYPE c counter\n# HELP c Counts.\nc_total 1\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                # TYPE s stateset\ns{s=\"on\"} 1\n# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\ng_gsum 1\n\
                # TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\n# TYPE u unknown\nu 1\n# TYPE empty info\n# EOF\n";
    let mut bench = bench(ScrapeOptions::default());
    let mut read = |text: &str| {
        let scraped = bench.try_read(text.as_bytes(), Format::OpenMetrics).unwrap();
        let said = |said: &metricsd_model::FamilyMetadata| format!("{} {}", said.family, said.metric_type);
        scraped.families.iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(read(text), ["c COUNTER", "b INFO", "s STATE_SET", "g GAUGE_HISTOGRAM", "u CUSTOM"]);
    assert_eq!(read(text), [""; 0], "once, as long as the page says the same");
    assert_eq!(read(&text.replace("# TYPE s stateset", "# TYPE s info")).len(), 5, "it is another statement");
    let text = "# TYPE c counter\nc 1\n# TYPE g gauge\ng 1\n";
    let plain = self::bench(ScrapeOptions::default()).try_read(text.as_bytes(), Format::Text).unwrap();
    assert!(plain.families.iter().all(|said| said.family == "c"));
}
