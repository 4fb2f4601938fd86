//! A page of counters and gauges with three labels each, one of classic histograms, one of native ones.

use std::fmt::Write;

use metricsd_codec::exposition::Format;
use metricsd_codec::metric_family::message::{
    Bucket, BucketSpan, Counter, Histogram, LabelPair, Metric, MetricFamily, Value, page,
};

use super::Page;

/// Series of a family.
const FAMILY: usize = 500;

/// Bounds of the classic histograms, the last one left out.
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The same counters and gauges in each format, then histograms in protobuf.
pub(super) fn pages(series: usize) -> Vec<Page> {
    let text = text(series, false).into_bytes();
    let open_metrics = text_of_open_metrics(series);
    vec![
        Page { name: "text.txt", format: Format::Text, bytes: text, native: false },
        Page { name: "openmetrics.txt", format: Format::OpenMetrics, bytes: open_metrics, native: false },
        Page { name: "plain.pb", format: Format::Protobuf, bytes: plain(series), native: false },
        Page { name: "classic.pb", format: Format::Protobuf, bytes: classic(series / 13), native: false },
        Page { name: "native.pb", format: Format::Protobuf, bytes: native(series / 13), native: true },
    ]
}

/// Every other family is of counters.
fn name(family: usize) -> (String, bool) {
    match family % 2 {
        0 => (format!("app_subsystem_{family}_operations"), true),
        _ => (format!("app_subsystem_{family}_bytes"), false),
    }
}

fn labels(place: usize) -> [(&'static str, String); 3] {
    let method = ["GET", "PUT", "POST", "DELETE"][place % 4];
    [("handler", format!("/api/v1/h-{place:03}")), ("method", method.to_owned()), ("code", "200".to_owned())]
}

fn value(family: usize, place: usize) -> f64 {
    (family * FAMILY + place) as f64 * 1234.57
}

fn text(series: usize, open_metrics: bool) -> String {
    let mut page = String::new();
    for family in 0..series / FAMILY {
        let (name, counts) = name(family);
        let kind = if counts { "counter" } else { "gauge" };
        let suffix = if counts { "_total" } else { "" };
        let described = if open_metrics { name.clone() } else { format!("{name}{suffix}") };
        let _ = writeln!(page, "# HELP {described} Made up for a benchmark.\n# TYPE {described} {kind}");
        for place in 0..FAMILY {
            let [(a, av), (b, bv), (c, cv)] = labels(place);
            let value = value(family, place);
            let _ = writeln!(page, "{name}{suffix}{{{a}=\"{av}\",{b}=\"{bv}\",{c}=\"{cv}\"}} {value}");
        }
    }
    page
}

fn text_of_open_metrics(series: usize) -> Vec<u8> {
    (text(series, true) + "# EOF\n").into_bytes()
}

fn metric(place: usize) -> Metric {
    let labels = labels(place);
    let label = LabelPair::list(labels.iter().map(|(name, value)| (*name, value.as_str())));
    Metric { label, ..Metric::default() }
}

fn family(name: String, kind: i32, metric: Vec<Metric>) -> MetricFamily {
    MetricFamily {
        name,
        help: "Made up for a benchmark.".to_owned(),
        r#type: kind,
        metric,
        unit: String::new(),
    }
}

fn plain(series: usize) -> Vec<u8> {
    let families = (0..series / FAMILY).map(|number| {
        let (name, counts) = name(number);
        let metrics = (0..FAMILY).map(|place| {
            let value = value(number, place);
            match counts {
                true => Metric { counter: Some(Counter { value, ..Counter::default() }), ..metric(place) },
                false => Metric { gauge: Some(Value { value }), ..metric(place) },
            }
        });
        match counts {
            true => family(format!("{name}_total"), 0, metrics.collect()),
            false => family(name, 1, metrics.collect()),
        }
    });
    page(&families.collect::<Vec<_>>())
}

fn histograms(count: usize, make: impl Fn(usize) -> Histogram) -> Vec<u8> {
    let families = (0..count.div_ceil(FAMILY)).map(|number| {
        let places = 0..FAMILY.min(count - number * FAMILY);
        let metrics = places.map(|place| Metric { histogram: Some(make(place)), ..metric(place) });
        family(format!("app_subsystem_{number}_seconds"), 4, metrics.collect())
    });
    page(&families.collect::<Vec<_>>())
}

fn classic(count: usize) -> Vec<u8> {
    histograms(count, |place| {
        let bucket = |(at, bound): (usize, &f64)| Bucket {
            cumulative_count: (at * (place + 1)) as u64,
            upper_bound: *bound,
            ..Bucket::default()
        };
        Histogram {
            sample_count: 11 * (place as u64 + 1),
            sample_sum: value(1, place),
            bucket: BOUNDS.iter().enumerate().map(bucket).collect(),
            ..Histogram::default()
        }
    })
}

fn native(count: usize) -> Vec<u8> {
    histograms(count, |place| Histogram {
        sample_count: 20 * (place as u64 + 1),
        sample_sum: value(1, place),
        schema: 3,
        zero_threshold: 1e-128,
        positive_span: vec![BucketSpan { offset: -10, length: 12 }, BucketSpan { offset: 2, length: 8 }],
        positive_delta: (0..20).map(|at| if at == 0 { place as i64 + 1 } else { 0 }).collect(),
        ..Histogram::default()
    })
}
