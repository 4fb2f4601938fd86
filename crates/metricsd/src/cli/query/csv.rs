//! An answer as CSV (RFC 4180, lines ended by a line feed): one row a sample.

use std::collections::BTreeSet;
use std::io::{self, Write};

use metricsd_model::event::rfc3339;

use super::answer::{Data, Point, Series};

/// What the name is among the labels.
const NAME: &str = "__name__";

/// Writes the time, the value, and every label that any series has; a series without it has an empty field there. The
/// first two columns are always the sample's, whatever labels are called.
pub(super) fn print(out: &mut impl Write, data: &Data) -> io::Result<()> {
    match data {
        Data::Scalar(point) | Data::String(point) => single(out, point)?,
        Data::Vector(series) | Data::Matrix(series) => several(out, series)?,
    }
    out.flush()
}

fn single(out: &mut impl Write, point: &Point<String>) -> io::Result<()> {
    row(out, ["time", "value"])?;
    row(out, [rfc3339(point.at()).as_str(), &point.1])
}

fn several(out: &mut impl Write, series: &[Series]) -> io::Result<()> {
    let names: BTreeSet<&str> =
        series.iter().flat_map(|series| series.metric.keys().map(String::as_str)).collect();
    // The name is what people look for first.
    let name = names.contains(NAME).then_some(NAME);
    let names: Vec<&str> =
        name.into_iter().chain(names.iter().copied().filter(|name| *name != NAME)).collect();
    row(out, ["time", "value"].into_iter().chain(names.iter().copied()))?;
    for series in series {
        for (at, sample) in series.samples() {
            let (at, value) = (rfc3339(at), sample.in_full());
            let labels = names.iter().map(|name| series.metric.get(*name).map_or("", String::as_str));
            row(out, [at.as_str(), &value].into_iter().chain(labels))?;
        }
    }
    Ok(())
}

fn row<'a>(out: &mut impl Write, fields: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        if field.contains([',', '"', '\n', '\r']) {
            write!(out, "\"{}\"", field.replace('"', "\"\""))?;
        } else {
            out.write_all(field.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn printed(data: Value) -> String {
        let mut out = Vec::new();
        print(&mut out, &serde_json::from_value(data).unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn samples_are_rows_and_labels_columns() {
        let series = json!([
            {"metric": {"__name__": "up", "Zone": "a,b", "job": "x\"y"}, "values": [[1_750_500_000, "1"], [1_750_500_015.5, "NaN"]]},
            {"metric": {"job": "two\nlines"}, "histograms": [[0, {"count": "2", "sum": "3", "buckets": [[0, "1", "2", "2"]]}]]},
        ]);
        let expected = "\
time,value,__name__,Zone,job
2025-06-21T10:00:00.000Z,1,up,\"a,b\",\"x\"\"y\"
2025-06-21T10:00:15.500Z,NaN,up,\"a,b\",\"x\"\"y\"
1970-01-01T00:00:00.000Z,\"{count:2, sum:3, (1,2]:2}\",,,\"two\nlines\"
";
        assert_eq!(printed(json!({"resultType": "matrix", "result": series})), expected);
        assert_eq!(printed(json!({"resultType": "vector", "result": []})), "time,value\n");
        let scalar = json!({"resultType": "scalar", "result": [1.25, "+Inf"]});
        assert_eq!(printed(scalar), "time,value\n1970-01-01T00:00:01.250Z,+Inf\n");
        let text = json!({"resultType": "string", "result": [0, "a, b"]});
        assert_eq!(printed(text), "time,value\n1970-01-01T00:00:00.000Z,\"a, b\"\n");
    }
}
