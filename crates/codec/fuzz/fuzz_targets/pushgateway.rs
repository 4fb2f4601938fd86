//! Reads any bytes as a push in every format, and as a group that was kept.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use metricsd_codec::exposition::Format;
use metricsd_codec::pushgateway::{Families, PushBounds, Pushed, read};
use metricsd_codec::remote_write::{BodyWriter, outline};

fuzz_target!(|bytes: &[u8]| {
    let group = BTreeMap::from([("job".to_owned(), "j".to_owned()), ("b".to_owned(), String::new())]);
    let bounds = PushBounds { max_series: 1_000, max_bytes: 1 << 20 };
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let Ok(Pushed { families, exemplars }) = read(bytes, format, &group, bounds) else { continue };
        exemplars.write(1, &mut BodyWriter::new());
        assert_eq!(Families::from_bytes(&families.to_bytes()).as_ref(), Some(&families));
        let mut body = BodyWriter::new();
        families.write(1, &mut body).expect("what was written reads");
        let series = outline(&body.into_bytes(), 0).expect("a body").series;
        assert_eq!(series as u64, families.series_count());
    }
    if let Some(families) = Families::from_bytes(bytes) {
        let _ = families.write(0, &mut BodyWriter::new());
        let _ = families.end(&Families::default(), 0, &mut BodyWriter::new());
    }
});
