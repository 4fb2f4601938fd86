//! Columns of rows: names out of closed sets, JSON, counts, ids.

use metricsd_ports::PortError;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::error::{Fault, damaged};

/// A name out of a closed set.
pub(crate) fn named<T>(row: &SqliteRow, column: &str, read: fn(&str) -> Option<T>) -> Result<T, Fault> {
    let name: &str = row.try_get(column)?;
    read(name).ok_or_else(|| damaged(format!("unknown {column} {name:?} in the database")).into())
}

/// A value that is kept as JSON; `read` is `serde_json::from_str`.
pub(crate) fn json<T>(
    row: &SqliteRow,
    column: &str,
    read: impl FnOnce(&str) -> serde_json::Result<T>,
) -> Result<T, Fault> {
    let text: Option<&str> = row.try_get(column)?;
    read(text.unwrap_or("null"))
        .map_err(|error| damaged(format!("damaged {column} in the database")).caused_by(error).into())
}

/// A number that was not negative when it was written.
pub(crate) fn count(row: &SqliteRow, column: &str) -> Result<u64, Fault> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

/// A UUID that is kept as text.
pub(crate) fn uuid(row: &SqliteRow, column: &str) -> Result<Uuid, Fault> {
    Uuid::try_parse(row.try_get(column)?)
        .map_err(|error| damaged(format!("damaged {column} in the database")).caused_by(error).into())
}

/// A count as the database takes it.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The same for a length or a limit.
pub(crate) fn signed_len(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Many ids as one parameter, for `json_each`: a statement then has the same text however many there are.
pub(crate) fn id_list(ids: impl IntoIterator<Item = i64>) -> String {
    let mut list = String::from("[");
    for id in ids {
        if list.len() > 1 {
            list.push(',');
        }
        list.push_str(&id.to_string());
    }
    list.push(']');
    list
}

/// What writing JSON answers; it does not fail for any of our types.
pub(crate) fn written(json: serde_json::Result<String>) -> Result<String, PortError> {
    json.map_err(|error| damaged("cannot write JSON").caused_by(error))
}
