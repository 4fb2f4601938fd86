//! What selections chose lately. Dashboards ask the same again and again, and the series that a selection chooses change
//! far less often than their samples.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metricsd_model::{LabelSet, Matcher};
use parking_lot::Mutex;

use crate::frames::Columns;
use crate::gather::Found;
use crate::ids::{IdState, Wanted};

/// Selections that are remembered.
const SELECTIONS: usize = 32;

/// Series of all remembered selections together: some 40 MB, and with columns of layouts at most half as much again.
const SERIES: usize = 400_000;

/// The series that a selection chose.
#[derive(Debug, Default)]
pub struct Chosen {
    /// In order of labels.
    pub found: Vec<Found>,
    /// Their places by id.
    pub wanted: Wanted,
    /// Which columns of layouts hold them.
    layouts: Mutex<Layouts>,
}

/// Wanted columns of layouts, as far as they were asked for. Layouts never change.
#[derive(Debug, Default)]
struct Layouts {
    columns: HashMap<i64, Option<Arc<Columns>>, IdState>,
    /// Layouts and columns.
    weight: usize,
}

impl Chosen {
    /// Of series in order of labels.
    pub fn new(found: Vec<Found>) -> Self {
        let wanted = found.iter().zip(0..).map(|(series, place)| (series.id.to_i64(), place)).collect();
        Self { found, wanted, layouts: Mutex::default() }
    }

    /// The wanted columns of a layout, where they are remembered: some, or none at all.
    pub fn known_columns(&self, layout: i64) -> Option<Option<Arc<Columns>>> {
        self.layouts.lock().columns.get(&layout).cloned()
    }

    /// The wanted columns of a layout of these series, which are remembered; `None` where there are none.
    pub fn columns(&self, layout: i64, series: impl ExactSizeIterator<Item = i64>) -> Option<Arc<Columns>> {
        let columns = Columns::new(series, &self.wanted);
        let weight = columns.as_ref().map_or(0, |columns| columns.wanted.len()) + 1;
        let mut layouts = self.layouts.lock();
        if layouts.weight + weight > self.max_weight() {
            *layouts = Layouts::default();
        }
        layouts.weight += weight;
        layouts.columns.insert(layout, columns.clone());
        columns
    }

    /// A series mostly stands in one layout, and in another whenever a series of the same target comes or goes.
    fn max_weight(&self) -> usize {
        4 * self.found.len() + 1_024
    }

    /// The first label sets, at most `limit`.
    pub fn label_sets(&self, limit: usize) -> Vec<LabelSet> {
        self.found.iter().take(limit).map(|found| found.labels.clone()).collect()
    }
}

/// Remembered selections, newest first. Any change of the index makes all of them void.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    version: AtomicU64,
    selections: Mutex<VecDeque<(u64, Vec<Matcher>, Arc<Chosen>)>>,
}

impl Remembered {
    /// The state of the index; to be read before the index is.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Says that the index changed; to be called while nobody else reads the index.
    pub(crate) fn change(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// What the same selection chose, if nothing has changed since.
    pub(crate) fn get(&self, matchers: &[Matcher]) -> Option<Arc<Chosen>> {
        let version = self.version();
        let mut selections = self.selections.lock();
        let place = selections.iter().position(|(then, asked, _)| *then == version && asked == matchers)?;
        let selection = selections.remove(place)?;
        let chosen = Arc::clone(&selection.2);
        selections.push_front(selection);
        Some(chosen)
    }

    /// Remembers what was chosen when the index was at `version`.
    pub(crate) fn insert(&self, version: u64, matchers: Vec<Matcher>, chosen: &Arc<Chosen>) {
        let now = self.version();
        let mut selections = self.selections.lock();
        selections.retain(|(then, asked, _)| *then == now && *asked != matchers);
        if version == now {
            selections.push_front((version, matchers, Arc::clone(chosen)));
        }
        let mut series = 0;
        let mut kept = 0;
        for (_, _, chosen) in selections.iter().take(SELECTIONS) {
            series += chosen.found.len();
            if series > SERIES {
                break;
            }
            kept += 1;
        }
        selections.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::{MetricType, SeriesId};

    fn chosen(count: usize) -> Arc<Chosen> {
        let found = (0..count as u64).map(|id| Found {
            id: SeriesId(id),
            labels: LabelSet::default(),
            metric_type: MetricType::Gauge,
        });
        Arc::new(Chosen::new(found.collect()))
    }

    fn matchers(name: &str) -> Vec<Matcher> {
        vec![Matcher::equal("__name__", name)]
    }

    #[test]
    fn a_change_makes_what_was_chosen_before_void() {
        let remembered = Remembered::default();
        let before = remembered.version();
        remembered.insert(before, matchers("up"), &chosen(3));
        assert_eq!(remembered.get(&matchers("up")).unwrap().wanted.len(), 3);
        assert!(remembered.get(&matchers("down")).is_none());
        remembered.change();
        assert!(remembered.get(&matchers("up")).is_none());
        remembered.insert(before, matchers("up"), &chosen(3));
        assert!(remembered.get(&matchers("up")).is_none(), "chosen before the change");
    }

    #[test]
    fn columns_of_layouts_are_remembered_within_bounds() {
        let chosen = chosen(10);
        assert!(chosen.known_columns(5).is_none());
        let columns = chosen.columns(5, [99, 3, 98, 0].into_iter()).unwrap();
        assert_eq!((columns.width, columns.wanted.as_slice()), (4, &[(1, 3), (3, 0)][..]));
        assert_eq!(chosen.known_columns(5).unwrap(), Some(columns));
        assert!(chosen.columns(6, [50, 60].into_iter()).is_none());
        assert_eq!(chosen.known_columns(6), Some(None), "known to hold none");
        for layout in 10..2_000 {
            chosen.columns(layout, (0..10).collect::<Vec<_>>().into_iter());
        }
        let layouts = chosen.layouts.lock();
        assert!(layouts.weight <= chosen.max_weight() && layouts.columns.len() <= chosen.max_weight() / 11);
    }

    #[test]
    fn the_ones_asked_for_last_stay_within_bounds() {
        let remembered = Remembered::default();
        for number in 0..2 * SELECTIONS {
            remembered.insert(0, matchers(&number.to_string()), &chosen(1));
            assert!(remembered.get(&matchers("0")).is_some(), "asked for again and again");
        }
        assert!(remembered.get(&matchers("1")).is_none());
        remembered.insert(0, matchers("many"), &chosen(SERIES + 1));
        assert!(remembered.get(&matchers("many")).is_none());
    }
}
