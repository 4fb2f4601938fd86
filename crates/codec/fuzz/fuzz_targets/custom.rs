//! Reads any bytes as the body of a custom push, in every form, twice: the second time items are known.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::custom::{CustomLimits, CustomWriter, Memory, decode, first_sequence};
use metricsd_codec::remote_write::outline;

fuzz_target!(|body: &[u8]| {
    let limits = CustomLimits { max_items: 1_000 };
    if let Ok(items) = decode(body, &limits) {
        assert!(items.len() <= limits.max_items);
        for (index, item) in items.iter().enumerate() {
            match item {
                Ok(metric) => assert!(!metric.name.is_empty()),
                Err(error) => assert_eq!(error.index, index),
            }
        }
    }
    let memory = Memory::new(1 << 20);
    for _ in 0..2 {
        let writer = || CustomWriter::new(&memory, 0, limits.max_items);
        let bodies = [writer().json(body), writer().lines(body), writer().protobuf(body)];
        for written in bodies.into_iter().flatten() {
            assert!(written.items <= limits.max_items);
            let outline = outline(&written.body, 10).expect("what we write reads");
            assert_eq!(outline.series, written.places.len());
        }
    }
    let _ = first_sequence(body);
});
