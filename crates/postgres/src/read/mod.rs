//! Reading samples back.
//!
//! All statements of one call see one snapshot, so a batch is seen as a whole or not at all.

mod find;
mod frames;
mod gather;
mod latest;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{Matcher, Millis, Series};
use metricsd_ports::{LatestMetric, PortError, SampleSource, SelectedSeries, Selection};
use sqlx::PgTransaction;

use crate::PostgresStore;
use crate::error::Fault;
use frames::{Plan, read_inline, read_picks, read_whole};
use gather::Gather;

pub(crate) use find::series_of_row;

#[async_trait]
impl SampleSource for PostgresStore {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        self.retried("select samples", || select(self, selection)).await
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        self.retried("select series", || find::first_series(self, matchers, limit)).await
    }

    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        self.retried("read the latest metrics", || latest::latest(self, target_id, since)).await
    }
}

async fn select(store: &PostgresStore, selection: &Selection) -> Result<Vec<SelectedSeries>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let mut tx = snapshot(store).await?;
    let found = find::matching(&mut tx, &selection.matchers).await?;
    let wanted: HashMap<i64, usize> =
        found.iter().zip(0..).map(|(series, index)| (series.id, index)).collect();
    let mut gather = Gather::new(found, selection);
    if !wanted.is_empty() {
        let plan = Plan::new(store, &mut tx, &wanted).await?;
        read_picks(&mut tx, &plan, &mut gather).await?;
        read_whole(&mut tx, &plan, &mut gather).await?;
        read_inline(&mut tx, &wanted, &mut gather).await?;
    }
    tx.rollback().await?;
    Ok(gather.finish()?)
}

async fn snapshot(store: &PostgresStore) -> Result<PgTransaction<'static>, Fault> {
    Ok(store.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
}
