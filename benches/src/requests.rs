//! Requests of remote write made beforehand: protobuf written straight into the body, packed, with the head before it.

use std::collections::BTreeSet;

use anyhow::Result;
use bytes::Bytes;
use metricsd_codec::remote_write::pack;

use crate::course::{Course, Source};
use crate::wire;

/// A series as it stands in every request, and where its values come from.
pub(crate) struct Series {
    name: String,
    labels: Vec<u8>,
    source: Source,
    /// Milliseconds after a step's beginning at which its samples are.
    delay: i64,
    /// Values are whole numbers divided by this.
    divisor: f64,
}

impl Series {
    /// A series; labels may come in any order. `place` tells its values from those of other series.
    pub(crate) fn new(labels: &[(&str, &str)], course: Course, place: usize) -> Self {
        let mut sorted = labels.to_vec();
        sorted.sort_unstable();
        let name = labels.iter().find(|(label, _)| *label == "__name__").map_or("", |(_, name)| name);
        let (name, mut bytes) = (name.to_owned(), Vec::new());
        for (name, value) in sorted {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut bytes, 1, &label);
        }
        Self { name, labels: bytes, source: Source::new(course, place), delay: 0, divisor: 1.0 }
    }

    /// Its labels as they stand in a request.
    #[cfg(test)]
    pub(crate) fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The same with samples so long after a step's beginning.
    pub(crate) fn delayed(self, delay: i64) -> Self {
        Self { delay, ..self }
    }

    /// The same with values divided by this.
    pub(crate) fn divided(self, divisor: f64) -> Self {
        Self { divisor, ..self }
    }

    /// The next value.
    pub(crate) fn next(&mut self) -> f64 {
        self.source.next() / self.divisor
    }
}

/// When samples are, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    /// The first.
    pub(crate) first: i64,
    /// From one to the next.
    pub(crate) step: i64,
    /// How many.
    pub(crate) count: usize,
    /// So many of them travel in one request.
    pub(crate) together: usize,
}

impl Steps {
    /// As many as asked for, one a request, the last of them just now.
    pub(crate) fn until_now(step: i64, count: usize) -> Self {
        let first = crate::system::now() / step * step - step * count as i64;
        Self { first, step, count, together: 1 }
    }

    /// The last one.
    pub(crate) fn last(self) -> i64 {
        self.first + self.step * (self.count as i64 - 1)
    }
}

/// Everything that is sent to one server.
pub(crate) struct Load {
    /// `shards[shard][request]`, in order of time; a shard always has the same series.
    shards: Vec<Vec<Bytes>>,
    /// What a check expects to find.
    pub(crate) sent: Sent,
    /// Bytes in all.
    pub(crate) bytes: usize,
}

/// What was sent, as checks need it.
#[derive(Clone)]
pub(crate) struct Sent {
    /// Names of its metrics.
    pub(crate) names: BTreeSet<String>,
    /// A matcher that, beside the names, takes in all of it and nothing else.
    pub(crate) matcher: String,
    /// Series.
    pub(crate) series: usize,
    /// Samples.
    pub(crate) count: u64,
    /// All values added up.
    pub(crate) sum: f64,
    /// All values are whole numbers, and few enough for the sum to be exact in any order.
    pub(crate) exact: bool,
    /// Times of the first and the last sample, in milliseconds.
    pub(crate) first: i64,
    /// See above.
    pub(crate) last: i64,
}

impl Load {
    /// Makes every request, a shard of series at a time, on all cores.
    pub(crate) fn prepare(matcher: &str, mut shards: Vec<Vec<Series>>, steps: Steps) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let series: usize = shards.iter().map(Vec::len).sum();
        let share = shards.len().div_ceil(cores).max(1);
        let made: Vec<Result<Vec<Shard>>> = std::thread::scope(|scope| {
            let work = |part| scope.spawn(move || make(part, steps));
            let threads: Vec<_> = shards.chunks_mut(share).map(work).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
                .collect()
        });
        let mut load = Self {
            shards: Vec::new(),
            sent: Sent {
                names: shards.iter().flatten().map(|series| series.name.clone()).collect(),
                matcher: matcher.to_owned(),
                series,
                count: (series * steps.count) as u64,
                sum: 0.0,
                exact: true,
                first: i64::MAX,
                last: i64::MIN,
            },
            bytes: 0,
        };
        for part in made {
            for shard in part? {
                load.bytes += shard.requests.iter().map(Bytes::len).sum::<usize>();
                load.sent.sum += shard.sum;
                load.sent.exact &= shard.whole;
                load.sent.first = load.sent.first.min(shard.first);
                load.sent.last = load.sent.last.max(shard.last);
                load.shards.push(shard.requests);
            }
        }
        load.sent.exact &= load.sent.sum < 9e15;
        Ok(load)
    }

    /// What each of so many senders sends: whole shards, all of them side by side in time.
    pub(crate) fn lists(&self, senders: usize) -> Vec<Vec<Bytes>> {
        let senders = senders.clamp(1, self.shards.len().max(1));
        let list = |sender: usize| {
            let mine: Vec<_> = self.shards.iter().skip(sender).step_by(senders).collect();
            let turns = mine.iter().map(|requests| requests.len()).max().unwrap_or(0);
            (0..turns)
                .flat_map(|turn| mine.iter().filter_map(move |requests| requests.get(turn)).cloned())
                .collect()
        };
        (0..senders).map(list).collect()
    }
}

struct Shard {
    requests: Vec<Bytes>,
    sum: f64,
    whole: bool,
    first: i64,
    last: i64,
}

fn make(shards: &mut [Vec<Series>], steps: Steps) -> Result<Vec<Shard>> {
    shards.iter_mut().map(|series| make_shard(series, steps)).collect()
}

fn make_shard(series: &mut [Series], steps: Steps) -> Result<Shard> {
    let delays = || series.iter().map(|one| one.delay);
    let (first, last) = (delays().min().unwrap_or(0), delays().max().unwrap_or(0));
    let (mut requests, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sum, mut whole) = (0.0, true);
    let mut begin = 0;
    while begin < steps.count {
        let end = (begin + steps.together.max(1)).min(steps.count);
        body.clear();
        for one in series.iter_mut() {
            message.clear();
            message.extend_from_slice(&one.labels);
            for step in begin..end {
                let value = one.next();
                whole &= value.fract() == 0.0;
                sum += value;
                sample(&mut message, value, steps.first + steps.step * step as i64 + one.delay);
            }
            field(&mut body, 1, &message);
        }
        requests.push(wire::remote_write(&pack(&body)?));
        begin = end;
    }
    Ok(Shard { requests, sum, whole, first: steps.first + first, last: steps.last() + last })
}

/// A field that has a length: a string or a message.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A value at a time. As protobuf has it, a value of zero is left out.
fn sample(out: &mut Vec<u8>, value: f64, timestamp: i64) {
    let mut bytes = Vec::with_capacity(20);
    if value != 0.0 {
        bytes.push(1 << 3 | 1);
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.push(2 << 3);
    varint(&mut bytes, timestamp as u64);
    field(out, 2, &bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use metricsd_codec::remote_write::message::{Label, Sample, TimeSeries, WriteRequest};
    use metricsd_codec::remote_write::unpack;

    use super::{Load, Series, Steps};
    use crate::course::Course;

    fn two() -> Vec<Vec<Series>> {
        let series = |name| Series::new(&[("zone", "z"), ("__name__", name)], Course::Constant(3.0), 1);
        vec![vec![series("a"), Series::new(&[("__name__", "zero")], Course::Constant(0.0), 2).delayed(7)]]
    }

    #[test]
    fn requests_are_what_prost_would_write() {
        let steps = Steps { first: 1000, step: 10, count: 3, together: 2 };
        let load = Load::prepare("", two(), steps).unwrap();
        let request = &load.lists(4)[0][0];
        let body = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        let series = |labels: &[(&str, &str)], value, delay| TimeSeries {
            labels: Label::list(labels.iter().copied()),
            samples: [1000, 1010].map(|at: i64| Sample { value, timestamp: at + delay }).to_vec(),
            ..TimeSeries::default()
        };
        let expected = WriteRequest {
            timeseries: vec![
                series(&[("__name__", "a"), ("zone", "z")], 3.0, 0),
                series(&[("__name__", "zero")], 0.0, 7),
            ],
            ..WriteRequest::default()
        };
        assert_eq!(unpack(&request[body..], 1 << 20).unwrap(), expected.to_bytes());
    }

    #[test]
    fn what_was_sent_is_added_up() {
        let steps = Steps { first: 1000, step: 10, count: 3, together: 2 };
        let sent = Load::prepare("", two(), steps).unwrap().sent;
        assert_eq!((sent.series, sent.count, sent.first, sent.last), (2, 6, 1000, 1027));
        assert!((sent.sum - 9.0).abs() < 1e-9);
    }

    #[test]
    fn senders_share_shards() {
        let shards = (0..5).flat_map(|_| two()).collect();
        let steps = Steps { first: 0, step: 1, count: 4, together: 1 };
        let load = Load::prepare("", shards, steps).unwrap();
        let lengths: Vec<usize> = load.lists(2).iter().map(Vec::len).collect();
        assert_eq!(lengths, [12, 8]);
    }
}
