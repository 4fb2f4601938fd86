//! Scrapes that were due and not done: each is recorded as a job that failed, unless it was stored after all. The batch id decides, as
//! it does between two scrapes.

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, FailureReason, Fence, HealthStatus, JobStatus, Ledger,
    Millis, Missed as Reason, TypeCounts,
};
use metricsd_ports::Receipt;
use metricsd_ports::membership::Gap;
use tracing::{debug, info};

use super::{Entry, Shared};
use crate::missed::MissedScrapes;
use crate::schedule::next_slot;

/// Scrapes of one target that have a job each after one loss: of a longer time without any worker the last of these tells how
/// many there were after it.
const MAX_EACH: usize = 120;

/// Records that wait for the store at once.
const AT_ONCE: usize = 200;

/// How long a store that takes nothing is left alone.
const PAUSE: Duration = Duration::from_millis(200);

/// Scrapes of one target.
pub(super) struct Missed {
    target_id: String,
    source_id: String,
    slots: Vec<Millis>,
    /// Scrapes after the last of these.
    rest: u64,
    why: String,
    /// Where the process says it of itself: others may have the target by now.
    fence: Option<Fence>,
}

impl Missed {
    fn batches(self) -> impl Iterator<Item = Batch> {
        let Self { target_id, source_id, slots, rest, why, fence } = self;
        let last = slots.last().copied();
        slots.into_iter().map(move |slot| {
            let mut batch = batch(&target_id, &source_id, slot, &why);
            batch.fence = fence.map(|fence| Fence { slot, ..fence });
            if rest > 0 && last == Some(slot) {
                batch.collection.error = Some(format!("{why}, as were {rest} scrapes after this one"));
                batch.collection.ledger.missed.insert(Reason::Unowned, rest);
            }
            batch
        })
    }
}

fn batch(target_id: &str, source_id: &str, slot: Millis, why: &str) -> Batch {
    let collection = Collection {
        source_id: source_id.to_owned(),
        target_id: target_id.to_owned(),
        method: CollectionMethod::PullScraping,
        started: slot,
        duration_ms: 0.0,
        status: JobStatus::Failed,
        health: HealthStatus::Unknown,
        reason: Some(FailureReason::Missed),
        error: Some(why.to_owned()),
        ledger: Ledger::default(),
        types: TypeCounts::default(),
    };
    Batch::new(BatchId::for_scrape(target_id, slot), collection, Vec::new())
}

impl Shared {
    /// Scheduled scrapes from `slot` on and before `next` were not begun.
    pub(super) fn passed_over(
        self: &Arc<Self>,
        entry: &Entry,
        slot: Millis,
        next: Millis,
        why: &'static str,
    ) {
        self.options.metrics.skip(why);
        let interval = entry.spec.scrape_config.scrape_interval.millis();
        if !self.options.ownership.is_shared() {
            let count = ((next - slot) / interval.max(1)).max(1).cast_unsigned();
            return entry.untold.note(Reason::Late, count);
        }
        let why = match why {
            "late" => "its worker was stopped or too busy to begin it in time",
            _ => "its worker could not renew its lease",
        };
        let ownership = &self.options.ownership;
        let (slots, rest) = slots(slot, next, interval);
        let own = |slot: &Millis| ownership.owns(entry.bucket, *slot);
        let rest = if slots.last().is_some_and(own) { rest } else { 0 };
        let slots = slots.into_iter().filter(own).collect();
        let fence = ownership.fence(entry.bucket, slot);
        let missed = self.missed(entry, (slots, rest), why.to_owned());
        self.record(missed.map(|missed| Missed { fence, ..missed }).into_iter().collect());
    }

    /// A scheduled scrape is not begun. The target's next batch tells of it; but where others may take the target over, what only this
    /// process knows would go with it, and the store is told at once. A store that is slow is not given more to do.
    pub(super) fn skip(self: &Arc<Self>, entry: &Entry, slot: Millis, fence: Option<Fence>, reason: Reason) {
        self.options.metrics.skip(reason.as_str());
        let (untold, is_store_well) =
            (entry.untold.clone(), matches!(reason, Reason::Busy | Reason::Concurrency));
        let why = format!("its worker skipped it: {reason}");
        let missed = fence.filter(|_| is_store_well).and_then(|_| self.missed(entry, (vec![slot], 0), why));
        let batch = missed.and_then(|missed| Missed { fence, ..missed }.batches().next());
        let Some(Ok(told)) = batch.map(|batch| self.options.commit.submit(batch)) else {
            return untold.note_at(reason, slot);
        };
        let missed = self.options.metrics.missed.clone();
        self.tasks.spawn(async move {
            match told.await {
                Ok(Ok(Receipt::Stored)) => drop(missed.inc()),
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => untold.note_at(reason, slot),
            }
        });
    }

    /// What was skipped of a target that is another's from now on: no batch of this process tells of it any more. The job of the
    /// last of these stands for itself and tells of the others.
    pub(super) fn tell_rest(self: &Arc<Self>, entry: &Entry) {
        let spec = &entry.spec;
        let fence = |slot| self.options.ownership.fence(entry.bucket, slot);
        self.tell_skipped(&spec.target_id, &spec.source_id, &entry.untold, fence);
    }

    /// The same, given the right to say so of the time of the last one.
    pub(super) fn tell_skipped(
        self: &Arc<Self>,
        target_id: &str,
        source_id: &str,
        untold: &MissedScrapes,
        fence: impl FnOnce(Millis) -> Option<Fence>,
    ) {
        let Some((slot, mut missed)) = untold.take_rest() else { return };
        let Some(fence) = fence(slot) else { return };
        let Some(mut reason) = missed.first_entry() else { return };
        let why = format!("its worker skipped it: {}", reason.key());
        *reason.get_mut() -= 1;
        missed.retain(|_, count| *count > 0);
        let mut batch = batch(target_id, source_id, slot, &why);
        batch.collection.ledger.missed = missed;
        batch.fence = Some(fence);
        let shared = self.clone();
        self.tasks.spawn(async move { shared.submit(batch).await });
    }

    /// The scrape at `slot`, should the process be held up on the way; `None` where that is told by the target's next batch.
    pub(super) fn slept(&self, entry: &Entry, slot: Millis, fence: Option<Fence>) -> Option<Missed> {
        let why = "its worker was stopped or too busy to finish it in time";
        let missed = fence.and_then(|_| self.missed(entry, (vec![slot], 0), why.to_owned()));
        missed.map(|missed| Missed { fence, ..missed })
    }

    /// Says so: the target has not failed.
    pub(super) async fn slept_through(&self, slept: Option<Missed>, untold: &MissedScrapes) {
        self.options.metrics.skip("late");
        match slept {
            Some(missed) => {
                for batch in missed.batches() {
                    self.submit(batch).await;
                }
            }
            None => untold.note(Reason::Late, 1),
        }
    }

    /// What of a gap concerns a target.
    pub(super) fn slots_of(&self, entry: &Entry, gap: &Gap) -> Option<Missed> {
        let interval = entry.spec.scrape_config.scrape_interval.millis();
        let from = gap.from.max(entry.since);
        let first = next_slot(&entry.spec.target_id, interval, from - 1);
        let why = match gap.lost {
            true => "its worker was lost",
            false => "its worker came to know late that it is its own",
        };
        self.missed(entry, slots(first, gap.until, interval), why.to_owned())
    }

    /// Of a target that is scraped less while it does not change nobody can tell which scrapes were to be done.
    fn missed(&self, entry: &Entry, (slots, rest): (Vec<Millis>, u64), why: String) -> Option<Missed> {
        let adapts = entry.spec.scrape_config.options.adaptive_interval_max_ms.is_some();
        (!adapts && !slots.is_empty()).then(|| Missed {
            target_id: entry.spec.target_id.clone(),
            source_id: entry.spec.source_id.clone(),
            slots,
            rest,
            why,
            fence: None,
        })
    }

    /// Records them in the background, a bounded number at once.
    pub(super) fn record(self: &Arc<Self>, missed: Vec<Missed>) {
        if missed.is_empty() {
            return;
        }
        let shared = self.clone();
        self.tasks.spawn(async move {
            let mut batches = missed.into_iter().flat_map(Missed::batches).peekable();
            let mut recorded = 0;
            while batches.peek().is_some() {
                let some: Vec<Batch> = batches.by_ref().take(AT_ONCE).collect();
                let stored =
                    futures::future::join_all(some.into_iter().map(|batch| shared.submit(batch))).await;
                recorded += stored.into_iter().filter(|stored| *stored).count();
            }
            if recorded > 0 {
                info!(scrapes = recorded, "scheduled scrapes were missed and are recorded so");
            }
        });
    }

    /// Records that the scrape of a batch is not to be stored.
    pub(super) async fn note_missed(&self, of: &Batch, why: &str) {
        let Collection { target_id, source_id, started, .. } = &of.collection;
        let mut missed = batch(target_id, source_id, *started, why);
        missed.collection.ledger.missed.clone_from(&of.collection.ledger.missed);
        self.submit(Batch { fence: of.fence, ..missed }).await;
    }

    /// Answers whether the scrape was missed. While the store takes nothing it is tried again, unless the process ends.
    async fn submit(&self, batch: Batch) -> bool {
        loop {
            let answer = match self.options.commit.submit(batch.clone()) {
                Ok(committed) => committed.await.unwrap_or(Err(metricsd_ingest::IngestError::Closed)),
                Err(error) => Err(error),
            };
            match answer {
                Ok(receipt) => {
                    let missed = receipt == Receipt::Stored;
                    if missed {
                        let unowned = batch.collection.ledger.missed.get(&Reason::Unowned);
                        self.options.metrics.missed.inc_by(1 + unowned.copied().unwrap_or(0));
                    }
                    return missed;
                }
                Err(metricsd_ingest::IngestError::Closed) => return false,
                Err(error) => debug!(%error, "a missed scrape is not recorded yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }
}

/// Scheduled times from `first` on and before `until`: the first of them, and how many there are after these.
fn slots(first: Millis, until: Millis, interval: Millis) -> (Vec<Millis>, u64) {
    let interval = interval.max(1);
    let step = usize::try_from(interval).unwrap_or(usize::MAX);
    let slots: Vec<Millis> = (first..until).step_by(step).take(MAX_EACH).collect();
    let next = slots.last().map_or(until, |last| last.saturating_add(interval));
    let rest = until.saturating_sub(next).max(0).cast_unsigned().div_ceil(interval.cast_unsigned());
    (slots, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheduled_time_of_a_gap_is_told() {
        assert_eq!(slots(1_000, 1_000, 500), (vec![], 0));
        assert_eq!(slots(1_000, 2_001, 500), (vec![1_000, 1_500, 2_000], 0));
        for until in [120_000, 120_001, 121_000, 121_001, 500_000] {
            let (each, rest) = slots(0, until, 1_000);
            assert_eq!(each.len(), 120);
            assert_eq!(each.len() + rest as usize, (0..until).step_by(1_000).count(), "until {until}");
        }
    }

    #[test]
    fn the_last_job_of_a_long_gap_tells_of_the_rest() {
        let (slots, rest) = slots(0, 200_000, 1_000);
        let why = "its worker was lost".to_owned();
        let (target_id, source_id) = ("t".to_owned(), "s".to_owned());
        let batches: Vec<Batch> =
            Missed { target_id, source_id, slots, rest, why, fence: None }.batches().collect();
        let told: Vec<u64> =
            batches.iter().map(|batch| 1 + batch.collection.ledger.missed.values().sum::<u64>()).collect();
        assert_eq!((told.len(), told.iter().sum::<u64>(), told[119]), (120, 200, 81));
        let error = batches[119].collection.error.as_deref();
        assert_eq!(error, Some("its worker was lost, as were 80 scrapes after this one"));
    }
}
