//! Which series match. The database narrows by equality where it can; every matcher is checked again here, so there
//! is one meaning of a matcher.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_model::{LabelSet, METRIC_NAME, MatchOp, Matcher, MetricSource, MetricType, Series, SeriesId};
use metricsd_ports::{ErrorKind, PortError};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::SqliteStore;
use crate::columns::named;
use crate::error::{Fault, damaged};

/// Series that one selection may look at before samples narrow them; bounds memory at some hundred megabytes.
const MAX_CANDIDATES: usize = 2_000_000;

/// The beginning of every query whose rows [`series_of_row`] reads.
pub(crate) const SERIES_COLUMNS: &str =
    "SELECT id, metric_name, metric_type, labels, source, target_id, source_type, help, unit FROM series";

/// A series that matches.
pub(super) struct Found {
    pub(super) id: SeriesId,
    pub(super) labels: LabelSet,
    pub(super) metric_type: MetricType,
}

/// `select` with what of the matchers the database can narrow by.
fn narrowed(select: &str, matchers: &[Matcher]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(select);
    let mut word = " WHERE ";
    for matcher in matchers {
        match (matcher.name.as_str(), matcher.op) {
            (METRIC_NAME, MatchOp::Equal) => {
                query.push(word).push("metric_name = ").push_bind(&matcher.value);
            }
            (METRIC_NAME, MatchOp::Regex) => {
                let Some(names) = alternatives(&matcher.value) else {
                    continue;
                };
                query.push(word).push("metric_name IN (");
                let mut list = query.separated(", ");
                for name in names {
                    list.push_bind(name);
                }
                query.push(")");
            }
            (name, MatchOp::Equal) if !matcher.value.is_empty() => {
                let Some(text) = as_written(name, &matcher.value) else {
                    continue;
                };
                query.push(word).push("instr(labels, ").push_bind(text).push(") > 0");
            }
            _ => continue,
        }
        word = " AND ";
    }
    query
}

/// A label as it stands in the column, whose JSON is compact: rows without this text do not have the label.
fn as_written(name: &str, value: &str) -> Option<String> {
    let (name, value) = (serde_json::to_string(name).ok()?, serde_json::to_string(value).ok()?);
    Some(format!("{name}:{value}"))
}

/// The names that a pattern like `a|b|c` stands for; `None` where it says more than that.
fn alternatives(pattern: &str) -> Option<Vec<&str>> {
    /// SQLite takes a bounded number of parameters.
    const MOST: usize = 1_000;
    let literal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '|');
    let names: Vec<&str> = pattern.split('|').take(MOST + 1).collect();
    (names.len() <= MOST && pattern.chars().all(literal)).then_some(names)
}

/// All series that match.
pub(super) async fn matching(tx: &mut SqliteConnection, matchers: &[Matcher]) -> Result<Vec<Found>, Fault> {
    let mut query = narrowed("SELECT id, metric_name, metric_type, labels FROM series", matchers);
    let mut rows = query.build().fetch(tx);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let labels = labels_of_row(&row)?;
        if !matchers.iter().all(|matcher| matcher.matches_labels(&labels)) {
            continue;
        }
        if found.len() == MAX_CANDIDATES {
            let message = format!(
                "more than {MAX_CANDIDATES} series match, whether or not they have samples in the range"
            );
            return Err(PortError::new(ErrorKind::Limit, message).into());
        }
        found.push(Found {
            id: SeriesId::from_i64(row.try_get(0)?),
            labels,
            metric_type: named(&row, "metric_type", MetricType::from_name)?,
        });
    }
    Ok(found)
}

/// The first `limit` series that match, in order of labels, which is not an order that the database knows.
pub(super) async fn first_series(
    store: &SqliteStore,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<Arc<Series>>, Fault> {
    let mut query = narrowed(SERIES_COLUMNS, matchers);
    let mut rows = query.build().fetch(&store.readers);
    let mut first = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let series = series_of_row(&row)?;
        if matchers.iter().all(|matcher| matcher.matches_labels(&series.labels)) {
            first.insert(series.labels.clone(), Arc::new(series));
            if first.len() > limit {
                first.pop_last();
            }
        }
    }
    Ok(first.into_values().collect())
}

/// Reads a row of [`SERIES_COLUMNS`].
pub(crate) fn series_of_row(row: &SqliteRow) -> Result<Series, Fault> {
    Ok(Series {
        id: SeriesId::from_i64(row.try_get(0)?),
        labels: labels_of_row(row)?,
        metric_type: named(row, "metric_type", MetricType::from_name)?,
        source_type: named(row, "source_type", MetricSource::from_name)?,
        source: row.try_get(4)?,
        target_id: row.try_get(5)?,
        help: row.try_get(7)?,
        unit: row.try_get(8)?,
    })
}

fn labels_of_row(row: &SqliteRow) -> Result<LabelSet, Fault> {
    let pairs: BTreeMap<String, String> = serde_json::from_str(row.try_get(3)?)
        .map_err(|error| damaged("damaged labels in the database").caused_by(error))?;
    let name: &str = row.try_get(1)?;
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    LabelSet::new(pairs.chain([(METRIC_NAME, name)]))
        .map_err(|error| damaged("damaged labels in the database").caused_by(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_meant_narrows() {
        let check = |matchers: &[(&str, MatchOp, &str)], expected: &str| {
            let matchers: Vec<Matcher> = matchers
                .iter()
                .map(|(name, op, value)| Matcher::new(*name, *op, *value).expect("a pattern"))
                .collect();
            assert_eq!(narrowed("S", &matchers).into_string(), expected, "{matchers:?}");
        };
        use MatchOp::{Equal, NotEqual, Regex};
        check(&[], "S");
        check(
            &[("__name__", Equal, "up"), ("a", Equal, "b")],
            "S WHERE metric_name = ? AND instr(labels, ?) > 0",
        );
        check(&[("__name__", Regex, "up|down")], "S WHERE metric_name IN (?, ?)");
        check(&[("__name__", Regex, "node_.*"), ("a", Equal, "")], "S");
        check(&[("a", NotEqual, "b"), ("c", Regex, "d")], "S");
        assert_eq!(as_written("a", "\"\n").as_deref(), Some(r#""a":"\"\n""#));
    }
}
