//! What the index holds, and where most of it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use metricsd_model::METRIC_NAME;

use crate::LabelIndex;
use crate::dictionary::Term;

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
    /// Series by who sent them first, most first.
    pub series_by_source: Vec<(String, usize)>,
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
        let mut values = Top::new(top);
        for name in dictionary.names() {
            values.offer(&*name.text, name.values.len());
        }
        let mut sources = Top::new(top);
        for (source, series) in self.sources.counts() {
            sources.offer(source, series);
        }
        Statistics {
            series: self.len(),
            label_pairs: dictionary.term_count(),
            values_by_label: values.finish(str::to_owned),
            series_by_source: sources.finish(str::to_owned),
            ..self.count(top, dictionary.terms().map(|term| (term, term.postings.len())))
        }
    }

    /// The same of the series that one source sent first.
    pub fn statistics_of(&self, source: &str, top: usize) -> Statistics {
        let dictionary = &self.dictionary;
        let mut series_of = vec![0u32; dictionary.term_end()];
        let mut series = 0;
        for ordinal in self.sources.ordinals(source) {
            series += 1;
            for term in self.terms.get(ordinal as usize).map_or(&[][..], |terms| terms) {
                series_of[*term as usize] += 1;
            }
        }
        let found = || series_of.iter().zip(0..).filter(|(count, _)| **count > 0);
        let mut values_of = vec![0usize; dictionary.name_end()];
        found().for_each(|(_, term)| values_of[dictionary.term(term).name as usize] += 1);
        let mut values = Top::new(top);
        for (number, name) in
            dictionary.numbered_names().filter(|(number, _)| values_of[*number as usize] > 0)
        {
            values.offer(&*name.text, values_of[number as usize]);
        }
        let mut sources = Top::new(top);
        if series > 0 {
            sources.offer(source, series);
        }
        Statistics {
            series,
            label_pairs: found().count(),
            values_by_label: values.finish(str::to_owned),
            series_by_source: sources.finish(str::to_owned),
            ..self.count(top, found().map(|(count, term)| (dictionary.term(term), *count as usize)))
        }
    }

    /// The lists that follow from how many series each term has.
    fn count<'a>(&'a self, top: usize, terms: impl Iterator<Item = (&'a Term, usize)>) -> Statistics {
        let dictionary = &self.dictionary;
        let metric = dictionary.find_name(METRIC_NAME);
        let (mut metrics, mut pairs) = (Top::new(top), Top::new(top));
        let mut bytes = vec![0usize; dictionary.name_end()];
        for (term, series) in terms {
            if Some(term.name) == metric {
                metrics.offer(&*term.value, series);
            }
            pairs.offer((&*dictionary.name(term.name).text, &*term.value), series);
            bytes[term.name as usize] += term.value.len() * series;
        }
        let mut sizes = Top::new(top);
        for (number, name) in dictionary.numbered_names().filter(|(number, _)| bytes[*number as usize] > 0) {
            sizes.offer(&*name.text, bytes[number as usize]);
        }
        Statistics {
            series_by_metric: metrics.finish(str::to_owned),
            bytes_by_label: sizes.finish(str::to_owned),
            series_by_pair: pairs.finish(|(name, value)| format!("{name}={value}")),
            ..Statistics::default()
        }
    }
}
