//! What is remembered of streams between requests: the sums of deltas, and when each began.
//!
//! All of it is bounded in bytes; what is not heard of for a while is forgotten, and counts from zero again. A request that
//! is repeated changes nothing and says the same again, so that it is known as a repetition further on.

use std::collections::HashMap;

use metricsd_model::{Millis, NativeHistogram};

use super::message::Histogram;
use super::native;

/// Bounds of [`Streams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes of all that is remembered, about.
    pub max_bytes: usize,
    /// What was not heard of for so long is forgotten, in milliseconds.
    pub max_idle: Millis,
}

/// What is remembered of streams.
#[derive(Debug)]
pub struct Streams {
    limits: StreamLimits,
    entries: HashMap<Box<[u8]>, Entry>,
    bytes: usize,
    now: Millis,
    swept: Millis,
    /// Streams as they were before the request that is being read.
    before: HashMap<Box<[u8]>, Option<Entry>>,
}

/// One stream.
#[derive(Debug, Clone)]
struct Entry {
    seen: Millis,
    /// When it began, in nanoseconds.
    start: u64,
    /// Its first data point since.
    first: u64,
    /// Its newest data point.
    time: u64,
    total: Total,
}

/// What a stream has come to.
#[derive(Debug, Clone)]
pub(super) enum Total {
    /// Its sender adds up by itself; only its begin is of interest.
    Began,
    Sum(f64),
    Histogram(Histogram),
    Native(NativeHistogram),
}

/// A stream after a data point.
#[derive(Debug)]
pub(super) struct Advanced<'s> {
    pub(super) total: &'s Total,
    /// This data point is the stream's first since it began.
    pub(super) is_first: bool,
}

/// What a stream costs beside its key and its buckets.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<Box<[u8]>>() + 16;

impl Total {
    fn size(&self) -> usize {
        match self {
            Self::Began | Self::Sum(_) => 0,
            Self::Histogram(histogram) => 8 * (histogram.bounds.len() + histogram.counts.len()),
            Self::Native(histogram) => {
                let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
                let buckets = histogram.positive_buckets.len() + histogram.negative_buckets.len();
                8 * (spans + buckets + histogram.custom_values.len())
            }
        }
    }

    /// Adds a delta; one of another kind or with other bounds begins anew.
    fn add(&mut self, delta: Self) {
        match (&mut *self, delta) {
            (Self::Sum(total), Self::Sum(delta)) => *total += delta,
            (Self::Histogram(total), Self::Histogram(delta)) if total.bounds == delta.bounds => {
                add_buckets(total, &delta);
            }
            (Self::Native(total), Self::Native(delta)) if total.custom_values == delta.custom_values => {
                native::add(total, &delta);
            }
            (_, delta) => *self = delta,
        }
    }
}

fn add_buckets(total: &mut Histogram, delta: &Histogram) {
    total.count = total.count.saturating_add(delta.count);
    total.sum = total.sum.zip(delta.sum).map(|(total, delta)| total + delta);
    for (total, delta) in total.counts.iter_mut().zip(&delta.counts) {
        *total = total.saturating_add(*delta);
    }
}

impl Streams {
    /// Nothing remembered yet.
    pub fn new(limits: StreamLimits) -> Self {
        Self { limits, entries: HashMap::new(), bytes: 0, now: 0, swept: 0, before: HashMap::new() }
    }

    /// How many streams are remembered, and in how many bytes, about.
    pub fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// Begins a request.
    pub(super) fn begin(&mut self, now: Millis) {
        // The clock may go back, and streams must not live for ever then.
        self.now = now.max(self.now);
        self.before.clear();
        if self.now - self.swept > self.limits.max_idle / 2 {
            self.sweep();
        }
    }

    /// Ends a request that was read.
    pub(super) fn keep(&mut self) {
        self.before = HashMap::new();
    }

    /// Ends a request of which nothing is to be stored.
    pub(super) fn undo(&mut self) {
        for (key, before) in std::mem::take(&mut self.before) {
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes = self.bytes.saturating_sub(cost(&key, &entry));
            }
            if let Some(entry) = before {
                self.bytes += cost(&key, &entry);
                self.entries.insert(key, entry);
            }
        }
    }

    /// Adds a delta to its stream.
    ///
    /// # Errors
    /// A sentence that says why it was not added.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        start: u64,
        time: u64,
        delta: Total,
    ) -> Result<Advanced<'_>, &'static str> {
        match self.alive(key) {
            Some(known) if time == known.time => {}
            Some(known) if time < known.time => {
                return Err("a newer delta of its series came before it, so that it cannot be added up");
            }
            Some(_) => {
                self.remember(key);
                self.grow(key, time, delta)?;
            }
            None => self.insert(key, start, time, delta)?,
        }
        let entry = self.entries.get_mut(key).ok_or(FULL)?;
        entry.seen = self.now;
        Ok(Advanced { total: &entry.total, is_first: entry.first == time })
    }

    /// Whether this data point is the first of its stream since it began at `start`.
    pub(super) fn began(&mut self, key: &[u8], start: u64, time: u64) -> bool {
        if let Some(known) = self.alive(key)
            && known.start >= start
        {
            let is_first = known.start == start && known.first == time;
            if let Some(entry) = self.entries.get_mut(key) {
                entry.seen = self.now;
            }
            return is_first;
        }
        self.insert(key, start, time, Total::Began).is_ok()
    }

    fn alive(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| self.now - entry.seen <= self.limits.max_idle)
    }

    /// Keeps a stream as it is, so that the request can be undone.
    fn remember(&mut self, key: &[u8]) {
        if !self.before.contains_key(key) {
            self.before.insert(key.into(), self.entries.get(key).cloned());
        }
    }

    fn grow(&mut self, key: &[u8], time: u64, delta: Total) -> Result<(), &'static str> {
        let entry = self.entries.get_mut(key).ok_or(FULL)?;
        let size = entry.total.size();
        let mut total = entry.total.clone();
        total.add(delta);
        let bytes = self.bytes.saturating_sub(size) + total.size();
        if bytes > self.limits.max_bytes && total.size() > size {
            return Err(FULL);
        }
        (entry.total, entry.time, self.bytes) = (total, time, bytes);
        Ok(())
    }

    fn insert(&mut self, key: &[u8], start: u64, time: u64, total: Total) -> Result<(), &'static str> {
        let entry = Entry { seen: self.now, start, first: time, time, total };
        let added = cost(key, &entry);
        let replaced = self.entries.get(key).map_or(0, |replaced| cost(key, replaced));
        if self.bytes - replaced.min(self.bytes) + added > self.limits.max_bytes {
            return Err(FULL);
        }
        self.remember(key);
        self.bytes = self.bytes.saturating_sub(replaced) + added;
        self.entries.insert(key.into(), entry);
        Ok(())
    }

    fn sweep(&mut self) {
        let (now, max_idle) = (self.now, self.limits.max_idle);
        let mut freed = 0;
        self.entries.retain(|key, entry| {
            let stays = now - entry.seen <= max_idle;
            freed += if stays { 0 } else { cost(key, entry) };
            stays
        });
        self.bytes = self.bytes.saturating_sub(freed);
        self.swept = now;
    }
}

const FULL: &str =
    "there is no room to add up more streams of deltas, the bound set by otlp.max_delta_memory";

fn cost(key: &[u8], entry: &Entry) -> usize {
    ENTRY_BYTES + key.len() + entry.total.size()
}
