//! An answer as a table for people, with bars for native histograms.

use std::io::{self, Write};

use comfy_table::Table;
use metricsd_model::event::rfc3339;
use unicode_width::UnicodeWidthStr;

use super::answer::{Bucket, Data, Histogram, Point, Sample, Series};
use crate::cli::output::{self, escaped};

/// Histograms of one answer that are drawn.
const MAX_DRAWN: usize = 8;
/// Bars of one histogram; where there are more buckets, neighbours share a bar.
const MAX_BARS: usize = 20;
/// Columns of the longest bar.
const BAR: usize = 40;
/// A bar's last column, by eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Writes one row a sample. In an answer about one moment the value stands before the time, which all rows share.
pub(super) fn print(out: &mut impl Write, data: &Data) -> io::Result<()> {
    match data {
        Data::Scalar(point) => output::print_table(out, &single("scalar", point)),
        Data::String(point) => output::print_table(out, &single("string", point)),
        Data::Vector(series) => {
            output::print_table(out, &instant(series))?;
            draw_histograms(out, series)
        }
        Data::Matrix(series) => output::print_table(out, &range(series)),
    }
}

fn single(kind: &str, point: &Point<String>) -> Table {
    let mut table = output::table(&[kind, "time"]);
    table.add_row([escaped(&point.1), rfc3339(point.at())]);
    table
}

fn instant(series: &[Series]) -> Table {
    let mut table = output::table(&["series", "value", "time"]);
    for series in series {
        for (at, sample) in series.samples() {
            let value = match sample {
                Sample::Float(value) => value.to_owned(),
                Sample::Histogram(histogram) => format!("count={} sum={}", histogram.count, histogram.sum),
            };
            table.add_row([output::series(&series.metric), value, rfc3339(at)]);
        }
    }
    table
}

fn range(series: &[Series]) -> Table {
    let mut table = output::table(&["series", "time", "value"]);
    for series in series {
        let name = output::series(&series.metric);
        for (at, sample) in series.samples() {
            table.add_row([name.clone(), rfc3339(at), sample.in_full()]);
        }
    }
    table
}

fn draw_histograms(out: &mut impl Write, series: &[Series]) -> io::Result<()> {
    let mut drawn = 0;
    for series in series {
        for (_, sample) in series.samples() {
            let Sample::Histogram(histogram) = sample else { continue };
            drawn += 1;
            if drawn <= MAX_DRAWN {
                writeln!(out, "\n{}", output::series(&series.metric))?;
                draw_histogram(out, histogram)?;
            }
        }
    }
    if drawn > MAX_DRAWN {
        writeln!(
            out,
            "\nand {} more histograms that are not drawn; --output json has their buckets",
            drawn - MAX_DRAWN
        )?;
    }
    out.flush()
}

/// One bar a bucket, or a few neighbouring ones.
fn draw_histogram(out: &mut impl Write, histogram: &Histogram) -> io::Result<()> {
    let each = histogram.buckets.len().div_ceil(MAX_BARS).max(1);
    let bars: Vec<(String, f64)> = histogram.buckets.chunks(each).filter_map(bar).collect();
    let largest = bars.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    let width = bars.iter().map(|(interval, _)| interval.width()).max().unwrap_or(0);
    let counts: Vec<String> = bars.iter().map(|(_, count)| count.to_string()).collect();
    let count_width = counts.iter().map(String::len).max().unwrap_or(0);
    for ((interval, count), text) in bars.iter().zip(counts) {
        let line = format!("  {interval:<width$}  {text:>count_width$} {}", blocks(count / largest));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The interval that neighbouring buckets cover, and what they count together.
fn bar(buckets: &[Bucket]) -> Option<(String, f64)> {
    let (first, last) = (buckets.first()?, buckets.last()?);
    let count = buckets.iter().filter_map(|bucket| bucket.3.parse::<f64>().ok()).sum();
    // An interval is written lower,upper.
    let (first, last) = (first.interval(), last.interval());
    let (lower, upper) = (first.split(',').next()?, last.split(',').nth(1)?);
    Some((format!("{lower}, {upper}"), count))
}

/// A bar; what is not empty shows.
fn blocks(part: f64) -> String {
    let eighths = (part.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let eighths = if part > 0.0 { eighths.max(1) } else { eighths };
    "█".repeat(eighths / 8) + EIGHTHS.get(eighths % 8).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn printed(kind: &str, result: Value) -> String {
        let mut out = Vec::new();
        let data = json!({"resultType": kind, "result": result});
        print(&mut out, &serde_json::from_value(data).unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn instants_say_series_value_and_time() {
        let vector = json!([
            {"metric": {"__name__": "up", "job": "a"}, "value": [1_750_500_000, "1"]},
            {"metric": {}, "value": [1_750_500_000, "NaN"]},
        ]);
        let expected = "\
SERIES       VALUE  TIME
up{job=\"a\"}  1      2025-06-21T10:00:00.000Z
{}           NaN    2025-06-21T10:00:00.000Z
";
        assert_eq!(printed("vector", vector), expected);
        assert_eq!(printed("vector", json!([])), "SERIES  VALUE  TIME\n");
    }

    #[test]
    fn scalars_and_strings_say_what_they_are() {
        let expected = "SCALAR  TIME\n-Inf    1970-01-01T00:00:01.500Z\n";
        assert_eq!(printed("scalar", json!([1.5, "-Inf"])), expected);
        let expected = "STRING        TIME\na \\u001b\\n b  1970-01-01T00:00:00.000Z\n";
        assert_eq!(printed("string", json!([0, "a \u{1b}\n b"])), expected);
    }

    #[test]
    fn ranges_are_one_row_a_sample() {
        let histogram = json!({"count": "2", "sum": "3", "buckets": [[0, "1", "2", "2"]]});
        let matrix = json!([
            {"metric": {"__name__": "up"}, "values": [[1_750_500_000, "0"], [1_750_500_015.5, "NaN"]]},
            {"metric": {"__name__": "h"}, "histograms": [[1_750_500_000, histogram]]},
        ]);
        let expected = "\
SERIES  TIME                      VALUE
up      2025-06-21T10:00:00.000Z  0
up      2025-06-21T10:00:15.500Z  NaN
h       2025-06-21T10:00:00.000Z  {count:2, sum:3, (1,2]:2}
";
        assert_eq!(printed("matrix", matrix), expected);
    }

    #[test]
    fn histograms_are_drawn_below_the_table() {
        let buckets =
            json!([[3, "-0.5", "0.5", "1"], [0, "0.5", "1", "16"], [0, "1", "2", "0"], [0, "2", "4", "3.5"]]);
        let histogram = json!({"count": "20.5", "sum": "30", "buckets": buckets});
        let vector = json!([{"metric": {"__name__": "h"}, "histogram": [0, histogram]}]);
        let expected = "\
SERIES  VALUE              TIME
h       count=20.5 sum=30  1970-01-01T00:00:00.000Z

h
  [-0.5, 0.5]    1 ██▌
  (0.5, 1]      16 ████████████████████████████████████████
  (1, 2]         0
  (2, 4]       3.5 ████████▊
";
        assert_eq!(printed("vector", vector), expected);
    }

    #[test]
    fn many_buckets_share_bars_and_many_histograms_are_counted() {
        let buckets: Vec<Value> =
            (0..41).map(|at| json!([0, at.to_string(), (at + 1).to_string(), "2"])).collect();
        let histogram: Histogram =
            serde_json::from_value(json!({"count": "82", "sum": "1", "buckets": buckets})).unwrap();
        let mut out = Vec::new();
        draw_histogram(&mut out, &histogram).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 14);
        assert_eq!(lines[0], format!("  (0, 3]    6 {}", "█".repeat(40)));
        assert_eq!(lines[13], format!("  (39, 41]  4 {}▋", "█".repeat(26)));
        let empty = json!({"metric": {}, "histogram": [0, {"count": "0", "sum": "0"}]});
        let text = printed("vector", json!(vec![empty; 10]));
        assert!(
            text.ends_with(
                "\n{}\n\nand 2 more histograms that are not drawn; --output json has their buckets\n"
            ),
            "{text}"
        );
    }
}
