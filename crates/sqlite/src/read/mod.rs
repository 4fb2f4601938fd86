//! Reading samples back.
//!
//! All statements of one call see one state of the file, so a batch is seen as a whole or not at all.

mod find;
mod frames;
mod gather;
mod latest;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{Matcher, Millis, Series};
use metricsd_ports::{LatestMetric, PortError, SampleSource, SelectedSeries, Selection};

use crate::SqliteStore;
use crate::error::Fault;
use gather::Gather;

pub(crate) use find::{SERIES_COLUMNS, series_of_row};

#[async_trait]
impl SampleSource for SqliteStore {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        select(self, selection).await.map_err(|fault| fault.into_port("select samples"))
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        find::first_series(self, matchers, limit).await.map_err(|fault| fault.into_port("select series"))
    }

    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        latest::latest(self, target_id, since)
            .await
            .map_err(|fault| fault.into_port("read the latest metrics"))
    }
}

async fn select(store: &SqliteStore, selection: &Selection) -> Result<Vec<SelectedSeries>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let mut tx = store.snapshot().await?;
    let found = find::matching(&mut tx, &selection.matchers).await?;
    let wanted: HashMap<u64, usize> =
        found.iter().enumerate().map(|(index, series)| (series.id.0, index)).collect();
    let mut gather = Gather::new(found, selection);
    if !wanted.is_empty() {
        frames::read_shared(store, &mut tx, &wanted, &mut gather).await?;
        frames::read_inline(&mut tx, &wanted, &mut gather).await?;
    }
    tx.rollback().await?;
    Ok(gather.finish()?)
}
