//! The figures: what each one is, what it shall reach, and the table of all of them.

use std::fmt::Write;

use crate::protocols;
use crate::results::Results;
use crate::server::Kind;

/// How a number is written, and which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// More is better.
    SamplesPerSecond,
    /// Less is better, as in all that follow.
    MicrosPerSample,
    /// Seconds, shown in milliseconds.
    Seconds,
    /// Processor cores kept busy.
    Cores,
    /// Parts of a hundred.
    Percent,
    /// Mebibytes.
    Mebibytes,
    /// Bytes for a series.
    BytesPerSeries,
    /// Bytes for a sample.
    BytesPerSample,
}

/// What a figure shall reach.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// A value of one of our servers, or better.
    Reach(Kind, f64),
    /// So many times as good as a peer; our server first.
    Times(Kind, f64, Kind),
}

/// One figure.
pub(crate) struct Figure {
    /// Its name in results.
    pub(crate) id: &'static str,
    /// For people.
    pub(crate) what: &'static str,
    /// Of its numbers.
    pub(crate) unit: Unit,
    /// What it shall reach; none for what only helps to judge others.
    pub(crate) bars: &'static [Bar],
}

use Kind::{Prometheus, Sqlite, Timescale, Victoria};
use Unit::{
    BytesPerSample, BytesPerSeries, Cores, Mebibytes, MicrosPerSample, Percent, SamplesPerSecond, Seconds,
};

const fn figure(id: &'static str, what: &'static str, unit: Unit, bars: &'static [Bar]) -> Figure {
    Figure { id, what, unit, bars }
}

/// All of them, in the order of the table.
pub(crate) const FIGURES: [Figure; 53] = [
    figure(
        "write.rate",
        "remote write, 100 000 series",
        SamplesPerSecond,
        &[Bar::Reach(Timescale, 1.5e6), Bar::Reach(Sqlite, 2e6), Bar::Times(Timescale, 1.5, Victoria)],
    ),
    figure(
        "write.cpu",
        "its CPU a sample, database included",
        MicrosPerSample,
        &[Bar::Reach(Timescale, 0.7), Bar::Reach(Sqlite, 0.7)],
    ),
    figure("write.own_cpu", "of that the server's own process", MicrosPerSample, &[]),
    figure("write.peak", "its peak memory", Mebibytes, &[]),
    figure("write.load_cpu", "CPU of making that load", MicrosPerSample, &[]),
    figure("spread.rate", "the same, a time of its own for each host", SamplesPerSecond, &[]),
    figure("spread.cpu", "its CPU a sample, database included", MicrosPerSample, &[]),
    figure(
        "scrape.missed",
        "scraping 1 000 x 1 000 a second: missed",
        Percent,
        &[Bar::Reach(Timescale, 0.0)],
    ),
    figure("scrape.p99", "P99 from start to commit", Seconds, &[Bar::Reach(Timescale, 0.1)]),
    figure("scrape.start_delay", "P99 from when it is due to its start", Seconds, &[]),
    figure("scrape.rate", "samples stored", SamplesPerSecond, &[]),
    figure("scrape.cores", "cores, database included", Cores, &[Bar::Reach(Timescale, 1.2)]),
    figure("scrape.own_cores", "of that the server's own process", Cores, &[]),
    figure("scrape.rss", "memory", Mebibytes, &[]),
    figure("scrape.database", "memory of the database", Mebibytes, &[]),
    figure("scrape.pages_cores", "cores of serving the pages", Cores, &[]),
    figure("million.scraped", "a million series, scraped", BytesPerSeries, &[Bar::Reach(Timescale, 1024.0)]),
    figure(
        "million.pushed",
        "a million series, pushed",
        BytesPerSeries,
        &[Bar::Reach(Timescale, 1024.0), Bar::Reach(Sqlite, 1024.0)],
    ),
    figure("million.peak", "at its peak while pushed", BytesPerSeries, &[]),
    figure(
        "disk.bytes",
        "1 h of node_exporter on disk, compacted",
        BytesPerSample,
        &[Bar::Reach(Timescale, 2.0), Bar::Reach(Sqlite, 1.0)],
    ),
    figure("disk.fresh", "the same before compaction", BytesPerSample, &[]),
    figure("disk.empty", "a database without samples, which is not in it", Mebibytes, &[]),
    figure("disk.compaction", "time to compact it", Seconds, &[]),
    figure(
        "range.first",
        "rate by zone of 22 000 series, 37 points: first ask",
        Seconds,
        &[Bar::Times(Timescale, 1.0, Prometheus), Bar::Times(Sqlite, 1.0, Prometheus)],
    ),
    figure(
        "range.repeated",
        "asked again",
        Seconds,
        &[Bar::Times(Timescale, 1.0, Prometheus), Bar::Times(Sqlite, 1.0, Prometheus)],
    ),
    figure(
        "week.first",
        "one series, 7 days: first ask",
        Seconds,
        &[Bar::Reach(Timescale, 0.05), Bar::Reach(Sqlite, 0.05)],
    ),
    figure("week.repeated", "asked again", Seconds, &[Bar::Reach(Timescale, 0.05), Bar::Reach(Sqlite, 0.05)]),
    figure(
        "week.all",
        "every sample of it, `max_over_time`",
        Seconds,
        &[Bar::Reach(Timescale, 0.05), Bar::Reach(Sqlite, 0.05)],
    ),
    figure("unnest.rate", "one metric over an hour by SQL", SamplesPerSecond, &[Bar::Reach(Timescale, 1e6)]),
    figure("unnest.fresh", "the same before compaction", SamplesPerSecond, &[]),
    figure("custom.rate", "custom items: JSON, /ndjson, /protobuf, /stream; /write2", SamplesPerSecond, &[]),
    figure("custom.cpu", "its CPU a sample, database included", MicrosPerSample, &[]),
    figure("files.upload.csv", "uploads of CSV files", SamplesPerSecond, &[]),
    figure("files.upload.ndjson", "uploads of NDJSON files", SamplesPerSecond, &[]),
    figure("files.upload.openmetrics", "uploads of OpenMetrics files", SamplesPerSecond, &[]),
    figure("files.upload.parquet", "uploads of Parquet files", SamplesPerSecond, &[]),
    figure("files.export.csv", "exports of CSV files", SamplesPerSecond, &[]),
    figure("files.export.ndjson", "exports of NDJSON files", SamplesPerSecond, &[]),
    figure("files.export.openmetrics", "exports of OpenMetrics files", SamplesPerSecond, &[]),
    figure("files.export.parquet", "exports of Parquet files", SamplesPerSecond, &[]),
    figure("lines.influx.rate", "Influx line protocol over HTTP", SamplesPerSecond, &[]),
    figure("lines.influx.cpu", "its CPU a sample, database included", MicrosPerSample, &[]),
    figure("lines.graphite.rate", "Graphite over TCP", SamplesPerSecond, &[]),
    figure("lines.graphite.cpu", "its CPU a sample, database included", MicrosPerSample, &[]),
    figure("lines.statsd.rate", "StatsD over UDP", SamplesPerSecond, &[]),
    figure("lines.statsd.cpu", "its CPU a sample, database included", MicrosPerSample, &[]),
    figure("lines.statsd.taken", "parts of a hundred that arrived", Percent, &[]),
    figure("otlp.rate", "pushes of OTLP over HTTP, 10 000 data points each", SamplesPerSecond, &[]),
    figure("otlp.cpu", "its CPU a data point, database included", MicrosPerSample, &[]),
    figure("growth.rate", "remote write by series and senders", SamplesPerSecond, &[]),
    figure("growth.cpu", "its CPU a sample, database included", MicrosPerSample, &[]),
    figure("growth.memory", "its memory", Mebibytes, &[]),
    figure("growth.peak", "its peak memory", Mebibytes, &[]),
];

/// The figure of a name; what follows a `/` tells apart sizes of one figure.
pub(crate) fn find(id: &str) -> Option<&'static Figure> {
    let name = id.split('/').next().unwrap_or(id);
    FIGURES.iter().find(|figure| figure.id == name)
}

/// A number of a figure, for people.
pub(crate) fn shown(id: &str, value: f64) -> String {
    find(id).map_or_else(|| value.to_string(), |figure| figure.unit.shown(value))
}

impl Unit {
    /// Is more better?
    fn more_is_better(self) -> bool {
        self == SamplesPerSecond
    }

    /// A number with its unit.
    pub(crate) fn shown(self, value: f64) -> String {
        let digits = |value: f64| match value.abs() {
            above if above >= 99.5 => format!("{value:.0}"),
            above if above >= 9.95 => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        };
        match self {
            SamplesPerSecond if value >= 999_500.0 => format!("{:.2} M/s", value / 1e6),
            SamplesPerSecond => format!("{:.0} k/s", value / 1e3),
            MicrosPerSample => format!("{value:.3} us"),
            Seconds => format!("{} ms", digits(value * 1e3)),
            Cores => format!("{value:.2}"),
            Percent => format!("{} %", digits(value)),
            Mebibytes if value < 10.0 => format!("{value:.1} MiB"),
            Mebibytes => format!("{value:.0} MiB"),
            BytesPerSeries => format!("{value:.0} B"),
            BytesPerSample => format!("{value:.2} B"),
        }
    }
}

impl Bar {
    fn server(self) -> Kind {
        match self {
            Self::Reach(server, _) | Self::Times(server, _, _) => server,
        }
    }

    fn shown(self, unit: Unit) -> String {
        let sign = if unit.more_is_better() { ">=" } else { "<=" };
        match self {
            Self::Reach(_, value) => format!("{sign} {}", unit.shown(value)),
            Self::Times(_, 1.0, peer) => format!("{sign} {}", peer.name()),
            Self::Times(_, times, peer) => format!("{times} x {}", peer.name()),
        }
    }

    /// Whether it is reached; `None` where it was not measured.
    pub(crate) fn reached(self, figure: &Figure, results: &Results) -> Option<bool> {
        match self {
            Self::Reach(server, bar) => {
                let value = results.median(figure.id, server)?;
                Some(if figure.unit.more_is_better() { value >= bar } else { value <= bar })
            }
            Self::Times(server, times, peer) => Some(better(figure, results, server, peer)? >= times),
        }
    }
}

/// How many times as good one server is as another.
fn better(figure: &Figure, results: &Results, server: Kind, other: Kind) -> Option<f64> {
    let ratio = results.ratio(figure.id, server, other)?;
    Some(if figure.unit.more_is_better() { ratio } else { 1.0 / ratio })
}

/// The table of everything that was measured, in Markdown.
pub(crate) fn table(results: &Results) -> String {
    let mut text = String::from("| figure (medians) | bar |");
    for server in Kind::ALL {
        let _ = write!(text, " {} |", server.name());
    }
    let _ = writeln!(text, "\n|---|---|{}", "---:|".repeat(Kind::ALL.len()));
    for figure in FIGURES.iter().filter(|figure| !protocols::has(figure.id)) {
        if Kind::ALL.iter().any(|server| results.median(figure.id, *server).is_some()) {
            row(&mut text, figure, results);
        }
    }
    text
}

/// Figures that say nothing about which server is better.
const ASIDE: [&str; 5] =
    ["write.own_cpu", "write.load_cpu", "scrape.own_cores", "scrape.pages_cores", "scrape.missed"];

fn row(text: &mut String, figure: &Figure, results: &Results) {
    let _ = write!(text, "| {} | {} |", figure.what, bars(figure));
    for server in Kind::ALL {
        let Some(value) = results.median(figure.id, server) else {
            text.push_str(" |");
            continue;
        };
        let mut about = Vec::new();
        if server.is_ours() && !ASIDE.contains(&figure.id) {
            for (letter, peer) in [("P", Prometheus), ("V", Victoria)] {
                about.extend(
                    better(figure, results, server, peer).map(|times| format!("{letter} {times:.2}")),
                );
            }
        }
        let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        let own = figure.bars.iter().filter(|bar| bar.server() == server);
        let verdicts: Vec<bool> = own.filter_map(|bar| bar.reached(figure, results)).collect();
        let mark = match (verdicts.is_empty(), verdicts.iter().all(|reached| *reached)) {
            (true, _) => "",
            (false, true) => " ✓",
            (false, false) => " ✗",
        };
        let _ = write!(text, " {}{about}{mark} |", figure.unit.shown(value));
    }
    text.push('\n');
}

/// What is asked of a figure: once where both of our servers shall reach the same.
fn bars(figure: &Figure) -> String {
    let mut parts: Vec<String> = Vec::new();
    for bar in figure.bars {
        let shown = bar.shown(figure.unit);
        let same = figure.bars.iter().filter(|other| other.shown(figure.unit) == shown).count() > 1;
        let part = if same || figure.bars.len() == 1 {
            shown
        } else {
            format!("{}: {shown}", if bar.server() == Sqlite { "SQLite" } else { "TimescaleDB" })
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::{FIGURES, find, shown, table};
    use crate::results::Results;
    use crate::server::Kind;

    #[test]
    fn names_are_unique() {
        for figure in &FIGURES {
            assert_eq!(find(figure.id).map(|found| found.what), Some(figure.what));
        }
        assert_eq!(find("growth.rate/1000/4").map(|figure| figure.id), Some("growth.rate"));
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(shown("write.rate", 1_234_567.0), "1.23 M/s");
        assert_eq!(shown("write.rate", 50_000.0), "50 k/s");
        assert_eq!(shown("scrape.p99", 0.0421), "42.1 ms");
        assert_eq!(shown("disk.bytes", 1.2345), "1.23 B");
    }

    #[test]
    fn a_row_says_what_is_reached_and_how_it_compares() {
        let mut results = Results::default();
        results.next_run();
        results.add("range.first", Kind::Timescale, 0.1);
        results.add("range.first", Kind::Sqlite, 0.4);
        results.add("range.first", Kind::Prometheus, 0.2);
        let table = table(&results);
        let row = table.lines().nth(2).unwrap();
        assert!(row.contains("| <= Prometheus |"), "{row}");
        assert!(row.contains("100 ms (P 2.00) ✓ | 400 ms (P 0.50) ✗ | 200 ms | |"), "{row}");
    }
}
