//! Batches of workers that do not own their targets any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use metricsd_model::{Batch, Fence};
use sqlx::{PgConnection, Row};

use crate::error::Fault;

/// Places of batches whose targets have other owners. Where nothing has changed since the batches were made this finds no row, by one
/// look into an index.
pub(super) async fn fenced(tx: &mut PgConnection, batches: &[Arc<Batch>]) -> Result<HashSet<usize>, Fault> {
    let fences: Vec<(usize, Fence)> =
        batches.iter().enumerate().filter_map(|(place, batch)| Some((place, batch.fence?))).collect();
    let Some(known) = fences.iter().map(|(_, fence)| fence.epoch).min() else {
        return Ok(HashSet::new());
    };
    let rows = sqlx::query("SELECT bucket, owner, since, previous, began FROM ring_grants WHERE epoch > $1")
        .bind(i64::try_from(known).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await?;
    // After many moves there are thousands of both.
    let mut by_bucket: HashMap<i32, Vec<&(usize, Fence)>> = HashMap::new();
    if !rows.is_empty() {
        for fence in &fences {
            by_bucket.entry(i32::from(fence.1.bucket)).or_default().push(fence);
        }
    }
    let mut refused = HashSet::new();
    for row in rows {
        let Some(of_bucket) = by_bucket.get(&row.try_get::<i32, _>(0)?) else { continue };
        let grant = metricsd_sharding::Grant {
            owner: row.try_get(1)?,
            epoch: 0,
            since: row.try_get(2)?,
            previous: row.try_get(3)?,
            began: row.try_get(4)?,
            gap: None,
        };
        let is_refused = |(_, fence): &&&(usize, Fence)| grant.refuses(fence.member, fence.slot);
        refused.extend(of_bucket.iter().filter(is_refused).map(|(place, _)| *place));
    }
    Ok(refused)
}
