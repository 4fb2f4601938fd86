//! Which series match. Equality is left to the database's indexes; every matcher is checked again here, so there is
//! one meaning of a matcher.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_model::{LabelSet, METRIC_NAME, MatchOp, Matcher, MetricSource, MetricType, Series, SeriesId};
use metricsd_ports::{ErrorKind, PortError};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::PostgresStore;
use crate::binary::{bytes, required};
use crate::error::{Fault, damaged};

/// Series that one selection may look at before samples narrow them; bounds memory at some hundred megabytes.
const MAX_CANDIDATES: usize = 2_000_000;

/// A series that matches.
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) labels: LabelSet,
    pub(super) metric_type: MetricType,
}

/// What of the matchers the database's indexes can narrow by.
struct Narrowed {
    names: Option<Vec<String>>,
    labels: Option<String>,
}

fn narrow(matchers: &[Matcher]) -> Narrowed {
    let mut names = None;
    let mut labels = BTreeMap::new();
    for matcher in matchers {
        // JSON in the database cannot hold NUL, and no label does.
        let plain = !matcher.value.contains('\0');
        match (matcher.name.as_str(), matcher.op) {
            (METRIC_NAME, MatchOp::Equal) if plain => names = Some(vec![matcher.value.clone()]),
            (METRIC_NAME, MatchOp::Regex) if names.is_none() => names = alternatives(&matcher.value),
            (METRIC_NAME, _) => {}
            (name, MatchOp::Equal) if plain && !name.contains('\0') && !matcher.value.is_empty() => {
                labels.insert(name, matcher.value.as_str());
            }
            _ => {}
        }
    }
    let labels = (!labels.is_empty()).then(|| serde_json::to_string(&labels).ok()).flatten();
    Narrowed { names, labels }
}

/// The names that a pattern like `a|b|c` stands for; `None` where it says more than that.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let literal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '|');
    (!pattern.is_empty() && pattern.chars().all(literal))
        .then(|| pattern.split('|').map(str::to_owned).collect())
}

/// All series that match.
pub(super) async fn matching(tx: &mut PgConnection, matchers: &[Matcher]) -> Result<Vec<Found>, Fault> {
    let narrowed = narrow(matchers);
    let query =
        sqlx::query(include_str!("../sql/find_series.sql")).bind(narrowed.names).bind(narrowed.labels);
    let mut rows = query.fetch(tx);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let labels = labels_of_row(&row, 1, 3)?;
        if !matchers.iter().all(|matcher| matcher.matches_labels(&labels)) {
            continue;
        }
        if found.len() == MAX_CANDIDATES {
            let message = format!(
                "more than {MAX_CANDIDATES} series match, whether or not they have samples in the range"
            );
            return Err(PortError::new(ErrorKind::Limit, message).into());
        }
        let metric_type = metric_type(row.try_get(2)?)?;
        found.push(Found { id: i64::from_be_bytes(required(&row, 0)?), labels, metric_type });
    }
    Ok(found)
}

/// The first `limit` series that match, in order of labels, which is not an order that the database knows.
pub(super) async fn first_series(
    store: &PostgresStore,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<Arc<Series>>, Fault> {
    let narrowed = narrow(matchers);
    let query =
        sqlx::query(include_str!("../sql/find_series_whole.sql")).bind(narrowed.names).bind(narrowed.labels);
    let mut rows = query.fetch(&store.readers);
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

/// Reads a row of the columns that `series_by_id.sql` selects.
pub(crate) fn series_of_row(row: &PgRow) -> Result<Series, Fault> {
    let source_type: &str = row.try_get(6)?;
    Ok(Series {
        id: SeriesId::from_i64(i64::from_be_bytes(required(row, 0)?)),
        labels: labels_of_row(row, 1, 3)?,
        metric_type: metric_type(row.try_get(2)?)?,
        source_type: MetricSource::from_name(source_type)
            .ok_or_else(|| damaged(format!("unknown source type {source_type:?} in the database")))?,
        source: row.try_get(4)?,
        target_id: row.try_get(5)?,
        help: row.try_get(7)?,
        unit: row.try_get(8)?,
    })
}

fn metric_type(name: &str) -> Result<MetricType, Fault> {
    MetricType::from_name(name)
        .ok_or_else(|| damaged(format!("unknown metric type {name:?} in the database")))
}

fn labels_of_row(row: &PgRow, name: usize, labels: usize) -> Result<LabelSet, Fault> {
    // Binary jsonb: one byte of version, then the text.
    let json = bytes(row, labels)?.and_then(|bytes| bytes.get(1..)).unwrap_or_default();
    let pairs: BTreeMap<String, String> = serde_json::from_slice(json)
        .map_err(|error| damaged("damaged labels in the database").caused_by(error))?;
    let name: &str = row.try_get(name)?;
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    LabelSet::new(pairs.chain([(METRIC_NAME, name)]))
        .map_err(|error| damaged("damaged labels in the database").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_index_can_answer_is_pushed_down() {
        let check = |matchers: &[(&str, MatchOp, &str)], names: Option<&[&str]>, labels: Option<&str>| {
            let matchers: Vec<Matcher> =
                matchers.iter().map(|(name, op, value)| Matcher::new(*name, *op, *value).unwrap()).collect();
            let narrowed = narrow(&matchers);
            let expected = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            assert_eq!((narrowed.names, narrowed.labels.as_deref()), (expected, labels), "{matchers:?}");
        };
        use MatchOp::{Equal, NotEqual, Regex};
        check(&[("__name__", Equal, "up"), ("a", Equal, "b")], Some(&["up"]), Some(r#"{"a":"b"}"#));
        check(&[("__name__", Regex, "up|down")], Some(&["up", "down"]), None);
        check(&[("__name__", Regex, "node_.*"), ("a", Equal, "")], None, None);
        check(&[("a", NotEqual, "b"), ("c", Equal, "\0")], None, None);
        check(&[("__name__", Equal, "up"), ("__name__", Regex, "a|b")], Some(&["up"]), None);
    }
}
