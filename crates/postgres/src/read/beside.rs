//! Reading what is kept beside samples: exemplars, and what is said of families.

use futures::TryStreamExt;
use metricsd_model::{Exemplar, FamilyMetadata, FamilyType, LabelSet};
use metricsd_ports::{Selection, SeriesExemplars};
use metricsd_store::chosen::Chosen;
use metricsd_store::exemplars::{Gathered, NAMED};
use metricsd_store::families::sort;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::PostgresStore;
use crate::binary::{bytes, required};
use crate::copy::{bound, millis};
use crate::error::{Fault, damaged};

/// Exemplars of these series.
pub(super) async fn exemplars(
    tx: &mut PgConnection,
    chosen: &Chosen,
    selection: &Selection,
) -> Result<Vec<SeriesExemplars>, Fault> {
    let mut gathered = Gathered::new(selection.limits.max_samples);
    let wanted = &chosen.wanted;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Option<Vec<i64>> = (wanted.len() <= NAMED).then(|| wanted.keys().copied().collect());
    let mut rows = sqlx::query(include_str!("../sql/exemplars.sql"))
        .bind(ids)
        .bind(bound(selection.start))
        .bind(bound(selection.end))
        .fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let place = wanted.get(&i64::from_be_bytes(required(&row, 0)?));
        if let Some(found) = place.and_then(|place| chosen.found.get(*place)) {
            gathered.add(&found.labels, exemplar_of(&row)?)?;
        }
    }
    Ok(gathered.finish())
}

fn exemplar_of(row: &PgRow) -> Result<Exemplar, Fault> {
    // Binary jsonb: one byte of version, then the text.
    let json = bytes(row, 3)?.and_then(|bytes| bytes.get(1..)).unwrap_or_default();
    let labels: LabelSet = serde_json::from_slice(json)
        .map_err(|error| damaged("damaged labels in the database").caused_by(error))?;
    Ok(Exemplar {
        labels,
        value: f64::from_be_bytes(required(row, 2)?),
        timestamp: millis(i64::from_be_bytes(required(row, 1)?)),
    })
}

fn family_type(name: &str) -> Result<FamilyType, Fault> {
    FamilyType::from_name(name)
        .ok_or_else(|| damaged(format!("unknown type of a family {name:?} in the database")))
}

/// What is said of families.
pub(super) async fn families(
    store: &PostgresStore,
    family: Option<&str>,
    limit: usize,
) -> Result<Vec<FamilyMetadata>, Fault> {
    if family.is_some_and(|family| family.contains('\0')) {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(include_str!("../sql/families.sql"))
        .bind(family)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&store.readers)
        .await?;
    let mut families = Vec::with_capacity(rows.len());
    for row in &rows {
        families.push(FamilyMetadata {
            family: row.try_get(0)?,
            metric_type: family_type(row.try_get(1)?)?,
            help: row.try_get(2)?,
            unit: row.try_get(3)?,
        });
    }
    // Here, as texts in the database may be compared by its locale.
    sort(&mut families);
    Ok(families)
}
