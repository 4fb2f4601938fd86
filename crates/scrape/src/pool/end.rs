//! The end of a target: one more scrape where that makes sense, markers for its series, and its row goes.

use std::sync::Arc;
use std::time::Duration;

use metricsd_ingest::IngestError;
use metricsd_model::{PromDuration, Series, TargetSpec};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::Shared;
use crate::scrape::LoopState;

/// How far back a restarted process looks for series of a target that is to be deleted.
const GOODBYE_WINDOW_MS: i64 = 3_600_000;

/// When the last series are asked for again: a server that starts anew closes all connections at once.
const READ_AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(600)];

/// How long the last scrape of a target that is no longer found may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

impl Shared {
    /// A target is scraped no more: its series end, and where it was to be deleted, it is.
    pub(super) fn retire(
        self: &Arc<Self>,
        id: String,
        state: Arc<Mutex<LoopState>>,
        deleting: bool,
        last: Option<TargetSpec>,
    ) {
        let shared = self.clone();
        self.tasks.spawn(async move {
            if let Some(spec) = last {
                shared.scrape_last(state.clone(), spec).await;
            }
            let said = shared.say_goodbye(&id, state).await;
            if deleting && said {
                shared.finish_deletion(&id).await;
            }
            shared.ending.lock().remove(&id);
        });
    }

    /// One more scrape before the end, for what was counted since the one before; where much is going on there is none.
    async fn scrape_last(&self, state: Arc<Mutex<LoopState>>, mut spec: TargetSpec) {
        let Ok(_permit) = self.permits.clone().try_acquire_owned() else { return };
        if self.stop.is_cancelled() {
            return;
        }
        let mut state = state.lock_owned().await;
        let timeout = &mut spec.scrape_config.scrape_timeout;
        *timeout = (*timeout).min(PromDuration(LAST_TIMEOUT));
        state.replace(spec, self.options.limits.clone());
        let at = self.now();
        let Some((target, mut batch, started)) = self.scrape(state, at).await else { return };
        batch.fence = self.fence(&target, at);
        self.store(target, batch, started).await;
    }

    /// Ends a target's series; answers whether that is stored. Only a process that is told to stop gives up.
    async fn say_goodbye(&self, id: &str, state: Arc<Mutex<LoopState>>) -> bool {
        let mut state = state.lock().await;
        let known = match state.knows_series() {
            true => Vec::new(),
            false => self.known_series(id).await.unwrap_or_default(),
        };
        let mut batch = state.goodbye(self.now(), known);
        batch.fence = self.fence(id, batch.collection.started);
        loop {
            let answer = match self.options.commit.submit(batch.clone()) {
                Ok(committed) => committed.await.unwrap_or(Err(IngestError::Closed)),
                Err(error) => Err(error),
            };
            let Err(error) = answer else { return true };
            warn!(target_id = id, %error, "the end of a target's series is not stored yet");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// The series of the target's last collection, by whichever process; `None` where that cannot be read now.
    pub(super) async fn known_series(&self, id: &str) -> Option<Vec<Arc<Series>>> {
        let mut pauses = READ_AGAIN.into_iter();
        loop {
            let error = match self.options.source.latest(id, self.now() - GOODBYE_WINDOW_MS).await {
                Ok(latest) => return Some(latest.into_iter().map(|metric| metric.series).collect()),
                Err(error) => error,
            };
            match pauses.next().filter(|_| error.is_retryable()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    warn!(target_id = id, error = error.chain(), "a target's last series could not be read");
                    return None;
                }
            }
        }
    }

    async fn finish_deletion(&self, id: &str) {
        let removed = loop {
            let error = match self.options.catalog.finish_deletion(id).await {
                Ok(removed) => break removed,
                Err(error) => error,
            };
            warn!(target_id = id, error = error.chain(), "a target is not deleted yet");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                // The row stays marked; the next process to start goes on from here.
                () = self.stop.cancelled() => return,
            }
        };
        // One that came back meanwhile stays.
        if removed {
            info!(target_id = id, "target deleted");
        }
    }
}
