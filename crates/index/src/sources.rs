//! Who sent each series first: a number a series, and a count a source.

use std::collections::HashMap;

/// Stands for no source; never a place.
const NOBODY: u32 = u32::MAX;

/// Sources by ordinal.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Places in `names` by ordinal; ordinals beyond the end have no source.
    of: Vec<u32>,
    names: Vec<(Box<str>, usize)>,
    by_name: HashMap<Box<str>, u32>,
    /// Places of names that no series has any more.
    free: Vec<u32>,
}

impl Sources {
    /// Notes the source of an ordinal in place of the one it had.
    pub(crate) fn set(&mut self, ordinal: u32, source: &str) {
        self.remove(ordinal);
        let place = match self.by_name.get(source) {
            Some(place) => *place,
            None => {
                let place = crate::dictionary::put(&mut self.names, &mut self.free, (source.into(), 0));
                self.by_name.insert(source.into(), place);
                place
            }
        };
        let at = ordinal as usize;
        if self.of.len() <= at {
            self.of.resize(at + 1, NOBODY);
        }
        self.of[at] = place;
        self.names[place as usize].1 += 1;
    }

    /// Forgets the source of an ordinal.
    pub(crate) fn remove(&mut self, ordinal: u32) {
        let Some(of) = self.of.get_mut(ordinal as usize) else { return };
        let place = std::mem::replace(of, NOBODY);
        let Some((name, count)) = self.names.get_mut(place as usize) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_name.remove(name);
            *name = Box::default();
            self.free.push(place);
        }
    }

    /// Every source with the number of its series, in no order.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.by_name
            .values()
            .filter_map(|place| self.names.get(*place as usize))
            .map(|(name, n)| (&**name, *n))
    }

    /// The ordinals of a source, in order.
    pub(crate) fn ordinals(&self, source: &str) -> impl Iterator<Item = u32> {
        let wanted = self.by_name.get(source).copied();
        let ordinals = self.of.iter().zip(0..);
        ordinals.filter(move |(place, _)| Some(**place) == wanted).map(|(_, ordinal)| ordinal)
    }
}
