//! Lists of series that remote writers send again and again. Such a list is stored once as a layout, and frames refer to
//! it: they are smaller by the ids, and a question about few series passes over the frames of other lists.
//!
//! Who sends a list again is followed along its [`Track`]: the request becomes one column of values under the layout
//! that is there already, and no series is looked up on the way, neither here nor in the store.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::Arc;

use metricsd_model::{Frame, Layout, LayoutId};
use parking_lot::RwLock;

use super::track::Track;
use crate::hash::AsIs;

/// Shorter lists are not worth a layout.
const SHORTEST: usize = 16;

/// Lists that are remembered, at least; twice as many at most.
const LISTS: usize = 1 << 15;

/// Words of memory that a column of a layout takes: its id and its series.
const COLUMN_WORDS: usize = 2;

/// The lists that have come lately, in two halves: when the newer one is full it takes the place of the older one, and
/// what is used moves to the newer one.
#[derive(Debug)]
pub(crate) struct SeenLists {
    halves: RwLock<Halves>,
    /// In words of eight bytes, of each half.
    max_words: usize,
}

#[derive(Debug, Default)]
struct Halves {
    newer: Half,
    older: Half,
}

#[derive(Debug, Default)]
struct Half {
    /// A list that came once is only a name.
    lists: HashMap<LayoutId, Option<Arc<Layout>>>,
    /// By how they begin.
    tracks: HashMap<u64, Arc<Track>, BuildHasherDefault<AsIs>>,
    /// What all of them take.
    words: usize,
}

impl SeenLists {
    /// Remembers lists in about so many bytes. The series of a list stay in memory with it.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { halves: RwLock::default(), max_words: max_bytes / 8 / 2 }
    }

    /// Gives a frame whose list has come before the layout that is stored once, and answers it. A list that comes only
    /// once travels in its frame and leaves nothing behind.
    pub(super) fn recognise(&self, frame: &mut Frame) -> Option<Arc<Layout>> {
        if frame.layout.ids.len() < SHORTEST {
            return None;
        }
        let id = Layout::id_of(&frame.layout.ids);
        let mut halves = self.halves.write();
        let Some(kept) = halves.take(id) else {
            halves.keep(id, None, self.max_words);
            return None;
        };
        let again = kept.filter(|kept| is_same(kept, &frame.layout));
        if let Some(kept) = again {
            frame.layout = kept;
        } else if is_distinct(frame)
            && let Some(layout) = Arc::get_mut(&mut frame.layout)
        {
            layout.id = Some(id);
        }
        let layout = frame.layout.id.is_some().then(|| Arc::clone(&frame.layout));
        halves.keep(id, layout.clone(), self.max_words);
        layout
    }

    /// The track of a list that begins so.
    pub(super) fn track(&self, start: u64) -> Option<Arc<Track>> {
        if let Some(track) = self.halves.read().newer.tracks.get(&start) {
            return Some(Arc::clone(track));
        }
        let mut halves = self.halves.write();
        let track = halves.older.tracks.remove(&start)?;
        halves.lay(start, Arc::clone(&track), self.max_words);
        let layout = Arc::clone(track.layout());
        if let Some(id) = layout.id {
            halves.take(id);
            halves.keep(id, Some(layout), self.max_words);
        }
        Some(track)
    }

    /// Keeps the track of a list that was recognised.
    pub(super) fn lay(&self, start: u64, track: Track) {
        self.halves.write().lay(start, Arc::new(track), self.max_words);
    }
}

impl Halves {
    /// What is kept of a list, which is no longer kept then; the inner value is absent for one that came once.
    fn take(&mut self, id: LayoutId) -> Option<Option<Arc<Layout>>> {
        [&mut self.newer, &mut self.older].into_iter().find_map(|half| {
            let kept = half.lists.remove(&id)?;
            half.words -= kept.as_deref().map_or(0, words_of);
            Some(kept)
        })
    }

    fn keep(&mut self, id: LayoutId, layout: Option<Arc<Layout>>, max_words: usize) {
        self.newer.words += layout.as_deref().map_or(0, words_of);
        self.newer.lists.insert(id, layout);
        self.turn(max_words);
    }

    fn lay(&mut self, start: u64, track: Arc<Track>, max_words: usize) {
        self.newer.words += track.len();
        if let Some(replaced) = self.newer.tracks.insert(start, track) {
            self.newer.words -= replaced.len();
        }
        self.turn(max_words);
    }

    /// Forgets the older half when the newer one is full.
    fn turn(&mut self, max_words: usize) {
        if self.newer.lists.len() >= LISTS || self.newer.words > max_words {
            self.older = mem::take(&mut self.newer);
        }
    }
}

fn words_of(layout: &Layout) -> usize {
    layout.ids.len() * COLUMN_WORDS
}

/// The very same series, with what is said of them.
fn is_same(kept: &Layout, layout: &Layout) -> bool {
    let series = || kept.series.iter().zip(&layout.series);
    kept.ids == layout.ids && series().all(|(kept, series)| Arc::ptr_eq(kept, series))
}

/// Whether no series comes twice, as a layout must be. The same series twice would need two times.
fn is_distinct(frame: &Frame) -> bool {
    if frame.offsets.is_none() {
        return true;
    }
    let mut ids = frame.layout.ids.clone();
    ids.sort_unstable();
    ids.windows(2).all(|pair| pair.first() != pair.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::{LabelSet, MetricSource, MetricType, Series, SeriesId};

    /// A list of its own for each number.
    fn frame(number: usize) -> Frame {
        let labels = LabelSet::new([("__name__", "m")]).unwrap();
        let series = Arc::new(Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type: MetricType::Gauge,
            source_type: MetricSource::Application,
            source: "s".into(),
            target_id: "".into(),
            help: None,
            unit: None,
        });
        let ids = (number..number + SHORTEST).map(|id| SeriesId(id as u64)).collect();
        let layout = Arc::new(Layout { id: None, ids, series: vec![series; SHORTEST] });
        Frame { layout, time: 0, offsets: None, values: vec![0.0; SHORTEST], histograms: Vec::new() }
    }

    #[test]
    fn what_came_long_ago_is_forgotten() {
        let seen = SeenLists::new(1 << 30);
        let comes = |number: usize| seen.recognise(&mut frame(number)).is_some();
        assert!(!comes(0));
        assert!(comes(0));
        (1..2 * LISTS).for_each(|number| assert!(!comes(number)));
        assert!(comes(LISTS + 1));
        assert!(!comes(0));
    }

    #[test]
    fn lists_are_kept_within_their_bytes() {
        let seen = SeenLists::new(20 * SHORTEST * COLUMN_WORDS * 8);
        for number in 0..1_000 {
            let frame = frame(number);
            let come = || {
                let layout = Arc::new(Layout::clone(&frame.layout));
                seen.recognise(&mut Frame { layout, ..frame.clone() })
            };
            assert!(come().is_none());
            let (first, second) = (come(), come());
            assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        }
        let halves = seen.halves.read();
        let kept = |half: &Half| half.lists.values().flatten().map(|layout| words_of(layout)).sum::<usize>();
        assert_eq!(kept(&halves.newer), halves.newer.words);
        assert!(kept(&halves.newer) + kept(&halves.older) <= 21 * SHORTEST * COLUMN_WORDS);
    }
}
