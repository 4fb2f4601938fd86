//! Text of any format and packing: reading ends, and says the same parts each time.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use metricsd_files::{Compression, FileFormat, Part, PartBounds, Parts, RowReader};

fn parts(bytes: &[u8], format: FileFormat, compression: Compression) -> Vec<Part> {
    let Ok(reader) = RowReader::open(Arc::new(bytes.to_vec()), format, compression, 16 << 20) else {
        return Vec::new();
    };
    let mut parts = Parts::new(reader, PartBounds { rows: 7, bytes: 1 << 16 }, 5);
    std::iter::from_fn(|| parts.next_part().ok().flatten()).collect()
}

fuzz_target!(|input: &[u8]| {
    let [format, compression, bytes @ ..] = input else { return };
    let format = match format % 4 {
        0 => FileFormat::Csv,
        1 => FileFormat::Ndjson,
        2 => FileFormat::OpenMetrics,
        _ => FileFormat::Prometheus,
    };
    let compression = match compression % 3 {
        0 => Compression::None,
        1 => Compression::Gzip,
        _ => Compression::Zstd,
    };
    assert_eq!(parts(bytes, format, compression), parts(bytes, format, compression));
});
