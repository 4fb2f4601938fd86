//! Writes what a query answers.

use std::sync::Arc;

use metricsd_model::{Millis, NativeHistogram};
use metricsd_promql::histogram::api_buckets;
use metricsd_promql::{InstantSeries, PointValue, QueryData, RangeSeries};

use super::answer::{List, Pieces};
use super::json;

/// The `result` of a query: a list of series, or the pair of a scalar or a string.
pub(crate) fn result(data: QueryData) -> Box<dyn Pieces> {
    match data {
        QueryData::Scalar(at, value) => Box::new(Pair(at, Text::Number(value))),
        QueryData::String(at, text) => Box::new(Pair(at, Text::Plain(text))),
        QueryData::Vector(series) => Box::new(List::new(series, instant_series)),
        QueryData::Matrix(series) => Box::new(Matrix::new(series)),
    }
}

/// The same as a list in any case: a scalar and a string are a series without labels.
pub(crate) fn entries(data: QueryData) -> Box<dyn Pieces> {
    match data {
        QueryData::Scalar(..) | QueryData::String(..) => {
            Box::new(List::new([data], |out: &mut Vec<u8>, data| {
                out.extend_from_slice(b"{\"metric\":{},\"value\":");
                result(data).write(out);
                out.push(b'}');
            }))
        }
        series => result(series),
    }
}

impl Pieces for Box<dyn Pieces> {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        (**self).write(out)
    }
}

/// `[seconds,"…"]`
struct Pair(Millis, Text);

enum Text {
    Number(f64),
    Plain(String),
}

fn pair(out: &mut Vec<u8>, at: Millis, text: &str) {
    out.push(b'[');
    json::timestamp(out, at);
    out.push(b',');
    json::string(out, text);
    out.push(b']');
}

impl Pieces for Pair {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        match &self.1 {
            // Unlike samples, a scalar is never written with an exponent.
            Text::Number(value) => pair(out, self.0, &metricsd_promql::number::plain(*value)),
            Text::Plain(text) => pair(out, self.0, text),
        }
        false
    }
}

fn instant_series(out: &mut Vec<u8>, series: InstantSeries) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, &series.labels);
    match &series.value {
        PointValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            json::point(out, series.timestamp, *value);
        }
        PointValue::Histogram(value) => {
            out.extend_from_slice(b",\"histogram\":");
            histogram_point(out, series.timestamp, value);
        }
    }
    out.push(b'}');
}

/// Series with their points; a long series is several pieces.
struct Matrix {
    series: std::vec::IntoIter<RangeSeries>,
    open: Option<OpenSeries>,
    begun: bool,
}

/// A series of which a part is written.
struct OpenSeries {
    floats: std::vec::IntoIter<(Millis, f64)>,
    histograms: std::vec::IntoIter<(Millis, Arc<NativeHistogram>)>,
    /// Whether a list is begun and not ended.
    in_floats: bool,
    in_histograms: bool,
}

/// Points of a piece.
const POINTS: usize = 1_024;

impl Matrix {
    fn new(series: Vec<RangeSeries>) -> Self {
        Self { series: series.into_iter(), open: None, begun: false }
    }
}

impl Pieces for Matrix {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(open) = &mut self.open {
            if open.write(out) {
                out.push(b'}');
                self.open = None;
            }
            return true;
        }
        let next = self.series.next();
        match (self.begun, next.is_some()) {
            (false, _) => out.push(b'['),
            (true, true) => out.push(b','),
            (true, false) => {}
        }
        self.begun = true;
        let Some(series) = next else {
            out.push(b']');
            return false;
        };
        out.extend_from_slice(b"{\"metric\":");
        json::labels(out, &series.labels);
        self.open = Some(OpenSeries {
            floats: series.floats.into_iter(),
            histograms: series.histograms.into_iter(),
            in_floats: false,
            in_histograms: false,
        });
        true
    }
}

impl OpenSeries {
    /// Writes the next points; answers whether those were the last.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        for _ in 0..POINTS {
            if let Some((at, value)) = self.floats.next() {
                out.extend_from_slice(if self.in_floats { b"," } else { b",\"values\":[" });
                self.in_floats = true;
                json::point(out, at, value);
                continue;
            }
            if std::mem::take(&mut self.in_floats) {
                out.push(b']');
            }
            if let Some((at, value)) = self.histograms.next() {
                out.extend_from_slice(if self.in_histograms { b"," } else { b",\"histograms\":[" });
                self.in_histograms = true;
                histogram_point(out, at, &value);
                continue;
            }
            if std::mem::take(&mut self.in_histograms) {
                out.push(b']');
            }
            return true;
        }
        false
    }
}

/// `[seconds,{"count":"…","sum":"…","buckets":[…]}]`
fn histogram_point(out: &mut Vec<u8>, at: Millis, histogram: &NativeHistogram) {
    out.push(b'[');
    json::timestamp(out, at);
    out.extend_from_slice(b",{\"count\":");
    json::value(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    json::value(out, histogram.sum);
    let buckets = api_buckets(histogram);
    for (index, (rule, lower, upper, count)) in buckets.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b",\"buckets\":[[" } else { b",[" });
        out.push(b'0' + rule % 10);
        for number in [lower, upper, count] {
            out.push(b',');
            json::value(out, *number);
        }
        out.push(b']');
    }
    out.extend_from_slice(if buckets.is_empty() { b"}]" } else { b"]}]" });
}

#[cfg(test)]
mod tests {
    use metricsd_model::LabelSet;
    use serde_json::{Value, json};

    use super::*;

    fn written(mut pieces: Box<dyn Pieces>) -> Value {
        let mut out = Vec::new();
        while pieces.write(&mut out) {}
        serde_json::from_slice(&out)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    fn labels(name: &str) -> LabelSet {
        LabelSet::new([("__name__", name), ("a", "\"x\"")]).unwrap()
    }

    #[test]
    fn every_kind_is_written() {
        assert_eq!(written(result(QueryData::Scalar(1_500, f64::NAN))), json!([1.5, "NaN"]));
        assert_eq!(written(result(QueryData::String(0, "a\n".into()))), json!([0, "a\n"]));
        assert_eq!(written(entries(QueryData::Scalar(0, 2.0))), json!([{"metric": {}, "value": [0, "2"]}]));
        assert_eq!(written(result(QueryData::Vector(vec![]))), json!([]));
        assert_eq!(written(result(QueryData::Matrix(vec![]))), json!([]));
        let series =
            |name| InstantSeries { labels: labels(name), timestamp: 1_000, value: PointValue::Float(0.5) };
        let expected = |name| json!({"metric": {"__name__": name, "a": "\"x\""}, "value": [1, "0.5"]});
        let vector = QueryData::Vector(vec![series("b"), series("c")]);
        assert_eq!(written(result(vector)), json!([expected("b"), expected("c")]));
    }

    #[test]
    fn series_longer_than_a_piece_are_whole() {
        for points in [0, 1, POINTS - 1, POINTS, POINTS + 1, 5 * POINTS] {
            let floats: Vec<(Millis, f64)> =
                (0..points).map(|at| (at as Millis * 1_000, at as f64)).collect();
            let series = RangeSeries { labels: labels("b"), floats, histograms: vec![] };
            let answer = written(result(QueryData::Matrix(vec![series.clone(), series])));
            let values: Vec<Value> = (0..points).map(|at| json!([at, at.to_string()])).collect();
            for series in [&answer[0], &answer[1]] {
                assert_eq!(series["metric"]["__name__"], "b");
                let expected = if points == 0 { Value::Null } else { json!(values) };
                assert_eq!(series["values"], expected);
                assert_eq!(series["histograms"], Value::Null);
            }
        }
    }
}
