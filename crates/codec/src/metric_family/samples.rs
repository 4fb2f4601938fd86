//! What a metric's samples are.

use std::ops::ControlFlow;

use metricsd_model::{Millis, NativeHistogram};

use super::exemplar::{self, FamilyExemplar};
use super::histogram::Histogram;
use super::read::{FamilyError, Metric};
use crate::exposition::MetricKind;
use crate::wire::{Reader, WireError};

/// Which form of a histogram is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histograms {
    /// Native histograms are; otherwise their classic buckets stand for them.
    pub native: bool,
    /// The classic buckets of native ones too.
    pub classic_too: bool,
}

/// Which sample of its metric a sample is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// The metric itself.
    Plain,
    /// `_sum`
    Sum,
    /// `_count`
    Count,
    /// `_bucket`, with the upper bound as `le`.
    Bucket(f64),
    /// With the quantile as `quantile`.
    Quantile(f64),
    /// The metric itself, as a native histogram.
    Native,
}

/// One sample of a metric.
#[derive(Debug)]
pub struct FamilySample<'s, 'p> {
    /// Which one.
    pub role: Role,
    /// Its value; 0 for [`Role::Native`].
    pub value: f64,
    /// The value of [`Role::Native`]; nothing of it was validated.
    pub histogram: Option<NativeHistogram>,
    /// Whether the histogram was sent with integer counts, so that its buckets must add up exactly.
    pub integer: bool,
    /// When what it counts began.
    pub created: Option<Millis>,
    /// Examples; those of a native histogram all have timestamps.
    pub exemplars: &'s [FamilyExemplar<'p>],
}

impl<'s, 'p> FamilySample<'s, 'p> {
    pub(super) fn float(role: Role, value: f64, created: Option<Millis>) -> Self {
        Self { role, value, histogram: None, integer: false, created, exemplars: &[] }
    }

    pub(super) fn with(mut self, exemplars: &'s [FamilyExemplar<'p>]) -> Self {
        self.exemplars = exemplars;
        self
    }
}

/// What hears of samples says whether to go on.
pub(super) type Heard = Result<ControlFlow<()>, WireError>;

/// Goes on to the next sample, or returns.
macro_rules! say {
    ($sink:expr, $sample:expr) => {
        if $sink($sample).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    };
}
pub(super) use say;

impl<'p> Metric<'p> {
    /// Tells `sink` each sample, as long as it wants to hear of them.
    ///
    /// # Errors
    /// A value that does not read; samples before it were told.
    #[inline]
    pub fn visit(
        &self,
        wanted: Histograms,
        mut sink: impl FnMut(FamilySample<'_, 'p>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FamilyError> {
        let heard = match self.kind {
            MetricKind::Counter => counter(self.value, &mut sink),
            MetricKind::Summary => summary(self.value, &mut sink),
            MetricKind::Histogram | MetricKind::GaugeHistogram => {
                let gauge = self.kind == MetricKind::GaugeHistogram;
                Histogram::read(self.value, gauge).and_then(|histogram| histogram.visit(wanted, &mut sink))
            }
            _ => plain(self.value).map(|value| sink(FamilySample::float(Role::Plain, value, None))),
        };
        heard.map_err(|error| FamilyError::new(self.family, error))
    }
}

/// `Gauge` and `Untyped`.
#[inline]
fn plain(mut reader: Reader<'_>) -> Result<f64, WireError> {
    let mut value = 0.0;
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => value = reader.double(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(value)
}

#[inline]
fn counter<'p>(
    mut reader: Reader<'p>,
    sink: &mut impl FnMut(FamilySample<'_, 'p>) -> ControlFlow<()>,
) -> Heard {
    let (mut value, mut created, mut exemplar) = (0.0, None, None);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => value = reader.double(wire)?,
            (2, wire) => exemplar = Some(FamilyExemplar::read(reader.message(wire, "an exemplar")?)?),
            (3, wire) => created = Some(exemplar::timestamp(reader.message(wire, "a timestamp")?)?),
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(sink(FamilySample::float(Role::Plain, value, created).with(exemplar.as_slice())))
}

fn summary<'p>(reader: Reader<'p>, sink: &mut impl FnMut(FamilySample<'_, 'p>) -> ControlFlow<()>) -> Heard {
    let (mut count, mut sum, mut created) = (0u64, 0.0, None);
    let mut first = reader;
    while !first.is_empty() {
        match first.tag()? {
            (1, wire) => count = first.uint64(wire)?,
            (2, wire) => sum = first.double(wire)?,
            (4, wire) => created = Some(exemplar::timestamp(first.message(wire, "a timestamp")?)?),
            (_, wire) => first.skip(wire)?,
        }
    }
    say!(sink, FamilySample::float(Role::Count, count as f64, created));
    say!(sink, FamilySample::float(Role::Sum, sum, created));
    let mut second = reader;
    while !second.is_empty() {
        match second.tag()? {
            (3, wire) => {
                let (quantile, value) = quantile(second.message(wire, "a quantile")?)?;
                say!(sink, FamilySample::float(Role::Quantile(quantile), value, created));
            }
            (_, wire) => second.skip(wire)?,
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn quantile(mut reader: Reader<'_>) -> Result<(f64, f64), WireError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => quantile = reader.double(wire)?,
            (2, wire) => value = reader.double(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok((quantile, value))
}
