//! Asks all shards at once.

use std::sync::Arc;

use futures::future::join_all;
use metricsd_ports::PortError;

use crate::shard::Opened;
use crate::{Shard, ShardedStore};

impl ShardedStore {
    /// What every shard answers, in their order.
    pub(crate) async fn ask_each<'s, T, F>(
        &'s self,
        ask: impl Fn(&'s Opened) -> F,
    ) -> Vec<Result<T, PortError>>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        let calls = self.shards.iter().map(async |shard: &'s Arc<Shard>| {
            let answer = match shard.ports() {
                Ok(ports) => shard.watched(ask(ports)).await,
                Err(error) => Err(error),
            };
            answer.map_err(|error| shard.named(error))
        });
        join_all(calls).await
    }

    /// What all shards answer, in their order. Those that do not answer are left out where the question allows that and
    /// at least one other answers.
    pub(crate) async fn ask_all<'s, T, F>(
        &'s self,
        ask: impl Fn(&'s Opened) -> F,
    ) -> Result<Vec<T>, PortError>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        let mut answers = Vec::with_capacity(self.shards.len());
        let mut away = Vec::new();
        for (shard, answer) in self.shards.iter().zip(self.ask_each(ask).await) {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => away.push((shard, error)),
            }
        }
        // What is wrong with the question is wrong whatever is left out.
        away.sort_by_key(|(_, error)| error.is_retryable());
        for (shard, error) in away {
            if answers.is_empty() || !shard.leave_out(&error) {
                return Err(error);
            }
        }
        Ok(answers)
    }

    /// Removes from every shard; answers how much all of them removed. A shard that is away keeps the others from nothing:
    /// it fails the call only when none of them had anything to remove.
    pub(crate) async fn remove_all<'s, F>(
        &'s self,
        remove: impl Fn(&'s Opened) -> F,
    ) -> Result<u64, PortError>
    where
        F: Future<Output = Result<u64, PortError>>,
    {
        let mut removed = 0;
        let mut failed = None;
        for answer in self.ask_each(remove).await {
            match answer {
                Ok(some) => removed += some,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if removed == 0 => Err(error),
            _ => Ok(removed),
        }
    }
}
