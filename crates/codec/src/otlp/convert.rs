//! Walks a request and writes what it says as a body of remote write.

use std::collections::{BTreeMap, HashSet};

use metricsd_model::Millis;

use super::OtlpOptions;
use super::labels::{BaseLabels, PointLabels};
use super::message::{Histogram, Point};
use super::names::{Suffix, metric_name, unit_words};
use super::points::{Names, Of, Sink, millis};
use super::scope::{Resource, scope_labels};
use super::streams::Streams;
use crate::exposition::MetricKind;
use crate::wire::{Reader, WireError};

/// Refused data points that are described; all are counted.
const MAX_FAULTS: usize = 10;

/// Characters of a metric's name that a message shows.
const SHOWN: usize = 100;

/// Labels that are put together, for data points that are stored and for others, may take so many times the room of
/// those that are stored: a resource says once what all its data points repeat.
const LABELLED: usize = 4;

/// The owner of series that no data point is to blame for.
const NOBODY: u32 = u32::MAX;

/// The name of the series that describes a resource.
const INFO: &str = "target_info";

/// A request that is to be converted.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `ExportMetricsServiceRequest` as protobuf.
    pub body: &'a [u8],
    /// Whose streams its deltas belong to.
    pub source_id: &'a str,
    /// Arrival.
    pub received_at: Millis,
    /// Samples before this are not stored, so that nothing is said of an earlier begin.
    pub earliest: Millis,
    /// Samples after this are not stored, so that resources are not described there.
    pub latest: Millis,
}

/// Why nothing of a request is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// It is no request.
    #[error("the body is not an ExportMetricsServiceRequest: {0}")]
    Damaged(#[from] WireError),
    /// Its series take more room than there may be.
    #[error("the request becomes more than {limit} bytes of series; send fewer data points in one request")]
    TooLarge {
        /// How many there may be.
        limit: usize,
    },
}

/// A request as a body of remote write.
#[derive(Debug)]
pub struct Converted {
    /// The body, not packed.
    pub body: Vec<u8>,
    /// Data points that the request held.
    pub points: u64,
    /// Those that could not be converted.
    pub refused: u64,
    /// The first of them.
    pub faults: Vec<String>,
    owners: Vec<u32>,
}

impl Converted {
    /// How many data points were not stored as a whole, given the places of the series in the body of which samples were
    /// refused.
    pub fn rejected(&self, places: impl IntoIterator<Item = usize>) -> u64 {
        let owners = places.into_iter().filter_map(|place| self.owners.get(place));
        let distinct: HashSet<u32> = owners.copied().filter(|owner| *owner != NOBODY).collect();
        (self.refused + distinct.len() as u64).min(self.points)
    }
}

/// Converts a request. `streams` is needed where the options add up deltas or write zeros; what it remembers changes only
/// when the request reads to its end.
///
/// # Errors
/// See [`OtlpError`]. A data point that cannot be converted is no error: it is counted, and harms no other.
pub fn convert(
    request: Request<'_>,
    options: &OtlpOptions,
    mut streams: Option<&mut Streams>,
) -> Result<Converted, OtlpError> {
    if let Some(streams) = streams.as_deref_mut() {
        streams.begin(request.received_at);
    }
    let mut converter = Converter {
        request,
        sink: Sink::new(options),
        streams,
        labels: PointLabels::default(),
        histogram: Histogram::default(),
        said: HashSet::new(),
        key: Vec::new(),
        points: 0,
        refused: 0,
        faults: Vec::new(),
        newest: 0,
        labelled: 0,
    };
    let walked = converter.walk();
    let Converter { sink, streams, points, refused, faults, .. } = converter;
    if let Some(streams) = streams {
        if walked.is_ok() { streams.keep() } else { streams.undo() }
    }
    walked?;
    Ok(Converted {
        body: sink.body.into_bytes(),
        points: points.into(),
        refused,
        faults,
        owners: sink.owners,
    })
}

/// Whether a data point could be converted; a sentence where not.
pub(super) type Judged = Result<(), String>;

pub(super) struct Converter<'a, 's> {
    pub(super) request: Request<'a>,
    pub(super) sink: Sink<'s>,
    pub(super) streams: Option<&'s mut Streams>,
    pub(super) labels: PointLabels<'a>,
    /// Room for one.
    pub(super) histogram: Histogram,
    /// Families of which something was said.
    pub(super) said: HashSet<String>,
    /// Room for the key of a stream.
    pub(super) key: Vec<u8>,
    pub(super) points: u32,
    pub(super) refused: u64,
    pub(super) faults: Vec<String>,
    /// The newest data point of the resource, in nanoseconds.
    pub(super) newest: u64,
    /// Bytes of labels that were put together.
    pub(super) labelled: usize,
}

/// A metric while its data points are read.
pub(super) struct Metric<'m> {
    pub(super) name: &'m str,
    pub(super) names: Names,
    pub(super) base: &'m BaseLabels,
}

/// `Metric`, whose data is not taken apart yet.
#[derive(Default)]
struct Head<'a> {
    name: &'a str,
    description: &'a str,
    unit: &'a str,
    data: Option<(u32, Reader<'a>)>,
}

/// `AggregationTemporality`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporality {
    Unspecified,
    Delta,
    Cumulative,
}

impl Temporality {
    fn of(number: u32) -> Self {
        match number {
            1 => Self::Delta,
            2 => Self::Cumulative,
            _ => Self::Unspecified,
        }
    }
}

/// What stands beside the data points of a sum or a histogram.
pub(super) struct Kind {
    pub(super) temporality: Temporality,
    pub(super) monotonic: bool,
}

impl<'a> Converter<'a, '_> {
    fn walk(&mut self) -> Result<(), OtlpError> {
        let mut reader = Reader::new(self.request.body, "ExportMetricsServiceRequest");
        while !reader.is_empty() {
            match reader.tag()? {
                (1, wire) => self.resource(reader.message(wire, "ResourceMetrics")?)?,
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(())
    }

    fn resource(&mut self, message: Reader<'a>) -> Result<(), OtlpError> {
        let (mut reader, mut resources) = (message, Vec::new());
        while !reader.is_empty() {
            match reader.tag()? {
                (1, wire) if resources.len() < 8 => resources.push(reader.message(wire, "Resource")?),
                (_, wire) => reader.skip(wire)?,
            }
        }
        let resource = Resource::read(&resources, self.sink.options)?;
        self.newest = 0;
        let mut reader = message;
        while !reader.is_empty() {
            match reader.tag()? {
                (2, wire) => self.scope(reader.message(wire, "ScopeMetrics")?, &resource)?,
                (_, wire) => reader.skip(wire)?,
            }
        }
        self.describe_resource(&resource)
    }

    /// Counts labels that were put together.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), OtlpError> {
        self.labelled = self.labelled.saturating_add(bytes);
        let limit = self.sink.options.max_bytes;
        if self.labelled > limit.saturating_mul(LABELLED) {
            return Err(OtlpError::TooLarge { limit });
        }
        Ok(())
    }

    /// Writes `target_info` beside the newest data point.
    fn describe_resource(&mut self, resource: &Resource) -> Result<(), OtlpError> {
        let Some(info) = resource.info.as_ref().filter(|_| self.newest > 0) else { return Ok(()) };
        let names = Names::of(INFO);
        let of = Of { names: &names, labels: info.bytes(), owner: NOBODY, zero: None };
        self.sink.series(of, &names.plain, &[])?.sample(millis(self.newest), 1.0);
        self.say(MetricKind::Gauge, INFO, "Target metadata", "");
        Ok(())
    }

    fn scope(&mut self, message: Reader<'a>, resource: &Resource) -> Result<(), OtlpError> {
        let (mut reader, mut scopes, mut schema_url) = (message, Vec::new(), "");
        while !reader.is_empty() {
            match reader.tag()? {
                (1, wire) if scopes.len() < 8 => scopes.push(reader.message(wire, "InstrumentationScope")?),
                (3, wire) => schema_url = reader.text(wire)?,
                (_, wire) => reader.skip(wire)?,
            }
        }
        let scope: BTreeMap<String, String> = scope_labels(&scopes, schema_url, self.sink.options)?;
        let (mut reader, mut scope, mut base) = (message, Some(scope), BaseLabels::default());
        while !reader.is_empty() {
            match reader.tag()? {
                (2, wire) => {
                    let metric = reader.message(wire, "Metric")?;
                    // Scopes without metrics may be many, and the labels of a resource long.
                    if let Some(scope) = scope.take() {
                        base = resource.base(scope);
                        self.charge(base.bytes().len())?;
                    }
                    self.metric(metric, &base)?;
                }
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(())
    }

    fn metric(&mut self, message: Reader<'a>, base: &BaseLabels) -> Result<(), OtlpError> {
        let head = read_head(message)?;
        let Some((field, data)) = head.data else { return Ok(()) };
        let kind = read_kind(data)?;
        let (suffix, declared) = match (field, kind.monotonic) {
            (5, _) => (Suffix::Ratio, MetricKind::Gauge),
            (7, true) => (Suffix::Total, MetricKind::Counter),
            (7, false) => (Suffix::None, MetricKind::Gauge),
            (11, _) => (Suffix::None, MetricKind::Summary),
            _ => (Suffix::None, MetricKind::Histogram),
        };
        let name = metric_name(self.sink.options.translation, head.name, head.unit, suffix);
        let metric = Metric { name: head.name, names: Names::of(&name), base };
        let (before, stored) = (self.points, self.sink.owners.len());
        let refusal = match field {
            _ if name.is_empty() => {
                Some("the name of the metric is missing, or none of its letters can be part of a name")
            }
            5 | 11 => None,
            _ => self.refusal_of(&kind, field == 7),
        };
        match (refusal, field) {
            (Some(reason), _) => self.each_point(data, &metric, |_, _, _, _| Ok(Err(reason.to_owned())))?,
            (None, 5) => self.each_point(data, &metric, |this, reader, point, metric| {
                this.number(reader, point, metric, None)
            })?,
            (None, 7) => self.each_point(data, &metric, |this, reader, point, metric| {
                this.number(reader, point, metric, Some(&kind))
            })?,
            (None, 9) => self.each_point(data, &metric, |this, reader, point, metric| {
                this.histogram(reader, point, metric, &kind)
            })?,
            (None, 10) => self.each_point(data, &metric, |this, reader, point, metric| {
                this.exponential(reader, point, metric, &kind)
            })?,
            (None, _) => self.each_point(data, &metric, Self::summary)?,
        }
        if self.points > before && self.sink.owners.len() > stored {
            self.say(declared, &name, head.description, &unit_words(head.unit));
        }
        Ok(())
    }

    /// Why no data point of a sum or histogram can be taken.
    fn refusal_of(&self, kind: &Kind, is_sum: bool) -> Option<&'static str> {
        match kind.temporality {
            Temporality::Cumulative => None,
            Temporality::Unspecified => Some("its aggregation temporality is not given"),
            Temporality::Delta if !self.sink.options.delta || self.streams.is_none() => Some(
                "it has delta temporality, which is not added up here unless otlp.delta_to_cumulative is set; \
                 have the sender use cumulative temporality",
            ),
            Temporality::Delta if is_sum && !kind.monotonic => Some(
                "it is a sum of deltas that may fall, whose level is not known; have the sender use cumulative \
                 temporality for it",
            ),
            Temporality::Delta => None,
        }
    }

    /// Judges the data points of a metric one by one.
    fn each_point(
        &mut self,
        mut data: Reader<'a>,
        metric: &Metric<'_>,
        mut take: impl FnMut(&mut Self, Reader<'a>, &mut Point<'a>, &Metric<'_>) -> Result<Judged, OtlpError>,
    ) -> Result<(), OtlpError> {
        let mut point = Point::default();
        while !data.is_empty() {
            match data.tag()? {
                (1, wire) => {
                    let message = data.message(wire, "a data point")?;
                    self.points = self.points.saturating_add(1);
                    if let Err(reason) = take(self, message, &mut point, metric)? {
                        self.refuse(metric.name, &reason);
                    } else if millis(point.time) <= self.request.latest {
                        self.newest = self.newest.max(point.time);
                    }
                }
                (_, wire) => data.skip(wire)?,
            }
        }
        Ok(())
    }

    #[cold]
    fn refuse(&mut self, name: &str, reason: &str) {
        self.refused += 1;
        if self.faults.len() < MAX_FAULTS {
            let name: String = name.chars().take(SHOWN).collect();
            let fault = format!("{name}: {reason}");
            if self.faults.last() != Some(&fault) {
                self.faults.push(fault);
            }
        }
    }

    fn say(&mut self, kind: MetricKind, family: &str, help: &str, unit: &str) {
        if !self.said.contains(family) {
            self.sink.body.metadata(kind, family, help, unit);
            self.said.insert(family.to_owned());
        }
    }
}

fn read_head<'a>(mut reader: Reader<'a>) -> Result<Head<'a>, WireError> {
    let mut head = Head::default();
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => head.name = reader.text(wire)?,
            (2, wire) => head.description = reader.text(wire)?,
            (3, wire) => head.unit = reader.text(wire)?,
            (field @ (5 | 7 | 9 | 10 | 11), wire) => {
                head.data = Some((field, reader.message(wire, "a metric's data")?));
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(head)
}

/// Gauges and summaries have neither field.
fn read_kind(mut reader: Reader<'_>) -> Result<Kind, WireError> {
    let mut kind = Kind { temporality: Temporality::Unspecified, monotonic: false };
    while !reader.is_empty() {
        match reader.tag()? {
            (2, wire) => kind.temporality = Temporality::of(reader.uint32(wire)?),
            (3, wire) => kind.monotonic = reader.uint64(wire)? != 0,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(kind)
}
