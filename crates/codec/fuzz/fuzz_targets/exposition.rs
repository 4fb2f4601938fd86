//! Reads any bytes as a page, in both formats, and takes apart every series that the parser let pass.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::exposition::{Entry, Families, Format, Parser, SeriesError, parse_series, unescape_help};

fuzz_target!(|page: &[u8]| {
    for format in [Format::Text, Format::OpenMetrics] {
        read(page, format);
    }
});

fn read(page: &[u8], format: Format) {
    let mut parser = Parser::new(page, format);
    let mut families = Families::new(format);
    loop {
        let entry = match parser.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return,
            Err(_) => continue,
        };
        families.observe(&entry);
        match entry {
            Entry::Help { text, .. } => drop(unescape_help(text)),
            Entry::Sample(sample) => {
                match parse_series(sample.series) {
                    Ok(series) => drop(families.lookup(&series.name)),
                    Err(SeriesError::Syntax(message)) => panic!("{message}"),
                    Err(_) => {}
                }
                if let Some(exemplar) = sample.exemplar {
                    let _ = exemplar.parse_labels();
                }
            }
            _ => {}
        }
    }
}
