//! Labels that tell a series from others of its name and owner: targets of a fleet have the same again and again, so that
//! their text is written once. Nothing is remembered of it: what is there is found by a hash of the text.

use std::collections::{BTreeMap, HashMap};

use sqlx::{Row, SqliteConnection};
use xxhash_rust::xxh3::xxh3_64;

use crate::columns::{id_list, written};
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
    insert(tx, &new).await?;
    let places: Vec<Option<i64>> = texts.iter().map(|text| places.get(text.as_str()).copied()).collect();
    let labels = texts.into_iter().zip(places);
    Ok(labels.map(|(text, place)| place.map_or(Labels::Own(text), Labels::Shared)).collect())
}

/// As one text: binding each costs more.
async fn insert(tx: &mut SqliteConnection, new: &BTreeMap<i64, &str>) -> Result<(), Fault> {
    if new.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO series_labels (id, labels) SELECT CAST(key AS INTEGER), value FROM json_each(?1)";
    sqlx::query(sql).bind(written(serde_json::to_string(new))?).execute(tx).await?;
    Ok(())
}

/// The first number that a text may have: as many bits as SQLite keeps in three bytes.
fn place_of(text: &str) -> i64 {
    (xxh3_64(text.as_bytes()) >> 41).cast_signed()
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    async fn shared(connection: &mut SqliteConnection, texts: &[&str]) -> Vec<Labels> {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        share(connection, texts).await.expect("labels")
    }

    #[tokio::test]
    async fn texts_are_written_once_as_long_as_there_is_room() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        let table = "CREATE TABLE series_labels (id INTEGER PRIMARY KEY, labels TEXT NOT NULL)";
        sqlx::query(table).execute(&mut connection).await.expect("a table");
        let text = "\"device\":\"eth0\"";
        let first = place_of(text);
        // Its own number is another's: it takes the next, and keeps it when the other has gone.
        let take = async |connection: &mut SqliteConnection, id: i64| {
            let query = sqlx::query("INSERT INTO series_labels VALUES (?1, 'another')").bind(id);
            query.execute(connection).await.expect("a row");
        };
        take(&mut connection, first).await;
        let asked = [text, "short", "", text, "\"device\":\"eth1\""];
        let found = shared(&mut connection, &asked).await;
        assert_eq!(found[0], Labels::Shared(first + 1));
        assert_eq!(found[1..3], [Labels::Own("short".into()), Labels::Own(String::new())]);
        assert!(found[3] == found[0] && matches!(found[4], Labels::Shared(_)));
        sqlx::query("DELETE FROM series_labels WHERE labels = 'another'")
            .execute(&mut connection)
            .await
            .expect("a removal");
        assert_eq!(shared(&mut connection, &asked).await, found);
        // All its numbers are others'.
        sqlx::query("DELETE FROM series_labels").execute(&mut connection).await.expect("a removal");
        for place in 0..PLACES {
            take(&mut connection, first + place).await;
        }
        assert_eq!(shared(&mut connection, &[text]).await, [Labels::Own(text.to_owned())]);
        assert!((0..1 << 23).contains(&first));
    }
}
