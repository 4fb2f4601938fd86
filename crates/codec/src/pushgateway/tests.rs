use proptest::prelude::*;

use super::*;
use crate::exposition::Format;
use crate::metric_family::message;

const BOUNDS: PushBounds = PushBounds { max_series: 1_000, max_bytes: 1 << 20 };

fn group() -> BTreeMap<String, String> {
    [("job", "j"), ("zone", "z"), ("none", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn text(page: &str) -> Families {
    read(page.as_bytes(), Format::Text, &group(), BOUNDS).unwrap().families
}

/// Series of a body as text, in order.
fn shown(write: impl FnOnce(&mut BodyWriter)) -> Vec<String> {
    let mut body = BodyWriter::new();
    write(&mut body);
    let body = body.into_bytes();
    let mut scanner = WriteScanner::new(&body);
    let mut found = Vec::new();
    while let Some(series) = scanner.next_series().unwrap() {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let labels = series.parse_labels(100).unwrap();
        let labels: Vec<_> = labels.iter().map(|l| format!("{}={}", text(l.name), text(l.value))).collect();
        let labels = labels.join(",").replace("__name__=", "");
        match series.only_float() {
            Some((at, value)) if metricsd_model::is_stale(value) => {
                found.push(format!("{labels} stale {at}"))
            }
            Some((at, value)) => found.push(format!("{labels} {value} {at}")),
            None => found.push(format!("{labels} histogram")),
        }
    }
    found
}

fn all(families: &Families) -> Vec<String> {
    shown(|body| families.write(7, body).unwrap())
}

#[test]
fn what_a_page_becomes_is_bounded_while_it_is_read() {
    let page: String = (0..200).map(|number| format!("a{number} 1\n")).collect();
    let long = [("job".to_owned(), "x".repeat(10_000))].into();
    let error = read(page.as_bytes(), Format::Text, &long, BOUNDS).unwrap_err();
    assert_eq!(error, PushError::TooMuch { limit: 1 << 20, what: "bytes of labels", key: "max_bytes" });
    let few = PushBounds { max_series: 199, ..BOUNDS };
    let error = read(page.as_bytes(), Format::Text, &group(), few).unwrap_err();
    assert_eq!(error, PushError::TooMuch { limit: 199, what: "series", key: "max_series" });
    let silent: String = (0..200).map(|number| format!("# TYPE a{number} gauge\n")).collect();
    assert!(read(silent.as_bytes(), Format::Text, &group(), few).is_err());
    let bounds = PushBounds { max_series: 200, ..BOUNDS };
    assert_eq!(read(page.as_bytes(), Format::Text, &group(), bounds).unwrap().families.series_count(), 200);
}

#[test]
fn labels_of_the_group_go_before() {
    let families = text("# HELP a Help.\n# TYPE a counter\na{job=\"own\",b=\"1\",none=\"x\"} 5\nplain 1\n");
    assert_eq!(all(&families), ["a,b=1,job=j,zone=z 5 7", "plain,job=j,zone=z 1 7"]);
    assert_eq!(
        families.kinds(),
        [("a", "counter"), ("plain", "untyped")].map(|(a, b)| (a.into(), b.into())).into()
    );
    assert_eq!((families.list[0].help.as_str(), families.series_count()), ("Help.", 2));
    assert_eq!(Families::from_bytes(&families.to_bytes()), Some(families));
}

#[test]
fn samples_belong_to_their_families() {
    let families = text(
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n\
         # TYPE s summary\ns{quantile=\"0.50\"} 1\ns_sum 1\ns_count 1\n# TYPE g gauge\ng_sum 4\n",
    );
    let names: Vec<_> = families.list.iter().map(|family| (family.name.as_str(), family.count)).collect();
    assert_eq!(names, [("g_sum", 1), ("h", 4), ("s", 3)]);
    assert_eq!(all(&families)[1], "h_bucket,job=j,le=1.0,zone=z 1 7");
    assert!(all(&families).contains(&"s,job=j,quantile=0.5,zone=z 1 7".to_owned()));
    let page = "# TYPE c counter\n# UNIT c \nc_total 1\nc_created 5\n# EOF\n";
    let families = read(page.as_bytes(), Format::OpenMetrics, &group(), BOUNDS).unwrap().families;
    assert_eq!((families.list[0].name.as_str(), families.list[0].count), ("c", 2));
}

#[test]
fn exemplars_are_of_the_push_and_not_of_the_group() {
    let page = "# TYPE c counter\nc_total 1 # {trace_id=\"a\"} 0.5 1.5\n# TYPE h histogram\n\
                h_bucket{le=\"+Inf\"} 2 # {trace_id=\"b\"} 3\nh_sum 3\nh_count 2\n# EOF\n";
    let Pushed { families, exemplars } =
        read(page.as_bytes(), Format::OpenMetrics, &group(), BOUNDS).unwrap();
    let mut body = BodyWriter::new();
    exemplars.write(7_000, &mut body);
    let body = body.into_bytes();
    let (mut scanner, mut found) = (WriteScanner::new(&body), Vec::new());
    while let Some(series) = scanner.next_series().unwrap() {
        let name = String::from_utf8(series.parse_labels(100).unwrap()[0].value.to_vec()).unwrap();
        let mut items = series.items();
        while let Some(item) = items.next_item().unwrap() {
            let SeriesItem::Exemplar(exemplar) = item else { panic!("no sample of {name}") };
            let exemplar = exemplar.decode(10).unwrap();
            found.push((name.clone(), exemplar.labels[0].value.to_vec(), exemplar.value, exemplar.timestamp));
        }
    }
    let expected = [("c_total", b"a", 0.5, 1_500), ("h_bucket", b"b", 3.0, 7_000)];
    assert_eq!(found, expected.map(|(name, id, value, at)| (name.to_owned(), id.to_vec(), value, at)));
    assert_eq!((exemplars.len(), families.series_count()), (2, 4));
    // What is kept of the group is what it would be without them.
    let plain = page.replace(" # {trace_id=\"a\"} 0.5 1.5", "").replace(" # {trace_id=\"b\"} 3", "");
    assert_eq!(read(plain.as_bytes(), Format::OpenMetrics, &group(), BOUNDS).unwrap().families, families);
    // There is a bound, and names that are not for the page to say have none.
    let line = |n: usize| format!("a_total{{n=\"{n}\"}} 1 # {{t=\"{n}\"}} 1\n");
    let many: String = (0..=MAX_EXEMPLARS).map(line).collect();
    let page = format!("# TYPE a counter\n{many}push_time_seconds 1 # {{}} 1\n# EOF\n");
    let bounds = PushBounds { max_series: 1_000_000, max_bytes: 1 << 30 };
    let pushed = read(page.as_bytes(), Format::OpenMetrics, &group(), bounds).unwrap();
    assert_eq!(
        (pushed.exemplars.len(), pushed.families.series_count()),
        (MAX_EXEMPLARS, MAX_EXEMPLARS as u64 + 1)
    );
}

#[test]
fn what_was_pushed_at_is_not_for_the_page_to_say() {
    let families = text("push_time_seconds 1\npush_failure_time_seconds 2\na 3\n");
    assert_eq!(all(&families), ["a,job=j,zone=z 3 7"]);
    let times = shown(|body| write_times(&group(), Some([Some(1_500), None]), 7, body));
    assert_eq!(times, ["push_time_seconds,job=j,zone=z 1.5 7", "push_failure_time_seconds,job=j,zone=z 0 7"]);
    let times = shown(|body| write_times(&group(), None, 7, body));
    assert!(times.iter().all(|time| time.ends_with("stale 7")));
}

#[test]
fn bad_pushes_are_refused_as_a_whole() {
    let check = |page: &str, expected: &str| {
        let error = read(page.as_bytes(), Format::Text, &group(), BOUNDS).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{page}: {error}");
    };
    check("a 1\na 1 1000\n", "line 2: pushed metrics must not have timestamps");
    check("a{job=\"x\"} 1\na{job=\"y\"} 2\n", "line 2: the series comes twice in one push");
    check("a{b=\"1\",b=\"2\"} 1\n", "line 1: label \"b\" is given more than once");
    check("a 1\n!", "line 2: ");
    check("a{b=\"\0\"} 1\n", "line 1: the label \"b\" holds a NUL character");
}

#[test]
fn newer_families_go_over_older_ones_and_what_is_left_behind_ends() {
    let old = text("a{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n");
    let new = text("a{x=\"1\"} 5\nc 6\n");
    let merged = new.clone().over(old.clone());
    assert_eq!(all(&merged), ["a,job=j,x=1,zone=z 5 7", "b,job=j,zone=z 3 7", "c,job=j,zone=z 6 7"]);
    assert_eq!(shown(|body| old.end(&merged, 9, body).unwrap()), ["a,job=j,x=2,zone=z stale 9"]);
    assert_eq!(shown(|body| old.end(&Families::default(), 9, body).unwrap()).len(), 3);
}

#[test]
fn protobuf_reads_as_text_does() {
    let family = message::MetricFamily {
        name: "a".to_owned(),
        help: "Help.".to_owned(),
        metric: vec![message::Metric {
            label: message::LabelPair::list([("b", "1"), ("job", "own")]),
            counter: Some(message::Counter { value: 5.0, ..message::Counter::default() }),
            ..message::Metric::default()
        }],
        ..message::MetricFamily::default()
    };
    let page = message::page(std::slice::from_ref(&family));
    let families = read(&page, Format::Protobuf, &group(), BOUNDS).unwrap().families;
    assert_eq!(families, text("# HELP a Help.\n# TYPE a counter\na{b=\"1\"} 5\n"));
    assert!(read(&page[..page.len() - 1], Format::Protobuf, &group(), BOUNDS).is_err());
    let timed = message::MetricFamily {
        metric: vec![message::Metric { timestamp_ms: 5, ..family.metric[0].clone() }],
        ..family
    };
    let error = read(&message::page(&[timed]), Format::Protobuf, &group(), BOUNDS).unwrap_err();
    assert_eq!(error, PushError::Timestamp("family \"a\"".to_owned()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(page in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            if let Ok(Pushed { families, exemplars }) = read(&page, format, &group(), BOUNDS) {
                exemplars.write(7, &mut BodyWriter::new());
                let again = Families::from_bytes(&families.to_bytes());
                prop_assert_eq!(again.as_ref(), Some(&families));
                prop_assert_eq!(all(&families).len() as u64, families.series_count());
            }
        }
        if let Some(families) = Families::from_bytes(&page) {
            let _ = families.write(0, &mut BodyWriter::new());
        }
    }
}
