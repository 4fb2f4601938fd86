//! Writes bodies of remote write 1.0: the form into which every push protocol is brought, so that all of them pass the
//! same door. Bodies can be joined by putting one behind the other, as protobuf has it.

use metricsd_model::{MetricSource, Millis, NativeHistogram};
use prost::Message;

use super::message;
use crate::exposition::MetricKind;

/// Fields of `WriteRequest` and `TimeSeries` as they are written: number and wire type.
const TIMESERIES_TAG: u8 = 1 << 3 | 2;
const METADATA_TAG: u8 = 3 << 3 | 2;
const LABELS_TAG: u8 = 1 << 3 | 2;
const SAMPLES_TAG: u8 = 2 << 3 | 2;
const EXEMPLARS_TAG: u8 = 3 << 3 | 2;
const HISTOGRAMS_TAG: u8 = 4 << 3 | 2;
/// A field of our own, which others pass over: the place of the kind of source among all.
const SOURCE_TAG: u8 = (super::series::SOURCE as u8) << 3;

/// Bytes of a body that is made of a request which says labels once for many series: past them the request is refused.
pub const MAX_BODY_BYTES: usize = 128 << 20;

/// A body that grows. What it holds is never larger than what was put into it and some bytes a field.
#[derive(Debug, Clone, Default)]
pub struct BodyWriter {
    bytes: Vec<u8>,
    series: usize,
    /// The series that is being written: its length stands before it.
    open: Vec<u8>,
}

impl BodyWriter {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Series so far; the next one has this place, which faults name.
    pub fn series_count(&self) -> usize {
        self.series
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The body, not packed.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Begins a series. It is part of the body once it is dropped. Labels come first; they need no order, but a series
    /// whose labels always come in one order is known sooner.
    #[inline]
    pub fn series(&mut self) -> SeriesWriter<'_> {
        self.open.clear();
        SeriesWriter { body: self }
    }

    /// Adds what another body holds.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.series += other.series;
    }

    /// Says what a family is. Series of the same body are typed by it, wherever it stands.
    pub fn metadata(&mut self, kind: MetricKind, family: &str, help: &str, unit: &str) {
        let entry = message::MetricMetadata {
            kind: number_of(kind),
            metric_family_name: family.to_owned(),
            help: help.to_owned(),
            unit: unit.to_owned(),
        };
        self.bytes.push(METADATA_TAG);
        // Writing into a vector cannot fail.
        let _ = entry.encode_length_delimited(&mut self.bytes);
    }
}

/// One series while it is written.
#[derive(Debug)]
pub struct SeriesWriter<'a> {
    body: &'a mut BodyWriter,
}

impl SeriesWriter<'_> {
    /// Adds a label; the metric's name is the label `__name__`.
    #[inline]
    pub fn label(&mut self, name: &str, value: &str) -> &mut Self {
        push_label(&mut self.body.open, LABELS_TAG, name.as_bytes(), value.as_bytes());
        self
    }

    /// Adds a label whose bytes may be no UTF-8: whoever reads the body judges them.
    #[inline]
    pub fn byte_label(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        push_label(&mut self.body.open, LABELS_TAG, name, value);
        self
    }

    /// Adds labels that [`label_bytes`] has written before.
    #[inline]
    pub fn raw_labels(&mut self, labels: &[u8]) -> &mut Self {
        self.body.open.extend_from_slice(labels);
        self
    }

    /// Adds a float.
    #[inline]
    pub fn sample(&mut self, timestamp: Millis, value: f64) -> &mut Self {
        let mut time = [0; 10];
        let time = varint(timestamp.cast_unsigned(), &mut time);
        let out = &mut self.body.open;
        // At most 9 + 1 + 10: one byte says it.
        out.extend_from_slice(&[SAMPLES_TAG, 10 + time.len() as u8, 1 << 3 | 1]);
        out.extend_from_slice(&value.to_le_bytes());
        out.push(2 << 3);
        out.extend_from_slice(time);
        self
    }

    /// Adds a native histogram.
    pub fn histogram(&mut self, timestamp: Millis, histogram: &NativeHistogram) -> &mut Self {
        self.body.open.push(HISTOGRAMS_TAG);
        let histogram = message::Histogram::of(histogram, timestamp);
        let _ = histogram.encode_length_delimited(&mut self.body.open);
        self
    }

    /// Says what kind of source the series has, where it is another than that of the body.
    pub(crate) fn source(&mut self, source: MetricSource) -> &mut Self {
        if let Some(place) = MetricSource::ALL.iter().position(|known| *known == source) {
            self.body.open.extend_from_slice(&[SOURCE_TAG, place as u8]);
        }
        self
    }

    /// Adds a native histogram that is written already, as the message of this name.
    pub(crate) fn raw_histogram(&mut self, message: &[u8]) -> &mut Self {
        self.raw(HISTOGRAMS_TAG, message)
    }

    /// Adds an exemplar that is written already, as the message of this name.
    pub(crate) fn raw_exemplar(&mut self, message: &[u8]) -> &mut Self {
        self.raw(EXEMPLARS_TAG, message)
    }

    fn raw(&mut self, tag: u8, message: &[u8]) -> &mut Self {
        let mut length = [0; 10];
        let out = &mut self.body.open;
        out.push(tag);
        out.extend_from_slice(varint(message.len() as u64, &mut length));
        out.extend_from_slice(message);
        self
    }

    /// The labels that were added, as [`label_bytes`] writes them, and what else was.
    pub(crate) fn written(&self) -> &[u8] {
        &self.body.open
    }

    /// Adds an exemplar of the series.
    pub fn exemplar<'b>(
        &mut self,
        labels: impl IntoIterator<Item = (&'b str, &'b str)>,
        value: f64,
        timestamp: Millis,
    ) -> &mut Self {
        let exemplar = message::Exemplar { labels: message::Label::list(labels), value, timestamp };
        self.body.open.push(EXEMPLARS_TAG);
        let _ = exemplar.encode_length_delimited(&mut self.body.open);
        self
    }
}

impl Drop for SeriesWriter<'_> {
    fn drop(&mut self) {
        let BodyWriter { bytes, series, open } = &mut *self.body;
        let mut length = [0; 10];
        bytes.push(TIMESERIES_TAG);
        bytes.extend_from_slice(varint(open.len() as u64, &mut length));
        bytes.extend_from_slice(open);
        *series += 1;
    }
}

/// Labels as [`SeriesWriter::raw_labels`] takes them, for those who send the same ones again.
pub fn label_bytes<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        push_label(&mut out, LABELS_TAG, name.as_bytes(), value.as_bytes());
    }
    out
}

/// Adds a label of an exemplar, whose field has the same number as that of a series.
pub(crate) fn push_raw_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_label(out, LABELS_TAG, name, value);
}

#[inline]
fn push_label(out: &mut Vec<u8>, tag: u8, name: &[u8], value: &[u8]) {
    let (mut first, mut second, mut whole) = ([0; 10], [0; 10], [0; 10]);
    let first = varint(name.len() as u64, &mut first);
    let second = varint(value.len() as u64, &mut second);
    let length = 2 + first.len() + name.len() + second.len() + value.len();
    out.push(tag);
    out.extend_from_slice(varint(length as u64, &mut whole));
    out.push(1 << 3 | 2);
    out.extend_from_slice(first);
    out.extend_from_slice(name);
    out.push(2 << 3 | 2);
    out.extend_from_slice(second);
    out.extend_from_slice(value);
}

/// Adds a number as [`varint`] writes it.
pub(crate) fn push_varint(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(varint(number, &mut [0; 10]));
}

/// A number in groups of seven bits, the lowest first.
#[inline]
fn varint(mut number: u64, room: &mut [u8; 10]) -> &[u8] {
    let mut length = 0;
    for byte in room.iter_mut() {
        length += 1;
        *byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            break;
        }
        *byte |= 0x80;
    }
    room.get(..length).unwrap_or_default()
}

/// `MetricMetadata.MetricType`.
fn number_of(kind: MetricKind) -> i32 {
    match kind {
        MetricKind::Unknown => 0,
        MetricKind::Counter => 1,
        MetricKind::Gauge => 2,
        MetricKind::Histogram => 3,
        MetricKind::GaugeHistogram => 4,
        MetricKind::Summary => 5,
        MetricKind::Info => 6,
        MetricKind::StateSet => 7,
    }
}

#[cfg(test)]
mod tests {
    use metricsd_model::Span;

    use super::*;

    fn histogram() -> NativeHistogram {
        NativeHistogram {
            count: 5.0,
            sum: 2.5,
            zero_count: 1.0,
            zero_threshold: 0.001,
            positive_spans: vec![Span { offset: -2, length: 2 }],
            positive_buckets: vec![3.0, 1.0],
            ..NativeHistogram::default()
        }
    }

    #[test]
    fn bodies_read_as_the_messages_that_they_are() {
        let mut body = BodyWriter::new();
        let long = "x".repeat(300);
        body.metadata(MetricKind::Summary, "a", "help", "seconds");
        body.series()
            .label("__name__", "a")
            .label("l", &long)
            .sample(-1, f64::INFINITY)
            .sample(1_750_500_000_000, 2.0);
        let labels = label_bytes([("__name__", "b"), ("empty", "")]);
        body.series().raw_labels(&labels).histogram(7, &histogram()).exemplar([("trace_id", "t")], 0.5, 6);
        assert_eq!(body.series_count(), 2);

        let sample = |timestamp, value| message::Sample { value, timestamp };
        let expected = message::WriteRequest {
            timeseries: vec![
                message::TimeSeries {
                    labels: message::Label::list([("__name__", "a"), ("l", long.as_str())]),
                    samples: vec![sample(-1, f64::INFINITY), sample(1_750_500_000_000, 2.0)],
                    ..message::TimeSeries::default()
                },
                message::TimeSeries {
                    labels: message::Label::list([("__name__", "b"), ("empty", "")]),
                    exemplars: vec![message::Exemplar {
                        labels: message::Label::list([("trace_id", "t")]),
                        value: 0.5,
                        timestamp: 6,
                    }],
                    histograms: vec![message::Histogram::of(&histogram(), 7)],
                    ..message::TimeSeries::default()
                },
            ],
            metadata: vec![message::MetricMetadata {
                kind: 5,
                metric_family_name: "a".to_owned(),
                help: "help".to_owned(),
                unit: "seconds".to_owned(),
            }],
        };
        assert_eq!(message::WriteRequest::decode(body.into_bytes().as_slice()), Ok(expected));
    }

    #[test]
    fn joined_bodies_are_one_body() {
        let mut first = BodyWriter::new();
        first.series().label("__name__", "a").sample(1, 1.0);
        let mut second = BodyWriter::new();
        second.series().label("__name__", "b").sample(2, 2.0);
        let joined = [first.into_bytes(), second.into_bytes()].concat();
        let read = message::WriteRequest::decode(joined.as_slice()).map(|request| request.timeseries.len());
        assert_eq!(read, Ok(2));
    }
}
