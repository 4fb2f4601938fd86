//! Histograms, summaries and examples as series of remote write.

use metricsd_model::{MetricSource, Millis};

use super::metric::{ClassicHistogram, CustomMetric, CustomValue, ItemExemplar};
use crate::exposition::open_metrics_float;
use crate::remote_write::{BodyWriter, SeriesWriter};

/// Bytes that stand beside the labels of a series, at most: its own label, its sample, and what tells fields apart.
const BESIDE: usize = 96;

impl CustomMetric {
    /// How many bytes the series of an item take, or a little less than this: every one has all its labels.
    pub fn expanded_size(&self) -> usize {
        let series = match &self.value {
            CustomValue::Float(_) | CustomValue::Native(_) => 1,
            CustomValue::Classic(histogram) => histogram.buckets.len() + 3,
            CustomValue::Summary(summary) => summary.quantiles.len() + 2,
        };
        let labels: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        (self.name.len() + labels + BESIDE).saturating_mul(series)
    }
}

/// Writes the series of an item.
pub(super) fn expand(metric: &CustomMetric, now: Millis, source: Option<MetricSource>, out: &mut BodyWriter) {
    let at = metric.timestamp.unwrap_or(now);
    let item = Item { metric, source, at };
    match &metric.value {
        CustomValue::Float(value) => {
            let mut series = item.series(out, "", None);
            series.sample(at, *value);
            item.exemplars(&mut series, &metric.exemplars);
        }
        CustomValue::Native(histogram) => {
            let mut series = item.series(out, "", None);
            series.histogram(at, histogram);
            item.exemplars(&mut series, &metric.exemplars);
        }
        CustomValue::Classic(_) | CustomValue::Summary(_) => item.pieces(out),
    }
}

struct Item<'a> {
    metric: &'a CustomMetric,
    source: Option<MetricSource>,
    at: Millis,
}

impl Item<'_> {
    fn series<'w>(
        &self,
        out: &'w mut BodyWriter,
        suffix: &str,
        label: Option<(&str, &str)>,
    ) -> SeriesWriter<'w> {
        let mut series = out.series();
        if suffix.is_empty() {
            series.label("__name__", &self.metric.name);
        } else {
            series.label("__name__", &format!("{}{suffix}", self.metric.name));
        }
        for (name, value) in &self.metric.labels {
            series.label(name, value);
        }
        if let Some((name, value)) = label {
            series.label(name, value);
        }
        if let Some(source) = self.source {
            series.source(source);
        }
        series
    }

    fn exemplars<'e>(
        &self,
        series: &mut SeriesWriter<'_>,
        exemplars: impl IntoIterator<Item = &'e ItemExemplar>,
    ) {
        for exemplar in exemplars {
            let labels = exemplar.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            series.exemplar(labels, exemplar.value, exemplar.timestamp.unwrap_or(self.at));
        }
    }

    fn pieces(&self, out: &mut BodyWriter) {
        let placed = match &self.metric.value {
            CustomValue::Classic(histogram) => self.placed(histogram),
            _ => Vec::new(),
        };
        let mut rest = placed.as_slice();
        for (place, piece) in self.metric.value.pieces().into_iter().enumerate() {
            let label = piece.label.as_ref().map(|(name, value)| (*name, value.as_str()));
            let mut series = self.series(out, piece.suffix, label);
            series.sample(self.at, piece.value);
            // Buckets come first.
            let (own, others) = rest.split_at(rest.partition_point(|(bucket, _)| *bucket <= place));
            self.exemplars(&mut series, own.iter().map(|(_, exemplar)| *exemplar));
            rest = others;
        }
    }

    /// Examples by the place of the bucket that they fall into; what is no number falls into none.
    fn placed(&self, histogram: &ClassicHistogram) -> Vec<(usize, &ItemExemplar)> {
        let numbers = self.metric.exemplars.iter().filter(|exemplar| exemplar.value > f64::NEG_INFINITY);
        let mut placed: Vec<_> = numbers
            .map(|exemplar| {
                let bucket = histogram.buckets.partition_point(|(bound, _)| *bound < exemplar.value);
                (bucket, exemplar)
            })
            .collect();
        placed.sort_by_key(|(bucket, _)| *bucket);
        placed
    }
}

/// One of the series that a histogram by bounds or a summary becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// What follows the item's name.
    pub suffix: &'static str,
    /// A label beside those of the item.
    pub label: Option<(&'static str, String)>,
    /// Its sample.
    pub value: f64,
}

impl Piece {
    fn new(suffix: &'static str, label: Option<(&'static str, f64)>, value: f64) -> Self {
        Self { suffix, label: label.map(|(name, number)| (name, open_metrics_float(number))), value }
    }
}

impl CustomValue {
    /// The series of a histogram by bounds or a summary, buckets first; none where the value is one sample.
    pub fn pieces(&self) -> Vec<Piece> {
        let (mut pieces, sum, count) = match self {
            Self::Float(_) | Self::Native(_) => return Vec::new(),
            Self::Classic(histogram) => {
                let above = histogram.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY);
                let last = above.then_some((f64::INFINITY, histogram.count));
                let buckets = histogram.buckets.iter().copied().chain(last);
                let bucket = |(bound, count)| Piece::new("_bucket", Some(("le", bound)), count);
                (buckets.map(bucket).collect::<Vec<_>>(), histogram.sum, histogram.count)
            }
            Self::Summary(summary) => {
                let quantile =
                    |(quantile, value): &(f64, f64)| Piece::new("", Some(("quantile", *quantile)), *value);
                (summary.quantiles.iter().map(quantile).collect(), summary.sum, summary.count)
            }
        };
        pieces.push(Piece::new("_sum", None, sum));
        pieces.push(Piece::new("_count", None, count));
        pieces
    }
}
