//! Reading samples back.
//!
//! All statements of one call see one snapshot, so a batch is seen as a whole or not at all.

mod beside;
mod find;
mod frames;
mod latest;
mod picks;
mod segments;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::{FamilyMetadata, LabelSet, Matcher, Millis, Series};
use metricsd_ports::{
    IndexStatistics, LatestMetric, PortError, RolledSeries, Rollup, SampleSource, SelectedSeries, Selection,
    SeriesExemplars,
};
use metricsd_store::chosen::Chosen;
use metricsd_store::gather::{Gather, Range};
use sqlx::{PgConnection, PgTransaction};

use crate::PostgresStore;
use crate::copy::bound;
use crate::error::Fault;
use crate::rollup;

pub(crate) use find::{Index, found, series_of_row, stored};
pub(crate) use segments::read_segments;

#[async_trait]
impl SampleSource for PostgresStore {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        self.retried("select samples", || select(self, selection)).await
    }

    async fn select_rolled(
        &self,
        selection: &Selection,
        rollup: Rollup,
    ) -> Result<Vec<RolledSeries>, PortError> {
        self.retried("select rolled-up values", || rollup::select_rolled(self, selection, rollup)).await
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        self.retried("select series", || find::first_series(self, matchers, limit)).await
    }

    async fn label_sets(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<LabelSet>, PortError> {
        self.retried("read series", || find::catch_up(self)).await?;
        Ok(self.index.select(matchers).await?.label_sets(limit))
    }

    async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError> {
        self.retried("read series", || find::catch_up(self)).await?;
        self.index.label_names(matchers, limit).await
    }

    async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        self.retried("read series", || find::catch_up(self)).await?;
        self.index.label_values(name, matchers, limit).await
    }

    async fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        self.retried("select exemplars", || exemplars(self, selection)).await
    }

    async fn families(&self, family: Option<&str>, limit: usize) -> Result<Vec<FamilyMetadata>, PortError> {
        self.retried("read metric families", || beside::families(self, family, limit)).await
    }

    async fn index_statistics(&self, top: usize) -> Result<IndexStatistics, PortError> {
        self.retried("read series", || find::catch_up(self)).await?;
        self.index.statistics(top).await
    }

    async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError> {
        self.retried("read series", || find::catch_up(self)).await?;
        self.index.source_statistics(source, top).await
    }

    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        self.retried("read the latest metrics", || latest::latest(self, target_id, since)).await
    }
}

pub(crate) async fn select(
    store: &PostgresStore,
    selection: &Selection,
) -> Result<Vec<SelectedSeries>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let (mut tx, chosen) = find::found(store, &selection.matchers).await?;
    let selected = gathered(store, &mut tx, &chosen, selection).await?;
    tx.rollback().await?;
    Ok(selected)
}

/// The samples of chosen series in the range of a selection.
pub(crate) async fn gathered(
    store: &PostgresStore,
    tx: &mut PgConnection,
    chosen: &Arc<Chosen>,
    selection: &Selection,
) -> Result<Vec<SelectedSeries>, Fault> {
    let mut gather = Gather::new(Arc::clone(chosen), selection);
    if !chosen.wanted.is_empty() {
        // First, as they are older than frames mostly, so that columns ascend.
        read_segments(store, tx, &chosen.wanted, &mut gather).await?;
        frames::read(store, tx, chosen, &mut gather).await?;
    }
    Ok(gather.finish()?)
}

async fn snapshot(store: &PostgresStore) -> Result<PgTransaction<'static>, Fault> {
    Ok(store.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
}

async fn exemplars(store: &PostgresStore, selection: &Selection) -> Result<Vec<SeriesExemplars>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let (mut tx, chosen) = find::found(store, &selection.matchers).await?;
    let exemplars = beside::exemplars(&mut tx, &chosen, selection).await?;
    tx.rollback().await?;
    Ok(exemplars)
}

/// A range as the database compares it: beginning of its first hour, start, end.
fn bounds(range: Range) -> (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>) {
    (bound(range.bucket), bound(range.start), bound(range.end))
}
