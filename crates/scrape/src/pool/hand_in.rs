//! What became of a scraped batch at the store.

use std::sync::Arc;

use metricsd_ingest::{Committed, IngestError};
use metricsd_model::{Batch, FailureReason, Fence, Health, HealthStatus, Missed};
use metricsd_ports::Receipt;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Shared;
use crate::missed::MissedScrapes;

/// Who accounts for a scraped batch, and for the skipped scrapes that it was to tell of.
pub(super) enum Outcome {
    /// The store: it has the batch, or that it is missed.
    Told,
    /// Nobody yet: the target's next batch is to.
    NotStored,
    /// The target's next owner for the scrape, and for skipped ones nobody: they are of the time before.
    Fenced,
}

impl Shared {
    /// Hands a scheduled scrape to the store, with what was skipped before it.
    pub(super) async fn hand_in(
        self: &Arc<Self>,
        target: String,
        mut batch: Batch,
        started: Instant,
        untold: &MissedScrapes,
    ) {
        let told = untold.take();
        batch.collection.ledger.missed.clone_from(&told);
        let (target_id, source_id) = (target.clone(), batch.collection.source_id.clone());
        let fence = batch.fence;
        match self.store(target, batch, started).await {
            Outcome::Told => {}
            Outcome::NotStored => {
                untold.give_back(&told);
                untold.note(Missed::NotStored, 1);
            }
            Outcome::Fenced => {
                untold.give_back(&told);
                let fence = |slot| fence.map(|fence| Fence { slot, ..fence });
                self.tell_skipped(&target_id, &source_id, untold, fence);
            }
        }
    }

    /// Hands a batch to the store. The target's next scrape does not wait for this.
    pub(super) async fn store(&self, target: String, batch: Batch, started: Instant) -> Outcome {
        if batch.fence.is_some() && !self.options.ownership.may_go_on() {
            // The process may have been stopped on the way: a page read late is not that of the scheduled time, and a request
            // that ran out says nothing of the target. Whoever has the target next notes the scrape as missed.
            self.options.metrics.skip("lease");
            self.note_missed(&batch, "its worker lost its lease meanwhile").await;
            return Outcome::Told;
        }
        let health = Health {
            status: HealthStatus::Unhealthy,
            reason: Some(FailureReason::Store),
            error: None,
            last_scrape: Some(batch.collection.started),
            scrape_duration_ms: batch.collection.duration_ms,
            samples_scraped: batch.collection.ledger.received,
        };
        let answer = match self.options.commit.submit(batch) {
            Ok(committed) => committed.await.unwrap_or(Err(IngestError::Closed)),
            Err(error) => Err(error),
        };
        match answer {
            Ok(Receipt::Fenced) => {
                debug!(target_id = target, "a scrape was not stored: the target is another worker's");
                self.options.metrics.skip("fenced");
                Outcome::Fenced
            }
            Ok(_) => {
                self.options.metrics.collection.observe(started.elapsed().as_secs_f64());
                Outcome::Told
            }
            // The process ends; the last word on these is the drain's.
            Err(IngestError::Closed) => {
                debug!(target_id = target, "a scrape was not stored: the process ends");
                Outcome::NotStored
            }
            Err(error) => {
                warn!(target_id = target, %error, "a scrape was not stored");
                let health = Health { error: Some(error.to_string()), ..health };
                self.options.after.tell(Committed::Health(target, health));
                Outcome::NotStored
            }
        }
    }
}
