//! The one door: everything that is stored passes here, whether it was scraped or pushed.
//!
//! Who may come in at all is decided in [`access`]. A sample's way through this crate, a file a stage: [`remote_write`] checks
//! what was pushed, [`custom`] and [`stream`] bring lists and streams of items to it, [`builder`] puts samples into
//! frames, [`tracker`] holds the limits on series, `join` lets small pushes share a batch, [`commit`] groups batches and hands them to the store, [`after`] tells others once they are committed,
//! [`relay`] publishes the events that the store kept for it.

mod hash;
pub mod limits;

pub mod access;
pub mod arrival;
pub mod filter;
pub mod tracker;
pub mod validate;

pub mod builder;
pub mod commit;
pub mod custom;
pub mod door;
mod join;
pub mod remote_write;
pub mod stream;
mod texts;
pub mod upload;

pub mod otlp;

pub mod after;
pub mod relay;
pub mod tap;

pub mod error;
pub mod metrics;

pub use access::{Access, AccessMetrics, AccessOptions, Caller, Denied, DeniedKind, Door};
pub use after::{AfterCommit, Committed};
pub use builder::BatchBuilder;
pub use commit::{CommitOptions, GroupCommit, Route, Stores};
pub use custom::{ItemOutcome, Rejected};
pub use door::Ingest;
pub use error::IngestError;
pub use filter::FilterSet;
pub use limits::Limits;
pub use metrics::IngestMetrics;
pub use otlp::{OtlpDoor, OtlpExport, OtlpFailure, OtlpForm, OtlpOutcome, PreparedExport};
pub use remote_write::{
    OwnedWrite, PreparedWrite, Protocol, Unreadable, WriteError, WriteFailure, WriteFault, WriteOrigin,
    WriteRequest, Written,
};
pub use texts::Texts;
pub use tracker::{Acquaintance, Admission, SeriesLimits, SeriesTracker, SourceSeries};
pub use upload::{UploadMetrics, UploadOptions, UploadProgress, UploadSpec, UploadWorker};
