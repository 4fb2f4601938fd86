//! Parquet: whatever the bytes, reading ends with rows or an error.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use metricsd_files::{Compression, FileFormat, Row, RowReader, Step};

fuzz_target!(|bytes: &[u8]| {
    let opened = RowReader::open(Arc::new(bytes.to_vec()), FileFormat::Parquet, Compression::None, 1 << 24);
    let Ok(mut reader) = opened else { return };
    let mut row = Row::default();
    for _ in 0..10_000 {
        if matches!(reader.next_row(&mut row), Err(_) | Ok(Step::End)) {
            break;
        }
    }
});
