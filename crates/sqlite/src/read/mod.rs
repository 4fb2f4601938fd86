//! Reading samples back.
//!
//! All statements of one call see one state of the file, so a batch is seen as a whole or not at all.

mod beside;
mod find;
mod frames;
mod latest;
pub(crate) mod segments;

use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{FamilyMetadata, LabelSet, Matcher, Millis, Series};
use metricsd_ports::{
    IndexStatistics, LatestMetric, PortError, RolledSeries, Rollup, SampleSource, SelectedSeries, Selection,
    SeriesExemplars,
};
use metricsd_store::chosen::Chosen;
use metricsd_store::gather::Gather;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteTransaction;

use crate::SqliteStore;
use crate::error::Fault;
use crate::rollup;

pub(crate) use find::{Index, SERIES_COLUMNS, number_of_row, series_of_row, stored};

#[async_trait]
impl SampleSource for SqliteStore {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        select(self, selection).await.map_err(|fault| fault.into_port("select samples"))
    }

    async fn select_rolled(
        &self,
        selection: &Selection,
        rollup: Rollup,
    ) -> Result<Vec<RolledSeries>, PortError> {
        rollup::select_rolled(self, selection, rollup)
            .await
            .map_err(|fault| fault.into_port("select rolled-up values"))
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        find::first_series(self, matchers, limit).await.map_err(|fault| fault.into_port("select series"))
    }

    async fn label_sets(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<LabelSet>, PortError> {
        catch_up(self).await?;
        Ok(self.index.select(matchers).await?.label_sets(limit))
    }

    async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError> {
        catch_up(self).await?;
        self.index.label_names(matchers, limit).await
    }

    async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        catch_up(self).await?;
        self.index.label_values(name, matchers, limit).await
    }

    async fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        exemplars(self, selection).await.map_err(|fault| fault.into_port("select exemplars"))
    }

    async fn families(&self, family: Option<&str>, limit: usize) -> Result<Vec<FamilyMetadata>, PortError> {
        beside::families(self, family, limit).await.map_err(|fault| fault.into_port("read metric families"))
    }

    async fn index_statistics(&self, top: usize) -> Result<IndexStatistics, PortError> {
        catch_up(self).await?;
        self.index.statistics(top).await
    }

    async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError> {
        catch_up(self).await?;
        self.index.source_statistics(source, top).await
    }

    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        latest::latest(self, target_id, since)
            .await
            .map_err(|fault| fault.into_port("read the latest metrics"))
    }
}

async fn catch_up(store: &SqliteStore) -> Result<(), PortError> {
    find::catch_up(store).await.map_err(|fault| fault.into_port("read series"))
}

/// A state of the file, and the series of it that match. The index may know later ones, which have no samples in it.
pub(crate) async fn found(
    store: &SqliteStore,
    matchers: &[Matcher],
) -> Result<(SqliteTransaction<'static>, Arc<Chosen>), Fault> {
    find::load(store).await?;
    let mut tx = store.snapshot().await?;
    find::follow(store, &mut tx).await?;
    let chosen = store.index.select(matchers).await?;
    Ok((tx, chosen))
}

pub(crate) async fn select(store: &SqliteStore, selection: &Selection) -> Result<Vec<SelectedSeries>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let (mut tx, chosen) = found(store, &selection.matchers).await?;
    let selected = gathered(store, &mut tx, &chosen, selection).await?;
    tx.rollback().await?;
    Ok(selected)
}

/// The samples of chosen series in the range of a selection.
pub(crate) async fn gathered(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    chosen: &Arc<Chosen>,
    selection: &Selection,
) -> Result<Vec<SelectedSeries>, Fault> {
    let mut gather = Gather::new(Arc::clone(chosen), selection);
    if !chosen.wanted.is_empty() {
        // First, as they are older than frames mostly, so that columns ascend.
        segments::read(store, tx, chosen, &mut gather).await?;
        frames::read(store, tx, chosen, &mut gather).await?;
    }
    Ok(gather.finish()?)
}

async fn exemplars(store: &SqliteStore, selection: &Selection) -> Result<Vec<SeriesExemplars>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let (mut tx, chosen) = found(store, &selection.matchers).await?;
    let exemplars = beside::exemplars(&mut tx, &chosen, selection).await?;
    tx.rollback().await?;
    Ok(exemplars)
}
