//! Label names and values, each kept once and numbered, with the series that carry them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use crate::postings::Postings;
use crate::sorted::SortedIds;
use crate::table::Table;

/// One value of one label.
#[derive(Debug, Default)]
pub(crate) struct Term {
    /// Number of the label's name.
    pub(crate) name: u32,
    pub(crate) value: Box<str>,
    /// The series that have this value; empty only while the number is free.
    pub(crate) postings: Postings,
}

/// One label.
#[derive(Debug, Default)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    /// Terms of its values, in order of value.
    pub(crate) values: SortedIds,
    /// The series that have the label; empty only while the number is free.
    pub(crate) postings: Postings,
}

/// Which labels a series has, in order of name. Series of one metric mostly share theirs.
#[derive(Debug, Default)]
struct Shape {
    names: Arc<[u32]>,
    series: u32,
}

/// All names, values and shapes. Numbers of what no series has any more are given out again.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    terms: Vec<Term>,
    free_terms: Vec<u32>,
    /// New terms that stand not yet among the values of their labels; none between calls.
    unsorted: Vec<u32>,
    /// Terms by name and value. Keyed afresh in each process: labels come from outside.
    by_text: Table,
    names: Vec<Name>,
    free_names: Vec<u32>,
    by_name: BTreeMap<Box<str>, u32>,
    shapes: Vec<Shape>,
    free_shapes: Vec<u32>,
    by_shape: HashMap<Arc<[u32]>, u32>,
    hasher: RandomState,
}

impl Dictionary {
    /// The term of a number that is in use.
    pub(crate) fn term(&self, term: u32) -> &Term {
        &self.terms[term as usize]
    }

    /// A term's value.
    pub(crate) fn value(&self, term: u32) -> &str {
        &self.term(term).value
    }

    /// The label of a number that is in use.
    pub(crate) fn name(&self, name: u32) -> &Name {
        &self.names[name as usize]
    }

    /// The names of a shape's labels, in order of name.
    pub(crate) fn shape(&self, shape: u32) -> &[u32] {
        &self.shapes[shape as usize].names
    }

    /// The number of a label, if any series has it.
    pub(crate) fn find_name(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The number of a value, if any series has it.
    pub(crate) fn find_term(&self, name: &str, value: &str) -> Option<u32> {
        self.by_text.find(self.hash(name, value), |term| self.is(term, name, value))
    }

    /// All labels, in order of name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.numbered_names().map(|(_, name)| name)
    }

    /// All labels with their numbers, in order of name.
    pub(crate) fn numbered_names(&self) -> impl Iterator<Item = (u32, &Name)> {
        self.by_name.values().map(|name| (*name, self.name(*name)))
    }

    /// One past the greatest number of a label.
    pub(crate) fn name_end(&self) -> usize {
        self.names.len()
    }

    /// One past the greatest number of a term.
    pub(crate) fn term_end(&self) -> usize {
        self.terms.len()
    }

    /// How many different labels there are.
    pub(crate) fn name_count(&self) -> usize {
        self.by_name.len()
    }

    /// How many different pairs of name and value there are.
    pub(crate) fn term_count(&self) -> usize {
        self.terms.len() - self.free_terms.len()
    }

    /// All terms, in no order.
    pub(crate) fn terms(&self) -> impl Iterator<Item = &Term> {
        self.terms.iter().filter(|term| !term.postings.is_empty())
    }

    /// Notes that a series has a label: the numbers of its name and of its term.
    pub(crate) fn add(&mut self, name: &str, value: &str, ordinal: u32) -> (u32, u32) {
        let hash = self.hash(name, value);
        let found = self.by_text.find(hash, |term| self.is(term, name, value));
        let term = found.unwrap_or_else(|| self.add_term(hash, name, value));
        let entry = &mut self.terms[term as usize];
        entry.postings.insert(ordinal);
        self.names[entry.name as usize].postings.insert(ordinal);
        (entry.name, term)
    }

    /// Notes that a series no longer has a label, and forgets a value or a label that none has.
    pub(crate) fn remove(&mut self, term: u32, ordinal: u32) {
        let entry = &mut self.terms[term as usize];
        entry.postings.remove(ordinal);
        let name = entry.name;
        self.names[name as usize].postings.remove(ordinal);
        if entry.postings.is_empty() {
            self.remove_term(term);
        }
        let label = &mut self.names[name as usize];
        if label.postings.is_empty() {
            self.by_name.remove(&label.text);
            *label = Name::default();
            self.free_names.push(name);
        }
    }

    /// The number of a list of labels, for one more series.
    pub(crate) fn add_shape(&mut self, names: &[u32]) -> u32 {
        if let Some(shape) = self.by_shape.get(names) {
            self.shapes[*shape as usize].series += 1;
            return *shape;
        }
        let names: Arc<[u32]> = names.into();
        let shape =
            put(&mut self.shapes, &mut self.free_shapes, Shape { names: Arc::clone(&names), series: 1 });
        self.by_shape.insert(names, shape);
        shape
    }

    /// Notes that one series less has this list of labels.
    pub(crate) fn remove_shape(&mut self, shape: u32) {
        let entry = &mut self.shapes[shape as usize];
        entry.series -= 1;
        if entry.series == 0 {
            self.by_shape.remove(&entry.names);
            *entry = Shape::default();
            self.free_shapes.push(shape);
        }
    }

    fn is(&self, term: u32, name: &str, value: &str) -> bool {
        let term = self.term(term);
        &*term.value == value && &*self.name(term.name).text == name
    }

    fn hash(&self, name: &str, value: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(value.as_bytes());
        hasher.finish()
    }

    fn add_term(&mut self, hash: u64, name: &str, value: &str) -> u32 {
        let name = self.find_name(name).unwrap_or_else(|| self.add_name(name));
        let term = Term { name, value: value.into(), postings: Postings::default() };
        let term = put(&mut self.terms, &mut self.free_terms, term);
        self.by_text.insert(hash, term);
        self.unsorted.push(term);
        term
    }

    /// How many terms wait for [`Dictionary::sort_in`].
    pub(crate) fn unsorted(&self) -> usize {
        self.unsorted.len()
    }

    /// Puts new terms among the values of their labels. Many at once go in order, each near to where the last one
    /// went, which takes half the time.
    pub(crate) fn sort_in(&mut self) {
        let terms = &self.terms;
        let mut unsorted = std::mem::take(&mut self.unsorted);
        if unsorted.len() > 1 {
            unsorted.sort_unstable_by_key(|id| {
                let term = &terms[*id as usize];
                (term.name, &term.value)
            });
        }
        for id in unsorted.drain(..) {
            let Term { name, value, .. } = &terms[id as usize];
            self.names[*name as usize].values.insert(id, value, |id| &terms[id as usize].value);
        }
        // The room is kept: a list a series would be an allocation a series.
        self.unsorted = unsorted;
    }

    fn add_name(&mut self, text: &str) -> u32 {
        let name = Name { text: text.into(), ..Name::default() };
        let name = put(&mut self.names, &mut self.free_names, name);
        self.by_name.insert(text.into(), name);
        name
    }

    fn remove_term(&mut self, term: u32) {
        let Term { name, value, .. } = &self.terms[term as usize];
        let hash = self.hash(&self.names[*name as usize].text, value);
        let terms = &self.terms;
        self.names[*name as usize].values.remove(value, |id| &terms[id as usize].value);
        self.by_text.remove(hash, term);
        self.terms[term as usize] = Term::default();
        self.free_terms.push(term);
    }
}

/// Puts an entry into a free place, or a new one. Places are fewer than 2^32: each series holds fewer bytes of labels
/// than memory has, and there are fewer than 2^32 series.
pub(crate) fn put<T>(entries: &mut Vec<T>, free: &mut Vec<u32>, entry: T) -> u32 {
    if let Some(place) = free.pop() {
        entries[place as usize] = entry;
        place
    } else {
        entries.push(entry);
        (entries.len() - 1) as u32
    }
}
