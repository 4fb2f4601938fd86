//! Data points of each kind, one by one: what can be stored of them, and what is said where nothing can.

use metricsd_model::{Millis, NativeHistogram, stale_marker};

use super::convert::{Converter, Judged, Kind, Metric, OtlpError, Temporality};
use super::message::{self, Histogram, Point};
use super::native;
use super::points::{Of, millis};
use super::streams::{Advanced, Total};
use crate::wire::Reader;

const MIXED: &str = "a data point is of another kind than those before it";

impl<'a> Converter<'a, '_> {
    /// Writes the labels of a data point; they are then in `labels`.
    fn name(
        &mut self,
        point: &Point<'a>,
        metric: &Metric<'_>,
        own: Option<&str>,
    ) -> Result<Judged, OtlpError> {
        if point.too_many {
            return Ok(Err("a data point has more than 1024 attributes".to_owned()));
        }
        if point.time == 0 {
            return Ok(Err("a data point has no time".to_owned()));
        }
        self.labels.write(self.sink.options.translation, metric.base, &point.attributes, own);
        self.charge(self.labels.bytes().len())?;
        Ok(Ok(()))
    }

    /// When the series of a data point began, if a zero is to say so.
    fn zero_of(&mut self, point: &Point<'_>, metric: &Metric<'_>) -> Option<Millis> {
        let start = self.start_of(point)?;
        self.write_key(metric);
        let is_first = self.streams.as_mut()?.began(&self.key, point.start, point.time);
        is_first.then_some(start)
    }

    /// When a data point says that its series began, as far as a zero can be stored there.
    fn start_of(&self, point: &Point<'_>) -> Option<Millis> {
        let start = millis(point.start);
        let wanted = self.sink.options.start_zeros && point.start > 0 && !point.ends();
        (wanted && start < millis(point.time) && start >= self.request.earliest).then_some(start)
    }

    /// What names a stream: its source and its series.
    fn write_key(&mut self, metric: &Metric<'_>) {
        self.key.clear();
        self.key.extend_from_slice(self.request.source_id.as_bytes());
        self.key.push(0);
        self.key.extend_from_slice(&metric.names.plain);
        self.key.extend_from_slice(self.labels.bytes());
    }

    /// Adds a delta to its stream; answers its sum, and where the stream began if a zero is to say so.
    fn add_up(
        &mut self,
        point: &Point<'_>,
        metric: &Metric<'_>,
        delta: Total,
    ) -> Result<(Total, Option<Millis>), String> {
        // It would hold up all that is not from the future as older than itself.
        if millis(point.time) > self.request.latest {
            return Err("the time of a delta is too far in the future".to_owned());
        }
        let start = self.start_of(point);
        self.write_key(metric);
        let streams = self.streams.as_mut().ok_or("deltas are not added up here")?;
        let Advanced { total, is_first } = streams.add(&self.key, point.start, point.time, delta)?;
        Ok((total.clone(), start.filter(|_| is_first)))
    }

    /// `sum` is absent for gauges.
    pub(super) fn number(
        &mut self,
        reader: Reader<'a>,
        point: &mut Point<'a>,
        metric: &Metric<'_>,
        sum: Option<&Kind>,
    ) -> Result<Judged, OtlpError> {
        let value = message::number(reader, point)?;
        if value.is_none() && !point.ends() {
            return Ok(Err("a data point has no value".to_owned()));
        }
        if let Err(reason) = self.name(point, metric, None)? {
            return Ok(Err(reason));
        }
        let monotonic = sum.is_some_and(|sum| sum.monotonic);
        if !monotonic {
            // Exemplars of other numbers mean nothing.
            point.exemplars.clear();
        }
        let (value, zero) = match value.filter(|_| !point.ends()) {
            None => (stale_marker(), None),
            Some(value) if sum.is_some_and(|sum| sum.temporality == Temporality::Delta) => {
                match self.add_up(point, metric, Total::Sum(value)) {
                    Ok((Total::Sum(total), zero)) => (total, zero),
                    Ok(_) => return Ok(Err(MIXED.to_owned())),
                    Err(reason) => return Ok(Err(reason)),
                }
            }
            Some(value) if monotonic => (value, self.zero_of(point, metric)),
            Some(value) => (value, None),
        };
        let of = Of { names: &metric.names, labels: self.labels.bytes(), owner: self.points - 1, zero };
        self.sink.number(of, point, value)?;
        Ok(Ok(()))
    }

    pub(super) fn histogram(
        &mut self,
        reader: Reader<'a>,
        point: &mut Point<'a>,
        metric: &Metric<'_>,
        kind: &Kind,
    ) -> Result<Judged, OtlpError> {
        let mut histogram = std::mem::take(&mut self.histogram);
        let read = message::histogram(reader, point, &mut histogram);
        let judged = match read {
            Ok(()) => self.bounded(point, metric, kind, &histogram),
            Err(error) => Err(error.into()),
        };
        self.histogram = histogram;
        judged
    }

    fn bounded(
        &mut self,
        point: &Point<'a>,
        metric: &Metric<'_>,
        kind: &Kind,
        histogram: &Histogram,
    ) -> Result<Judged, OtlpError> {
        if !point.ends()
            && let Err(reason) = check(histogram)
        {
            return Ok(Err(reason));
        }
        let own = (!self.sink.options.custom_buckets).then_some("le");
        if let Err(reason) = self.name(point, metric, own)? {
            return Ok(Err(reason));
        }
        let delta = kind.temporality == Temporality::Delta && !point.ends();
        let summed;
        let (histogram, zero) = if delta {
            match self.add_up(point, metric, Total::Histogram(histogram.clone())) {
                Ok((Total::Histogram(total), zero)) => {
                    summed = total;
                    (&summed, zero)
                }
                Ok(_) => return Ok(Err(MIXED.to_owned())),
                Err(reason) => return Ok(Err(reason)),
            }
        } else {
            (histogram, self.zero_of(point, metric))
        };
        let of = Of { names: &metric.names, labels: self.labels.bytes(), owner: self.points - 1, zero };
        if !self.sink.options.custom_buckets {
            self.sink.buckets(of, point, histogram)?;
        } else if point.ends() {
            self.sink.native(of, point, &native::stale())?;
        } else {
            self.sink.native(of, point, &native::of_bounds(histogram))?;
        }
        Ok(Ok(()))
    }

    pub(super) fn exponential(
        &mut self,
        reader: Reader<'a>,
        point: &mut Point<'a>,
        metric: &Metric<'_>,
        kind: &Kind,
    ) -> Result<Judged, OtlpError> {
        let read = message::exponential(reader, point)?;
        if let Err(reason) = self.name(point, metric, None)? {
            return Ok(Err(reason));
        }
        let converted = if point.ends() { Ok(native::stale()) } else { native::of_exponential(&read) };
        let (histogram, zero): (NativeHistogram, Option<Millis>) = match converted {
            Err(reason) => return Ok(Err(reason)),
            Ok(delta) if kind.temporality == Temporality::Delta && !point.ends() => {
                match self.add_up(point, metric, Total::Native(delta)) {
                    Ok((Total::Native(total), zero)) => (total, zero),
                    Ok(_) => return Ok(Err(MIXED.to_owned())),
                    Err(reason) => return Ok(Err(reason)),
                }
            }
            Ok(histogram) => (histogram, self.zero_of(point, metric)),
        };
        let of = Of { names: &metric.names, labels: self.labels.bytes(), owner: self.points - 1, zero };
        self.sink.native(of, point, &histogram)?;
        Ok(Ok(()))
    }

    pub(super) fn summary(
        &mut self,
        reader: Reader<'a>,
        point: &mut Point<'a>,
        metric: &Metric<'_>,
    ) -> Result<Judged, OtlpError> {
        let summary = message::summary(reader, point)?;
        if let Err(reason) = self.name(point, metric, Some("quantile"))? {
            return Ok(Err(reason));
        }
        let zero = self.zero_of(point, metric);
        let of = Of { names: &metric.names, labels: self.labels.bytes(), owner: self.points - 1, zero };
        self.sink.summary(of, point, &summary)?;
        Ok(Ok(()))
    }
}

/// Whether the buckets of a histogram make sense.
fn check(histogram: &Histogram) -> Judged {
    let (bounds, counts) = (&histogram.bounds, &histogram.counts);
    let bare = bounds.is_empty() && counts.is_empty();
    if !bare && counts.len() != bounds.len() + 1 {
        return Err(format!(
            "a data point has {} bounds and {} buckets, not one more",
            bounds.len(),
            counts.len()
        ));
    }
    if bounds.iter().any(|bound| !bound.is_finite()) {
        return Err("a bound of a data point is not a finite number".to_owned());
    }
    if bounds.is_sorted_by(|one, next| one < next) {
        let observed = counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        if observed > histogram.count {
            return Err(format!(
                "the buckets of a data point hold {observed} observations, its count says {}",
                histogram.count
            ));
        }
        return Ok(());
    }
    Err("the bounds of a data point do not rise".to_owned())
}
