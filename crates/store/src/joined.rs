//! Pushes that were joined into one batch, as rows of `joined_pushes`.

use std::collections::HashSet;

use metricsd_model::Millis;
use uuid::Uuid;

use crate::group::Group;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinedRow {
    /// The id that the push would have had alone.
    pub id: Uuid,
    /// The batch that it was joined into.
    pub job: Uuid,
    /// When that batch's collection began.
    pub started: Millis,
}

/// The rows of a group's batches: by id, so that writers who meet wait for each other and do not deadlock; where a push
/// comes twice, in the order given.
pub fn joined_rows(group: &Group) -> Vec<JoinedRow> {
    let rows = group.distinct().iter().flat_map(|batch| {
        let (job, started) = (batch.id.to_uuid(), batch.collection.started);
        batch.joined.iter().map(move |push| JoinedRow { id: push.id.to_uuid(), job, started })
    });
    let mut rows: Vec<JoinedRow> = rows.collect();
    rows.sort_by_key(|row| row.id);
    rows
}

/// What is left of a group when of its rows these could be written, by id and job: the others were stored before. `None`
/// where that is all of it.
pub fn left_of(group: &Group, rows: &[JoinedRow], written: &HashSet<(Uuid, Uuid)>) -> Option<Group> {
    let all = rows.iter().all(|row| written.contains(&(row.id, row.job)));
    (!all).then(|| group.without(|batch, push| !written.contains(&(push, batch))))
}
