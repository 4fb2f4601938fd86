//! Items become a body of remote write 1.0.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use metricsd_model::{MetricSource, Millis, Refusal};
use parking_lot::RwLockReadGuard;

use super::expand::expand;
use super::memory::{Family, Key, Known, Memory, State, Table};
use super::metric::{CustomMetric, CustomValue, ItemError, Wrong};
use super::{BodyError, checks, lines, list, protobuf};
use crate::remote_write::{BodyWriter, MAX_BODY_BYTES, label_bytes};
use crate::wire::WireError;

/// Items at fault that are described; all are counted.
const MAX_ERRORS: usize = 100;

/// After so many items whoever waits to remember something may do so.
const TURN: usize = 64;

/// What a request's items became.
#[derive(Debug, Clone, Default)]
pub struct CustomBody {
    /// A body of remote write 1.0.
    pub body: Vec<u8>,
    /// The item of each series of the body, by the place of the series.
    pub places: Vec<u32>,
    /// Items read, good and bad; those that were passed over are not among them.
    pub items: usize,
    /// Items that were passed over.
    pub skipped: usize,
    /// What kind of source the first item said. Series of another say so in the body.
    pub source: Option<MetricSource>,
    /// Items that are not in the body, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// The first hundred of them.
    pub errors: Vec<ItemError>,
}

/// Reads items of one request, or of a part of a stream.
pub struct CustomWriter<'m> {
    memory: &'m Memory,
    known: RwLockReadGuard<'m, State>,
    fresh: Table,
    /// What was said of families in this body.
    told: HashSet<u64>,
    last_told: u64,
    now: Millis,
    max_items: usize,
    /// Items that are passed over before any is read.
    skip: usize,
    /// Whether blank lines leave out an index.
    blanks: bool,
    /// Index of the next item.
    next: usize,
    writer: BodyWriter,
    out: CustomBody,
}

impl<'m> CustomWriter<'m> {
    /// Items without a time get `now`; more than `max_items` are refused as a whole.
    pub fn new(memory: &'m Memory, now: Millis, max_items: usize) -> Self {
        Self {
            memory,
            known: memory.read(),
            fresh: Table::default(),
            told: HashSet::new(),
            last_told: 0,
            now,
            max_items,
            skip: 0,
            blanks: true,
            next: 0,
            writer: BodyWriter::new(),
            out: CustomBody::default(),
        }
    }

    /// Passes over the first items: they count for the index of those that follow, and for nothing else.
    pub fn skip(mut self, items: usize) -> Self {
        self.skip = items;
        self
    }

    /// Blank lines have no index: items are numbered one behind the other.
    pub fn dense(mut self) -> Self {
        self.blanks = false;
        self
    }

    /// A JSON list.
    ///
    /// # Errors
    /// The body is no JSON list, or has too many items.
    pub fn json(mut self, body: &[u8]) -> Result<CustomBody, BodyError> {
        list::read(body, &mut self)?;
        Ok(self.finish())
    }

    /// Lines of JSON, an item each. The index of an item is that of its line, from 0; blank lines are no items.
    ///
    /// # Errors
    /// There are too many items.
    pub fn lines(mut self, body: &[u8]) -> Result<CustomBody, BodyError> {
        lines::read(body, &mut self)?;
        Ok(self.finish())
    }

    /// A message `metricsd.custom.v1.Metrics`.
    ///
    /// # Errors
    /// The bytes are no such message, or it has too many items.
    pub fn protobuf(mut self, body: &[u8]) -> Result<CustomBody, BodyError> {
        protobuf::read(body, &mut self)?;
        Ok(self.finish())
    }

    fn finish(self) -> CustomBody {
        let Self { memory, known, fresh, writer, mut out, .. } = self;
        drop(known);
        memory.remember(fresh);
        out.body = writer.into_bytes();
        out
    }

    pub(super) fn key(&self) -> Key {
        self.memory.key()
    }

    /// Begins an item; `None` where it is to be passed over.
    #[inline]
    pub(super) fn begin(&mut self) -> Result<Option<usize>, BodyError> {
        let index = self.next;
        self.next += 1;
        if index < self.skip {
            self.out.skipped += 1;
            return Ok(None);
        }
        if self.out.items >= self.max_items {
            return Err(BodyError::TooManyItems { limit: self.max_items });
        }
        self.out.items += 1;
        if self.out.items.is_multiple_of(TURN) {
            RwLockReadGuard::bump(&mut self.known);
        }
        Ok(Some(index))
    }

    /// Leaves out the index of a blank line.
    pub(super) fn pass(&mut self) {
        self.next += usize::from(self.blanks);
    }

    /// Adds an item that is known by its key; answers whether it is.
    #[inline]
    pub(super) fn float(&mut self, index: usize, key: Key, timestamp: Option<Millis>, value: f64) -> bool {
        let known = match self.known.get(key) {
            Some((known, false)) => known,
            Some((known, true)) => {
                self.fresh.insert(key, known.clone());
                known
            }
            None => match self.fresh.get(&key) {
                Some(known) => known,
                None => return false,
            },
        };
        let source = *self.out.source.get_or_insert(known.source);
        if let Some(family) = &known.family
            && family.id != self.last_told
        {
            self.last_told = family.id;
            if self.told.insert(family.id) {
                self.writer.metadata(family.kind, &family.name, &family.help, &family.unit);
            }
        }
        let mut series = self.writer.series();
        series.raw_labels(&known.labels);
        if known.source != source {
            series.source(known.source);
        }
        series.sample(timestamp.unwrap_or(self.now), value);
        drop(series);
        self.out.places.push(index as u32);
        true
    }

    /// Adds an item that was read field by field, and remembers it under its key.
    fn metric(&mut self, index: usize, key: Option<Key>, metric: &CustomMetric) -> Result<(), BodyError> {
        if let Err(wrong) = checks::labels(&metric.labels) {
            self.refuse(index, wrong);
            return Ok(());
        }
        if let (CustomValue::Float(value), Some(key), true) =
            (&metric.value, key, metric.exemplars.is_empty())
        {
            self.fresh.insert(key, Arc::new(known(metric)));
            self.float(index, key, metric.timestamp, *value);
            return Ok(());
        }
        // Labels are said once and written for every bucket: before any limit on labels is asked.
        if self.writer.len().saturating_add(metric.expanded_size()) > MAX_BODY_BYTES {
            return Err(BodyError::TooLarge { limit: MAX_BODY_BYTES });
        }
        let source = *self.out.source.get_or_insert(metric.source);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (help, unit) = (text(&metric.help_text), text(&metric.unit));
        if let Some(family) = Family::of(&metric.name, metric.metric_type, &help, &unit)
            && self.told.insert(family.id)
        {
            self.writer.metadata(family.kind, &family.name, &family.help, &family.unit);
        }
        let hint = (metric.source != source).then_some(metric.source);
        let before = self.writer.series_count();
        expand(metric, self.now, hint, &mut self.writer);
        let added = self.writer.series_count() - before;
        self.out.places.extend(std::iter::repeat_n(index as u32, added));
        Ok(())
    }

    pub(super) fn item(
        &mut self,
        index: usize,
        key: Option<Key>,
        item: Result<CustomMetric, Wrong>,
    ) -> Result<(), BodyError> {
        match item {
            Ok(metric) => self.metric(index, key, &metric),
            Err(wrong) => {
                self.refuse(index, wrong);
                Ok(())
            }
        }
    }

    #[cold]
    pub(super) fn refuse(&mut self, index: usize, wrong: Wrong) {
        *self.out.refused.entry(wrong.refusal).or_default() += 1;
        if self.out.errors.len() < MAX_ERRORS {
            self.out.errors.push(wrong.at(index));
        }
    }
}

fn known(metric: &CustomMetric) -> Known {
    let name = [("__name__", metric.name.as_str())];
    let labels = metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (help, unit) = (metric.help_text.as_deref(), metric.unit.as_deref());
    Known {
        labels: label_bytes(name.into_iter().chain(labels)).into(),
        source: metric.source,
        family: Family::of(&metric.name, metric.metric_type, help.unwrap_or(""), unit.unwrap_or("")),
    }
}

impl From<WireError> for BodyError {
    fn from(error: WireError) -> Self {
        Self::Message(error)
    }
}
