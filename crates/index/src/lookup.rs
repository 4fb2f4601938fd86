//! Which label names and values there are.

use metricsd_model::Matcher;
use roaring::RoaringBitmap;

use crate::LabelIndex;

/// Walking the matching series costs about this many times as much each as walking the values, and looking for each of
/// their series among those that match, does.
const WALK_COST: u64 = 16;

impl LabelIndex {
    /// The first `limit` names, in order, of labels that any matching series has; of all where there is no matcher.
    pub fn label_names(&self, matchers: &[Matcher], limit: usize) -> Vec<String> {
        if matchers.is_empty() {
            return self.dictionary.names().take(limit).map(|name| name.text.to_string()).collect();
        }
        let found = self.select_ordinals(matchers);
        if found.len().saturating_mul(WALK_COST) < self.dictionary.name_count() as u64 {
            return self.names_of(&found, limit);
        }
        let names = self.dictionary.names().filter(|name| !name.postings.is_disjoint(&found));
        names.take(limit).map(|name| name.text.to_string()).collect()
    }

    /// The first `limit` values, in order, of one label over the matching series; over all where there is no matcher.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize) -> Vec<String> {
        let Some(number) = self.dictionary.find_name(name) else { return Vec::new() };
        let values = &self.dictionary.name(number).values;
        let text = |term: u32| self.dictionary.value(term).to_owned();
        // Matchers on the label itself are tried on its values; series are not needed to see which pass.
        if matchers.iter().all(|matcher| matcher.name == name) {
            return self.own_values(number, matchers, limit).into_iter().map(text).collect();
        }
        let found = self.select_ordinals(matchers);
        let walk = values.len() + self.dictionary.name(number).postings.len();
        if found.len().saturating_mul(WALK_COST) < walk as u64 {
            return self.values_of(&found, number, limit);
        }
        let terms = values.iter().filter(|term| !self.dictionary.term(*term).postings.is_disjoint(&found));
        terms.take(limit).map(text).collect()
    }

    /// The names that some series have, from the series.
    fn names_of(&self, found: &RoaringBitmap, limit: usize) -> Vec<String> {
        let mut shapes: Vec<u32> = found.iter().map(|ordinal| self.shapes[ordinal as usize]).collect();
        shapes.sort_unstable();
        shapes.dedup();
        let numbers = shapes.into_iter().flat_map(|shape| self.dictionary.shape(shape));
        let mut names: Vec<&str> = numbers.map(|name| &*self.dictionary.name(*name).text).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().take(limit).map(str::to_owned).collect()
    }

    /// The values that some series have, from the series.
    fn values_of(&self, found: &RoaringBitmap, name: u32, limit: usize) -> Vec<String> {
        let mut terms: Vec<u32> = found.iter().filter_map(|ordinal| self.term_of(ordinal, name)).collect();
        terms.sort_unstable();
        terms.dedup();
        let mut values: Vec<&str> = terms.into_iter().map(|term| self.dictionary.value(term)).collect();
        values.sort_unstable();
        values.into_iter().take(limit).map(str::to_owned).collect()
    }
}
