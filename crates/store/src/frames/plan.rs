//! The way through a selection's frames: which windows of time are listed, which frames are held at once, and in which
//! blocks they are gathered.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_model::Millis;
use metricsd_ports::PortError;

use super::{Frame, Listed};
use crate::damaged;
use crate::gather::{Gather, Range};
use crate::ids::{IdState, Wanted};

/// What a selection wants of a layout.
#[derive(Debug, PartialEq, Eq)]
pub struct Columns {
    /// All columns of the layout.
    pub width: usize,
    /// Wanted columns, ascending, each with the place of its series in the selection.
    pub wanted: Vec<(u32, u32)>,
}

impl Columns {
    /// The wanted columns of a layout of these series; `None` where it has none.
    pub fn new(series: impl ExactSizeIterator<Item = i64>, wanted: &Wanted) -> Option<Arc<Self>> {
        let width = series.len();
        let columns: Vec<(u32, u32)> =
            series.zip(0..).filter_map(|(id, at)| Some((at, *wanted.get(&id)? as u32))).collect();
        (!columns.is_empty()).then(|| Arc::new(Self { width, wanted: columns }))
    }
}

/// The layouts that hold wanted series.
pub type Plan = HashMap<i64, Arc<Columns>, IdState>;

/// Frames that one listing may hold; of a window with more, the two halves are listed one after the other.
const LISTED: usize = 65_536;

/// Bytes of frames that are held at once, cached or not.
const SLICE_BYTES: usize = 32 << 20;

/// A window of time: first and last time of the frames in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Inclusive.
    pub first: Millis,
    /// Inclusive.
    pub last: Millis,
}

impl Window {
    /// How many rows a listing asks for: one more than a window may have, unless it cannot be divided.
    pub fn limit(self) -> i64 {
        if self.first < self.last { LISTED as i64 + 1 } else { i64::MAX }
    }
}

/// Windows of time that together make a range, in order of time.
#[derive(Debug)]
pub struct Windows {
    /// The next one last.
    open: Vec<Window>,
}

impl Windows {
    /// The range as a whole, from the beginning of its first hour.
    pub fn new(range: Range) -> Self {
        Self { open: vec![Window { first: range.bucket, last: range.end }] }
    }

    /// The next window.
    pub fn next_window(&mut self) -> Option<Window> {
        self.open.pop()
    }

    /// Whether a listing of so many rows holds all of the window. Where it does not, the halves of the window come next.
    pub fn is_whole(&mut self, window: Window, rows: usize) -> bool {
        let Window { first, last } = window;
        if first >= last || rows <= LISTED {
            return true;
        }
        let middle = first.midpoint(last);
        self.open.push(Window { first: middle.saturating_add(1), last });
        self.open.push(Window { first, last: middle });
        false
    }
}

/// Puts frames in order of time and divides them into slices that may be held in memory.
pub fn slices(listed: &mut [Listed]) -> impl Iterator<Item = &[Listed]> {
    listed.sort_unstable_by_key(|listed| (listed.key.time, listed.key.order));
    let mut rest = &*listed;
    std::iter::from_fn(move || {
        let mut bytes = 0usize;
        let fits = |listed: &&Listed| {
            bytes = bytes.saturating_add(listed.bytes);
            bytes <= SLICE_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (slice, others) = rest.split_at_checked(count)?;
        rest = others;
        Some(slice)
    })
}

/// Frames of one slice, by layout: the frames of a block have the same columns.
#[derive(Debug, Default)]
pub struct Blocks {
    /// In order of their first frames.
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    layout: Option<i64>,
    frames: Vec<Arc<Frame>>,
}

impl Blocks {
    /// Takes the frames of a slice, in its order.
    pub fn new(slice: &[Listed], frames: Vec<Arc<Frame>>) -> Self {
        let mut places: HashMap<i64, usize, IdState> = HashMap::default();
        let mut blocks: Vec<Block> = Vec::new();
        for (listed, frame) in slice.iter().zip(frames) {
            let open = listed.layout.and_then(|layout| places.get(&layout));
            match open.and_then(|place| blocks.get_mut(*place)) {
                Some(block) => block.frames.push(frame),
                None => {
                    if let Some(layout) = listed.layout {
                        places.insert(layout, blocks.len());
                    }
                    blocks.push(Block { layout: listed.layout, frames: vec![frame] });
                }
            }
        }
        Self { blocks }
    }

    /// Gives the wanted columns of all frames to the gatherer.
    pub fn give(&self, plan: &Plan, wanted: &Wanted, gather: &mut Gather) -> Result<(), PortError> {
        for block in &self.blocks {
            match block.layout {
                Some(layout) => {
                    let unasked = || damaged("a frame of a layout that was not asked for");
                    gather.add_frames(&block.frames, &plan.get(&layout).ok_or_else(unasked)?.wanted)?;
                }
                None => {
                    for frame in &block.frames {
                        let columns = own_columns(frame, wanted)?;
                        gather.add_frames(std::slice::from_ref(frame), &columns)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The wanted columns of a frame that carries its own list, from whichever side is shorter.
fn own_columns(frame: &Frame, wanted: &Wanted) -> Result<Vec<(u32, u32)>, PortError> {
    let ids = frame.ids().ok_or_else(|| damaged("a frame without a list of series"))?;
    // A search costs about as much as so many look-ups.
    let searches = wanted.len().saturating_mul(ids.len().max(2).ilog2() as usize / 2 + 1);
    let mut columns = Vec::new();
    if searches >= ids.len() {
        let found = ids.iter().zip(0..).filter_map(|(id, at)| Some((at, *wanted.get(id)? as u32)));
        columns.extend(found);
        return Ok(columns);
    }
    for (id, place) in wanted {
        let first = ids.partition_point(|other| other < id);
        let same = ids.iter().skip(first).take_while(|other| *other == id);
        columns.extend(same.zip(first as u32..).map(|(_, at)| (at, *place as u32)));
    }
    columns.sort_unstable();
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{FrameKey, FrameParts};

    #[test]
    fn windows_cover_a_range_once_and_in_order() {
        let range = Range::new(7_200_500, 7_210_000);
        let mut windows = Windows::new(range);
        let mut covered = range.bucket;
        let mut longest = 0;
        while let Some(window) = windows.next_window() {
            // So many frames that windows of more than 20 ms are too large.
            let rows = if window.last - window.first >= 20 { LISTED + 1 } else { 5 };
            assert!(window.limit() > LISTED as i64);
            if windows.is_whole(window, rows) {
                assert_eq!(window.first, covered);
                covered = window.last + 1;
                longest = longest.max(window.last - window.first);
            }
        }
        assert_eq!(covered, range.end + 1);
        assert!((10..20).contains(&longest));
    }

    #[test]
    fn everything_can_be_divided_and_a_millisecond_cannot() {
        let mut everything = Windows::new(Range::new(i64::MIN, i64::MAX));
        let whole = everything.next_window().unwrap();
        assert!(!everything.is_whole(whole, LISTED + 1));
        let halves = [everything.next_window().unwrap(), everything.next_window().unwrap()];
        assert_eq!((halves[0].first, halves[0].last + 1), (i64::MIN, halves[1].first));
        assert_eq!(halves[1].last, i64::MAX);
        let smallest = Window { first: 3, last: 3 };
        assert_eq!(smallest.limit(), i64::MAX);
        assert!(everything.is_whole(smallest, LISTED + 1) && everything.next_window().is_none());
    }

    fn listed(time: Millis, order: i64, bytes: usize) -> Listed {
        Listed { key: FrameKey { order, batch: 0, time }, layout: None, bytes }
    }

    #[test]
    fn slices_hold_so_many_bytes_or_one_frame() {
        let half = SLICE_BYTES / 2;
        let mut frames =
            vec![listed(5, 1, 9), listed(1, 3, half), listed(1, 2, half), listed(3, 1, SLICE_BYTES + 1)];
        let slices: Vec<Vec<i64>> =
            slices(&mut frames).map(|slice| slice.iter().map(|one| one.key.order).collect()).collect();
        assert_eq!(slices, [vec![2, 3], vec![1], vec![1]]);
        assert_eq!(super::slices(&mut []).count(), 0);
    }

    #[test]
    fn wanted_columns_are_found_from_either_side() {
        let ids: Vec<i64> = (0..500).map(|id| id / 2 * 3).collect();
        let parts = FrameParts { values: vec![0.0; 500], ..FrameParts::default() };
        let frame = Frame::inline(parts, &ids).unwrap();
        for count in [1, 3, 400] {
            let wanted: Wanted = (0..count).map(|place| (place as i64 * 2, place)).collect();
            let expected: Vec<(u32, u32)> = ids
                .iter()
                .zip(0..)
                .filter_map(|(id, at)| wanted.get(id).map(|place| (at, *place as u32)))
                .collect();
            assert_eq!(own_columns(&frame, &wanted).unwrap(), expected);
        }
    }
}
