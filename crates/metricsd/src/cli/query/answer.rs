//! What the query API answers, as far as it is shown.

use std::collections::BTreeMap;

use metricsd_model::Millis;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::failure::Failure;

/// An answer of `/api/v1/query` or `/api/v1/query_range`.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// What was asked for.
    pub(super) data: Data,
    /// What is probably wrong with the query or its data.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    /// What may be wrong with them.
    #[serde(default)]
    pub(super) infos: Vec<String>,
}

/// The data of an answer.
#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Data {
    /// A number.
    Scalar(Point<String>),
    /// A text.
    String(Point<String>),
    /// Series at one moment.
    Vector(Vec<Series>),
    /// Series over a range.
    Matrix(Vec<Series>),
}

/// A moment in seconds since the epoch, and what held then.
#[derive(Debug, Deserialize)]
pub(super) struct Point<T>(f64, pub(super) T);

impl<T> Point<T> {
    /// The moment.
    pub(super) fn at(&self) -> Millis {
        (self.0 * 1e3).round() as Millis
    }
}

/// A series: one float or histogram at a moment, or lists of them over a range.
#[derive(Debug, Deserialize)]
pub(super) struct Series {
    /// Labels; the name is one of them.
    pub(super) metric: BTreeMap<String, String>,
    value: Option<Point<String>>,
    #[serde(default)]
    values: Vec<Point<String>>,
    histogram: Option<Point<Histogram>>,
    #[serde(default)]
    histograms: Vec<Point<Histogram>>,
}

/// A native histogram.
#[derive(Debug, Deserialize)]
pub(super) struct Histogram {
    /// Number of observations.
    pub(super) count: String,
    /// Their sum.
    pub(super) sum: String,
    /// From the lowest to the highest.
    #[serde(default)]
    pub(super) buckets: Vec<Bucket>,
}

/// Which bounds belong to it (0: the upper, 1: the lower, 2: neither, 3: both), lower, upper, number of observations.
#[derive(Debug, Deserialize)]
pub(super) struct Bucket(u8, pub(super) String, pub(super) String, pub(super) String);

/// A float as the server wrote it, or a histogram.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample<'a> {
    /// A float.
    Float(&'a str),
    /// A native histogram.
    Histogram(&'a Histogram),
}

impl Answer {
    /// Reads an answer.
    pub(super) fn read(answer: Value) -> Result<Self, Failure> {
        let wrong = |error| Failure::failed(format!("the server's answer is none of a query: {error}"));
        serde_json::from_value(answer).map_err(wrong)
    }
}

impl Series {
    /// Its samples, ascending in time.
    pub(super) fn samples(&self) -> Vec<(Millis, Sample<'_>)> {
        let floats = self.value.iter().chain(&self.values);
        let histograms = self.histogram.iter().chain(&self.histograms);
        let mut samples: Vec<_> = floats.map(|point| (point.at(), Sample::Float(&point.1))).collect();
        samples.extend(histograms.map(|point| (point.at(), Sample::Histogram(&point.1))));
        samples.sort_by_key(|(at, _)| *at);
        samples
    }
}

impl Bucket {
    /// The interval, with a bracket where the bound belongs to it.
    pub(super) fn interval(&self) -> String {
        let Self(rule, lower, upper, _) = self;
        let left = if matches!(rule, 1 | 3) { '[' } else { '(' };
        let right = if matches!(rule, 0 | 3) { ']' } else { ')' };
        format!("{left}{lower},{upper}{right}")
    }
}

impl Histogram {
    /// All of it in one line: `{count:3, sum:4.5, (0.5,1]:1, (1,2]:2}`.
    pub(super) fn in_full(&self) -> String {
        let mut text = format!("{{count:{}, sum:{}", self.count, self.sum);
        for bucket in &self.buckets {
            text = format!("{text}, {}:{}", bucket.interval(), bucket.3);
        }
        text + "}"
    }
}

impl Sample<'_> {
    /// All of it in one line.
    pub(super) fn in_full(self) -> String {
        match self {
            Self::Float(value) => value.to_owned(),
            Self::Histogram(histogram) => histogram.in_full(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_of_every_kind_are_read() {
        let read = |kind: &str, result: Value| {
            Answer::read(json!({"status": "success", "data": {"resultType": kind, "result": result}}))
                .unwrap()
        };
        assert!(
            matches!(read("scalar", json!([1.5, "NaN"])).data, Data::Scalar(point) if point.at() == 1_500)
        );
        assert!(matches!(read("string", json!([0, "a"])).data, Data::String(point) if point.1 == "a"));
        assert!(matches!(read("vector", json!([])).data, Data::Vector(series) if series.is_empty()));
        let histogram =
            json!({"count": "3", "sum": "4.5", "buckets": [[0, "0.5", "1", "1"], [3, "1", "2", "2"]]});
        let series =
            json!([{"metric": {}, "values": [[1, "1"], [3, "+Inf"]], "histograms": [[2, histogram]]}]);
        let Data::Matrix(series) = read("matrix", series).data else { panic!("no matrix") };
        let samples: Vec<_> =
            series[0].samples().iter().map(|(at, sample)| (*at, sample.in_full())).collect();
        let expected = [(1_000, "1"), (2_000, "{count:3, sum:4.5, (0.5,1]:1, [1,2]:2}"), (3_000, "+Inf")];
        assert_eq!(samples, expected.map(|(at, text)| (at, text.to_owned())));
        assert!(
            Answer::read(json!({"status": "success", "data": {"resultType": "tree", "result": []}})).is_err()
        );
    }
}
