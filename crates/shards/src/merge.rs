//! Makes one answer of those of several shards. Of what several hold, the first shard's counts.

use std::sync::Arc;

use metricsd_model::{FamilyMetadata, MetricType, Millis, NativeHistogram, Series};
use metricsd_ports::{ErrorKind, PortError, SelectLimits, SelectedSeries, SeriesExemplars};

/// Puts lists together by their keys; what has the same key becomes one, in the order of the lists.
fn by_key<T, K: Ord + ?Sized>(
    lists: Vec<Vec<T>>,
    key: impl Fn(&T) -> &K,
    mut join: impl FnMut(&mut T, T),
) -> Vec<T> {
    let mut all: Vec<T> = lists.into_iter().flatten().collect();
    // Stable, and quick on what is some sorted runs.
    all.sort_by(|a, b| key(a).cmp(key(b)));
    let mut merged: Vec<T> = Vec::with_capacity(all.len());
    for item in all {
        match merged.last_mut() {
            Some(last) if key(last) == key(&item) => join(last, item),
            _ => merged.push(item),
        }
    }
    merged
}

/// Texts or label sets, sorted, each once, at most `limit`.
pub(crate) fn distinct<T: Ord>(lists: Vec<Vec<T>>, limit: usize) -> Vec<T> {
    let mut merged = by_key(lists, |item| item, |_, _| {});
    merged.truncate(limit);
    merged
}

/// Series, ordered by labels, at most `limit`; one that nobody described on one shard is described as on another.
pub(crate) fn series(lists: Vec<Vec<Arc<Series>>>, limit: usize) -> Vec<Arc<Series>> {
    let is_described = |series: &Series| {
        series.metric_type != MetricType::Custom || series.help.is_some() || series.unit.is_some()
    };
    let mut merged = by_key(
        lists,
        |series| &series.labels,
        |first, other| {
            if !is_described(first) {
                *first = other;
            }
        },
    );
    merged.truncate(limit);
    merged
}

/// Samples, ordered by labels and timestamps, within limits that hold over all shards.
pub(crate) fn selected(
    lists: Vec<Vec<SelectedSeries>>,
    limits: SelectLimits,
) -> Result<Vec<SelectedSeries>, PortError> {
    let merged = by_key(lists, |series| &series.labels, join_samples);
    let samples = merged.iter().map(|series| series.timestamps.len()).sum();
    check_limits(merged.len(), samples, limits)?;
    Ok(merged)
}

/// Whether so much may be answered.
pub(crate) fn check_limits(series: usize, samples: usize, limits: SelectLimits) -> Result<(), PortError> {
    within(series, limits.max_series, "series (max_series)")?;
    within(samples, limits.max_samples, "samples (max_samples)")
}

/// Exemplars, ordered by labels, then time and their own labels, within the limit over all shards.
pub(crate) fn exemplars(
    lists: Vec<Vec<SeriesExemplars>>,
    limits: SelectLimits,
) -> Result<Vec<SeriesExemplars>, PortError> {
    let merged = by_key(
        lists,
        |series| &series.labels,
        |first, other| {
            first.exemplars.extend(other.exemplars);
            first.exemplars.sort_by(|a, b| (a.timestamp, &a.labels).cmp(&(b.timestamp, &b.labels)));
            first.exemplars.dedup_by(|b, a| (a.timestamp, &a.labels) == (b.timestamp, &b.labels));
        },
    );
    let count = merged.iter().map(|series| series.exemplars.len()).sum();
    within(count, limits.max_samples, "exemplars (max_samples)")?;
    Ok(merged)
}

fn within(found: usize, limit: usize, what: &str) -> Result<(), PortError> {
    if found <= limit {
        return Ok(());
    }
    Err(PortError::new(ErrorKind::Limit, format!("the selection has more than {limit} {what}")))
}

/// Statements, ordered by family, type, help and unit, of at most `limit` families.
pub(crate) fn families(lists: Vec<Vec<FamilyMetadata>>, limit: usize) -> Vec<FamilyMetadata> {
    let mut all: Vec<FamilyMetadata> = lists.into_iter().flatten().collect();
    let key = |said: &FamilyMetadata| (said.family.clone(), said.metric_type.as_str());
    all.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| (&a.help, &a.unit).cmp(&(&b.help, &b.unit))));
    all.dedup();
    let mut families = 0;
    let mut last: Option<String> = None;
    let beyond = all.iter().position(|said| {
        if last.as_ref() != Some(&said.family) {
            last = Some(said.family.clone());
            families += 1;
        }
        families > limit
    });
    all.truncate(beyond.unwrap_or(all.len()));
    all
}

/// Adds what another shard has of a series.
fn join_samples(first: &mut SelectedSeries, other: SelectedSeries) {
    if first.metric_type == MetricType::Custom {
        first.metric_type = other.metric_type;
    }
    let mine = std::mem::take(&mut first.timestamps);
    let mut sides = [
        Side::new(mine, std::mem::take(&mut first.values), std::mem::take(&mut first.histograms)),
        Side::new(other.timestamps, other.values, other.histograms),
    ];
    first.timestamps.reserve(sides.iter().map(Side::left).sum());
    first.values.reserve(first.timestamps.capacity());
    loop {
        let [mine, theirs] = &mut sides;
        let side = match (mine.time(), theirs.time()) {
            (None, None) => return,
            (None, Some(_)) => theirs,
            (Some(_), None) => mine,
            (Some(at), Some(their)) if their < at => theirs,
            (Some(at), Some(their)) => {
                if at == their {
                    theirs.next();
                }
                mine
            }
        };
        if let Some((at, value, histogram)) = side.next() {
            first.histograms.extend(histogram.map(|histogram| (first.timestamps.len(), histogram)));
            first.timestamps.push(at);
            first.values.push(value);
        }
    }
}

/// The samples of one shard that are still to be merged.
struct Side {
    timestamps: std::iter::Peekable<std::vec::IntoIter<Millis>>,
    values: std::vec::IntoIter<f64>,
    histograms: std::iter::Peekable<std::vec::IntoIter<(usize, NativeHistogram)>>,
    place: usize,
}

impl Side {
    fn new(timestamps: Vec<Millis>, values: Vec<f64>, histograms: Vec<(usize, NativeHistogram)>) -> Self {
        Self {
            timestamps: timestamps.into_iter().peekable(),
            values: values.into_iter(),
            histograms: histograms.into_iter().peekable(),
            place: 0,
        }
    }

    fn left(&self) -> usize {
        self.timestamps.len()
    }

    fn time(&mut self) -> Option<Millis> {
        self.timestamps.peek().copied()
    }

    fn next(&mut self) -> Option<(Millis, f64, Option<NativeHistogram>)> {
        let place = self.place;
        self.place += 1;
        let histogram = self.histograms.next_if(|(at, _)| *at == place).map(|(_, histogram)| histogram);
        Some((self.timestamps.next()?, self.values.next()?, histogram))
    }
}

#[cfg(test)]
mod tests {
    use metricsd_ports::conformance::fixtures::{NOON, histogram, labels};

    use super::*;

    fn series_of(name: &str, samples: &[(Millis, f64)], histograms: &[usize]) -> SelectedSeries {
        SelectedSeries {
            labels: labels(name, &[]),
            metric_type: MetricType::Gauge,
            timestamps: samples.iter().map(|(at, _)| NOON + at).collect(),
            values: samples.iter().map(|(_, value)| *value).collect(),
            histograms: histograms.iter().map(|place| (*place, histogram(*place as f64))).collect(),
        }
    }

    const WIDE: SelectLimits = SelectLimits { max_series: 10, max_samples: 100 };

    #[test]
    fn samples_of_several_shards_are_one_series() {
        let check = |lists: &[&[(Millis, f64)]], expected: &[(Millis, f64)]| {
            let lists = lists.iter().map(|samples| vec![series_of("a", samples, &[])]).collect();
            let merged = selected(lists, WIDE).unwrap();
            let [one] = merged.as_slice() else { panic!("one series, not {}", merged.len()) };
            let samples: Vec<_> = one.timestamps.iter().map(|at| at - NOON).zip(one.values.clone()).collect();
            assert_eq!(samples, expected);
        };
        check(&[&[(1, 1.0), (2, 2.0)], &[(3, 3.0)]], &[(1, 1.0), (2, 2.0), (3, 3.0)]);
        check(&[&[(3, 3.0)], &[(1, 1.0), (2, 2.0)]], &[(1, 1.0), (2, 2.0), (3, 3.0)]);
        check(
            &[&[(1, 1.0), (3, 3.0)], &[(2, 2.0), (3, 9.0), (4, 4.0)]],
            &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)],
        );
        check(&[&[(1, 1.0)], &[(1, 2.0)], &[(1, 3.0), (2, 3.0)]], &[(1, 1.0), (2, 3.0)]);
    }

    #[test]
    fn histograms_stay_with_their_timestamps() {
        let one = series_of("a", &[(1, 0.0), (4, 0.0), (5, 0.0)], &[0, 2]);
        let two = series_of("a", &[(2, 0.0), (4, 0.0), (6, 0.0)], &[0, 1, 2]);
        let merged = selected(vec![vec![one], vec![two]], WIDE).unwrap();
        let places: Vec<(usize, f64)> =
            merged[0].histograms.iter().map(|(place, histogram)| (*place, histogram.count - 7.0)).collect();
        // Of the second shard's the one at 4 is told by the first, which has a float there.
        assert_eq!(places, [(0, 0.0), (1, 0.0), (3, 2.0), (4, 2.0)]);
    }

    #[test]
    fn limits_hold_over_all() {
        let lists =
            |names: [&str; 2]| names.map(|name| vec![series_of(name, &[(1, 1.0), (2, 2.0)], &[])]).to_vec();
        let check = |names, max_series, max_samples, expected: Option<&str>| {
            let merged = selected(lists(names), SelectLimits { max_series, max_samples });
            let error = merged.err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected, "{names:?}");
        };
        check(["a", "b"], 2, 4, None);
        check(["a", "a"], 1, 2, None);
        check(["a", "b"], 1, 4, Some("the selection has more than 1 series (max_series)"));
        check(["a", "b"], 2, 3, Some("the selection has more than 3 samples (max_samples)"));
    }

    #[test]
    fn families_are_counted_as_families() {
        let said = |family: &str, help: &str| FamilyMetadata {
            family: family.into(),
            metric_type: metricsd_model::FamilyType::Gauge,
            help: help.into(),
            unit: String::new(),
        };
        let lists = || {
            vec![vec![said("a", "1"), said("b", "1")], vec![said("a", "0"), said("a", "1"), said("c", "")]]
        };
        assert_eq!(families(lists(), 1), [said("a", "0"), said("a", "1")]);
        assert_eq!(families(lists(), 9).len(), 4);
        assert_eq!(families(lists(), 0), []);
    }
}
