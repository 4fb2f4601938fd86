//! `Histogram`: classic buckets, a native histogram, or both.

use std::ops::ControlFlow;

use metricsd_model::{Millis, NativeHistogram, ResetHint, Span};

use super::exemplar::{self, FamilyExemplar};
use super::samples::{FamilySample, Heard, Histograms, Role, say};
use crate::buckets::{self, Buckets};
use crate::wire::{Reader, Wire, WireError};

/// Spans of one sign, and exemplars; a span without buckets says nothing.
const MAX_LIST: usize = 1 << 16;

/// `Histogram.bucket`.
const BUCKET: u32 = 3;

/// A histogram whose classic buckets are yet to be read.
pub(super) struct Histogram<'p> {
    reader: Reader<'p>,
    count: u64,
    count_float: f64,
    zero_count: u64,
    zero_count_float: f64,
    created: Option<Millis>,
    native: NativeHistogram,
    positive: Buckets,
    negative: Buckets,
    exemplars: Vec<FamilyExemplar<'p>>,
}

/// A classic bucket.
struct Bucket<'p> {
    cumulative: f64,
    upper_bound: f64,
    exemplar: Option<FamilyExemplar<'p>>,
}

impl<'p> Histogram<'p> {
    pub(super) fn read(reader: Reader<'p>, gauge: bool) -> Result<Self, WireError> {
        let reset_hint = if gauge { ResetHint::Gauge } else { ResetHint::Unknown };
        let mut this = Self {
            reader,
            count: 0,
            count_float: 0.0,
            zero_count: 0,
            zero_count_float: 0.0,
            created: None,
            native: NativeHistogram { reset_hint, ..NativeHistogram::default() },
            positive: Buckets::default(),
            negative: Buckets::default(),
            exemplars: Vec::new(),
        };
        let mut reader = reader;
        while !reader.is_empty() {
            let (number, wire) = reader.tag()?;
            match number {
                1 => this.count = reader.uint64(wire)?,
                2 => this.native.sum = reader.double(wire)?,
                BUCKET => reader.bytes(wire).map(drop)?,
                4 => this.count_float = reader.double(wire)?,
                15 => this.created = Some(exemplar::timestamp(reader.message(wire, "a timestamp")?)?),
                16 => {
                    let exemplar = FamilyExemplar::read(reader.message(wire, "an exemplar")?)?;
                    // Those of native histograms must say when they were.
                    if exemplar.timestamp.is_some() && this.exemplars.len() < MAX_LIST {
                        this.exemplars.push(exemplar);
                    }
                }
                _ => this.read_native(&mut reader, number, wire)?,
            }
        }
        Ok(this)
    }

    fn read_native(&mut self, reader: &mut Reader<'p>, number: u32, wire: Wire) -> Result<(), WireError> {
        let Self { native, positive, negative, .. } = self;
        match number {
            5 => native.schema = reader.sint32(wire)?,
            6 => native.zero_threshold = reader.double(wire)?,
            7 => self.zero_count = reader.uint64(wire)?,
            8 => self.zero_count_float = reader.double(wire)?,
            9 => span(reader, wire, &mut native.negative_spans)?,
            10 => reader.repeated(wire, Wire::Varint, &mut negative.deltas, Reader::sint64)?,
            11 => reader.repeated(wire, Wire::Fixed64, &mut negative.counts, Reader::double)?,
            12 => span(reader, wire, &mut native.positive_spans)?,
            13 => reader.repeated(wire, Wire::Varint, &mut positive.deltas, Reader::sint64)?,
            14 => reader.repeated(wire, Wire::Fixed64, &mut positive.counts, Reader::double)?,
            _ => reader.skip(wire)?,
        }
        Ok(())
    }

    /// A native histogram without observations has at least a span without buckets, or a width of its zero bucket.
    fn is_native(&self) -> bool {
        !self.native.positive_spans.is_empty()
            || !self.native.negative_spans.is_empty()
            || self.native.zero_threshold > 0.0
            || self.zero_count > 0
            || self.zero_count_float > 0.0
    }

    fn is_float(&self) -> bool {
        self.count_float > 0.0
            || self.zero_count_float > 0.0
            || !self.positive.counts.is_empty()
            || !self.negative.counts.is_empty()
    }

    /// Tells of the classic histogram and of the native one, whichever is there and wanted.
    pub(super) fn visit(
        self,
        wanted: Histograms,
        sink: &mut impl FnMut(FamilySample<'_, 'p>) -> ControlFlow<()>,
    ) -> Heard {
        let native = wanted.native && self.is_native();
        if (!native || wanted.classic_too) && self.visit_classic(sink, native)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if native { self.visit_native(sink) } else { Ok(ControlFlow::Continue(())) }
    }

    /// Beside a native histogram a classic one has buckets, or is none.
    fn visit_classic(
        &self,
        sink: &mut impl FnMut(FamilySample<'_, 'p>) -> ControlFlow<()>,
        native: bool,
    ) -> Heard {
        let created = self.created;
        let mut reader = self.reader;
        if native && next_bucket(&mut reader.clone())?.is_none() {
            return Ok(ControlFlow::Continue(()));
        }
        let count = if self.count_float > 0.0 { self.count_float } else { self.count as f64 };
        say!(sink, FamilySample::float(Role::Count, count, created));
        say!(sink, FamilySample::float(Role::Sum, self.native.sum, created));
        let mut ends = false;
        while let Some(bucket) = next_bucket(&mut reader)? {
            ends |= bucket.upper_bound == f64::INFINITY;
            let sample = FamilySample::float(Role::Bucket(bucket.upper_bound), bucket.cumulative, created);
            say!(sink, sample.with(bucket.exemplar.as_slice()));
        }
        // The last bucket holds everything, whether it is written or not.
        if !ends {
            say!(sink, FamilySample::float(Role::Bucket(f64::INFINITY), count, created));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn visit_native(self, sink: &mut impl FnMut(FamilySample<'_, 'p>) -> ControlFlow<()>) -> Heard {
        let integer = !self.is_float();
        let mut exemplars = self.exemplars;
        if exemplars.is_empty() {
            let mut reader = self.reader;
            while let Some(bucket) = next_bucket(&mut reader)? {
                exemplars.extend(bucket.exemplar.filter(|exemplar| exemplar.timestamp.is_some()));
            }
        }
        let mut histogram = self.native;
        histogram.count = if integer { self.count as f64 } else { self.count_float };
        histogram.zero_count = if integer { self.zero_count as f64 } else { self.zero_count_float };
        histogram.positive_buckets = self.positive.absolute(integer);
        histogram.negative_buckets = self.negative.absolute(integer);
        drop_empty(&mut histogram.positive_spans);
        drop_empty(&mut histogram.negative_spans);
        let mut sample = FamilySample::float(Role::Native, 0.0, self.created).with(&exemplars);
        (sample.histogram, sample.integer) = (Some(histogram), integer);
        Ok(sink(sample))
    }
}

/// The span without buckets that only says "this is a native histogram" has said it.
fn drop_empty(spans: &mut Vec<Span>) {
    if spans.iter().all(|span| span.length == 0) {
        spans.clear();
    }
}

fn next_bucket<'p>(reader: &mut Reader<'p>) -> Result<Option<Bucket<'p>>, WireError> {
    while !reader.is_empty() {
        match reader.tag()? {
            (BUCKET, wire) => return bucket(reader.message(wire, "a bucket")?).map(Some),
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(None)
}

fn bucket(mut reader: Reader<'_>) -> Result<Bucket<'_>, WireError> {
    let (mut bucket, mut float) = (Bucket { cumulative: 0.0, upper_bound: 0.0, exemplar: None }, 0.0);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => bucket.cumulative = reader.uint64(wire)? as f64,
            (2, wire) => bucket.upper_bound = reader.double(wire)?,
            (3, wire) => {
                bucket.exemplar = Some(FamilyExemplar::read(reader.message(wire, "an exemplar")?)?);
            }
            (4, wire) => float = reader.double(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    if float > 0.0 {
        bucket.cumulative = float;
    }
    Ok(bucket)
}

fn span(reader: &mut Reader<'_>, wire: Wire, into: &mut Vec<Span>) -> Result<(), WireError> {
    if into.len() == MAX_LIST {
        return Err(reader.error("has more than 65536 spans"));
    }
    into.push(buckets::span(reader.message(wire, "a span of buckets")?)?);
    Ok(())
}
