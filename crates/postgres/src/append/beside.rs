//! What a batch says beside its samples: exemplars, and descriptions of families.

use chrono::{DateTime, Utc};
use metricsd_model::FamilyMetadata;
use metricsd_store::exemplars::ExemplarRow;
use metricsd_store::families::MAX_STATEMENTS;
use sqlx::PgConnection;

use crate::copy::bound;
use crate::error::Fault;

/// Rows of one statement.
const ROWS: usize = 20_000;

/// Writes exemplars that are not there yet.
pub(super) async fn insert_exemplars(tx: &mut PgConnection, rows: &[ExemplarRow]) -> Result<(), Fault> {
    for part in rows.chunks(ROWS) {
        // The group was checked: no time is out of bounds here.
        let times: Vec<DateTime<Utc>> = part.iter().map(|row| bound(row.time)).collect();
        sqlx::query(include_str!("../sql/insert_exemplars.sql"))
            .bind(part.iter().map(|row| row.series).collect::<Vec<_>>())
            .bind(times)
            .bind(part.iter().map(|row| row.labels_hash).collect::<Vec<_>>())
            .bind(part.iter().map(|row| row.value).collect::<Vec<_>>())
            .bind(part.iter().map(|row| row.labels.as_str()).collect::<Vec<_>>())
            .bind(part.iter().map(|row| row.target_id.as_str()).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Writes what is said of families, and forgets what was said too long ago.
pub(super) async fn insert_families(tx: &mut PgConnection, families: &[FamilyMetadata]) -> Result<(), Fault> {
    for part in families.chunks(ROWS) {
        let names: Vec<&str> = part.iter().map(|said| said.family.as_str()).collect();
        sqlx::query(include_str!("../sql/insert_families.sql"))
            .bind(&names)
            .bind(part.iter().map(|said| said.metric_type.as_str()).collect::<Vec<_>>())
            .bind(part.iter().map(|said| said.help.as_str()).collect::<Vec<_>>())
            .bind(part.iter().map(|said| said.unit.as_str()).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
        sqlx::query(include_str!("../sql/outdated_families.sql"))
            .bind(&names)
            .bind(MAX_STATEMENTS as i64)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
