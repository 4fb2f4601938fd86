//! The plain values that every part of metricsd shares; no I/O, no clock, no globals.
//!
//! In reading order: what identifies a series, what a sample is, how samples travel (a [`Batch`]),
//! what is collected from (a [`Target`]), and what is told about a collection (a [`Job`], an event).

pub mod duration;
pub mod labels;
pub mod series;

pub mod hex;
pub mod histogram;
pub mod sample;
pub mod sum;

pub mod batch;
pub mod family;
mod joined;
pub mod matcher;
pub mod protocol;

pub mod event;
pub mod filter;
pub mod http_options;
pub mod ids;
pub mod job;
pub mod relabel;
pub mod scrape_options;
pub mod secret;
pub mod target;

pub use batch::{
    Batch, BatchId, Collection, Fence, Frame, JoinedPush, Layout, LayoutId, Ledger, Missed, Refusal,
    TypeCounts, Waited,
};
pub use duration::{PromDuration, format_duration, parse_duration};
pub use event::{MetricsCollected, MetricsCollectedData, MetricsSummary};
pub use family::{Exemplar, FamilyMetadata, FamilyType, SeriesExemplar, family_of, stated_by};
pub use filter::{FilterAction, MetricFilter};
pub use histogram::{NativeHistogram, ResetHint, Span};
pub use http_options::{
    HeaderValues, HttpAuth, HttpOptions, Oauth2Options, ProxyOptions, TlsOptions, TlsVersion,
};
pub use ids::{MAX_ID, check_source_id, check_target_id};
pub use job::{Job, JobStatus};
pub use labels::{LabelError, LabelSet};
pub use matcher::{MatchOp, Matcher};
pub use protocol::Protocol;
pub use relabel::{RelabelAction, RelabelConfig};
pub use sample::{HISTOGRAM_MARKER_BITS, STALE_NAN_BITS, Sample, SampleValue, is_stale, stale_marker};
pub use scrape_options::{NameEscaping, NameValidation, OnLimit, ScrapeOptions, ScrapeProtocol};
pub use secret::{MASK, Secret, SecretSource};
pub use series::{MetricSource, MetricType, Series, SeriesId};
pub use sum::Sum;
pub use target::{
    AuthConfig, CollectionMethod, FailureReason, Health, HealthStatus, Origin, OriginKind, RetentionPolicy,
    ScrapeConfig, Target, TargetSpec,
};

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = i64;

/// Name of the label that carries the metric's name.
pub const METRIC_NAME: &str = "__name__";
