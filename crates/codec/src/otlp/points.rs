//! From data points to series.

use metricsd_model::{Millis, NativeHistogram, stale_marker};

use super::convert::OtlpError;
use super::message::{Exemplar, Histogram, Point, Summary, exemplar};
use super::names::label_name;
use super::{OtlpOptions, native};
use crate::exposition::open_metrics_float;
use crate::remote_write::{BodyWriter, MAX_EXEMPLAR_CHARACTERS, SeriesWriter, label_bytes};
use crate::wire::WireError;

/// Where series go.
#[derive(Debug)]
pub(super) struct Sink<'o> {
    pub(super) options: &'o OtlpOptions,
    pub(super) body: BodyWriter,
    /// Of each series the data point that it comes from.
    pub(super) owners: Vec<u32>,
    /// Bounds of the last histogram, and the labels that they became.
    bounds: Vec<f64>,
    les: Vec<Vec<u8>>,
}

/// The names of a metric's series, as labels.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) plain: Vec<u8>,
    bucket: Vec<u8>,
    sum: Vec<u8>,
    count: Vec<u8>,
}

impl Names {
    pub(super) fn of(name: &str) -> Self {
        let with = |suffix: &str| label_bytes([("__name__", format!("{name}{suffix}").as_str())]);
        Self { plain: with(""), bucket: with("_bucket"), sum: with("_sum"), count: with("_count") }
    }
}

/// Whose series are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'b> {
    pub(super) names: &'b Names,
    pub(super) labels: &'b [u8],
    /// Number of the data point.
    pub(super) owner: u32,
    /// Where the series began, if a zero is to say so.
    pub(super) zero: Option<Millis>,
}

/// Nanoseconds as milliseconds.
pub(super) fn millis(nanos: u64) -> Millis {
    // At most 1.8e13, whatever is sent.
    (nanos / 1_000_000).cast_signed()
}

impl<'o> Sink<'o> {
    pub(super) fn new(options: &'o OtlpOptions) -> Self {
        Self { options, body: BodyWriter::new(), owners: Vec::new(), bounds: Vec::new(), les: Vec::new() }
    }

    /// Begins a series.
    pub(super) fn series(
        &mut self,
        of: Of<'_>,
        name: &[u8],
        own: &[u8],
    ) -> Result<SeriesWriter<'_>, OtlpError> {
        let limit = self.options.max_bytes;
        if self.body.len() + of.labels.len() + name.len() > limit {
            return Err(OtlpError::TooLarge { limit });
        }
        self.owners.push(of.owner);
        let mut series = self.body.series();
        series.raw_labels(name).raw_labels(of.labels).raw_labels(own);
        Ok(series)
    }

    /// A series that is one float.
    fn float(&mut self, of: Of<'_>, name: &[u8], own: &[u8], time: u64, value: f64) -> Result<(), OtlpError> {
        let mut series = self.series(of, name, own)?;
        if let Some(start) = of.zero {
            series.sample(start, 0.0);
        }
        series.sample(millis(time), value);
        Ok(())
    }

    /// A gauge or a counter.
    pub(super) fn number(&mut self, of: Of<'_>, point: &Point<'_>, value: f64) -> Result<(), OtlpError> {
        let options = self.options;
        let mut series = self.series(of, &of.names.plain, &[])?;
        if let Some(start) = of.zero {
            series.sample(start, 0.0);
        }
        series.sample(millis(point.time), value);
        for reader in &point.exemplars {
            put_exemplar(&mut series, options, &exemplar(*reader)?, point.time);
        }
        Ok(())
    }

    /// A native histogram.
    pub(super) fn native(
        &mut self,
        of: Of<'_>,
        point: &Point<'_>,
        histogram: &NativeHistogram,
    ) -> Result<(), OtlpError> {
        let options = self.options;
        let mut series = self.series(of, &of.names.plain, &[])?;
        if let Some(start) = of.zero {
            series.histogram(start, &native::empty_of(histogram));
        }
        series.histogram(millis(point.time), histogram);
        for reader in &point.exemplars {
            put_exemplar(&mut series, options, &exemplar(*reader)?, point.time);
        }
        Ok(())
    }

    /// A histogram as series of its buckets, each of which counts all below its bound.
    pub(super) fn buckets(
        &mut self,
        of: Of<'_>,
        point: &Point<'_>,
        histogram: &Histogram,
    ) -> Result<(), OtlpError> {
        self.name_bounds(&histogram.bounds);
        let (options, time) = (self.options, point.time);
        let said = |value: f64| if point.ends() { stale_marker() } else { value };
        let exemplars = by_bucket(point, &histogram.bounds)?;
        let mut exemplars = exemplars.iter().peekable();
        let les = std::mem::take(&mut self.les);
        let mut below = 0u64;
        for (place, le) in les.iter().enumerate() {
            let is_last = place == histogram.bounds.len();
            below = below.saturating_add(histogram.counts.get(place).copied().unwrap_or(0));
            let count = if is_last { histogram.count } else { below };
            let mut series = self.series(of, &of.names.bucket, le)?;
            if let Some(start) = of.zero {
                series.sample(start, 0.0);
            }
            series.sample(millis(time), said(count as f64));
            while let Some((_, exemplar)) = exemplars.next_if(|(bucket, _)| *bucket == place) {
                put_exemplar(&mut series, options, exemplar, time);
            }
        }
        self.les = les;
        if let Some(sum) = histogram.sum.or(point.ends().then_some(0.0)) {
            self.float(of, &of.names.sum, &[], time, said(sum))?;
        }
        self.float(of, &of.names.count, &[], time, said(histogram.count as f64))
    }

    /// The labels `le` of bounds, which are those of the histogram before as a rule.
    fn name_bounds(&mut self, bounds: &[f64]) {
        if self.bounds != bounds || self.les.is_empty() {
            let named = bounds.iter().chain(&[f64::INFINITY]);
            self.les =
                named.map(|bound| label_bytes([("le", open_metrics_float(*bound).as_str())])).collect();
            self.bounds = bounds.to_vec();
        }
    }

    /// A summary.
    pub(super) fn summary(
        &mut self,
        of: Of<'_>,
        point: &Point<'_>,
        summary: &Summary,
    ) -> Result<(), OtlpError> {
        let said = |value: f64| if point.ends() { stale_marker() } else { value };
        for (quantile, value) in &summary.quantiles {
            let own = label_bytes([("quantile", open_metrics_float(*quantile).as_str())]);
            let unzeroed = Of { zero: None, ..of };
            self.float(unzeroed, &of.names.plain, &own, point.time, said(*value))?;
        }
        self.float(of, &of.names.sum, &[], point.time, said(summary.sum))?;
        self.float(of, &of.names.count, &[], point.time, said(summary.count as f64))
    }
}

/// Exemplars by the bucket that they fall into.
fn by_bucket<'a>(point: &Point<'a>, bounds: &[f64]) -> Result<Vec<(usize, Exemplar<'a>)>, WireError> {
    let bucket = |value: f64| {
        if value.is_nan() { bounds.len() } else { bounds.partition_point(|bound| *bound < value) }
    };
    let mut exemplars = Vec::with_capacity(point.exemplars.len());
    for reader in &point.exemplars {
        let exemplar = exemplar(*reader)?;
        exemplars.push((bucket(exemplar.value), exemplar));
    }
    exemplars.sort_by_key(|(bucket, _)| *bucket);
    Ok(exemplars)
}

/// Writes an exemplar. Attributes that make it too long are left out: the trace is what it is for.
fn put_exemplar(series: &mut SeriesWriter<'_>, options: &OtlpOptions, exemplar: &Exemplar<'_>, time: u64) {
    let named: Vec<_> = exemplar
        .attributes
        .iter()
        .map(|attribute| (label_name(options.translation, attribute.key), attribute.value.as_ref()))
        .filter(|(name, value)| !value.is_empty() && !matches!(name.as_ref(), "" | "trace_id" | "span_id"))
        .collect();
    let ids = [("trace_id", exemplar.trace_id.as_str()), ("span_id", exemplar.span_id.as_str())];
    let ids = ids.into_iter().filter(|(_, id)| !id.is_empty());
    let attributes = named.iter().map(|(name, value)| (name.as_ref(), *value));
    let length = |(name, value): (&str, &str)| name.chars().count() + value.chars().count();
    let whole: usize = ids.clone().chain(attributes.clone()).map(length).sum();
    let at = millis(if exemplar.time == 0 { time } else { exemplar.time });
    if whole > MAX_EXEMPLAR_CHARACTERS {
        series.exemplar(ids, exemplar.value, at);
    } else {
        series.exemplar(ids.chain(attributes), exemplar.value, at);
    }
}
