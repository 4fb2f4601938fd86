//! What the index holds, and where most of it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use metricsd_model::METRIC_NAME;

use crate::LabelIndex;

/// How many series there are, and which names hold most of them. Lists are ordered by number, greatest first, then
/// by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Series.
    pub series: usize,
    /// Different pairs of label name and value.
    pub label_pairs: usize,
    /// Series by metric name, most first.
    pub series_by_metric: Vec<(String, usize)>,
    /// Different values by label name, most first.
    pub values_by_label: Vec<(String, usize)>,
    /// Bytes of the values of all series by label name, most first: each value counts once for each series that has
    /// it, although the index keeps it once.
    pub bytes_by_label: Vec<(String, usize)>,
    /// Series by `name=value`, most first.
    pub series_by_pair: Vec<(String, usize)>,
}

/// The greatest of the entries that are offered, at most `limit`, without keeping the others.
struct Top<T> {
    limit: usize,
    /// Least on top.
    entries: BinaryHeap<Reverse<(usize, Reverse<T>)>>,
}

impl<T: Ord> Top<T> {
    fn new(limit: usize) -> Self {
        Self { limit, entries: BinaryHeap::new() }
    }

    fn offer(&mut self, name: T, count: usize) {
        let entry = Reverse((count, Reverse(name)));
        if self.entries.len() < self.limit {
            self.entries.push(entry);
        } else if let Some(mut least) = self.entries.peek_mut()
            && entry < *least
        {
            *least = entry;
        }
    }

    /// In order, under the names that `write` makes of the entries.
    fn finish(self, write: impl Fn(T) -> String) -> Vec<(String, usize)> {
        let entries = self.entries.into_sorted_vec();
        entries.into_iter().map(|Reverse((count, Reverse(name)))| (write(name), count)).collect()
    }
}

impl LabelIndex {
    /// What the index holds; lists are cut to `top` entries.
    pub fn statistics(&self, top: usize) -> Statistics {
        let dictionary = &self.dictionary;
        let metric = dictionary.find_name(METRIC_NAME);
        let (mut metrics, mut pairs) = (Top::new(top), Top::new(top));
        let mut bytes = vec![0usize; dictionary.name_end()];
        for term in dictionary.terms() {
            let series = term.postings.len();
            if Some(term.name) == metric {
                metrics.offer(&*term.value, series);
            }
            pairs.offer((&*dictionary.name(term.name).text, &*term.value), series);
            bytes[term.name as usize] += term.value.len() * series;
        }
        let (mut values, mut sizes) = (Top::new(top), Top::new(top));
        for (number, name) in dictionary.numbered_names() {
            values.offer(&*name.text, name.values.len());
            sizes.offer(&*name.text, bytes[number as usize]);
        }
        Statistics {
            series: self.len(),
            label_pairs: dictionary.term_count(),
            series_by_metric: metrics.finish(str::to_owned),
            values_by_label: values.finish(str::to_owned),
            bytes_by_label: sizes.finish(str::to_owned),
            series_by_pair: pairs.finish(|(name, value)| format!("{name}={value}")),
        }
    }
}
