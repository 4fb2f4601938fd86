//! What the indexes of several shards hold together.

use std::collections::{BTreeMap, BTreeSet};

use metricsd_ports::IndexStatistics;

/// One statistic of whole ones; its lists are cut to `top` entries.
pub(crate) fn merged(found: Vec<IndexStatistics>, top: usize) -> IndexStatistics {
    let mut pairs: BTreeSet<&str> = BTreeSet::new();
    let mut values: BTreeMap<&str, usize> = BTreeMap::new();
    for (pair, _) in found.iter().flat_map(|statistics| &statistics.series_by_pair) {
        if pairs.insert(pair) {
            let name = pair.split_once('=').map_or(pair.as_str(), |(name, _)| name);
            *values.entry(name).or_default() += 1;
        }
    }
    let label_pairs =
        if top == 0 { found.iter().map(|statistics| statistics.label_pairs).sum() } else { pairs.len() };
    let sum = |list: fn(&IndexStatistics) -> &Vec<(String, usize)>| {
        let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, count) in found.iter().flat_map(list) {
            *sums.entry(name).or_default() += count;
        }
        most(sums, top)
    };
    IndexStatistics {
        series: found.iter().map(|statistics| statistics.series).sum(),
        label_pairs,
        series_by_metric: sum(|statistics| &statistics.series_by_metric),
        values_by_label: most(values, top),
        bytes_by_label: sum(|statistics| &statistics.bytes_by_label),
        series_by_pair: sum(|statistics| &statistics.series_by_pair),
        series_by_source: sum(|statistics| &statistics.series_by_source),
    }
}

/// The largest counts, equal ones by name.
fn most(counts: BTreeMap<&str, usize>, top: usize) -> Vec<(String, usize)> {
    let mut list: Vec<(&str, usize)> = counts.into_iter().collect();
    list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    list.truncate(top);
    list.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
