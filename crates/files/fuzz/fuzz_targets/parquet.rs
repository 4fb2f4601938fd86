//! Parquet: whatever the bytes, reading ends with rows or an error. Few bytes are a file: half of the inputs change a real one, the
//! others stand where its pages and its description do.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use metricsd_files::{Compression, FileFormat, FileWriter, Row, RowReader, SeriesRows, Step};
use metricsd_model::{LabelSet, MetricType};

/// A small file of every column.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut writer = FileWriter::new(FileFormat::Parquet).unwrap();
    for n in 0..3 {
        let number = n.to_string();
        let labels = [("__name__", "requests_total"), ("job", "shop"), ("n", number.as_str())];
        let rows = SeriesRows {
            labels: &LabelSet::new(labels).unwrap(),
            metric_type: MetricType::Counter,
            unit: Some("requests"),
            help: Some("Requests."),
            goes_on: false,
            timestamps: &[1_000, 2_000, 3_000],
            values: &[1.0, 2.5, f64::NAN],
            histograms: &[],
        };
        writer.write(&rows).unwrap();
    }
    writer.finish().unwrap();
    writer.take()
});

/// Each four bytes change the file at a place: set, turned, taken away or added.
fn changed(changes: &[u8]) -> Vec<u8> {
    let mut file = FILE.clone();
    for change in changes.chunks_exact(4).take(64) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len().max(1);
        match change[2] % 4 {
            0 => file[place] = change[3],
            1 => file[place] ^= 1 << (change[3] % 8),
            2 => drop(file.drain(place..(place + usize::from(change[3] % 16)).min(file.len() - 1))),
            _ => file.insert(place, change[3]),
        }
    }
    file
}

/// Pages, then a description of so many bytes.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let [first, second, bytes @ ..] = bytes else { return bytes.to_vec() };
    let cut = usize::from(u16::from_le_bytes([*first, *second])) % (bytes.len() + 1);
    let length = (bytes.len() - cut) as u32;
    [b"PAR1", bytes, &length.to_le_bytes(), b"PAR1"].concat()
}

// A panic of the decoders that the reader catches is an error of the file; one that comes through ends the process still.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |input: &[u8]| {
    let [kind, bytes @ ..] = input else { return };
    let file = if kind % 2 == 0 { changed(bytes) } else { framed(bytes) };
    let opened = RowReader::open(Arc::new(file), FileFormat::Parquet, Compression::None, 1 << 24);
    let Ok(mut reader) = opened else { return };
    let mut row = Row::default();
    for _ in 0..10_000 {
        if matches!(reader.next_row(&mut row), Err(_) | Ok(Step::End)) {
            break;
        }
    }
});
