//! One series while it is added up.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use metricsd_codec::exposition::MetricKind;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_codec::statsd::{Kind, Value};
use metricsd_model::{METRIC_NAME, Millis, stale_marker};

use super::Timers;
use super::buckets::Buckets;
use crate::metrics::Dropped;

/// Quantiles of a summary, and how labels write them.
const QUANTILES: [(f64, &str); 3] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99")];

/// Members of a set that are told apart; more are not counted.
const MAX_MEMBERS: usize = 1 << 20;

/// Bytes that a member takes, about.
const MEMBER_BYTES: usize = 16;

/// A series and what it came to.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: Box<str>,
    /// Labels but the name, as bodies hold them.
    labels: Box<[u8]>,
    state: State,
    /// When something was last said of it.
    pub(super) heard: Millis,
    /// The newest time at which a sample of it was written.
    written: Millis,
}

#[derive(Debug)]
enum State {
    /// All there ever was.
    Counter(f64),
    Gauge(f64),
    /// Hashes of the members since the last flush.
    Set(HashSet<u64>),
    /// All there ever was.
    Native(Box<Buckets>),
    /// What there was since the last flush, and count and sum of all there ever was.
    Summary(Box<Buckets>, f64, f64),
}

/// What would never be a number again is not added up.
fn finite(total: f64) -> Result<f64, Dropped> {
    if total.is_finite() { Ok(total) } else { Err(Dropped::Malformed) }
}

impl Series {
    pub(super) fn new(name: &str, labels: Vec<u8>, kind: Kind, timers: Timers, now: Millis) -> Self {
        let state = match (kind, timers) {
            (Kind::Counter, _) => State::Counter(0.0),
            (Kind::Gauge, _) => State::Gauge(0.0),
            (Kind::Set, _) => State::Set(HashSet::new()),
            (Kind::Timer | Kind::Distribution, Timers::Native) => State::Native(Box::default()),
            (Kind::Timer | Kind::Distribution, Timers::Summary) => State::Summary(Box::default(), 0.0, 0.0),
        };
        Self { name: name.into(), labels: labels.into(), state, heard: now, written: 0 }
    }

    /// Whether it is a series of this kind.
    pub(super) fn is(&self, kind: Kind) -> bool {
        match &self.state {
            State::Counter(_) => kind == Kind::Counter,
            State::Gauge(_) => kind == Kind::Gauge,
            State::Set(_) => kind == Kind::Set,
            State::Native(_) | State::Summary(..) => matches!(kind, Kind::Timer | Kind::Distribution),
        }
    }

    /// What a family of it is called in metadata.
    pub(super) fn kind(&self) -> MetricKind {
        match &self.state {
            State::Counter(_) => MetricKind::Counter,
            State::Gauge(_) | State::Set(_) => MetricKind::Gauge,
            State::Native(_) => MetricKind::Histogram,
            State::Summary(..) => MetricKind::Summary,
        }
    }

    /// Adds a value that speaks for 1/`rate` of them.
    pub(super) fn add(&mut self, value: Value<'_>, kind: Kind, rate: f64) -> Result<(), Dropped> {
        // Times come in milliseconds and are kept in seconds.
        let scaled = |number: f64| if kind == Kind::Timer { number / 1_000.0 } else { number };
        match (&mut self.state, value) {
            (State::Counter(total), Value::Number(number)) if number >= 0.0 => {
                *total = finite(*total + number / rate)?;
            }
            (State::Counter(_), _) => return Err(Dropped::Negative),
            (State::Gauge(last), Value::Number(number)) => *last = number,
            (State::Gauge(last), Value::Change(change)) => *last = finite(*last + change)?,
            (State::Set(members), Value::Member(member)) => {
                if members.len() < MAX_MEMBERS {
                    let mut hasher = DefaultHasher::new();
                    member.hash(&mut hasher);
                    members.insert(hasher.finish());
                }
            }
            (State::Native(buckets), Value::Number(number)) => {
                finite(buckets.total_with(scaled(number), 1.0 / rate))?;
                buckets.observe(scaled(number), 1.0 / rate);
            }
            (State::Summary(buckets, count, sum), Value::Number(number)) => {
                let number = scaled(number);
                finite(buckets.total_with(number, 1.0 / rate))?;
                finite((*count + 1.0 / rate).max((*sum + number / rate).abs()))?;
                buckets.observe(number, 1.0 / rate);
                (*count, *sum) = (*count + 1.0 / rate, *sum + number / rate);
            }
            _ => return Err(Dropped::OtherType),
        }
        Ok(())
    }

    /// What it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let state = match &self.state {
            State::Counter(_) | State::Gauge(_) => 0,
            State::Set(members) => members.capacity() * MEMBER_BYTES,
            State::Native(buckets) | State::Summary(buckets, ..) => buckets.bytes(),
        };
        size_of::<Self>() + self.name.len() + self.labels.len() + state
    }

    /// Writes a float of a time that the sender gave, unless something later was written already.
    pub(super) fn write_at(&mut self, at: Millis, body: &mut BodyWriter) {
        let value = match &self.state {
            State::Counter(value) | State::Gauge(value) => *value,
            _ => return,
        };
        if at > self.written {
            self.written = at;
            body.series().label(METRIC_NAME, &self.name).raw_labels(&self.labels).sample(at, value);
        }
    }

    /// Writes what it has come to, and begins anew what counts from flush to flush.
    pub(super) fn flush(&mut self, at: Millis, body: &mut BodyWriter) {
        self.written = self.written.max(at);
        match &mut self.state {
            State::Counter(value) | State::Gauge(value) => {
                body.series().label(METRIC_NAME, &self.name).raw_labels(&self.labels).sample(at, *value);
            }
            State::Set(members) => {
                let count = members.len() as f64;
                *members = HashSet::new();
                body.series().label(METRIC_NAME, &self.name).raw_labels(&self.labels).sample(at, count);
            }
            State::Native(buckets) => {
                let histogram = buckets.histogram();
                body.series()
                    .label(METRIC_NAME, &self.name)
                    .raw_labels(&self.labels)
                    .histogram(at, &histogram);
            }
            State::Summary(buckets, count, sum) => {
                let quantiles = QUANTILES.map(|(share, _)| buckets.quantile(share));
                let (count, sum) = (*count, *sum);
                **buckets = Buckets::default();
                self.write_summary(at, quantiles, [sum, count], body);
            }
        }
    }

    /// Ends it: nothing more will come.
    pub(super) fn end(&self, at: Millis, body: &mut BodyWriter) {
        let stale = stale_marker();
        match &self.state {
            State::Summary(..) => self.write_summary(at, [stale; 3], [stale; 2], body),
            _ => {
                body.series().label(METRIC_NAME, &self.name).raw_labels(&self.labels).sample(at, stale);
            }
        }
    }

    fn write_summary(&self, at: Millis, quantiles: [f64; 3], [sum, count]: [f64; 2], body: &mut BodyWriter) {
        for ((_, label), value) in QUANTILES.iter().zip(quantiles) {
            let mut series = body.series();
            series.label(METRIC_NAME, &self.name).raw_labels(&self.labels);
            series.label("quantile", label).sample(at, value);
        }
        for (suffix, value) in [("_sum", sum), ("_count", count)] {
            let name = format!("{}{suffix}", self.name);
            body.series().label(METRIC_NAME, &name).raw_labels(&self.labels).sample(at, value);
        }
    }
}
