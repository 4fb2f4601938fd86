//! What is written reads back as the same samples.

use std::sync::Arc;

use metricsd_model::{LabelSet, METRIC_NAME, MetricType, Millis, NativeHistogram, Span, stale_marker};

use super::*;
use crate::{Compression, Row, RowReader, RowValue, Step};

const NOON: Millis = 1_750_500_000_000;

struct Series {
    labels: LabelSet,
    metric_type: MetricType,
    unit: Option<&'static str>,
    help: Option<&'static str>,
    timestamps: Vec<Millis>,
    values: Vec<f64>,
    histograms: Vec<(usize, NativeHistogram)>,
}

impl Series {
    fn rows(&self) -> SeriesRows<'_> {
        SeriesRows {
            labels: &self.labels,
            metric_type: self.metric_type,
            unit: self.unit,
            help: self.help,
            goes_on: false,
            timestamps: &self.timestamps,
            values: &self.values,
            histograms: &self.histograms,
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::new(pairs.iter().copied()).unwrap()
}

fn series(pairs: &[(&str, &str)], metric_type: MetricType, values: &[f64]) -> Series {
    Series {
        labels: labels(pairs),
        metric_type,
        unit: None,
        help: None,
        timestamps: (0..values.len() as i64).map(|at| NOON + at * 15_000 + at % 7).collect(),
        values: values.to_vec(),
        histograms: Vec::new(),
    }
}

fn all() -> Vec<Series> {
    let histogram = NativeHistogram {
        schema: 2,
        count: 4.0,
        sum: 2.5,
        zero_threshold: 1e-3,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![3.0, 1.0],
        ..NativeHistogram::default()
    };
    let mut native =
        series(&[(METRIC_NAME, "latency"), ("a", "1")], MetricType::Histogram, &[0.0, stale_marker()]);
    native.histograms = vec![(0, histogram)];
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 5e-324, 0.1 + 0.2, stale_marker()];
    let mut described = series(&[(METRIC_NAME, "disk_bytes"), ("d", "x")], MetricType::Gauge, &odd);
    (described.unit, described.help) = (Some("bytes"), Some("What a \"disk\" holds,\nin \\ bytes"));
    vec![
        series(&[(METRIC_NAME, "a_total")], MetricType::Counter, &[1.0, 2.0, 3.5]),
        series(
            &[(METRIC_NAME, "b"), ("comma", "a,b"), ("quote", "\"q\""), ("line", "x\ny"), ("ü", "ä\\")],
            MetricType::Custom,
            &[7.0],
        ),
        described,
        series(&[(METRIC_NAME, "h_bucket"), ("le", "+Inf")], MetricType::Histogram, &[4.0, 5.0]),
        native,
        series(&[(METRIC_NAME, "odd name-é"), ("a b", "c")], MetricType::Gauge, &[1.0]),
    ]
}

fn write(format: FileFormat, series: &[Series]) -> Vec<u8> {
    let mut writer = FileWriter::new(format).unwrap();
    let mut out = Vec::new();
    for series in series {
        writer.write(&series.rows()).unwrap();
        out.extend(writer.take());
    }
    writer.finish().unwrap();
    out.extend(writer.take());
    out
}

fn read(format: FileFormat, bytes: Vec<u8>) -> Vec<Row> {
    let mut reader = RowReader::open(Arc::new(bytes), format, Compression::None, u64::MAX).unwrap();
    let mut rows = Vec::new();
    loop {
        let mut row = Row::default();
        match reader.next_row(&mut row).unwrap() {
            Step::Row => rows.push(row),
            Step::Fault(fault) => panic!("{format:?}: {fault:?}"),
            Step::End => return rows,
        }
    }
}

/// Bits, so that each NaN is told from the others.
fn cell(value: &RowValue) -> (Option<u64>, Option<NativeHistogram>) {
    match value {
        RowValue::Stale => (Some(metricsd_model::STALE_NAN_BITS), None),
        RowValue::Float(value) if value.is_nan() => (Some(f64::NAN.to_bits()), None),
        RowValue::Float(value) => (Some(value.to_bits()), None),
        RowValue::Histogram(histogram) => (None, Some((**histogram).clone())),
    }
}

fn check(format: FileFormat, kept: impl Fn(&RowValue) -> bool) {
    let all = all();
    let mut rows = read(format, write(format, &all)).into_iter();
    for series in &all {
        for (time, expected) in series.rows().cells() {
            let expected = match expected {
                Cell::Float(value) => RowValue::Float(value),
                Cell::Stale => RowValue::Stale,
                Cell::Histogram(histogram) => RowValue::Histogram(Box::new(histogram.clone())),
            };
            if !kept(&expected) {
                continue;
            }
            let row = rows.next().unwrap_or_else(|| panic!("{format:?}: {} is missing", series.labels));
            let pairs = row.labels.iter().chain([(METRIC_NAME, row.name.as_str())]);
            assert_eq!(LabelSet::new(pairs).unwrap(), series.labels, "{format:?}");
            assert_eq!(
                (row.timestamp, cell(&row.value)),
                (Some(time), cell(&expected)),
                "{format:?} {}",
                series.labels
            );
            assert_eq!(row.kind.metric_type(), series.metric_type, "{format:?} {}", series.labels);
            assert_eq!(row.unit, series.unit.unwrap_or(""), "{format:?}");
        }
    }
    assert_eq!(rows.next(), None, "{format:?}");
}

#[test]
fn files_read_back() {
    for format in [FileFormat::Csv, FileFormat::Ndjson, FileFormat::Parquet] {
        check(format, |_| true);
    }
    // It has no form for the others.
    check(FileFormat::OpenMetrics, |value| matches!(value, RowValue::Float(_)));
}

#[test]
fn files_look_as_documented() {
    let described = &all()[2..3];
    let csv = String::from_utf8(write(FileFormat::Csv, described)).unwrap();
    assert!(
        csv.starts_with(
            "timestamp,metric_name,metric_type,value,labels,histogram,stale,unit,help\n\
         2025-06-21T10:00:00.000Z,disk_bytes,GAUGE,NaN,\"{\"\"d\"\":\"\"x\"\"}\",,,bytes,\"What a"
        ),
        "{csv}"
    );
    let text = String::from_utf8(write(FileFormat::OpenMetrics, &described[..1])).unwrap();
    let expected = "\
# TYPE disk_bytes gauge
# UNIT disk_bytes bytes
# HELP disk_bytes What a \\\"disk\\\" holds,\\nin \\\\ bytes
disk_bytes{d=\"x\"} NaN 1750500000.000
disk_bytes{d=\"x\"} +Inf 1750500015.001
";
    assert!(text.starts_with(expected) && text.ends_with("# EOF\n"), "{text}");
    let line = String::from_utf8(write(FileFormat::Ndjson, &all()[..1])).unwrap();
    let first = "{\"timestamp\":\"2025-06-21T10:00:00.000Z\",\"name\":\"a_total\",\"metric_type\":\"COUNTER\",\
                 \"labels\":{},\"value\":1.0}\n";
    assert!(line.starts_with(first), "{line}");
}

#[test]
fn empty_files_are_whole() {
    for format in [FileFormat::Csv, FileFormat::Ndjson, FileFormat::OpenMetrics, FileFormat::Parquet] {
        assert_eq!(read(format, write(format, &[])), [], "{format:?}");
    }
}

#[test]
fn large_files_have_several_row_groups() {
    let values: Vec<f64> = (0..250_000).map(f64::from).collect();
    let series = [series(&[(METRIC_NAME, "a"), ("b", "c")], MetricType::Gauge, &values)];
    let rows = read(FileFormat::Parquet, write(FileFormat::Parquet, &series));
    assert_eq!(rows.len(), values.len());
    let last = rows.last().unwrap();
    assert_eq!((last.line, &last.value), (250_000, &RowValue::Float(249_999.0)));
}

#[test]
fn a_family_is_declared_once_whatever_its_senders_say() {
    let of = |name: &str, sender: &str, metric_type| {
        series(&[(METRIC_NAME, name), ("sender", sender)], metric_type, &[1.0])
    };
    let series = [
        of("up", "a", MetricType::Gauge),
        of("up", "b", MetricType::Counter),
        of("up_total", "a", MetricType::Gauge),
        of("up_total", "b", MetricType::Counter),
        of("x", "a", MetricType::Gauge),
        of("x_count", "b", MetricType::Histogram),
        of("x_sum", "b", MetricType::Histogram),
        of("y_total", "b", MetricType::Counter),
        of("y_total", "c", MetricType::Gauge),
        of("y_total", "d", MetricType::Counter),
    ];
    let text = String::from_utf8(write(FileFormat::OpenMetrics, &series)).unwrap();
    let declared: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let expected = [
        "# TYPE up gauge",
        "# TYPE up_total gauge",
        "# TYPE x gauge",
        "# TYPE x_count unknown",
        "# TYPE x_sum unknown",
        "# TYPE y counter",
    ];
    assert_eq!(declared, expected);
}

#[test]
fn row_groups_of_long_texts_are_smaller() {
    let long = "x".repeat(1 << 20);
    let all: Vec<Series> = (0..40)
        .map(|at| {
            let labels = [(METRIC_NAME, "a"), ("at", &*at.to_string()), ("long", &*long)];
            series(&labels, MetricType::Gauge, &[1.0])
        })
        .collect();
    let mut writer = FileWriter::new(FileFormat::Parquet).unwrap();
    let early: usize = all
        .iter()
        .map(|series| {
            writer.write(&series.rows()).unwrap();
            writer.take().len()
        })
        .sum();
    // Two groups of sixteen rows are written before the end is known.
    assert!(early > 1_000, "{early}");
}
