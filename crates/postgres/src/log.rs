//! Positions of a sample log, moved with the batches that stand before them.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::Batch;
use metricsd_ports::{LogSink, LogStep, ParkedEntry, ParkedRecord, PortError, Receipt};
use sqlx::{PgConnection, Row};

use crate::PostgresStore;
use crate::error::Fault;

/// Moves positions, in order of partition, so that writers do not deadlock.
pub(crate) async fn step(tx: &mut PgConnection, steps: &[LogStep]) -> Result<(), Fault> {
    let mut sorted: Vec<&LogStep> = steps.iter().collect();
    sorted.sort_unstable_by_key(|step| (&step.log, step.partition));
    for step in sorted {
        let LogStep { log, partition, from, next } = step;
        let sql = include_str!("sql/step_log.sql");
        let moved =
            sqlx::query(sql).bind(log).bind(partition).bind(from).bind(next).execute(&mut *tx).await?;
        if moved.rows_affected() == 0 {
            return Err(step.conflict().into());
        }
    }
    Ok(())
}

#[async_trait]
impl LogSink for PostgresStore {
    async fn append_from_log(
        &self,
        batches: &[Arc<Batch>],
        steps: &[LogStep],
    ) -> Result<Vec<Receipt>, PortError> {
        self.append_stepping(batches, steps).await
    }

    async fn log_positions(&self, log: &str) -> Result<Vec<(i32, i64)>, PortError> {
        let read = async {
            let sql = "SELECT \"partition\", next FROM log_positions WHERE log = $1 ORDER BY \"partition\"";
            let rows = sqlx::query(sql).bind(log).fetch_all(&self.pool).await?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
        };
        self.bounded("read the positions of the log", read).await
    }

    async fn park(&self, record: &ParkedRecord, at: &LogStep) -> Result<(), PortError> {
        let park = async {
            let mut tx = crate::held::begin(&self.pool).await?;
            step(&mut tx, std::slice::from_ref(at)).await?;
            let sql = "INSERT INTO parked_records (log, \"partition\", position, error, content) \
                       VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            sqlx::query(sql)
                .bind(&record.log)
                .bind(record.partition)
                .bind(record.position)
                .bind(record.error.replace('\0', "\u{fffd}"))
                .bind(&record.content)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(())
        };
        self.bounded("park a record", park).await
    }

    async fn parked(&self, limit: usize) -> Result<(Vec<ParkedEntry>, u64), PortError> {
        let read = async {
            let sql = "SELECT log, \"partition\", position, error, octet_length(content)::int8 AS bytes, parked_at, \
                       count(*) OVER () AS all_of_them FROM parked_records \
                       ORDER BY parked_at DESC, log, \"partition\", position DESC LIMIT $1";
            let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
            let rows = sqlx::query(sql).bind(limit).fetch_all(&self.pool).await?;
            let count = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>("all_of_them"))?;
            let record = |row: &sqlx::postgres::PgRow| -> Result<ParkedEntry, Fault> {
                Ok(ParkedEntry {
                    log: row.try_get("log")?,
                    partition: row.try_get("partition")?,
                    position: row.try_get("position")?,
                    error: row.try_get("error")?,
                    bytes: u64::try_from(row.try_get::<i64, _>("bytes")?).unwrap_or(0),
                    parked_at: row.try_get::<DateTime<Utc>, _>("parked_at")?.timestamp_millis(),
                })
            };
            Ok((rows.iter().map(record).collect::<Result<_, _>>()?, u64::try_from(count).unwrap_or(0)))
        };
        self.bounded("read parked records", read).await
    }
}
