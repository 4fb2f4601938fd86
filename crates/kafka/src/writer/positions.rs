//! Where reading goes on: what the stores say, and whether the log still has that.

use std::collections::{BTreeMap, BTreeSet};

use metricsd_ports::{ErrorKind, LogStep, PortError};
use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{Client, Entry, LogWriter, PAUSE, QUESTION_LIMIT};
use crate::error::port_error;
use crate::topic::crashed;

/// What is wrong with a partition whose records are not those that its stores wait for.
enum Finding {
    /// The oldest record is the wanted one, or an older one.
    Nothing,
    /// So many records went before they were stored.
    Lost(u64),
    /// It ends before what the stores have of it.
    BeganAnew,
}

impl LogWriter {
    /// Sees to it that the first record of each partition is the one that its stores wait for, and leaves out those of
    /// partitions that have to be read from elsewhere: what was read of them comes again.
    pub(super) async fn take_positions(
        &mut self,
        consumer: &Client,
        entries: Vec<Entry>,
    ) -> Result<Vec<Entry>, PortError> {
        let mut first: BTreeMap<i32, i64> = BTreeMap::new();
        for entry in &entries {
            first.entry(entry.partition).or_insert(entry.offset);
        }
        let stands = |partition: &i32| self.positions.get(partition).and_then(|stores| stores.iter().min());
        first.retain(|partition, offset| stands(partition) != Some(&*offset));
        if first.is_empty() {
            return Ok(entries);
        }
        let stored = self.stored_positions().await?;
        let mut again = BTreeSet::new();
        for (partition, offset) in first {
            let known: Vec<Option<i64>> =
                stored.iter().map(|of_store| of_store.get(&partition).copied()).collect();
            let begin = match self.settle(consumer, partition, offset, &known).await {
                Ok(begin) => begin,
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    info!(error = error.chain(), "another writer has read on; positions are looked up again");
                    self.forget_positions();
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            };
            if begin != offset && self.sought.insert(partition, begin) != Some(begin) {
                self.seek(consumer, partition, begin).await?;
                again.insert(partition);
            }
        }
        Ok(entries.into_iter().filter(|entry| !again.contains(&entry.partition)).collect())
    }

    /// What the stores say of all partitions, however long one of them is away: the group is not left for that.
    async fn stored_positions(&self) -> Result<Vec<BTreeMap<i32, i64>>, PortError> {
        let mut stored = Vec::with_capacity(self.stores.len());
        for store in &self.stores {
            let positions = loop {
                if let Some(positions) = self.passed(store.log_positions(&self.options.topic).await).await? {
                    break positions;
                }
            };
            stored.push(positions.into_iter().collect());
        }
        Ok(stored)
    }

    /// What a store answers; `None`, after a pause, where it is to be asked again.
    async fn passed<T>(&self, answer: Result<T, PortError>) -> Result<Option<T>, PortError> {
        match answer {
            Err(error) if error.is_retryable() => {
                self.status.failed();
                warn!(
                    error = error.chain(),
                    "a store does not say, or take, how far it has read the sample log"
                );
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    /// Finds where each store reads on, given what they say and what comes first, and sees to it that each of them says so
    /// before any moves on; answers the first place that one of them waits for.
    ///
    /// A store that says nothing is new: it begins where the first of the others stands, since what is before that is stored.
    /// Where none says anything, they begin with what comes: that is the oldest.
    async fn settle(
        &mut self,
        consumer: &Client,
        partition: i32,
        offset: i64,
        known: &[Option<i64>],
    ) -> Result<i64, PortError> {
        let mut begin = known.iter().flatten().min().copied().unwrap_or(offset);
        let mut wanted: Vec<i64> = known.iter().map(|at| at.unwrap_or(begin)).collect();
        let mut finding = Finding::Nothing;
        if let Some(highest) = wanted.iter().max()
            && wanted.iter().any(|at| *at != offset)
        {
            let (low, ends_before) = self.ends(consumer, partition, *highest).await?;
            if ends_before {
                finding = Finding::BeganAnew;
                wanted.fill(low);
            } else if low > begin {
                finding = Finding::Lost((low - begin).unsigned_abs());
                wanted.iter_mut().for_each(|at| *at = low.max(*at));
            }
            begin = wanted.iter().min().copied().unwrap_or(begin);
        }
        for ((store, at), next) in self.stores.iter().zip(known).zip(&wanted) {
            if at.as_ref() != Some(next) {
                let log = self.options.topic.clone();
                let step = LogStep { log, partition, from: at.unwrap_or(*next), next: *next };
                while self
                    .passed(store.append_from_log(&[], std::slice::from_ref(&step)).await)
                    .await?
                    .is_none()
                {}
            }
        }
        self.tell_finding(partition, begin, &finding);
        self.positions.insert(partition, wanted);
        Ok(begin)
    }

    fn tell_finding(&self, partition: i32, begin: i64, finding: &Finding) {
        match finding {
            Finding::Nothing => {}
            Finding::Lost(records) => {
                self.status.lost(*records);
                error!(
                    partition,
                    begin,
                    records,
                    "records of the sample log were removed before they were stored; its retention is too short for \
                     the time that the stores were away"
                );
            }
            Finding::BeganAnew => {
                self.status.began_anew();
                error!(
                    partition,
                    begin,
                    "a partition of the sample log ends before what was stored of it: its topic was made anew or has \
                     lost records. All that it has is stored"
                );
            }
        }
    }

    /// Where a partition begins, and whether it ends before a place.
    async fn ends(&self, consumer: &Client, partition: i32, place: i64) -> Result<(i64, bool), PortError> {
        let (low, end) = self.watermarks(consumer, partition).await?;
        if end >= place {
            return Ok((low, false));
        }
        // A broker that has just begun to lead may not know the end yet.
        tokio::time::sleep(PAUSE).await;
        let (low, end) = self.watermarks(consumer, partition).await?;
        Ok((low, end < place))
    }

    async fn watermarks(&self, consumer: &Client, partition: i32) -> Result<(i64, i64), PortError> {
        let (client, options) = (consumer.clone(), self.options.clone());
        let asked = spawn_blocking(move || {
            client.fetch_watermarks(&options.topic, partition, QUESTION_LIMIT).map_err(|error| {
                port_error(&options, "Kafka does not say where the sample log begins and ends", &error)
            })
        });
        asked.await.map_err(crashed)?
    }

    async fn seek(&self, consumer: &Client, partition: i32, to: i64) -> Result<(), PortError> {
        let (client, options) = (consumer.clone(), self.options.clone());
        let sought = spawn_blocking(move || {
            client.seek(&options.topic, partition, Offset::Offset(to), QUESTION_LIMIT).map_err(|error| {
                port_error(&options, format!("partition {partition} cannot be read from {to} on"), &error)
            })
        });
        sought.await.map_err(crashed)?
    }
}
