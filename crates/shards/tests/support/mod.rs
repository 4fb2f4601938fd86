//! Stores of shards in memory, of which some may be away.
#![allow(dead_code, unreachable_pub)]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use metricsd_model::{Batch, BatchId, FamilyMetadata, LabelSet, Matcher, Millis, Series, SeriesId};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{
    ErrorKind, IndexStatistics, LatestMetric, PortError, Receipt, SampleSink, SampleSource, SelectedSeries,
    Selection, SeriesExemplars, StoredPush,
};
use metricsd_shards::{Opened, Shard, ShardedStore};

/// A store of shards and what it is made of.
pub struct Sharded {
    pub store: ShardedStore,
    pub parts: Vec<Arc<MemoryStore>>,
    pub lines: Vec<Arc<Line>>,
}

/// Shards in memory, all of them there.
pub fn sharded(count: usize) -> Sharded {
    over((0..count).map(|_| Arc::new(MemoryStore::new())).collect())
}

/// Shards over stores that may hold something already.
pub fn over(parts: Vec<Arc<MemoryStore>>) -> Sharded {
    let lines: Vec<Arc<Line>> = parts.iter().map(|part| Arc::new(Line::to(part.clone()))).collect();
    let shards = lines.iter().zip(&parts).enumerate().map(|(place, (line, part))| {
        let opened = Opened { sink: line.clone(), source: line.clone(), ..Opened::of(part.clone()) };
        Arc::new(Shard::open(place + 1, format!("host-{}/db", place + 1), opened))
    });
    let store = ShardedStore::new(parts[0].clone(), shards.collect()).unwrap();
    Sharded { store, parts, lines }
}

/// The line to a store, which can be cut.
pub struct Line {
    store: Arc<MemoryStore>,
    cut: AtomicBool,
    pub silent: AtomicBool,
}

impl Line {
    fn to(store: Arc<MemoryStore>) -> Self {
        Self { store, cut: AtomicBool::new(false), silent: AtomicBool::new(false) }
    }

    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    async fn pass(&self) -> Result<&MemoryStore, PortError> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.cut.load(Ordering::SeqCst) {
            return Err(PortError::new(ErrorKind::Unavailable, "password=hunter2 does not connect"));
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl SampleSink for Line {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        self.pass().await?.append(batches).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.pass().await?.ping().await
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        self.pass().await?.stored_series(ids).await
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        self.pass().await?.stored_pushes(ids).await
    }
}

#[async_trait]
impl SampleSource for Line {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        self.pass().await?.select(selection).await
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        self.pass().await?.series(matchers, limit).await
    }

    async fn label_sets(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<LabelSet>, PortError> {
        self.pass().await?.label_sets(matchers, limit).await
    }

    async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError> {
        self.pass().await?.label_names(matchers, limit).await
    }

    async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        self.pass().await?.label_values(name, matchers, limit).await
    }

    async fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        self.pass().await?.exemplars(selection).await
    }

    async fn families(&self, family: Option<&str>, limit: usize) -> Result<Vec<FamilyMetadata>, PortError> {
        self.pass().await?.families(family, limit).await
    }

    async fn index_statistics(&self, top: usize) -> Result<IndexStatistics, PortError> {
        self.pass().await?.index_statistics(top).await
    }

    async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError> {
        self.pass().await?.source_statistics(source, top).await
    }

    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        self.pass().await?.latest(target_id, since).await
    }
}
