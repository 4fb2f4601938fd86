//! Has days of samples rolled up, again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::Millis;
use metricsd_ports::{PortError, RolledUp, RollupPolicy, Upkeep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::chores::rest;
use crate::config::RollupConfig;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// How long after its end a day is rolled up: its last hour is compacted before.
const DELAY: Duration = Duration::from_secs(3_600);

/// Samples held in memory at once.
const MAX_SAMPLES: usize = 2_000_000;

/// Rolls up the days of one database until told to stop.
pub(super) async fn run(store: Arc<dyn Upkeep>, config: RollupConfig, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let started = Instant::now();
        match round(&*store, &policy(config, chrono::Utc::now().timestamp_millis()), &stop).await {
            Ok(done) if done.written + done.removed > 0 => {
                let RolledUp { written, removed, .. } = done;
                info!(series_days = written, removed, took = ?started.elapsed(), "samples rolled up");
            }
            Ok(_) => {}
            Err(error) => warn!(error = error.chain(), "samples were not rolled up"),
        }
        rest(LOOK_EVERY, &stop).await;
    }
}

fn policy(config: RollupConfig, now: Millis) -> RollupPolicy {
    let ago = |span: Duration| now.saturating_sub(Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX));
    RollupPolicy {
        before: ago(DELAY),
        keep_minutes_after: config.minutes.map(ago),
        keep_hours_after: config.hours.map(ago),
        max_samples: MAX_SAMPLES,
    }
}

/// Piece by piece until nothing is left to do, or told to stop.
async fn round(
    store: &dyn Upkeep,
    policy: &RollupPolicy,
    stop: &CancellationToken,
) -> Result<RolledUp, PortError> {
    let mut all = RolledUp::default();
    while !stop.is_cancelled() {
        let done = store.roll_up(policy).await?;
        all.written += done.written;
        all.removed += done.removed;
        if !done.more {
            break;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_become_times() {
        let config = RollupConfig { minutes: Some(Duration::from_secs(86_400)), hours: None };
        let policy = policy(config, 1_000_000_000);
        assert_eq!((policy.before, policy.keep_minutes_after), (996_400_000, Some(913_600_000)));
        assert_eq!(policy.keep_hours_after, None);
    }
}
