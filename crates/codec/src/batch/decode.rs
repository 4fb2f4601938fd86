//! Bytes to a batch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Exemplar, FailureReason, FamilyMetadata, FamilyType, Fence,
    Frame, HealthStatus, JobStatus, JoinedPush, LabelSet, Layout, Ledger, MetricSource, MetricType, Missed,
    Protocol, Refusal, Series, SeriesExemplar, SeriesId, TypeCounts, Waited,
};
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use super::{BatchError, ListId, MAX_BYTES, VERSION, message};
use crate::pack::unpack_histograms;

/// Columns of lists that are remembered, unless every list is wanted.
const MAX_COLUMNS: usize = 4_000_000;

/// Reads batches and remembers the lists of series that come again.
#[derive(Debug)]
pub struct BatchDecoder {
    lists: HashMap<ListId, Arc<Layout>>,
    columns: usize,
    max_columns: usize,
}

impl Default for BatchDecoder {
    fn default() -> Self {
        Self { lists: HashMap::new(), columns: 0, max_columns: MAX_COLUMNS }
    }
}

impl BatchDecoder {
    /// One for records that stand alone: of lists it remembers what fits.
    pub fn new() -> Self {
        Self::default()
    }

    /// One for records that refer to earlier ones: it remembers every shared list. Who writes the records bounds them.
    pub fn of_segment() -> Self {
        Self { max_columns: usize::MAX, ..Self::default() }
    }

    /// Reads one record.
    pub fn decode(&mut self, record: &[u8]) -> Result<Batch, BatchError> {
        let (version, packed) = record.split_first().ok_or(BatchError::Compression)?;
        if *version != VERSION {
            return Err(BatchError::Version(*version));
        }
        let record = message::SampleBatch::decode(decompress(packed)?.as_slice())?;
        let id = batch_id(&record.id, "id")?;
        let lists = record.lists.into_iter().map(|list| self.list(list)).collect::<Result<Vec<_>, _>>()?;
        let frames = record.frames.into_iter().map(|given| frame(given, &lists));
        let exemplars = record.exemplars.into_iter().map(|given| exemplar(given, &lists));
        Ok(Batch {
            id,
            frames: frames.collect::<Result<_, _>>()?,
            exemplars: exemplars.collect::<Result<_, _>>()?,
            families: record.families.into_iter().map(family).collect::<Result<_, _>>()?,
            collection: collection(record.collection.ok_or(BatchError::Field("collection"))?)?,
            fence: record.fence.map(fence).transpose()?,
            // One that this version does not know is none: it says nothing of the samples.
            protocol: record.protocol.as_deref().and_then(Protocol::from_name),
            joined: record.joined.into_iter().map(joined).collect::<Result<_, _>>()?,
        })
    }

    fn list(&mut self, list: message::SeriesList) -> Result<Arc<Layout>, BatchError> {
        let hash = u128::from(list.hash_high) << 64 | u128::from(list.hash_low);
        let id = (hash, list.shared);
        if list.shared
            && let Some(known) = self.lists.get(&id)
        {
            return Ok(known.clone());
        }
        if list.content.is_empty() {
            return Err(BatchError::UnknownList);
        }
        let content = decompress(&list.content)?;
        if xxh3_128(&content) != hash {
            return Err(BatchError::Field("hash of a list"));
        }
        let content = message::SeriesContent::decode(content.as_slice())?;
        let mut texts = HashSet::new();
        let series = content.series.into_iter().map(|given| series(given, &mut texts));
        let series = series.collect::<Result<Vec<_>, _>>()?;
        if !list.shared {
            return Ok(Layout::inline(series));
        }
        let layout = Layout::shared(series);
        if self.columns.saturating_add(layout.ids.len()) > self.max_columns {
            self.lists.clear();
            self.columns = 0;
        }
        self.columns += layout.ids.len();
        self.lists.insert(id, layout.clone());
        Ok(layout)
    }
}

fn batch_id(bytes: &[u8], field: &'static str) -> Result<BatchId, BatchError> {
    let id = <[u8; 16]>::try_from(bytes).map_err(|_| BatchError::Field(field))?;
    Ok(BatchId(u128::from_be_bytes(id)))
}

fn joined(push: message::JoinedPush) -> Result<JoinedPush, BatchError> {
    let message::JoinedPush { id, columns, exemplars, families } = push;
    Ok(JoinedPush { id: batch_id(&id, "id of a joined push")?, columns, exemplars, families })
}

fn decompress(packed: &[u8]) -> Result<Vec<u8>, BatchError> {
    let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MAX_BYTES);
    zstd::bulk::decompress(packed, size.ok_or(BatchError::Compression)?).map_err(|_| BatchError::Compression)
}

fn named<T>(field: &'static str, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, BatchError> {
    read(name).ok_or(BatchError::Field(field))
}

/// Reads canonical bytes, of which every pair is looked at.
fn labels(bytes: &[u8]) -> Result<LabelSet, BatchError> {
    let damaged = || BatchError::Field("labels");
    let text = std::str::from_utf8;
    let mut pairs = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let name_end = memchr::memchr(0xff, rest).ok_or_else(damaged)?;
        let (name, after) = rest.split_at_checked(name_end).ok_or_else(damaged)?;
        let after = after.get(1..).ok_or_else(damaged)?;
        let value_end = memchr::memchr(0xff, after).ok_or_else(damaged)?;
        let (value, after) = after.split_at_checked(value_end).ok_or_else(damaged)?;
        pairs.push((text(name).map_err(|_| damaged())?, text(value).map_err(|_| damaged())?));
        rest = after.get(1..).ok_or_else(damaged)?;
    }
    let labels = LabelSet::new(pairs).map_err(|_| damaged())?;
    // Anything else would be another series than the one that was written.
    if labels.as_bytes() == bytes { Ok(labels) } else { Err(damaged()) }
}

/// A text that others of the list have too is held once.
fn shared(text: String, texts: &mut HashSet<Arc<str>>) -> Arc<str> {
    if let Some(known) = texts.get(text.as_str()) {
        return known.clone();
    }
    let text: Arc<str> = text.into();
    texts.insert(text.clone());
    text
}

fn series(series: message::SeriesText, texts: &mut HashSet<Arc<str>>) -> Result<Arc<Series>, BatchError> {
    let labels = labels(&series.labels)?;
    Ok(Arc::new(Series {
        id: SeriesId::of(&labels),
        labels,
        metric_type: named("metric_type", &series.metric_type, MetricType::from_name)?,
        source_type: named("source_type", &series.source_type, MetricSource::from_name)?,
        source: shared(series.source, texts),
        target_id: shared(series.target_id, texts),
        help: series.help.map(|help| shared(help, texts)),
        unit: series.unit.map(|unit| shared(unit, texts)),
    }))
}

fn frame(frame: message::Frame, lists: &[Arc<Layout>]) -> Result<Frame, BatchError> {
    let layout = lists.get(frame.list as usize).ok_or(BatchError::Field("list of a frame"))?;
    let columns = layout.ids.len();
    if frame.values.len() != columns {
        return Err(BatchError::Field("values"));
    }
    let offsets = frame.has_offsets.then_some(frame.offsets);
    if offsets.as_ref().is_some_and(|offsets| offsets.len() != columns) {
        return Err(BatchError::Field("offsets"));
    }
    let histograms = match frame.histograms.is_empty() {
        true => Vec::new(),
        false => unpack_histograms(&frame.histograms).map_err(|_| BatchError::Field("histograms"))?,
    };
    if histograms.iter().any(|(column, _)| *column as usize >= columns) {
        return Err(BatchError::Field("column of a histogram"));
    }
    Ok(Frame { layout: layout.clone(), time: frame.time, offsets, values: frame.values, histograms })
}

fn exemplar(exemplar: message::Exemplar, lists: &[Arc<Layout>]) -> Result<SeriesExemplar, BatchError> {
    let layout = lists.get(exemplar.list as usize);
    let series = layout.and_then(|layout| layout.series.get(exemplar.column as usize));
    Ok(SeriesExemplar {
        series: series.ok_or(BatchError::Field("series of an exemplar"))?.clone(),
        exemplar: Exemplar {
            labels: labels(&exemplar.labels)?,
            value: exemplar.value,
            timestamp: exemplar.timestamp,
        },
    })
}

fn family(family: message::Family) -> Result<FamilyMetadata, BatchError> {
    Ok(FamilyMetadata {
        family: family.family,
        metric_type: named("metric_type", &family.metric_type, FamilyType::from_name)?,
        help: family.help,
        unit: family.unit,
    })
}

fn fence(given: message::Fence) -> Result<Fence, BatchError> {
    let member = uuid::Uuid::from_slice(&given.member).map_err(|_| BatchError::Field("member"))?;
    let bucket = u16::try_from(given.bucket).map_err(|_| BatchError::Field("bucket"))?;
    Ok(Fence { member, epoch: given.epoch, bucket, slot: given.slot })
}

fn collection(given: message::Collection) -> Result<Collection, BatchError> {
    let reason = given.reason.map(|reason| named("reason", &reason, FailureReason::from_name)).transpose()?;
    Ok(Collection {
        source_id: given.source_id,
        target_id: given.target_id,
        method: named("method", &given.method, CollectionMethod::from_name)?,
        started: given.started,
        duration_ms: given.duration_ms,
        status: named("status", &given.status, JobStatus::from_name)?,
        health: named("health", &given.health, HealthStatus::from_name)?,
        reason,
        error: given.error,
        ledger: ledger(given.ledger.unwrap_or_default())?,
        types: TypeCounts {
            counters: given.counters,
            gauges: given.gauges,
            histograms: given.histograms,
            summaries: given.summaries,
        },
    })
}

fn ledger(ledger: message::LedgerCounts) -> Result<Ledger, BatchError> {
    let waited = match ledger.waited.as_str() {
        "" => None,
        name => Some(named("waited", name, Waited::from_name)?),
    };
    Ok(Ledger {
        received: ledger.received,
        dropped: ledger.dropped,
        refused: counts(ledger.refused, |name| named("refused", name, Refusal::from_name))?,
        stored: ledger.stored,
        added: ledger.added,
        missed: counts(ledger.missed, |name| named("missed", name, Missed::from_name))?,
        waited,
    })
}

fn counts<K: Ord>(
    counts: Vec<message::Count>,
    key: impl Fn(&str) -> Result<K, BatchError>,
) -> Result<BTreeMap<K, u64>, BatchError> {
    counts.into_iter().map(|count| Ok((key(&count.name)?, count.count))).collect()
}
