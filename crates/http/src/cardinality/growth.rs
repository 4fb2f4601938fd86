//! What has grown within the last hour: the greatest names of now against those of then.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use metricsd_ports::IndexStatistics;
use parking_lot::Mutex;
use serde::Serialize;

use super::MAX_LIMIT;

/// How often the state of things is noted.
pub(super) const EVERY: Duration = Duration::from_secs(300);

/// How far growth is looked back for.
const WINDOW: Duration = Duration::from_secs(3_600);

/// States that are kept, a few hundred kilobytes each at most.
const KEPT: usize = 14;

/// States of the last hour, oldest first.
#[derive(Default)]
pub(super) struct Growth(Mutex<VecDeque<Noted>>);

struct Noted {
    at: Instant,
    series: usize,
    metrics: Counts,
    labels: Counts,
    sources: Counts,
}

/// What the greatest names had.
struct Counts {
    by_name: HashMap<String, usize>,
    /// What a name had at most that is not among them.
    others: usize,
}

impl Counts {
    fn of(list: &[(String, usize)]) -> Self {
        let cut = list.len() >= MAX_LIMIT;
        let others = list.last().filter(|_| cut).map_or(0, |(_, count)| *count);
        Self { by_name: list.iter().cloned().collect(), others }
    }

    /// By how much each name has grown, most first; at least so much where its number then is not known.
    fn growth(&self, now: &[(String, usize)], limit: usize) -> Vec<Grown> {
        let before = |name: &str| self.by_name.get(name).copied().unwrap_or(self.others);
        let grown = |(name, now): &(String, usize)| Grown {
            name: name.clone(),
            now: *now,
            added: now.saturating_sub(before(name)),
        };
        let mut grown: Vec<Grown> = now.iter().map(grown).filter(|grown| grown.added > 0).collect();
        grown.sort_by(|a, b| b.added.cmp(&a.added).then_with(|| a.name.cmp(&b.name)));
        grown.truncate(limit);
        grown
    }
}

/// What grew.
#[derive(Serialize)]
pub(super) struct GrowthReport {
    /// How far it was looked back.
    seconds: u64,
    /// Series more than then; less where some were removed.
    series_added: i64,
    /// Series by metric.
    by_metric: Vec<Grown>,
    /// Values by label.
    by_label: Vec<Grown>,
    /// Series by source.
    by_source: Vec<Grown>,
}

#[derive(Debug, Serialize, PartialEq)]
struct Grown {
    name: String,
    now: usize,
    added: usize,
}

impl Growth {
    /// Notes the state of things, and forgets those that are older than need be.
    pub(super) fn note(&self, found: &IndexStatistics, now: Instant) {
        let noted = Noted {
            at: now,
            series: found.series,
            metrics: Counts::of(&found.series_by_metric),
            labels: Counts::of(&found.values_by_label),
            sources: Counts::of(&found.series_by_source),
        };
        let mut kept = self.0.lock();
        kept.push_back(noted);
        // The last that is old enough stays, so that there is always one.
        while kept.len() > KEPT || kept.get(1).is_some_and(|next| now.duration_since(next.at) >= WINDOW) {
            kept.pop_front();
        }
    }

    /// Notes the state of things where none is known.
    pub(super) fn begin(&self, found: &IndexStatistics, now: Instant) {
        if self.0.lock().is_empty() {
            self.note(found, now);
        }
    }

    /// What has grown since the oldest state that is known.
    pub(super) fn report(&self, found: &IndexStatistics, limit: usize, now: Instant) -> Option<GrowthReport> {
        let kept = self.0.lock();
        let then = kept.front()?;
        Some(GrowthReport {
            seconds: now.duration_since(then.at).as_secs(),
            series_added: found.series as i64 - then.series as i64,
            by_metric: then.metrics.growth(&found.series_by_metric, limit),
            by_label: then.labels.growth(&found.values_by_label, limit),
            by_source: then.sources.growth(&found.series_by_source, limit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(metrics: &[(&str, usize)]) -> IndexStatistics {
        IndexStatistics {
            series: metrics.iter().map(|(_, series)| series).sum(),
            series_by_metric: metrics.iter().map(|(name, series)| ((*name).to_owned(), *series)).collect(),
            ..IndexStatistics::default()
        }
    }

    #[test]
    fn growth_is_told_over_an_hour() {
        let (growth, begin) = (Growth::default(), Instant::now());
        let at = |minutes: u64| begin + Duration::from_secs(60 * minutes);
        assert!(growth.report(&state(&[]), 9, begin).is_none());
        growth.note(&state(&[("a", 5), ("b", 2)]), begin);
        let now = state(&[("b", 9), ("a", 6), ("c", 3)]);
        let report = growth.report(&now, 2, at(10)).unwrap();
        let grown = |name: &str, now, added| Grown { name: name.to_owned(), now, added };
        assert_eq!(report.by_metric, [grown("b", 9, 7), grown("c", 3, 3)]);
        assert_eq!((report.seconds, report.series_added), (600, 11));
        for minutes in (5..=120).step_by(5) {
            growth.note(&now, at(minutes));
            assert!(growth.0.lock().len() <= KEPT);
        }
        let report = growth.report(&state(&[("b", 8)]), 2, at(121)).unwrap();
        assert_eq!((report.seconds, report.series_added, report.by_metric.len()), (3_660, -10, 0));
    }

    #[test]
    fn a_name_that_was_among_the_others_has_grown_by_at_least_the_difference() {
        let many: Vec<(String, usize)> =
            (0..MAX_LIMIT).map(|at| (format!("m{at}"), 2 * MAX_LIMIT - at)).collect();
        let counts = Counts::of(&many);
        let grown = counts.growth(&[("new".to_owned(), 2 * MAX_LIMIT), ("m0".to_owned(), 2 * MAX_LIMIT)], 9);
        assert_eq!(grown, [Grown { name: "new".into(), now: 2 * MAX_LIMIT, added: MAX_LIMIT - 1 }]);
    }
}
