//! What every [`crate::Catalog`] must do.
//!
//! Run on a runtime of several threads: some checks call from several tasks at once.

mod access;
mod discovery;
mod follow;
mod jobs;
mod list;
mod registered;
mod targets;

pub use access::*;
pub use discovery::*;
pub use follow::*;
pub use jobs::*;
pub use list::*;
pub use registered::*;
pub use targets::*;

use super::fixtures::Store;

/// Runs every check of this suite, each on a store of its own that `new` makes: fresh and empty.
pub async fn check_all<S: Store>(new: impl AsyncFn() -> S) {
    super::each!(
        new,
        check_create,
        check_replace,
        check_change,
        check_enabling,
        check_deletion,
        check_scrape_requests,
        check_health
    );
    super::each!(new, check_pages, check_filters, check_changes, check_waiting);
    super::each_shared!(new, check_concurrent_create, check_many_created_at_once, check_revisions);
    super::each!(new, check_job_list, check_job_of, check_purge, check_stats, check_processes);
    super::each!(
        new,
        check_sync,
        check_sync_labels,
        check_sync_revival,
        check_sync_conflicts,
        check_discovered_is_kept,
        check_retain_jobs,
        check_discovery_states,
        check_prompt,
        check_origins,
        check_many_discovered,
        check_lead
    );
    super::each!(new, check_register, check_lapse, check_register_others);
    super::each!(new, check_tokens, check_token_ends);
}
