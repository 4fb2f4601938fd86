//! What every [`crate::SampleSink`] with its [`crate::SampleSource`] must do.
//!
//! Run on a runtime of several threads: some checks call from several tasks at once.

mod append;
mod beside;
mod compact;
mod identity;
mod interleave;
mod lookups;
mod read;
mod retain;
mod round_trip;

pub use append::*;
pub use beside::*;
pub use compact::*;
pub use identity::*;
pub use interleave::*;
pub use lookups::*;
pub use read::*;
pub use retain::*;
pub use round_trip::*;

use super::fixtures::Store;

/// Runs every check of this suite but those of [`check_compaction`], each on a store of its own that `new` makes: fresh
/// and empty.
pub async fn check_all<S: Store>(new: impl AsyncFn() -> S) {
    new().await.ping().await.expect("the store answers");
    super::each!(
        new,
        check_round_trip,
        check_all_time_series,
        check_labels,
        check_histograms,
        check_custom_buckets,
        check_frame_shapes,
        check_wide_frames,
        check_empty
    );
    super::each!(new, check_repeats, check_joined, check_jobs, check_first_wins, check_large_group);
    super::each_shared!(new, check_concurrent_repeats, check_concurrent_joined, check_atomic);
    super::each!(new, check_collisions, check_descriptions);
    super::each_shared!(new, check_concurrent_collision, check_new_series_at_once);
    super::each!(new, check_retention, check_retention_in_steps, check_retention_of_others);
    super::each!(new, check_unused);
    super::each_shared!(new, check_unused_while_appending);
    super::each!(new, check_exemplars, check_exemplars_of_new_series, check_exemplar_retention);
    super::each!(new, check_families, check_families_of_series, check_many_statements);
    super::each!(new, check_label_sets, check_label_names, check_label_values, check_statistics);
    super::each_shared!(new, check_lookups_while_appending);
    super::each!(
        new,
        check_names,
        check_matchers,
        check_range,
        check_hours,
        check_far_times,
        check_limits,
        check_order,
        check_series,
        check_latest,
        check_latest_of_offsets
    );
}

/// The rest of the suite: every check of compaction, each on a store of its own that `new` makes. Interleavings are
/// checked by [`check_interleavings`], as often as a store is quick to make.
pub async fn check_compaction<S: Compacting>(new: impl AsyncFn() -> S) {
    super::each!(
        new,
        check_compaction_keeps_answers,
        check_compaction_of_past_hours,
        check_late_samples,
        check_rates_of_samples,
        check_noise,
        check_compaction_of_far_times,
        check_limits_of_segments,
        check_retention_of_segments,
        check_repeats_of_compacted,
        check_latest_of_compacted
    );
    super::each_shared!(new, check_compaction_at_once);
}
