//! A batch to bytes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use metricsd_model::{Batch, Collection, JoinedPush, Layout, Ledger, Series};
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use super::{BatchError, ListId, VERSION, message};
use crate::pack::pack_histograms;

/// Fast rather than small: the disk or the broker waits for it.
const LEVEL: i32 = 1;

/// Lists that are remembered; those that nobody holds any more go first.
const MAX_LISTS: usize = 20_000;

/// Bytes of compressed lists that are remembered.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Writes batches and remembers the lists of series that come again.
#[derive(Debug, Default)]
pub struct BatchEncoder {
    /// By the address of the layout, which is the same one only while that lives.
    lists: HashMap<usize, Remembered>,
    bytes: usize,
}

#[derive(Debug)]
struct Remembered {
    layout: Weak<Layout>,
    hash: u128,
    content: Arc<[u8]>,
}

/// One batch as bytes.
#[derive(Debug, Clone)]
pub struct EncodedBatch {
    /// The record.
    pub bytes: Vec<u8>,
    /// Lists that the record holds and that later ones may refer to, each with its columns.
    pub lists: Vec<(ListId, usize)>,
}

impl BatchEncoder {
    /// One that remembers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a batch that stands alone.
    pub fn encode(&mut self, batch: &Batch) -> Result<EncodedBatch, BatchError> {
        self.encode_after(batch, |_| false)
    }

    /// Writes a batch without the lists that its reader has `known` since earlier records.
    pub fn encode_after(
        &mut self,
        batch: &Batch,
        known: impl Fn(&ListId) -> bool,
    ) -> Result<EncodedBatch, BatchError> {
        let mut places: HashMap<usize, u32> = HashMap::new();
        let mut lists = Vec::new();
        let mut given = Vec::new();
        let mut frames = Vec::with_capacity(batch.frames.len());
        for frame in &batch.frames {
            let address = Arc::as_ptr(&frame.layout).addr();
            let list = match places.get(&address) {
                Some(place) => *place,
                None => {
                    let place = lists.len() as u32;
                    lists.push(self.list(&frame.layout, &known, &mut given)?);
                    places.insert(address, place);
                    place
                }
            };
            frames.push(message::Frame {
                list,
                time: frame.time,
                has_offsets: frame.offsets.is_some(),
                offsets: frame.offsets.clone().unwrap_or_default(),
                values: frame.values.clone(),
                histograms: if frame.histograms.is_empty() {
                    Vec::new()
                } else {
                    pack_histograms(&frame.histograms)
                },
            });
        }
        let exemplars = exemplars(batch, &mut lists)?;
        let record = message::SampleBatch {
            id: batch.id.0.to_be_bytes().to_vec(),
            collection: Some(collection(&batch.collection)),
            lists,
            frames,
            exemplars,
            families: batch.families.iter().map(family).collect(),
            fence: batch.fence.map(|fence| message::Fence {
                member: fence.member.as_bytes().to_vec(),
                epoch: fence.epoch,
                bucket: u32::from(fence.bucket),
                slot: fence.slot,
            }),
            protocol: batch.protocol.map(|protocol| protocol.as_str().to_owned()),
            joined: batch.joined.iter().map(joined).collect(),
        };
        let packed = compress(&record.encode_to_vec())?;
        let mut bytes = Vec::with_capacity(packed.len() + 1);
        bytes.push(VERSION);
        bytes.extend_from_slice(&packed);
        Ok(EncodedBatch { bytes, lists: given })
    }

    fn list(
        &mut self,
        layout: &Arc<Layout>,
        known: &impl Fn(&ListId) -> bool,
        given: &mut Vec<(ListId, usize)>,
    ) -> Result<message::SeriesList, BatchError> {
        let (hash, content) = self.content(layout)?;
        let id = (hash, layout.id.is_some());
        let content = if known(&id) {
            Vec::new()
        } else {
            // A list that is not shared seldom comes again: nobody is to remember it.
            if id.1 {
                given.push((id, layout.series.len()));
            }
            content.to_vec()
        };
        Ok(list_message(hash, id.1, content))
    }

    fn content(&mut self, layout: &Arc<Layout>) -> Result<(u128, Arc<[u8]>), BatchError> {
        let address = Arc::as_ptr(layout).addr();
        if let Some(remembered) = self.lists.get(&address)
            && remembered.layout.upgrade().is_some_and(|alive| Arc::ptr_eq(&alive, layout))
        {
            return Ok((remembered.hash, remembered.content.clone()));
        }
        let (hash, content) = pack_list(&layout.series)?;
        let content: Arc<[u8]> = content.into();
        if layout.id.is_some() {
            self.remember(
                address,
                Remembered { layout: Arc::downgrade(layout), hash, content: content.clone() },
            );
        }
        Ok((hash, content))
    }

    fn remember(&mut self, address: usize, list: Remembered) {
        if self.lists.len() >= MAX_LISTS || self.bytes > MAX_LIST_BYTES {
            self.lists.retain(|_, list| list.layout.strong_count() > 0);
            self.bytes = self.lists.values().map(|list| list.content.len()).sum();
            if self.lists.len() >= MAX_LISTS / 2 || self.bytes > MAX_LIST_BYTES / 2 {
                self.lists.clear();
                self.bytes = 0;
            }
        }
        self.bytes += list.content.len();
        if let Some(old) = self.lists.insert(address, list) {
            self.bytes = self.bytes.saturating_sub(old.content.len());
        }
    }
}

fn list_message(hash: u128, shared: bool, content: Vec<u8>) -> message::SeriesList {
    message::SeriesList { hash_high: (hash >> 64) as u64, hash_low: hash as u64, shared, content }
}

fn pack_list(series: &[Arc<Series>]) -> Result<(u128, Vec<u8>), BatchError> {
    let content = message::SeriesContent { series: series.iter().map(|series| text(series)).collect() };
    let content = content.encode_to_vec();
    Ok((xxh3_128(&content), compress(&content)?))
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, BatchError> {
    if bytes.len() > super::MAX_BYTES {
        return Err(BatchError::Compression);
    }
    zstd::bulk::compress(bytes, LEVEL).map_err(|_| BatchError::Compression)
}

/// Series of exemplars need not have samples: they stand in a list of their own.
fn exemplars(
    batch: &Batch,
    lists: &mut Vec<message::SeriesList>,
) -> Result<Vec<message::Exemplar>, BatchError> {
    if batch.exemplars.is_empty() {
        return Ok(Vec::new());
    }
    let mut columns: HashMap<usize, u32> = HashMap::new();
    let mut series: Vec<Arc<Series>> = Vec::new();
    let list = lists.len() as u32;
    let exemplar = |carried: &metricsd_model::SeriesExemplar| {
        let column = *columns.entry(Arc::as_ptr(&carried.series).addr()).or_insert_with(|| {
            series.push(carried.series.clone());
            series.len() as u32 - 1
        });
        message::Exemplar {
            list,
            column,
            labels: carried.exemplar.labels.as_bytes().to_vec(),
            value: carried.exemplar.value,
            timestamp: carried.exemplar.timestamp,
        }
    };
    let exemplars = batch.exemplars.iter().map(exemplar).collect();
    let (hash, content) = pack_list(&series)?;
    lists.push(list_message(hash, false, content));
    Ok(exemplars)
}

fn text(series: &Series) -> message::SeriesText {
    message::SeriesText {
        labels: series.labels.as_bytes().to_vec(),
        metric_type: series.metric_type.as_str().to_owned(),
        source_type: series.source_type.as_str().to_owned(),
        source: series.source.to_string(),
        target_id: series.target_id.to_string(),
        help: series.help.as_deref().map(str::to_owned),
        unit: series.unit.as_deref().map(str::to_owned),
    }
}

fn joined(push: &JoinedPush) -> message::JoinedPush {
    let JoinedPush { id, columns, exemplars, families } = push;
    let id = id.0.to_be_bytes().to_vec();
    message::JoinedPush { id, columns: columns.clone(), exemplars: *exemplars, families: *families }
}

fn family(family: &metricsd_model::FamilyMetadata) -> message::Family {
    message::Family {
        family: family.family.clone(),
        metric_type: family.metric_type.as_str().to_owned(),
        help: family.help.clone(),
        unit: family.unit.clone(),
    }
}

fn collection(collection: &Collection) -> message::Collection {
    message::Collection {
        source_id: collection.source_id.clone(),
        target_id: collection.target_id.clone(),
        method: collection.method.as_str().to_owned(),
        started: collection.started,
        duration_ms: collection.duration_ms,
        status: collection.status.as_str().to_owned(),
        health: collection.health.as_str().to_owned(),
        reason: collection.reason.map(|reason| reason.as_str().to_owned()),
        error: collection.error.clone(),
        ledger: Some(ledger(&collection.ledger)),
        counters: collection.types.counters,
        gauges: collection.types.gauges,
        histograms: collection.types.histograms,
        summaries: collection.types.summaries,
    }
}

fn ledger(ledger: &Ledger) -> message::LedgerCounts {
    let count = |name: &str, count: u64| message::Count { name: name.to_owned(), count };
    message::LedgerCounts {
        received: ledger.received,
        dropped: ledger.dropped,
        refused: ledger.refused.iter().map(|(reason, n)| count(reason.as_str(), *n)).collect(),
        stored: ledger.stored,
        missed: ledger.missed.iter().map(|(reason, n)| count(reason.as_str(), *n)).collect(),
        waited: ledger.waited.map_or("", metricsd_model::Waited::as_str).to_owned(),
        added: ledger.added,
    }
}
