//! What became of a scraped batch at the store.

use metricsd_ingest::{Committed, IngestError};
use metricsd_model::{Batch, FailureReason, Health, HealthStatus};
use metricsd_ports::Receipt;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Shared;

impl Shared {
    /// Hands a batch to the store, and answers whether it is accounted for. The target's next scrape does not wait for this.
    pub(super) async fn store(&self, target: String, batch: Batch, started: Instant) -> bool {
        if batch.fence.is_some() && !self.options.ownership.may_go_on() {
            // The process may have been stopped on the way: a page read late is not that of the scheduled time, and a request
            // that ran out says nothing of the target. Whoever has the target next notes the scrape as missed.
            self.options.metrics.skip("lease");
            self.note_missed(&batch, "its worker lost its lease meanwhile").await;
            return true;
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
                true
            }
            Ok(_) => {
                self.options.metrics.collection.observe(started.elapsed().as_secs_f64());
                true
            }
            // The process ends; the last word on these is the drain's.
            Err(IngestError::Closed) => {
                debug!(target_id = target, "a scrape was not stored: the process ends");
                false
            }
            Err(error) => {
                warn!(target_id = target, %error, "a scrape was not stored");
                let health = Health { error: Some(error.to_string()), ..health };
                self.options.after.tell(Committed::Health(target, health));
                false
            }
        }
    }
}
