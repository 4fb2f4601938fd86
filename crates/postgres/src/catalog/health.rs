//! Health of targets, written after every scrape and apart from revisions.

use std::collections::HashMap;

use metricsd_model::Health;

use super::targets::time;
use crate::PostgresStore;
use crate::error::Fault;

pub(super) async fn record(store: &PostgresStore, updates: &[(String, Health)]) -> Result<(), Fault> {
    let newest = newest(updates);
    if newest.is_empty() {
        return Ok(());
    }
    let column = |field: fn(&Health) -> Option<&str>| {
        newest.iter().map(|(_, health)| field(health)).collect::<Vec<_>>()
    };
    let errors: Vec<_> = newest
        .iter()
        .map(|(_, health)| health.error.as_ref().map(|error| error.replace('\0', "\u{fffd}")))
        .collect();
    let scraped: Vec<_> = newest
        .iter()
        .map(|(_, health)| health.last_scrape.map(time).transpose())
        .collect::<Result<_, _>>()?;
    sqlx::query(include_str!("../sql/record_health.sql"))
        .bind(newest.iter().map(|(target_id, _)| *target_id).collect::<Vec<_>>())
        .bind(column(|health| Some(health.status.as_str())))
        .bind(column(|health| health.reason.map(|reason| reason.as_str())))
        .bind(errors)
        .bind(scraped)
        .bind(newest.iter().map(|(_, health)| health.scrape_duration_ms).collect::<Vec<_>>())
        .bind(
            newest
                .iter()
                .map(|(_, h)| i64::try_from(h.samples_scraped).unwrap_or(i64::MAX))
                .collect::<Vec<_>>(),
        )
        .execute(&store.pool)
        .await?;
    Ok(())
}

/// One update a target: the newest, and of two at once the later in the list. Ids with NUL are of no target.
fn newest(updates: &[(String, Health)]) -> Vec<(&str, &Health)> {
    let mut newest: HashMap<&str, &Health> = HashMap::new();
    for (target_id, health) in updates.iter().filter(|(target_id, _)| !target_id.contains('\0')) {
        let entry = newest.entry(target_id).or_insert(health);
        if entry.last_scrape <= health.last_scrape {
            *entry = health;
        }
    }
    newest.into_iter().collect()
}
