//! Reading what is kept beside samples: exemplars, and what is said of families.

use futures::TryStreamExt;
use metricsd_model::{Exemplar, FamilyMetadata, FamilyType};
use metricsd_ports::{Selection, SeriesExemplars};
use metricsd_store::chosen::Chosen;
use metricsd_store::exemplars::{Gathered, NAMED};
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::columns::{id_list, json, named, signed_len};
use crate::error::Fault;

/// Of all series where `?1` is absent.
const EXEMPLARS: &str = "SELECT series, time, value, labels FROM exemplars
    WHERE time >= ?2 AND time <= ?3 AND (?1 IS NULL OR series IN (SELECT value FROM json_each(?1)))";

/// Families in order of their bytes, which is how SQLite compares texts.
const FAMILIES: &str = "SELECT family, metric_type, help, unit FROM families
    WHERE family IN (
        SELECT DISTINCT family FROM families WHERE ?1 IS NULL OR family = ?1 ORDER BY family LIMIT ?2
    )
    ORDER BY family, metric_type, help, unit";

/// Exemplars of these series.
pub(super) async fn exemplars(
    tx: &mut SqliteConnection,
    chosen: &Chosen,
    selection: &Selection,
) -> Result<Vec<SeriesExemplars>, Fault> {
    let mut gathered = Gathered::new(selection.limits.max_samples);
    let wanted = &chosen.wanted;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let ids = (wanted.len() <= NAMED).then(|| id_list(wanted.keys().copied()));
    let mut rows = sqlx::query(EXEMPLARS).bind(ids).bind(selection.start).bind(selection.end).fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let place = wanted.get(&row.try_get::<i64, _>(0)?);
        let Some(found) = place.and_then(|place| chosen.found.get(*place)) else { continue };
        let exemplar = Exemplar {
            labels: json(&row, "labels", |text| serde_json::from_str(text))?,
            value: f64::from_bits(row.try_get::<i64, _>(2)?.cast_unsigned()),
            timestamp: row.try_get(1)?,
        };
        gathered.add(&found.labels, exemplar)?;
    }
    Ok(gathered.finish())
}

/// What is said of families.
pub(super) async fn families(
    store: &SqliteStore,
    family: Option<&str>,
    limit: usize,
) -> Result<Vec<FamilyMetadata>, Fault> {
    let rows = sqlx::query(FAMILIES).bind(family).bind(signed_len(limit)).fetch_all(&store.readers).await?;
    let read = |row| {
        Ok(FamilyMetadata {
            family: Row::try_get(row, 0)?,
            metric_type: named(row, "metric_type", FamilyType::from_name)?,
            help: Row::try_get(row, 2)?,
            unit: Row::try_get(row, 3)?,
        })
    };
    rows.iter().map(read).collect()
}
