//! Reads any bytes as the body of a custom push.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::custom::{CustomLimits, decode};

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
});
