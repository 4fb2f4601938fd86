//! Exemplars on their way into a table and out of it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_model::{Batch, Exemplar, LabelSet, Layout, Millis, SeriesId};
use metricsd_ports::{ErrorKind, PortError, SeriesExemplars};

use crate::damaged;

/// Up to so many series are named in a question for exemplars; for more, all of the range are read.
pub const NAMED: usize = 1_000;

/// A batch with exemplars, and a layout whose columns are their series, one each: registered as any other layout is.
pub struct Carried {
    /// One column an exemplar.
    pub layout: Arc<Layout>,
    batch: Arc<Batch>,
}

/// The batches that carry exemplars.
pub fn carried<'b>(batches: impl Iterator<Item = &'b Arc<Batch>>) -> Vec<Carried> {
    let with = batches.filter(|batch| !batch.exemplars.is_empty());
    with.map(|batch| Carried {
        layout: Layout::inline(batch.exemplars.iter().map(|exemplar| exemplar.series.clone()).collect()),
        batch: Arc::clone(batch),
    })
    .collect()
}

/// One row of the table.
#[derive(Debug)]
pub struct ExemplarRow {
    /// The id that the series has in the database.
    pub series: i64,
    /// When.
    pub time: Millis,
    /// A hash of the labels: they may be too long for an index.
    pub labels_hash: i64,
    /// What was observed.
    pub value: f64,
    /// The labels as a JSON object.
    pub labels: String,
    /// Where the batch was collected.
    pub target_id: String,
}

impl ExemplarRow {
    fn key(&self) -> (i64, Millis, i64) {
        (self.series, self.time, self.labels_hash)
    }
}

/// All rows, each key once (the first), in order of key, so that writers take their locks in one order. `ids` answers
/// the ids of a layout's columns.
pub fn rows<E: From<PortError>>(
    carried: &[Carried],
    ids: impl Fn(&Arc<Layout>) -> Result<Vec<i64>, E>,
) -> Result<Vec<ExemplarRow>, E> {
    let mut rows: Vec<ExemplarRow> = Vec::new();
    for Carried { layout, batch } in carried {
        for (series, carried) in ids(layout)?.into_iter().zip(&batch.exemplars) {
            let Exemplar { labels, value, timestamp } = &carried.exemplar;
            let json = serde_json::to_string(labels);
            rows.push(ExemplarRow {
                series,
                time: *timestamp,
                labels_hash: SeriesId::of(labels).to_i64(),
                value: *value,
                labels: json.map_err(|error| damaged("cannot write labels").caused_by(error))?,
                target_id: batch.collection.target_id.clone(),
            });
        }
    }
    rows.sort_by_key(ExemplarRow::key);
    rows.dedup_by_key(|row| row.key());
    Ok(rows)
}

/// Collects exemplars that were read.
pub struct Gathered {
    series: BTreeMap<LabelSet, Vec<Exemplar>>,
    held: usize,
    limit: usize,
}

impl Gathered {
    /// Takes at most `limit` exemplars.
    pub fn new(limit: usize) -> Self {
        Self { series: BTreeMap::new(), held: 0, limit }
    }

    /// Adds one.
    pub fn add(&mut self, series: &LabelSet, exemplar: Exemplar) -> Result<(), PortError> {
        if self.held >= self.limit {
            let message = format!("the selection has more exemplars than max_samples = {}", self.limit);
            return Err(PortError::new(ErrorKind::Limit, message));
        }
        self.held += 1;
        match self.series.get_mut(series) {
            Some(exemplars) => exemplars.push(exemplar),
            None => drop(self.series.insert(series.clone(), vec![exemplar])),
        }
        Ok(())
    }

    /// By labels of the series, each in order of time and labels.
    pub fn finish(self) -> Vec<SeriesExemplars> {
        let series = self.series.into_iter();
        let sorted = series.map(|(labels, mut exemplars)| {
            exemplars.sort_by(|a, b| (a.timestamp, &a.labels).cmp(&(b.timestamp, &b.labels)));
            SeriesExemplars { labels, exemplars }
        });
        sorted.collect()
    }
}
