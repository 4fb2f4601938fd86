//! Pushed groups in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use uuid::Uuid;

use super::MemoryStore;
use crate::{GroupTotals, PortError, PushedGroup, PushedGroups};

#[async_trait]
impl PushedGroups for MemoryStore {
    async fn put_group(&self, group: &PushedGroup, expected: Option<Uuid>) -> Result<bool, PortError> {
        let groups = &mut self.state.lock().groups;
        let as_expected = groups.get(&group.id).map(|standing| standing.version) == expected;
        if as_expected {
            groups.insert(group.id, group.clone());
        }
        Ok(as_expected)
    }

    async fn group(&self, id: Uuid) -> Result<Option<PushedGroup>, PortError> {
        Ok(self.state.lock().groups.get(&id).cloned())
    }

    async fn groups(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PushedGroup>, PortError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        Ok(state
            .groups
            .range((start, Bound::Unbounded))
            .take(limit)
            .map(|(_, group)| group.clone())
            .collect())
    }

    async fn group_versions(&self) -> Result<Vec<(Uuid, Uuid)>, PortError> {
        Ok(self.state.lock().groups.values().map(|group| (group.id, group.version)).collect())
    }

    async fn remove_group(&self, id: Uuid, version: Option<Uuid>) -> Result<Option<PushedGroup>, PortError> {
        let groups = &mut self.state.lock().groups;
        let meant =
            groups.get(&id).is_some_and(|group| version.is_none_or(|version| group.version == version));
        Ok(meant.then(|| groups.remove(&id)).flatten())
    }

    async fn group_totals(&self, without: Uuid) -> Result<GroupTotals, PortError> {
        let state = self.state.lock();
        let others = state.groups.values().filter(|group| group.id != without);
        Ok(others.fold(GroupTotals::default(), |totals, group| GroupTotals {
            groups: totals.groups + 1,
            series: totals.series + group.series,
            bytes: totals.bytes + group.families.len() as u64,
        }))
    }

    async fn other_kinds(
        &self,
        id: Uuid,
        families: &[String],
    ) -> Result<BTreeMap<String, String>, PortError> {
        let state = self.state.lock();
        let mut kinds = BTreeMap::new();
        for group in state.groups.values().filter(|group| group.id != id) {
            for name in families {
                if let Some(kind) = group.kinds.get(name) {
                    kinds.insert(name.clone(), kind.clone());
                }
            }
        }
        Ok(kinds)
    }
}
