//! The ledger over all shards, and each shard as an end of the sample log.

use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{Batch, Millis};
use metricsd_ports::{
    ErrorKind, Integrity, LedgerHours, LedgerRange, LedgerSum, LogSink, LogStep, ParkedEntry, ParkedRecord,
    PortError, Receipt, Recount,
};

use crate::{Shard, ShardedStore};

#[async_trait]
impl Integrity for ShardedStore {
    async fn ledger(&self, range: &LedgerRange, limit: usize) -> Result<LedgerHours, PortError> {
        let mut hours = LedgerHours::new();
        for part in self.ask_all(|shard| shard.integrity.ledger(range, limit)).await? {
            for (key, sum) in part {
                *hours.entry(key).or_default() += &sum;
            }
        }
        if hours.len() > limit {
            let message = format!("the range has more than {limit} hours of targets");
            return Err(PortError::new(ErrorKind::Limit, message).for_askers());
        }
        Ok(hours)
    }

    async fn ledger_total(&self, range: &LedgerRange) -> Result<LedgerSum, PortError> {
        let mut total = LedgerSum::default();
        for part in self.ask_all(|shard| shard.integrity.ledger_total(range)).await? {
            total += &part;
        }
        Ok(total)
    }

    async fn recount(&self, range: &LedgerRange) -> Result<Recount, PortError> {
        let mut all = Recount::default();
        for part in self.ask_all(|shard| shard.integrity.recount(range)).await? {
            all += part;
        }
        Ok(all)
    }

    async fn purge_ledger(&self, before: Millis) -> Result<u64, PortError> {
        self.remove_all(|shard| shard.integrity.purge_ledger(before)).await
    }
}

/// Batches of this shard alone: each shard keeps its own positions.
#[async_trait]
impl LogSink for Shard {
    async fn append_from_log(
        &self,
        batches: &[Arc<Batch>],
        steps: &[LogStep],
    ) -> Result<Vec<Receipt>, PortError> {
        let stored = self.ports()?.log.append_from_log(batches, steps).await;
        stored.map_err(|error| self.named(error))
    }

    async fn log_positions(&self, log: &str) -> Result<Vec<(i32, i64)>, PortError> {
        self.ports()?.log.log_positions(log).await.map_err(|error| self.named(error))
    }

    async fn park(&self, record: &ParkedRecord, step: &LogStep) -> Result<(), PortError> {
        self.ports()?.log.park(record, step).await.map_err(|error| self.named(error))
    }

    async fn parked(&self, limit: usize) -> Result<(Vec<ParkedEntry>, u64), PortError> {
        self.ports()?.log.parked(limit).await.map_err(|error| self.named(error))
    }
}
