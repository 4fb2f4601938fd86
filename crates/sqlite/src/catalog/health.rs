//! Health of targets, written after every scrape and apart from revisions.

use metricsd_model::Health;

use crate::SqliteStore;
use crate::columns::signed;
use crate::error::Fault;

const RECORD: &str = "UPDATE metric_targets
    SET health_status = ?2, health_reason = ?3, health_error = ?4, last_scrape = ?5, scrape_duration_ms = ?6,
        samples_scraped = ?7
    WHERE target_id = ?1 AND enabled AND (last_scrape IS NULL OR ?5 >= last_scrape)";

pub(super) async fn record(store: &SqliteStore, updates: &[(String, Health)]) -> Result<(), Fault> {
    if updates.is_empty() {
        return Ok(());
    }
    let mut tx = store.write().await?;
    for (target_id, health) in updates {
        // SQLite keeps a NaN as NULL.
        let duration = if health.scrape_duration_ms.is_nan() { 0.0 } else { health.scrape_duration_ms };
        sqlx::query(RECORD)
            .bind(target_id)
            .bind(health.status.as_str())
            .bind(health.reason.map(|reason| reason.as_str()))
            .bind(health.error.as_deref())
            .bind(health.last_scrape)
            .bind(duration)
            .bind(signed(health.samples_scraped))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}
