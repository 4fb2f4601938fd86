//! What is read of each format, good and bad.

use std::io::Write;

use metricsd_codec::exposition::MetricKind;
use metricsd_model::Refusal;
use proptest::prelude::*;

use super::*;
use crate::part::{PartBounds, Parts};
use crate::row::RowValue;

/// Rows and faults, in short: line, name, labels, time, value; or line and reason.
#[derive(Debug, PartialEq)]
enum Seen {
    Row(u64, String, Vec<(String, String)>, Option<i64>, String),
    Fault(u64, Refusal),
}

fn row(line: u64, name: &str, labels: &[(&str, &str)], time: Option<i64>, value: &str) -> Seen {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Seen::Row(line, name.to_owned(), labels, time, value.to_owned())
}

fn open(bytes: &[u8], format: FileFormat) -> Result<RowReader, FileError> {
    RowReader::open(Arc::new(bytes.to_vec()), format, Compression::None, 1 << 30)
}

fn read(bytes: &[u8], format: FileFormat) -> Result<Vec<Seen>, FileError> {
    let mut reader = open(bytes, format)?;
    let (mut seen, mut row) = (Vec::new(), Row::default());
    loop {
        seen.push(match reader.next_row(&mut row)? {
            Step::End => return Ok(seen),
            Step::Fault(fault) => {
                assert!(!fault.message.is_empty());
                Seen::Fault(fault.line, fault.reason)
            }
            Step::Row => {
                let value = match &row.value {
                    RowValue::Float(value) => value.to_string(),
                    RowValue::Stale => "stale".to_owned(),
                    RowValue::Histogram(histogram) => format!("histogram of {}", histogram.count),
                };
                let pairs = row.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
                Seen::Row(row.line, row.name.clone(), pairs.collect(), row.timestamp, value)
            }
        });
    }
}

fn refused(bytes: &[u8], format: FileFormat) -> String {
    match read(bytes, format) {
        Ok(seen) => panic!("{seen:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn csv_has_columns_and_labels() {
    let text = "\u{feff}timestamp,metric_name,value,host,labels\r\n\
                1000,a,1.5,h1,\"{\"\"zone\"\":\"\"z\"\"}\"\r\n\
                2025-06-21T10:00:00Z,b,NaN,,{}\n\
                ,\"c\nd\",-Inf,\"h,2\",\n\
                1,e,StaleNaN,,";
    let expected = [
        row(2, "a", &[("host", "h1"), ("zone", "z")], Some(1_000), "1.5"),
        row(3, "b", &[], Some(1_750_500_000_000), "NaN"),
        row(4, "c\nd", &[("host", "h,2")], None, "-inf"),
        row(6, "e", &[], Some(1), "stale"),
    ];
    assert_eq!(read(text.as_bytes(), FileFormat::Csv).unwrap(), expected);
}

#[test]
fn columns_are_bounded_in_number_and_name() {
    let names = |count: usize| (0..count).map(|n| format!(",c{n}")).collect::<String>();
    let header = |rest: &str| format!("metric_name,value{rest}\na,1\n").into_bytes();
    assert_eq!(read(&header(&names(1_022)), FileFormat::Csv).unwrap().len(), 1);
    assert!(refused(&header(&names(1_023)), FileFormat::Csv).contains("more than 1024 columns"));
    assert_eq!(read(&header(&format!(",{}", "x".repeat(1_024))), FileFormat::Csv).unwrap().len(), 1);
    let long = refused(&header(&format!(",{}", "x".repeat(1_025))), FileFormat::Csv);
    assert!(long.contains("has 1025 bytes"), "{long}");
}

#[test]
fn bad_lines_of_csv_harm_no_neighbour() {
    let text = b"metric_name,value,timestamp,metric_type,labels,host\n\
        a,1,1,GAUGE,,\n\
        a,one,1,GAUGE,,\n\
        ,1,1,GAUGE,,\n\
        a,1,yesterday,GAUGE,,\n\
        a,1,1,THERMOMETER,,\n\
        a,1,1,GAUGE,[],\n\
        a,1,1\n\
        a,1e999,1,GAUGE,,\n\
        a,,1,GAUGE,,\n\
        a,\xff,1,GAUGE,,\n\
        a,1,1,GAUGE,\"{\"\"host\"\":\"\"x\"\"}\",y\n\
        a,2,2,gauge,,\n";
    let faults = [
        (3, Refusal::InvalidValue),
        (4, Refusal::InvalidName),
        (5, Refusal::InvalidValue),
        (6, Refusal::InvalidValue),
        (7, Refusal::InvalidLabel),
        (8, Refusal::InvalidValue),
        (9, Refusal::InvalidValue),
        (10, Refusal::InvalidValue),
        (11, Refusal::InvalidValue),
        (12, Refusal::InvalidLabel),
    ];
    let mut expected = vec![row(2, "a", &[], Some(1), "1")];
    expected.extend(faults.map(|(line, reason)| Seen::Fault(line, reason)));
    expected.push(row(13, "a", &[], Some(2), "2"));
    assert_eq!(read(text, FileFormat::Csv).unwrap(), expected);
}

#[test]
fn a_file_that_is_no_table_is_refused() {
    assert!(refused(b"", FileFormat::Csv).contains("empty"));
    assert!(refused(b"PAR1\x00\x01", FileFormat::Csv).contains("column"));
    assert!(refused(b"metric_name,time\na,1\n", FileFormat::Csv).contains("value"));
    assert!(refused(b"metric_name,value,a,a\n", FileFormat::Csv).contains("twice"));
    let mut open_quote = b"metric_name,value\n\"a".to_vec();
    open_quote.extend(std::iter::repeat_n(b'x', 3 << 20));
    assert!(refused(&open_quote, FileFormat::Csv).contains("quote"));
}

#[test]
fn ndjson_has_items() {
    let text = r#"{"name":"a","value":1.5,"timestamp":1000,"metric_type":"GAUGE","labels":{"h":"\u00e4"},"source":"APPLICATION"}

{"metric_name":"b","value":"+Inf","timestamp":"2025-06-21T10:00:00Z","help":"h","unit":"s"}
{"name":"c","value":null,"stale":true}
{"name":"d","histogram":{"schema":0,"count":3,"sum":"NaN"}}
{"name":"e"}
{"name":"f","value":1,"more":2}
{"name":"","value":1}
[1]
nonsense
{"name":"g","value":1,"labels":{"a":"1","a":"2"}}
{"name":"h","value":true}
{"name":"i","value":2}"#;
    let wrong = |line, reason| Seen::Fault(line, reason);
    let expected = [
        row(1, "a", &[("h", "ä")], Some(1_000), "1.5"),
        row(3, "b", &[], Some(1_750_500_000_000), "inf"),
        row(4, "c", &[], None, "stale"),
        row(5, "d", &[], None, "histogram of 3"),
        wrong(6, Refusal::InvalidValue),
        wrong(7, Refusal::InvalidValue),
        wrong(8, Refusal::InvalidName),
        wrong(9, Refusal::InvalidValue),
        wrong(10, Refusal::InvalidValue),
        wrong(11, Refusal::InvalidLabel),
        wrong(12, Refusal::InvalidValue),
        row(13, "i", &[], None, "2"),
    ];
    assert_eq!(read(text.as_bytes(), FileFormat::Ndjson).unwrap(), expected);
}

#[test]
fn ndjson_has_whatever_items_of_custom_have() {
    let text = r#"{"name":"h","labels":{"a":"b"},"histogram":{"buckets":{"1":5,"0.1":3},"sum":2.5,"count":6},"timestamp":7}
{"name":"s","summary":{"quantiles":{"0.5":0.25},"sum":3,"count":4}}
{"name":"n","histogram":{"schema":0,"gauge":true}}
{"name":"e","value":1,"exemplars":[{"labels":{"trace_id":"x"},"value":1}]}
{"name":"f","summary":{"quantiles":{"2":1}}}
{"name":"g","value":1,"more":2}"#;
    let le = |bound: &'static str| [("a", "b"), ("le", bound)];
    let expected = [
        row(1, "h_bucket", &le("0.1"), Some(7), "3"),
        row(1, "h_bucket", &le("1.0"), Some(7), "5"),
        row(1, "h_bucket", &le("+Inf"), Some(7), "6"),
        row(1, "h_sum", &[("a", "b")], Some(7), "2.5"),
        row(1, "h_count", &[("a", "b")], Some(7), "6"),
        row(2, "s", &[("quantile", "0.5")], None, "0.25"),
        row(2, "s_sum", &[], None, "3"),
        row(2, "s_count", &[], None, "4"),
        row(3, "n", &[], None, "histogram of 0"),
        row(4, "e", &[], None, "1"),
        Seen::Fault(5, Refusal::InvalidValue),
        Seen::Fault(6, Refusal::InvalidValue),
    ];
    assert_eq!(read(text.as_bytes(), FileFormat::Ndjson).unwrap(), expected);
    let mut reader = open(text.as_bytes(), FileFormat::Ndjson).unwrap();
    let mut row = Row::default();
    assert_eq!(reader.next_row(&mut row).unwrap(), Step::Row);
    assert_eq!((row.kind, row.family()), (MetricKind::Histogram, "h"));
}

#[test]
fn a_line_does_not_become_any_number_of_bytes() {
    let item = |long: &str, help: &str, buckets: usize| {
        let buckets: Vec<String> = (0..buckets).map(|at| format!("\"{at}\":{at}")).collect();
        let buckets = buckets.join(",");
        format!(
            "{{\"name\":\"h\",\"labels\":{{\"a\":\"{long}\"}},\"help_text\":\"{help}\",\
             \"histogram\":{{\"buckets\":{{{buckets}}},\"sum\":1,\"count\":9000}}}}\n"
        )
    };
    let (long, short) = ("x".repeat(20_000), "x".repeat(1_000));
    let text = [
        item(&long, "", 1_000),
        item(&short, "", 1_000),
        item("x", &long, 1_000),
        item(&long, "", 20),
        "{\"name\":\"a\",\"value\":1}\n".to_owned(),
    ]
    .concat();
    let mut reader = open(text.as_bytes(), FileFormat::Ndjson).unwrap();
    let (mut rows, mut faults, mut row) = ([0; 5], Vec::new(), Row::default());
    loop {
        match reader.next_row(&mut row).unwrap() {
            Step::End => break,
            Step::Row => rows[row.line as usize - 1] += 1,
            Step::Fault(fault) => faults.push((fault.line, fault.message)),
        }
    }
    // Buckets, the one above all of them, the sum and the count.
    assert_eq!(rows, [0, 1_003, 0, 23, 1]);
    assert!(faults.iter().all(|(_, message)| message.contains("more than 16777216 bytes")), "{faults:?}");
    assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn lines_that_are_too_long_are_passed_over() {
    let long = "x".repeat(3 << 20);
    for end in ["\n{\"name\":\"a\",\"value\":1}\n", "\n{\"name\":\"a\",\"value\":1}"] {
        let text = format!("{long}{end}");
        let expected = [Seen::Fault(1, Refusal::InvalidValue), row(2, "a", &[], None, "1")];
        assert_eq!(read(text.as_bytes(), FileFormat::Ndjson).unwrap(), expected);
    }
    assert_eq!(read(long.as_bytes(), FileFormat::Ndjson).unwrap(), [Seen::Fault(1, Refusal::InvalidValue)]);
}

#[test]
fn exposition_text_has_families() {
    let text = "# HELP a_seconds Some \\\"help\\\"\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
                a_seconds_bucket{le=\"+Inf\"} 3 1.500\na_seconds_bucket{le=\"+Inf\"} 4 2\n\
                # TYPE b counter\nb_total{} 1 3 # {trace_id=\"x\"} 1\nb_total 2 oops\nc 7\n# EOF\n";
    let mut reader = open(text.as_bytes(), FileFormat::OpenMetrics).unwrap();
    let mut row = Row::default();
    assert_eq!(reader.next_row(&mut row).unwrap(), Step::Row);
    assert_eq!((row.line, row.timestamp, row.kind), (4, Some(1_500), MetricKind::Histogram));
    assert_eq!(
        (row.family(), row.unit.as_str(), row.help.as_str()),
        ("a_seconds", "seconds", "Some \"help\"")
    );
    assert_eq!(reader.next_row(&mut row).unwrap(), Step::Row);
    assert_eq!((row.line, row.timestamp, &row.value), (5, Some(2_000), &RowValue::Float(4.0)));
    assert_eq!(reader.next_row(&mut row).unwrap(), Step::Row);
    assert_eq!((row.name.as_str(), row.kind, row.family()), ("b_total", MetricKind::Counter, "b"));
    assert!(matches!(reader.next_row(&mut row).unwrap(), Step::Fault(fault) if fault.line == 8));
    assert_eq!(reader.next_row(&mut row).unwrap(), Step::Row);
    assert_eq!((row.name.as_str(), row.kind, row.timestamp), ("c", MetricKind::Unknown, None));
    assert_eq!(reader.next_row(&mut row).unwrap(), Step::End);

    assert!(refused(b"a 1 1\n", FileFormat::OpenMetrics).contains("# EOF"));
    assert!(refused(b"a 1 1\n# EOF\nb 1\n", FileFormat::OpenMetrics).contains("behind"));
    let classic = read(b"# a comment\n\na{b=\"c\"} 1 1500\n", FileFormat::Prometheus).unwrap();
    assert_eq!(classic, [self::row(3, "a", &[("b", "c")], Some(1_500), "1")]);
}

#[test]
fn files_that_are_no_parquet_are_refused() {
    for bytes in
        [b"".as_slice(), b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\xffPAR1", b"metric_name,value\na,1\n"]
    {
        refused(bytes, FileFormat::Parquet);
    }
    let packed = RowReader::open(Arc::new(b"x".to_vec()), FileFormat::Parquet, Compression::Gzip, 1);
    assert!(packed.is_err());
}

/// A good Parquet file, for tests that damage it.
fn parquet_file() -> Vec<u8> {
    let labels = metricsd_model::LabelSet::new([("__name__", "a"), ("b", "c")]).unwrap();
    let (timestamps, values): (Vec<i64>, Vec<f64>) =
        (0..50_i32).map(|at| (i64::from(at), f64::from(at))).unzip();
    let mut writer = crate::FileWriter::new(FileFormat::Parquet).unwrap();
    let rows = crate::SeriesRows {
        labels: &labels,
        metric_type: metricsd_model::MetricType::Gauge,
        unit: None,
        help: Some("h"),
        goes_on: false,
        timestamps: &timestamps,
        values: &values,
        histograms: &[],
    };
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    writer.take()
}

#[test]
fn parts_are_the_same_each_time() {
    let mut text = String::from("metric_name,value,timestamp,host\n");
    for at in 0..1_000 {
        let value = if at % 97 == 5 { "bad".to_owned() } else { at.to_string() };
        text.push_str(&format!("m{},{value},{at},h{}\n", at / 250, at % 3));
    }
    let bounds = PartBounds { rows: 128, bytes: 1 << 20 };
    let parts = || Parts::new(open(text.as_bytes(), FileFormat::Csv).unwrap(), bounds, 5);
    let mut all = Vec::new();
    let mut once = parts();
    while let Some(part) = once.next_part().unwrap() {
        all.push(part);
    }
    assert_eq!((all.len(), all.last().map(|part| part.rows)), (8, Some(1_000)));
    assert_eq!(all.iter().map(|part| part.samples + part.bad).sum::<u64>(), 1_000);
    assert_eq!(all.iter().map(|part| part.bad).sum::<u64>(), 11);
    assert_eq!(all[0].faults[0].line, 7);
    // The second series of the body began with the second row; its samples are told apart by their times.
    assert_eq!((all[1].line_of(0, ""), all[1].line_of(1, "m0 at 129: too old")), (130, 131));
    for done in 0..all.len() {
        let mut again = parts();
        if let Some(last) = done.checked_sub(1).and_then(|last| all.get(last)) {
            again.skip(last.number + 1, last.rows).unwrap();
        }
        assert_eq!(again.next_part().unwrap().as_ref(), all.get(done));
    }
    let mut again = parts();
    again.skip(8, 1_000).unwrap();
    assert_eq!(again.next_part().unwrap(), None);
}

#[test]
fn a_part_ends_where_its_histograms_are_large() {
    let buckets = vec!["1"; 15_000].join(",");
    let line = format!(
        "{{\"name\":\"h\",\"histogram\":{{\"schema\":0,\"count\":15000,\"sum\":1,\"positive_spans\":[[0,15000]],\"positive_buckets\":[{buckets}]}}}}\n"
    );
    let text = line.repeat(1_000);
    let bounds = PartBounds { rows: 10_000, bytes: 1 << 20 };
    let mut parts = Parts::new(open(text.as_bytes(), FileFormat::Ndjson).unwrap(), bounds, 5);
    let part = parts.next_part().unwrap().unwrap();
    assert!(part.rows < 200 && part.body.len() < 4 << 20, "{} rows, {} bytes", part.rows, part.body.len());
}

#[test]
fn packed_files_are_parts_too() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"metric_name,value\na,1\nb,2\n").unwrap();
    let bytes = encoder.finish().unwrap();
    let size = bytes.len() as u64;
    let reader = RowReader::open(Arc::new(bytes), FileFormat::Csv, Compression::Gzip, 1_000).unwrap();
    let mut parts = Parts::new(reader, PartBounds::default(), 9);
    let part = parts.next_placed().unwrap().unwrap();
    assert_eq!((part.samples, part.rows, part.position), (2, 2, size));
    assert_eq!(parts.next_placed().unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for format in FileFormat::ALL {
            let _ = read(&bytes, *format);
            let with_header = [b"metric_name,value,labels,timestamp,histogram\n".as_slice(), &bytes].concat();
            let _ = read(&with_header, *format);
        }
    }

    #[test]
    fn damaged_parquet_is_an_error_or_reads(at in 0_usize..4_000, byte in any::<u8>(), cut in 0_usize..200) {
        let mut bytes = parquet_file();
        let place = at % bytes.len();
        bytes[place] = byte;
        let _ = read(&bytes, FileFormat::Parquet);
        bytes.drain(place..bytes.len().min(place + cut));
        let _ = read(&bytes, FileFormat::Parquet);
    }
}
