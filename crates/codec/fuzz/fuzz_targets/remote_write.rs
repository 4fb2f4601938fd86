//! Reads any bytes as a write request, whole and as a block, and takes apart all that it holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::remote_read::decode_read;
use metricsd_codec::remote_write2::{Bounds, Starts, transcode};
use metricsd_codec::remote_write::{SeriesItem, WireError, WriteScanner, outline, unpack};

fuzz_target!(|body: &[u8]| {
    const LIMIT: usize = 1 << 20;
    if let Ok(unpacked) = unpack(body, LIMIT) {
        assert!(unpacked.len() <= LIMIT);
        let _ = read(&unpacked);
    }
    let _ = read(body);
    let _ = decode_read(body);
    let mut unknown = |_: &[u8], _| true;
    let mut starts = Starts::new(&mut unknown);
    let bounds = Bounds { max_symbols: 10_000, max_bytes: LIMIT };
    if let Ok(found) = transcode(body, bounds, Some(&mut starts)) {
        assert!(outline(&found.body, 10).is_ok());
        let (starts, zeros) = starts.finish();
        assert_eq!(outline(&zeros, 10).map(|outline| outline.series), Ok(starts.len()));
    }
});

fn read(body: &[u8]) -> Result<(), WireError> {
    let outline = outline(body, 1_000)?;
    let mut scanner = WriteScanner::new(body);
    let mut series = 0;
    while let Some(next) = scanner.next_series()? {
        series += 1;
        assert!(next.labels().len() <= body.len());
        assert!(next.parse_labels(64)?.len() <= 65);
        let mut items = next.items();
        while let Some(item) = items.next_item()? {
            match item {
                SeriesItem::Sample { .. } => {}
                SeriesItem::Histogram(histogram) => drop(histogram.decode()?.histogram.validate()),
                SeriesItem::Exemplar(exemplar) => drop(exemplar.decode(64)?),
            }
        }
    }
    assert_eq!(series, outline.series);
    Ok(())
}
