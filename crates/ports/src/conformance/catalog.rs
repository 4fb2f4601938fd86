//! What every `Catalog` must do.

mod jobs;
mod targets;

pub use jobs::*;
pub use targets::*;

use super::fixtures::Store;

/// Runs every check of this suite. `new` gives a store of its own to the checks that count or list everything.
pub async fn check_all<S: Store>(new: impl AsyncFn() -> S) {
    let shared = new().await;
    check_create(&shared).await;
    check_replace(&shared).await;
    check_enabling(&shared).await;
    check_deletion(&shared).await;
    check_scrape_requests(&shared).await;
    check_health(&shared).await;
    check_revisions(&shared).await;
    check_waiting(&shared).await;
    check_job_list(&shared).await;
    check_purge(&shared).await;
    check_processes(&shared).await;
    drop(shared);
    check_list(&new().await).await;
    check_changes(&new().await).await;
    check_stats(&new().await).await;
}
