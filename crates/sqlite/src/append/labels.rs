//! Labels that tell a series from others of its name and owner: targets of a fleet have the same again and again, so that
//! their text is written once. Nothing is remembered of it: what is there is found by a hash of the text.

use std::collections::{BTreeMap, HashMap};

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use xxhash_rust::xxh3::xxh3_64;

use super::ROWS;
use crate::columns::id_list;
use crate::error::Fault;

/// Shorter texts take about as much as what refers to them.
const SHORT: usize = 8;

/// How many numbers a text may have, from its hash on. Where others have them all it is not shared, so that a table that
/// fills up costs room and nothing else.
const PLACES: i64 = 4;

/// How a row of a series says its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Labels {
    /// By a row of `series_labels`.
    Shared(i64),
    /// Itself.
    Own(String),
}

/// Finds or writes these texts.
pub(crate) async fn share(tx: &mut SqliteConnection, texts: Vec<String>) -> Result<Vec<Labels>, Fault> {
    let long = texts.iter().map(String::as_str).filter(|text| text.len() >= SHORT);
    let wanted: BTreeMap<&str, i64> = long.map(|text| (text, place_of(text))).collect();
    let rows = sqlx::query(
        "SELECT l.id, l.labels FROM json_each(?1) AS wanted
        CROSS JOIN series_labels l ON l.id >= wanted.value AND l.id < wanted.value + ?2",
    )
    .bind(id_list(wanted.values().copied()))
    .bind(PLACES)
    .fetch_all(&mut *tx)
    .await?;
    let mut taken: HashMap<i64, &str> = HashMap::with_capacity(rows.len());
    for row in &rows {
        taken.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let mut new: BTreeMap<i64, &str> = BTreeMap::new();
    let mut places: HashMap<&str, i64> = HashMap::with_capacity(wanted.len());
    for (text, first) in wanted {
        let mut all = first..first + PLACES;
        let found = all.clone().find(|id| taken.get(id) == Some(&text));
        let Some(id) = found.or_else(|| all.find(|id| !taken.contains_key(id))) else { continue };
        if found.is_none() {
            taken.insert(id, text);
            new.insert(id, text);
        }
        places.insert(text, id);
    }
    insert(tx, new).await?;
    let places: Vec<Option<i64>> = texts.iter().map(|text| places.get(text.as_str()).copied()).collect();
    let labels = texts.into_iter().zip(places);
    Ok(labels.map(|(text, place)| place.map_or(Labels::Own(text), Labels::Shared)).collect())
}

async fn insert(tx: &mut SqliteConnection, new: BTreeMap<i64, &str>) -> Result<(), Fault> {
    let mut new = new.into_iter().peekable();
    while new.peek().is_some() {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO series_labels (id, labels) ");
        insert.push_values(new.by_ref().take(ROWS), |mut row, (id, text)| {
            row.push_bind(id).push_bind(text.to_owned());
        });
        insert.build().execute(&mut *tx).await?;
    }
    Ok(())
}

/// The first number that a text may have: as many bits as SQLite keeps in three bytes.
fn place_of(text: &str) -> i64 {
    (xxh3_64(text.as_bytes()) >> 41).cast_signed()
}
