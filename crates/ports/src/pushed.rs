//! Groups of metrics that were pushed and stand until somebody removes them, as a Pushgateway has them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use metricsd_model::Millis;
use uuid::Uuid;

use crate::PortError;

/// A group: what was pushed under one set of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedGroup {
    /// Made of the labels and the source: the same group has the same everywhere.
    pub id: Uuid,
    /// Another with every change.
    pub version: Uuid,
    /// The grouping key, `job` among them.
    pub labels: BTreeMap<String, String>,
    /// Who pushed it; at most 100 characters.
    pub source_id: String,
    /// Its families, as whoever wrote them reads them.
    pub families: Vec<u8>,
    /// Type of each family, by its name.
    pub kinds: BTreeMap<String, String>,
    /// How many series it has.
    pub series: u64,
    /// When it was last pushed; `None` where that has always failed.
    pub pushed_at: Option<Millis>,
    /// When a push of it last failed; `None` where none did.
    pub failed_at: Option<Millis>,
    /// How long after the last push it goes, in milliseconds; `None`: as configured.
    pub expire_after: Option<Millis>,
}

/// What all groups are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupTotals {
    /// Groups.
    pub groups: u64,
    /// Their series.
    pub series: u64,
    /// Bytes of their families.
    pub bytes: u64,
}

/// Where groups are kept, for all processes.
#[async_trait]
pub trait PushedGroups: Send + Sync + 'static {
    /// Writes a group if it is still as `expected` says: absent, or of that version. Answers whether it was written.
    async fn put_group(&self, group: &PushedGroup, expected: Option<Uuid>) -> Result<bool, PortError>;

    /// One group.
    async fn group(&self, id: Uuid) -> Result<Option<PushedGroup>, PortError>;

    /// Groups whose ids sort after `after`, ordered by id, at most `limit`.
    async fn groups(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PushedGroup>, PortError>;

    /// Id and version of every group.
    async fn group_versions(&self) -> Result<Vec<(Uuid, Uuid)>, PortError>;

    /// Removes a group, of this version only where one is given; answers what was removed.
    async fn remove_group(&self, id: Uuid, version: Option<Uuid>) -> Result<Option<PushedGroup>, PortError>;

    /// How much there is, a group left out.
    async fn group_totals(&self, without: Uuid) -> Result<GroupTotals, PortError>;

    /// Types that other groups give families of these names; of several any.
    async fn other_kinds(&self, id: Uuid, families: &[String])
    -> Result<BTreeMap<String, String>, PortError>;
}
