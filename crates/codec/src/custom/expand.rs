//! Histograms, summaries and examples as series of remote write.

use metricsd_model::{MetricSource, Millis};

use super::metric::{ClassicHistogram, CustomMetric, CustomValue, ItemExemplar, Summary};
use crate::exposition::open_metrics_float;
use crate::remote_write::{BodyWriter, SeriesWriter};

/// Bytes that stand beside the labels of a series, at most: its own label, its sample, and what tells fields apart.
const BESIDE: usize = 96;

/// How many bytes the series of an item take, or a little less than this: every one has all its labels.
pub(super) fn expanded_size(metric: &CustomMetric) -> usize {
    let series = match &metric.value {
        CustomValue::Float(_) | CustomValue::Native(_) => 1,
        CustomValue::Classic(histogram) => histogram.buckets.len() + 3,
        CustomValue::Summary(summary) => summary.quantiles.len() + 2,
    };
    let labels: usize = metric.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    (metric.name.len() + labels + BESIDE).saturating_mul(series)
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
        CustomValue::Classic(histogram) => item.classic(histogram, out),
        CustomValue::Summary(summary) => item.summary(summary, out),
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

    /// Examples belong to the bucket that they fall into.
    fn classic(&self, histogram: &ClassicHistogram, out: &mut BodyWriter) {
        let above = histogram.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY);
        let last = above.then_some((f64::INFINITY, histogram.count));
        let placed = self.placed(histogram);
        let mut rest = placed.as_slice();
        for (place, (bound, count)) in histogram.buckets.iter().copied().chain(last).enumerate() {
            let mut series = self.series(out, "_bucket", Some(("le", &open_metrics_float(bound))));
            series.sample(self.at, count);
            let (own, others) = rest.split_at(rest.partition_point(|(bucket, _)| *bucket <= place));
            self.exemplars(&mut series, own.iter().map(|(_, exemplar)| *exemplar));
            rest = others;
        }
        self.series(out, "_sum", None).sample(self.at, histogram.sum);
        self.series(out, "_count", None).sample(self.at, histogram.count);
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

    fn summary(&self, summary: &Summary, out: &mut BodyWriter) {
        for (quantile, value) in &summary.quantiles {
            self.series(out, "", Some(("quantile", &open_metrics_float(*quantile)))).sample(self.at, *value);
        }
        self.series(out, "_sum", None).sample(self.at, summary.sum);
        self.series(out, "_count", None).sample(self.at, summary.count);
    }
}
