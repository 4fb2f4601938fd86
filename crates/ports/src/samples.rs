//! Where samples go, and where they are read from.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{
    Batch, BatchId, Exemplar, FamilyMetadata, LabelSet, Matcher, MetricType, Millis, NativeHistogram, Sample,
    Series, SeriesId,
};

use crate::PortError;
use crate::rollup::{RolledSeries, Rollup, roll};

/// What became of one appended batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// Committed by this call.
    Stored,
    /// A batch of the same id was committed before; this one changed nothing.
    Duplicate,
    /// The scrape belongs to another worker by now (`Batch::fence`); nothing of it was stored.
    Fenced,
    /// Durable, and not yet visible: it waits outside of the store, which gets it later, once. Stores never answer this.
    Kept,
}

/// What waits durably before a store, as those who bring more want to know it.
pub trait Backlog: Send + Sync + 'static {
    /// How much of what may wait does: 0 for nothing, 1 where there is no room left.
    fn fill(&self) -> f64;

    /// When somebody who found no room may come again.
    fn retry_after(&self) -> std::time::Duration;
}

/// Takes batches and keeps them.
#[async_trait]
pub trait SampleSink: Send + Sync + 'static {
    /// Appends batches in one transaction, and answers one receipt each, in order.
    ///
    /// On `Ok` everything is durable and visible to readers: samples, series, layouts, the job row and the outbox row
    /// of each batch; a batch is visible as a whole or not at all. On `Err` nothing of this call is stored, except
    /// that a connection lost during commit leaves it open, as does a store over several databases of which one does not
    /// answer; appending the same batches again is always safe, since a batch id is stored once. The same id twice
    /// within one call is stored once, the first of them.
    /// Series are written before or with the first batch that needs them; two label sets of one id both keep their
    /// samples (see `SeriesId::rehashed`).
    ///
    /// The pushes of a batch (`Batch::joined`) are remembered with it, for an hour from the start of its collection: a
    /// batch that bears the id of one of them is a duplicate, and those that are stored already, joined or alone, are left
    /// out of another (`Batch::without`). Of pushes that are brought at once each is stored once.
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError>;

    /// Which of these series are stored already, by the ids that their labels hash to. A sink that keeps no series says
    /// of none that it is.
    async fn stored_series(&self, _ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        Ok(HashSet::new())
    }

    /// Which of these pushes are stored, alone or joined with others, in no order. A sink that keeps nothing itself may say
    /// of none that it is.
    async fn stored_pushes(&self, _ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        Ok(Vec::new())
    }

    /// Whether the store answers; the error says why not.
    async fn ping(&self) -> Result<(), PortError>;
}

/// A push that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredPush {
    /// The id that it has, or would have had, alone.
    pub id: BatchId,
    /// The batch that it is stored in: `id`, unless it was joined with others.
    pub batch: BatchId,
    /// When that batch's collection began.
    pub started: Millis,
}

/// Bounds on what one selection may return. Passing one is an error of kind [`crate::ErrorKind::Limit`]
/// whose message names the limit and its value.
#[derive(Debug, Clone, Copy)]
pub struct SelectLimits {
    /// Series.
    pub max_series: usize,
    /// Samples over all series.
    pub max_samples: usize,
}

/// Which samples to read.
#[derive(Debug, Clone)]
pub struct Selection {
    /// All must match; at least one must not match the empty value (the caller sees to that).
    pub matchers: Vec<Matcher>,
    /// First timestamp, inclusive.
    pub start: Millis,
    /// Last timestamp, inclusive.
    pub end: Millis,
    /// Bounds.
    pub limits: SelectLimits,
}

/// The samples of one series, in columns.
#[derive(Debug, Clone)]
pub struct SelectedSeries {
    /// Identity.
    pub labels: LabelSet,
    /// Declared type.
    pub metric_type: MetricType,
    /// Strictly ascending.
    pub timestamps: Vec<Millis>,
    /// One a timestamp. Staleness markers and histogram markers are told by their bits.
    pub values: Vec<f64>,
    /// Native histograms, each with the index of its timestamp, ascending.
    pub histograms: Vec<(usize, NativeHistogram)>,
}

/// One entry of a target's latest metrics.
#[derive(Debug, Clone)]
pub struct LatestMetric {
    /// What it is.
    pub series: Arc<Series>,
    /// Its newest sample; never a staleness marker.
    pub sample: Sample,
}

/// The exemplars of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    /// Identity.
    pub labels: LabelSet,
    /// In order of timestamp, then labels.
    pub exemplars: Vec<Exemplar>,
}

/// How many series a store knows, and which names hold most of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexStatistics {
    /// Series.
    pub series: usize,
    /// Different pairs of label name and value.
    pub label_pairs: usize,
    /// Series by metric name, most first.
    pub series_by_metric: Vec<(String, usize)>,
    /// Different values by label name, most first.
    pub values_by_label: Vec<(String, usize)>,
    /// Bytes of all values in memory by label name, most first.
    pub bytes_by_label: Vec<(String, usize)>,
    /// Series by `name=value`, most first.
    pub series_by_pair: Vec<(String, usize)>,
    /// Series by the source that sent them first, most first.
    pub series_by_source: Vec<(String, usize)>,
}

/// What [`Retention::remove_unused`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unused {
    /// Series.
    pub series: u64,
    /// Lists of series or of timestamps.
    pub lists: u64,
    /// Whether there is more to look at now.
    pub more: bool,
}

impl std::ops::AddAssign for Unused {
    fn add_assign(&mut self, other: Self) {
        self.series += other.series;
        self.lists += other.lists;
        self.more |= other.more;
    }
}

/// Removes what is no longer to be kept.
#[async_trait]
pub trait Retention: Send + Sync + 'static {
    /// Removes frames of one target all of whose samples are older than `before`, and its exemplars that are, at most
    /// some thousands a call; answers how many. Jobs and series stay. The empty id is that of pushes without a target.
    /// Samples that were compacted are removed, and counted, in pieces of a series' hour or day, each when it is over by
    /// then; those that several targets brought belong to the one that was compacted first.
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError>;

    /// The same for all targets but those of `spared`, whether or not they still exist, and for pushes. Where a store
    /// keeps frames in larger pieces it may remove these as a whole, and count each as one.
    async fn remove_others_before(&self, spared: &[String], before: Millis) -> Result<u64, PortError>;

    /// Removes what nothing is left of and what was first seen before `before`: lists of series (layouts) and of
    /// timestamps that no sample refers to, and series without samples, rolled-up values or exemplars, of which look-ups
    /// know nothing from then on. A bounded piece of the work a call. Appends go on meanwhile, also of such series: a
    /// series is never removed under a sample.
    async fn remove_unused(&self, before: Millis) -> Result<Unused, PortError>;

    /// Removes exemplars beyond the `newest`, by their timestamps, at most some thousands a call; answers how many.
    async fn bound_exemplars(&self, newest: u64) -> Result<u64, PortError>;
}

/// Reads samples back. A store over several databases may leave out those that do not answer, where the one who asks
/// allows it (see [`crate::partial`]); all others answer in full or not at all.
#[async_trait]
pub trait SampleSource: Send + Sync + 'static {
    /// Series that match and have samples in the range, ordered by labels; each (series, timestamp) once, where
    /// several batches brought the same, the one committed first (of two appends that overlapped, either, but always the
    /// same once both are committed). Every batch that was committed before the call is
    /// seen.
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError>;

    /// The same, but one value for each span of time that has samples: see [`Rollup`]. The first timestamp of the
    /// selection is the one after the end of a span, the last one ends a span. Series of which some sample is a native
    /// histogram come as [`Self::select`] answers them. What was rolled up long ago is answered from that, even where the
    /// samples themselves are gone; all else from samples.
    async fn select_rolled(
        &self,
        selection: &Selection,
        rollup: Rollup,
    ) -> Result<Vec<RolledSeries>, PortError> {
        let selected = self.select(selection).await?;
        Ok(selected.into_iter().map(|series| roll(series, rollup)).collect())
    }

    /// Series that match, ordered by labels, whether or not they have samples in any range; at most `limit`.
    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError>;

    /// The label sets of the series that match, in order, whether or not they have samples in any range; at most `limit`.
    /// Answered from an index: nothing else about the series is read.
    async fn label_sets(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<LabelSet>, PortError>;

    /// Names of the labels of all series that match, `__name__` included, sorted; at most `limit`.
    /// No matchers: of all series. Answered from an index, never from samples.
    async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError>;

    /// Values of one label over all series that match, sorted; at most `limit`. No matchers: over all series.
    /// Answered from an index, never from samples.
    async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError>;

    /// Exemplars of the series that match, with a timestamp in the range, ordered by labels; series without any are
    /// left out. `limits.max_samples` bounds the exemplars.
    async fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError>;

    /// What senders and series say of metric families, each different statement once, ordered by family, type, help
    /// and unit; `family` narrows to one; at most `limit` families. A statement that is no longer made may stay until
    /// newer ones of the same family take its place.
    async fn families(&self, family: Option<&str>, limit: usize) -> Result<Vec<FamilyMetadata>, PortError>;

    /// What the index holds; lists are cut to `top` entries.
    async fn index_statistics(&self, top: usize) -> Result<IndexStatistics, PortError>;

    /// The same of the series that one source sent first; nothing where there is none.
    async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError>;

    /// What the newest collection of a target brought, without staleness markers, ordered by labels; where it was
    /// compacted, what the target's series have at its newest timestamp.
    /// Looks back at most to `since`. Empty where there is none.
    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError>;
}
