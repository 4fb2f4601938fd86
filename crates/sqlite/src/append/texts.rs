//! What many series have in common is written once: their name with its description, whose they are with the labels that
//! say so, and their other labels.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use metricsd_model::Series;
use sqlx::{Row, SqliteConnection};

use super::labels::{self, Labels};
use crate::columns::written;
use crate::error::{Fault, damaged};

/// Labels that series of one target mostly share, and that tell targets apart.
const SHARED: [&str; 2] = ["instance", "job"];

/// The parts of a series' row that stand elsewhere, and its own labels.
pub(super) struct Texts {
    pub(super) name: i64,
    pub(super) owner: i64,
    pub(super) labels: Labels,
}

/// A row of `series_names`.
#[derive(PartialEq, Eq, Hash)]
struct Name<'t> {
    metric_name: &'t str,
    metric_type: &'t str,
    help: Option<&'t str>,
    unit: Option<&'t str>,
}

impl<'t> Name<'t> {
    fn of(series: &'t Series) -> Self {
        Self {
            metric_name: series.labels.metric_name(),
            metric_type: series.metric_type.as_str(),
            help: series.help.as_deref(),
            unit: series.unit.as_deref(),
        }
    }
}

/// A row of `series_owners`: labels, target, source, type of source.
type Owner<'t> = [&'t str; 4];

/// Finds or writes the texts of these series.
pub(super) async fn texts(
    tx: &mut SqliteConnection,
    series: &[(i64, Arc<Series>)],
) -> Result<Vec<Texts>, Fault> {
    let names = names(tx, series).await?;
    let fragments: Result<Vec<_>, Fault> = series.iter().map(|(_, series)| fragments(series)).collect();
    let fragments = fragments?;
    let owners = owners(tx, series, &fragments).await?;
    let labels = labels::share(tx, fragments.into_iter().map(|(_, own)| own).collect()).await?;
    let parts = names.into_iter().zip(owners).zip(labels);
    Ok(parts.map(|((name, owner), labels)| Texts { name, owner, labels }).collect())
}

/// Shared labels and all others, each as the inside of a JSON object.
fn fragments(series: &Series) -> Result<(String, String), Fault> {
    let (mut shared, mut own) = (Vec::new(), Vec::with_capacity(128));
    for (name, value) in series.labels.without_name() {
        let fragment = if SHARED.contains(&name) { &mut shared } else { &mut own };
        push(fragment, name, value).map_err(|error| damaged("cannot write labels").caused_by(error))?;
    }
    let text =
        |json| String::from_utf8(json).map_err(|error| damaged("cannot write labels").caused_by(error));
    Ok((text(shared)?, text(own)?))
}

fn push(fragment: &mut Vec<u8>, name: &str, value: &str) -> serde_json::Result<()> {
    if !fragment.is_empty() {
        fragment.push(b',');
    }
    serde_json::to_writer(&mut *fragment, name)?;
    fragment.push(b':');
    serde_json::to_writer(fragment, value)
}

/// The name of each series, in their order.
async fn names(tx: &mut SqliteConnection, series: &[(i64, Arc<Series>)]) -> Result<Vec<i64>, Fault> {
    let distinct: BTreeSet<&str> = series.iter().map(|(_, series)| series.labels.metric_name()).collect();
    let rows = sqlx::query(
        "SELECT n.id, n.metric_name, n.metric_type, n.help, n.unit
        FROM json_each(?1) AS wanted CROSS JOIN series_names n ON n.metric_name = wanted.value",
    )
    .bind(written(serde_json::to_string(&distinct))?)
    .fetch_all(&mut *tx)
    .await?;
    let mut known: HashMap<Name<'_>, i64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let name = Name {
            metric_name: row.try_get(1)?,
            metric_type: row.try_get(2)?,
            help: row.try_get(3)?,
            unit: row.try_get(4)?,
        };
        known.insert(name, row.try_get(0)?);
    }
    let mut ids = Vec::with_capacity(series.len());
    for (_, series) in series {
        let name = Name::of(series);
        let id = match known.get(&name) {
            Some(id) => *id,
            None => {
                let id = insert_name(tx, &name).await?;
                known.insert(name, id);
                id
            }
        };
        ids.push(id);
    }
    Ok(ids)
}

async fn insert_name(tx: &mut SqliteConnection, name: &Name<'_>) -> Result<i64, Fault> {
    let row = sqlx::query(
        "INSERT INTO series_names (metric_name, metric_type, help, unit) VALUES (?1, ?2, ?3, ?4) RETURNING id",
    )
    .bind(name.metric_name)
    .bind(name.metric_type)
    .bind(name.help)
    .bind(name.unit)
    .fetch_one(tx)
    .await?;
    Ok(row.try_get(0)?)
}

/// The owner of each series, in their order.
async fn owners(
    tx: &mut SqliteConnection,
    series: &[(i64, Arc<Series>)],
    fragments: &[(String, String)],
) -> Result<Vec<i64>, Fault> {
    let keys: Vec<Owner<'_>> = series
        .iter()
        .zip(fragments)
        .map(|((_, series), (labels, _))| {
            [labels.as_str(), &*series.target_id, &*series.source, series.source_type.as_str()]
        })
        .collect();
    let distinct: Vec<Owner<'_>> = keys.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let list = written(serde_json::to_string(&distinct))?;
    // What is there already is found by the same index that keeps it from being written twice.
    sqlx::query(
        "INSERT INTO series_owners (labels, target_id, source, source_type)
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
               json_extract(value, '$[3]')
        FROM json_each(?1) WHERE true
        ON CONFLICT DO NOTHING",
    )
    .bind(&list)
    .execute(&mut *tx)
    .await?;
    let rows = sqlx::query(
        "SELECT o.id, o.labels, o.target_id, o.source, o.source_type
        FROM json_each(?1) AS wanted
        CROSS JOIN series_owners o
            ON o.labels = json_extract(wanted.value, '$[0]') AND o.target_id = json_extract(wanted.value, '$[1]')
            AND o.source = json_extract(wanted.value, '$[2]')
            AND o.source_type = json_extract(wanted.value, '$[3]')",
    )
    .bind(&list)
    .fetch_all(tx)
    .await?;
    let mut known: HashMap<Owner<'_>, i64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        known.insert([row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?], row.try_get(0)?);
    }
    let found = keys.iter().map(|key| known.get(key).copied());
    found.collect::<Option<_>>().ok_or_else(|| damaged("an owner of series is missing").into())
}

/// Writes descriptions that have changed, and marks their series as news. What a series leaves out stays as it was.
pub(super) async fn describe(
    tx: &mut SqliteConnection,
    changed: &[(i64, &Arc<Series>)],
    added: i64,
) -> Result<(), Fault> {
    for (seq, series) in changed {
        let row = sqlx::query(
            "SELECT n.help, n.unit FROM series_rows s CROSS JOIN series_names n ON n.id = s.name WHERE s.seq = ?1",
        )
        .bind(seq)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { continue };
        let mut name = Name::of(series);
        name.help = name.help.or(row.try_get(0)?);
        name.unit = name.unit.or(row.try_get(1)?);
        let known = sqlx::query(
            "SELECT id FROM series_names WHERE metric_name = ?1 AND metric_type = ?2 AND help IS ?3 AND unit IS ?4",
        )
        .bind(name.metric_name)
        .bind(name.metric_type)
        .bind(name.help)
        .bind(name.unit)
        .fetch_optional(&mut *tx)
        .await?;
        let number = match known {
            Some(row) => row.try_get(0)?,
            None => insert_name(tx, &name).await?,
        };
        sqlx::query("UPDATE series_rows SET name = ?2 WHERE seq = ?1")
            .bind(seq)
            .bind(number)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT OR REPLACE INTO series_described (series, added) VALUES (?1, ?2)")
            .bind(seq)
            .bind(added)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
