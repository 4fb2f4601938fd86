//! The ports of metricsd: small traits with their promises in prose, in-memory twins, and the conformance suites
//! that every adapter passes (feature `conformance`).

pub mod error;

pub mod access;
pub mod apart;
pub mod cache;
pub mod catalog;
pub mod compaction;
pub mod discovery;
pub mod events;
pub mod integrity;
pub mod log;
pub mod membership;
pub mod partial;
pub mod pushed;
pub mod rollup;
pub mod samples;
pub mod work;

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;

pub use access::{AccessToken, Quota, Right, Rights, TokenCatalog};
pub use apart::Apart;
pub use cache::{Cache, CacheEntry, CacheKey, CacheSource, CacheValue};
pub use catalog::{
    Catalog, CollectionStats, Created, JobCounts, JobFilter, Outbox, OutboxEvent, Process, TargetChange,
    TargetFilter,
};
pub use compaction::{Compacted, Compaction, CompactionPolicy};
pub use discovery::{
    Completeness, ConfigState, Conflict, DiscoveredTarget, DiscoveryCatalog, DroppedTarget, JobState,
    Leadership, ProviderState, Registration, Synced,
};
pub use error::{ErrorKind, PortError};
pub use events::EventBus;
pub use integrity::{Integrity, LedgerHours, LedgerRange, LedgerSum, Recount};
pub use log::{LogSink, LogStep, ParkedEntry, ParkedRecord};
pub use membership::{LocalMembership, Membership};
pub use pushed::{GroupTotals, PushedGroup, PushedGroups};
pub use rollup::{ROLLUP_STEPS, RolledSeries, RolledUp, Rollup, RollupPolicy, RollupValue, Rollups, Upkeep};
pub use samples::{
    Backlog, IndexStatistics, LatestMetric, Receipt, Retention, SampleSink, SampleSource, SelectLimits,
    SelectedSeries, Selection, SeriesExemplars, StoredPush, Unused,
};
pub use work::{Hold, NewWork, Outcome, Stored, Submitted, Work, WorkFilter, WorkKind, WorkQueue, WorkState};
