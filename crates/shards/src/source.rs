//! Questions: to all shards at once, one answer made of theirs.

use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{FamilyMetadata, LabelSet, Matcher, Millis, Series};
use metricsd_ports::{
    IndexStatistics, LatestMetric, PortError, RolledSeries, Rollup, SampleSource, SelectedSeries, Selection,
    SeriesExemplars,
};

use crate::rolled::Merged;
use crate::{ShardedStore, merge, statistics};

#[async_trait]
impl SampleSource for ShardedStore {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        let found = self.ask_all(|shard| shard.source.select(selection)).await?;
        merge::selected(found, selection.limits)
    }

    async fn select_rolled(
        &self,
        selection: &Selection,
        rollup: Rollup,
    ) -> Result<Vec<RolledSeries>, PortError> {
        let found = self.ask_all(|shard| shard.source.select_rolled(selection, rollup)).await?;
        let mut merged = Merged::of(found);
        if let Some(unsettled) = merged.unsettled(selection, rollup) {
            merged.settle(self.select(&unsettled).await?, rollup);
        }
        let series = merged.finish();
        let values = series.iter().map(|rolled| rolled.series.timestamps.len()).sum();
        merge::check_limits(series.len(), values, selection.limits)?;
        Ok(series)
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        let found = self.ask_all(|shard| shard.source.series(matchers, limit)).await?;
        Ok(merge::series(found, limit))
    }

    async fn label_sets(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<LabelSet>, PortError> {
        let found = self.ask_all(|shard| shard.source.label_sets(matchers, limit)).await?;
        Ok(merge::distinct(found, limit))
    }

    async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError> {
        let found = self.ask_all(|shard| shard.source.label_names(matchers, limit)).await?;
        Ok(merge::distinct(found, limit))
    }

    async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        let found = self.ask_all(|shard| shard.source.label_values(name, matchers, limit)).await?;
        Ok(merge::distinct(found, limit))
    }

    async fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        let found = self.ask_all(|shard| shard.source.exemplars(selection)).await?;
        merge::exemplars(found, selection.limits)
    }

    async fn families(&self, family: Option<&str>, limit: usize) -> Result<Vec<FamilyMetadata>, PortError> {
        let found = self.ask_all(|shard| shard.source.families(family, limit)).await?;
        Ok(merge::families(found, limit))
    }

    /// A series that several shards hold counts on each. Label values count once, but where no lists are asked for, for
    /// which it is not worth while to look at each.
    async fn index_statistics(&self, top: usize) -> Result<IndexStatistics, PortError> {
        let all = if top == 0 { 0 } else { usize::MAX };
        let found = self.ask_all(|shard| shard.source.index_statistics(all)).await?;
        Ok(statistics::merged(found, top))
    }

    async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError> {
        let all = if top == 0 { 0 } else { usize::MAX };
        let found = self.ask_all(|shard| shard.source.source_statistics(source, all)).await?;
        Ok(statistics::merged(found, top))
    }

    /// The target's own shard knows its newest collection. Where it has none, a collection from before the list of shards
    /// changed may lie on any other.
    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        let owner = self.shards.get(self.placement.of(target_id, ""));
        if let Some(owner) = owner {
            let newest = owner.watched(async { owner.ports()?.source.latest(target_id, since).await }).await;
            let newest = newest.or_else(|error| match owner.leave_out(&error) {
                true => Ok(Vec::new()),
                false => Err(owner.named(error)),
            })?;
            if !newest.is_empty() {
                return Ok(newest);
            }
        }
        let found = self.ask_all(|shard| shard.source.latest(target_id, since)).await?;
        let time = |metrics: &Vec<LatestMetric>| metrics.iter().map(|metric| metric.sample.timestamp).max();
        Ok(found.into_iter().max_by_key(time).unwrap_or_default())
    }
}
