//! What the engine remarks beside an answer. The wording is part of Prometheus' interface: people match on it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use metricsd_model::Millis;
use parking_lot::Mutex;

use crate::functions::buckets::Repair;

/// Something to remark; its text is what follows `PromQL warning: ` or `PromQL info: `.
#[derive(Debug, Clone, PartialEq)]
pub enum Annotation {
    /// φ of a quantile lies outside of [0, 1].
    InvalidQuantile(f64),
    /// The ratio of `limit_ratio` lies outside of [-1, 1]: what was asked, what is used.
    InvalidRatio(f64, f64),
    /// A classic bucket's `le` is missing or no number: its value, the metric.
    BadBucketLabel(String, String),
    /// Floats and histograms together in a range: the metric.
    MixedFloatsHistograms(String),
    /// Floats and histograms together in an aggregation.
    MixedFloatsHistogramsInAggregation,
    /// Classic and native histograms of one name: the metric.
    MixedClassicNative(String),
    /// A gauge histogram where a counter is expected: the metric.
    HistogramNotCounter(String),
    /// A counter histogram where a gauge is expected: the metric.
    HistogramNotGauge(String),
    /// Exponential and custom buckets together: the metric.
    MixedExponentialCustom(String),
    /// Two histograms whose buckets cannot be matched: the operator.
    IncompatibleBucketLayout(&'static str),
    /// Counter resets that contradict each other: `addition`, `subtraction`, `aggregation`.
    CounterResetCollision(&'static str),
    /// A counter's name does not look like one: the metric.
    PossibleNonCounter(String),
    /// Operands for which the operator means nothing: the operator, left, right (`float`, `histogram`).
    IncompatibleTypes(String, &'static str, &'static str),
    /// Histograms that an aggregation leaves out: the aggregation.
    HistogramIgnoredInAggregation(&'static str),
    /// Histograms that a function leaves out of a range with floats: the metric.
    HistogramIgnoredInMixedRange(String),
    /// Custom buckets of different bounds were brought to common ones: `addition`, `subtraction`, `aggregation`.
    MismatchedCustomBuckets(&'static str),
    /// NaN observations make the quantile NaN: the metric.
    QuantileNan(String),
    /// NaN observations shift the quantile: the metric.
    QuantileSkewed(String),
    /// NaN observations are in no fraction: the metric.
    FractionNan(String),
    /// Anything else of the warning kind, worded in full.
    Warning(String),
    /// Anything else of the information kind, worded in full.
    Info(String),
}

impl Annotation {
    fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::InvalidQuantile(_)
                | Self::InvalidRatio(..)
                | Self::BadBucketLabel(..)
                | Self::MixedFloatsHistograms(_)
                | Self::MixedFloatsHistogramsInAggregation
                | Self::MixedClassicNative(_)
                | Self::HistogramNotCounter(_)
                | Self::HistogramNotGauge(_)
                | Self::MixedExponentialCustom(_)
                | Self::IncompatibleBucketLayout(_)
                | Self::CounterResetCollision(_)
                | Self::Warning(_)
        )
    }

    fn text(&self) -> String {
        match self {
            Self::InvalidQuantile(got) => {
                format!("quantile value should be between 0 and 1, got {}", number(*got))
            }
            Self::InvalidRatio(got, used) => {
                let (got, used) = (number(*got), number(*used));
                format!("ratio value should be between -1 and 1, got {got}, capping to {used}")
            }
            Self::BadBucketLabel(value, metric) => {
                let of = of_metric(metric);
                format!("bucket label \"le\" is missing or has a malformed value of {value:?}{of}")
            }
            Self::MixedFloatsHistograms(metric) => {
                format!("encountered a mix of histograms and floats for metric name {metric:?}")
            }
            Self::MixedFloatsHistogramsInAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            Self::MixedClassicNative(metric) => {
                format!("vector contains a mix of classic and native histograms{}", of_metric(metric))
            }
            Self::HistogramNotCounter(metric) => {
                format!("this native histogram metric is not a counter: {metric:?}")
            }
            Self::HistogramNotGauge(metric) => {
                format!("this native histogram metric is not a gauge: {metric:?}")
            }
            Self::MixedExponentialCustom(metric) => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name \
                 {metric:?}"
            ),
            Self::IncompatibleBucketLayout(op) => {
                format!("incompatible bucket layout encountered for binary operator {op}")
            }
            Self::CounterResetCollision(during) => {
                format!("conflicting counter resets during histogram {during}")
            }
            Self::PossibleNonCounter(metric) => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
            ),
            Self::IncompatibleTypes(op, left, right) => {
                format!(
                    "incompatible sample types encountered for binary operator {op:?}: {left} {op} {right}"
                )
            }
            Self::HistogramIgnoredInAggregation(name) => format!("ignored histogram in {name} aggregation"),
            Self::HistogramIgnoredInMixedRange(metric) => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {metric:?}"
            ),
            Self::MismatchedCustomBuckets(during) => {
                format!("mismatched custom buckets were reconciled during {during}")
            }
            Self::QuantileNan(metric) => format!(
                "input to histogram_quantile has NaN observations, result is NaN{}",
                of_metric(metric)
            ),
            Self::QuantileSkewed(metric) => format!(
                "input to histogram_quantile has NaN observations, result is skewed higher{}",
                of_metric(metric)
            ),
            Self::FractionNan(metric) => format!(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions{}",
                of_metric(metric)
            ),
            Self::Warning(text) | Self::Info(text) => text.clone(),
        }
    }
}

/// The metric where it has a name: aggregations take it away.
fn of_metric(metric: &str) -> String {
    if metric.is_empty() { String::new() } else { format!(" for metric name {metric:?}") }
}

/// A number as Go's `%g` writes it.
fn number(value: f64) -> String {
    crate::number::format(value)
}

/// All that was remarked during one query; each remark once.
#[derive(Debug, Default)]
pub struct Annotations {
    remarks: Mutex<Remarks>,
}

#[derive(Debug, Default)]
struct Remarks {
    /// By text, where it was remarked last (byte offset).
    warnings: BTreeMap<String, usize>,
    infos: BTreeMap<String, usize>,
    /// (byte offset, metric)
    repairs: BTreeMap<(usize, String), Repairs>,
}

/// All repairs of one metric's classic buckets, which make one remark.
#[derive(Debug)]
struct Repairs {
    worst: Repair,
    samples: usize,
    first: Millis,
    last: Millis,
}

impl Repairs {
    fn join(&mut self, repair: Repair, at: Millis) {
        self.worst.lowest = self.worst.lowest.min(repair.lowest);
        self.worst.highest = self.worst.highest.max(repair.highest);
        self.worst.difference = self.worst.difference.max(repair.difference);
        self.samples += 1;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    fn text(&self, metric: &str) -> String {
        let Repair { lowest, highest, difference } = self.worst;
        format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}, from buckets {} to \
             {}, with a max diff of {}, over {} samples from {} to {}",
            of_metric(metric),
            number(lowest),
            number(highest),
            crate::number::two_digits(difference),
            self.samples,
            moment(self.first),
            moment(self.last)
        )
    }
}

/// A moment in whole seconds, as RFC 3339 writes it.
fn moment(at: Millis) -> String {
    let moment = chrono::DateTime::from_timestamp_millis(at).unwrap_or_default();
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A query whose every series is remarked upon must not hold a text for each.
const MAX_REMARKS: usize = 1_000;

impl Annotations {
    /// Remarks on the part of the query that `place` covers.
    pub fn add(&self, annotation: &Annotation, place: &Range<usize>) {
        let text = annotation.text();
        let mut remarks = self.remarks.lock();
        let kind = if annotation.is_warning() { &mut remarks.warnings } else { &mut remarks.infos };
        if kind.len() < MAX_REMARKS || kind.contains_key(&text) {
            kind.insert(text, place.start);
        }
    }

    /// Remarks that classic buckets had to be raised.
    pub fn add_repair(&self, metric: &str, repair: Repair, at: Millis, place: &Range<usize>) {
        let mut remarks = self.remarks.lock();
        let known = remarks.repairs.len();
        match remarks.repairs.entry((place.start, metric.to_owned())) {
            Entry::Occupied(mut repairs) => repairs.get_mut().join(repair, at),
            Entry::Vacant(vacant) if known < MAX_REMARKS => {
                vacant.insert(Repairs { worst: repair, samples: 1, first: at, last: at });
            }
            Entry::Vacant(_) => {}
        }
    }

    /// All warnings and all infos, as texts with their places in the query.
    pub fn finish(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let remarks = self.remarks.lock();
        let write = |kind: &str, at: usize, text: &str| {
            let (line, column) = line_and_column(query, at);
            format!("PromQL {kind}: {text} ({line}:{column})")
        };
        let warnings = remarks.warnings.iter().map(|(text, at)| write("warning", *at, text)).collect();
        let repairs = remarks.repairs.iter().map(|((at, metric), repairs)| (*at, repairs.text(metric)));
        let infos = remarks.infos.iter().map(|(text, at)| (*at, text.clone())).chain(repairs);
        (warnings, infos.map(|(at, text)| write("info", at, &text)).collect())
    }
}

/// Line and column of a byte, both from 1; columns count bytes.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (before.iter().filter(|byte| **byte == b'\n').count() + 1, before.len() - line_start + 1)
}
