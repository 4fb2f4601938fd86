//! What a batch says beside its samples: exemplars, and descriptions of families.

use metricsd_model::FamilyMetadata;
use metricsd_store::exemplars::ExemplarRow;
use metricsd_store::families::MAX_STATEMENTS;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::ROWS;
use crate::columns::{signed_len, written};
use crate::error::Fault;

/// Writes exemplars that are not there yet.
pub(super) async fn insert_exemplars(tx: &mut SqliteConnection, rows: &[ExemplarRow]) -> Result<(), Fault> {
    for part in rows.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO exemplars (series, time, labels_hash, value, labels, target_id) ",
        );
        insert.push_values(part, |mut row, exemplar| {
            row.push_bind(exemplar.series)
                .push_bind(exemplar.time)
                .push_bind(exemplar.labels_hash)
                .push_bind(exemplar.value.to_bits().cast_signed())
                .push_bind(&exemplar.labels)
                .push_bind(&exemplar.target_id);
        });
        insert.push(" ON CONFLICT DO NOTHING");
        insert.build().execute(&mut *tx).await?;
    }
    Ok(())
}

const OUTDATED: &str = "DELETE FROM families WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, row_number() OVER (PARTITION BY family ORDER BY seen DESC, rowid DESC) AS place
            FROM families WHERE family IN (SELECT value FROM json_each(?1))
        ) WHERE place > ?2
    )";

/// Writes what is said of families, and forgets what was said too long ago.
pub(super) async fn insert_families(
    tx: &mut SqliteConnection,
    families: &[FamilyMetadata],
) -> Result<(), Fault> {
    for part in families.chunks(ROWS) {
        let mut insert =
            QueryBuilder::<Sqlite>::new("INSERT INTO families (family, metric_type, help, unit) ");
        insert.push_values(part, |mut row, said| {
            row.push_bind(&said.family)
                .push_bind(said.metric_type.as_str())
                .push_bind(&said.help)
                .push_bind(&said.unit);
        });
        insert.push(" ON CONFLICT DO UPDATE SET seen = excluded.seen");
        insert.build().execute(&mut *tx).await?;
        let names: Vec<&str> = part.iter().map(|said| said.family.as_str()).collect();
        sqlx::query(OUTDATED)
            .bind(written(serde_json::to_string(&names))?)
            .bind(signed_len(MAX_STATEMENTS))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
