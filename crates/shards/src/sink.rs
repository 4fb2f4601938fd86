//! Appends: every batch to the shard of its target.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use metricsd_model::{Batch, BatchId, SeriesId};
use metricsd_ports::{PortError, Receipt, Retention, SampleSink, StoredPush, Unused};

use crate::ShardedStore;

#[async_trait]
impl SampleSink for ShardedStore {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        let mut parts: Vec<(Vec<usize>, Vec<Arc<Batch>>)> = vec![Default::default(); self.shards.len()];
        for (place, batch) in batches.iter().enumerate() {
            if let Some((places, part)) = parts.get_mut(self.placement.of_batch(batch)) {
                places.push(place);
                part.push(batch.clone());
            }
        }
        let parts = self.shards.iter().zip(parts).filter(|(_, (places, _))| !places.is_empty());
        let appends = parts.map(|(shard, (places, part))| async move { (places, shard.append(&part).await) });
        let mut receipts = vec![Receipt::Stored; batches.len()];
        let mut failed: Option<PortError> = None;
        for (places, appended) in join_all(appends).await {
            match appended {
                Ok(part) => {
                    for (place, receipt) in places.into_iter().zip(part) {
                        receipts[place] = receipt;
                    }
                }
                // What trying again cannot help is the graver.
                Err(error) if failed.as_ref().is_none_or(PortError::is_retryable) => failed = Some(error),
                Err(_) => {}
            }
        }
        failed.map_or(Ok(receipts), Err)
    }

    /// Those that any shard knows. A shard that is away says of none that it is stored, which is better than to hold up
    /// what goes to others; it fails the call only where none answers.
    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        let mut known: Option<HashSet<SeriesId>> = None;
        let mut failed = None;
        for answer in self.ask_each(|shard| shard.sink.stored_series(ids)).await {
            match answer {
                Ok(stored) => known.get_or_insert_default().extend(stored),
                Err(error) if error.is_retryable() => failed = failed.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        known.map_or_else(|| failed.map_or(Ok(HashSet::new()), Err), Ok)
    }

    /// Those that any shard has; one that is away says of none.
    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        let answers = self.ask_each(|shard| shard.sink.stored_pushes(ids)).await;
        Ok(answers.into_iter().flatten().flatten().collect())
    }

    /// The first shard that does not answer is the error's.
    async fn ping(&self) -> Result<(), PortError> {
        let pings = join_all(self.shards.iter().map(|shard| SampleSink::ping(&**shard))).await;
        pings.into_iter().collect()
    }
}

#[async_trait]
impl Retention for ShardedStore {
    /// On every shard: before shards were added a target's data went elsewhere.
    async fn remove_before(&self, target_id: &str, before: i64) -> Result<u64, PortError> {
        self.remove_all(|shard| shard.retention.remove_before(target_id, before)).await
    }

    async fn remove_others_before(&self, spared: &[String], before: i64) -> Result<u64, PortError> {
        self.remove_all(|shard| shard.retention.remove_others_before(spared, before)).await
    }

    async fn remove_unused(&self, before: i64) -> Result<Unused, PortError> {
        let mut all = Unused::default();
        for removed in self.ask_each(|shard| shard.retention.remove_unused(before)).await {
            all += removed?;
        }
        Ok(all)
    }

    /// Every shard keeps its `newest`: to keep those of all together each would have to know the others'.
    async fn bound_exemplars(&self, newest: u64) -> Result<u64, PortError> {
        self.remove_all(|shard| shard.retention.bound_exemplars(newest)).await
    }
}
