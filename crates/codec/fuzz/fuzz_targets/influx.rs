//! Reads any bytes as line protocol, and makes series of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::influx::{LineParser, Mapping};
use metricsd_codec::line_names::Names;
use metricsd_codec::remote_write::{BodyWriter, outline};

fuzz_target!(|bytes: &[u8]| {
    let mapping = Mapping {
        names: if bytes.len() % 2 == 0 { Names::Mapped } else { Names::Utf8 },
        separator: "_".to_owned(),
        value_alone: true,
        labels: vec![("db".to_owned(), "d".to_owned())],
    };
    let (mut parser, mut body, mut last) = (LineParser::new(bytes), BodyWriter::new(), 0);
    while let Some(line) = parser.next_line() {
        let number = match line {
            Ok(line) => {
                let _ = mapping.write(&line, line.timestamp.unwrap_or(0), &mut body, 1 << 20);
                line.number
            }
            Err(error) => error.line,
        };
        assert!(number > last);
        last = number;
    }
    let series = body.series_count();
    assert_eq!(outline(&body.into_bytes(), 0).map(|outline| outline.series), Ok(series));
});
