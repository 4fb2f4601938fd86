//! The ways to push, side by side: samples a second and processor time a sample.

use std::fmt::Write;

use crate::figures;
use crate::report::head;
use crate::results::Results;
use crate::server::Kind;

/// Ways to push or to read files, with the names of their figures; processor time is not measured of all.
const ROWS: [(&str, &str, Option<&str>); 18] = [
    ("custom, JSON lists", "custom.rate", Some("custom.cpu")),
    ("custom, NDJSON", "custom.rate/ndjson", Some("custom.cpu/ndjson")),
    ("custom, protobuf", "custom.rate/protobuf", Some("custom.cpu/protobuf")),
    ("custom, one stream of NDJSON", "custom.rate/stream", Some("custom.cpu/stream")),
    ("remote write 2.0", "custom.rate/write2", Some("custom.cpu/write2")),
    ("OTLP over HTTP", "otlp.rate", Some("otlp.cpu")),
    ("Influx line protocol", "lines.influx.rate", Some("lines.influx.cpu")),
    ("Graphite over TCP", "lines.graphite.rate", Some("lines.graphite.cpu")),
    ("StatsD over UDP, sent as fast as it goes", "lines.statsd.rate", Some("lines.statsd.cpu")),
    ("of that arrived", "lines.statsd.taken", None),
    ("upload of CSV", "files.upload.csv", None),
    ("upload of NDJSON", "files.upload.ndjson", None),
    ("upload of OpenMetrics", "files.upload.openmetrics", None),
    ("upload of Parquet", "files.upload.parquet", None),
    ("export of CSV", "files.export.csv", None),
    ("export of NDJSON", "files.export.ndjson", None),
    ("export of OpenMetrics", "files.export.openmetrics", None),
    ("export of Parquet", "files.export.parquet", None),
];

/// Our servers; a peer takes few of these.
const SERVERS: [Kind; 2] = [Kind::Timescale, Kind::Sqlite];

/// Whether a figure stands in this table.
pub(crate) fn has(figure: &str) -> bool {
    ["custom.", "otlp.", "lines.", "files."].iter().any(|part| figure.starts_with(part))
}

/// The table, where any of it was measured.
pub(crate) fn table(text: &mut String, results: &Results) {
    let measured = |name: &str| SERVERS.iter().any(|kind| results.median(name, *kind).is_some());
    if !ROWS.iter().any(|(_, rate, _)| measured(rate)) {
        return;
    }
    text.push_str("\n### Protocols\n\nSamples a second, CPU a sample (database included).\n\n");
    head(text, "protocol", SERVERS.map(|kind| kind.name().to_owned()));
    for (what, rate, cpu) in ROWS.iter().filter(|(_, rate, _)| measured(rate)) {
        let _ = write!(text, "| {what} |");
        for kind in SERVERS {
            let shown = |name: &str| results.median(name, kind).map(|value| figures::shown(name, value));
            let parts: Vec<String> = [Some(*rate), *cpu].into_iter().flatten().filter_map(shown).collect();
            let _ = write!(text, " {} |", parts.join(", "));
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::{ROWS, has, table};
    use crate::figures;
    use crate::results::Results;
    use crate::server::Kind;

    #[test]
    fn every_row_is_a_figure() {
        for (_, rate, cpu) in ROWS {
            for name in [Some(rate), cpu].into_iter().flatten() {
                assert!(figures::find(name).is_some() && has(name), "{name}");
            }
        }
    }

    #[test]
    fn what_was_measured_is_shown() {
        let (mut results, mut text) = (Results::default(), String::new());
        table(&mut text, &results);
        assert_eq!(text, "");
        results.next_run();
        results.add("custom.rate/ndjson", Kind::Sqlite, 2e6);
        results.add("custom.cpu/ndjson", Kind::Sqlite, 0.5);
        table(&mut text, &results);
        assert!(text.ends_with("| custom, NDJSON |  | 2.00 M/s, 0.500 us |\n"), "{text}");
    }
}
