//! Decoded frames that questions read lately, within so many bytes.
//!
//! What a question sees is decided by the listing that it makes in its own snapshot; the cache only spares it the way
//! to the database. So a frame that is gone is not asked for, and is forgotten with what is not used.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;

use metricsd_model::Millis;
use metricsd_ports::PortError;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Frame, FrameKey, Listed};
use crate::damaged;
use crate::ids::IdState;

/// What a frame takes beside itself: its entry in the map with room to grow, and the counters of its pointer.
const ENTRY_BYTES: usize = 2 * (size_of::<FrameKey>() + size_of::<Kept>()) + 32;

/// Frames that are looked up without letting others in between.
const AT_ONCE: usize = 1_024;

/// The cache of one store.
pub struct FrameCache {
    kept: Mutex<Frames>,
    max_bytes: usize,
    /// Told whenever frames that were being fetched are there, or will not come.
    arrived: Notify,
}

#[derive(Default)]
struct Frames {
    frames: HashMap<FrameKey, Kept, IdState>,
    /// All that is kept, entries included.
    bytes: usize,
    /// The question that asked last.
    turn: u64,
    /// A frame of this rank found no room, and none of a lower one will.
    refused: Option<Rank>,
    /// Being fetched by some question.
    pending: HashSet<FrameKey, IdState>,
}

struct Kept {
    frame: Arc<Frame>,
    /// The last question that read it.
    turn: u64,
    bytes: usize,
}

/// The lowest goes first: what no question has read for longest, and of what one question read the oldest samples,
/// so that a range that is larger than the cache still finds its recent end there when it is asked for again.
type Rank = (u64, Millis);

impl FrameCache {
    /// An empty one that holds up to so many bytes; 0 keeps nothing.
    pub fn new(max_bytes: usize) -> Self {
        Self { kept: Mutex::default(), max_bytes, arrived: Notify::new() }
    }

    /// Bytes that may be held.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    /// Frames that are held.
    pub fn len(&self) -> usize {
        self.kept.lock().frames.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything, for when the database may give keys again that are still remembered.
    pub fn clear(&self) {
        let mut kept = self.kept.lock();
        kept.frames = HashMap::default();
        kept.bytes = 0;
        kept.refused = None;
    }

    /// The number of a question, by which it is told what was read lately.
    pub fn turn(&self) -> u64 {
        let mut kept = self.kept.lock();
        kept.turn += 1;
        kept.turn
    }

    /// Whether a frame is held; does not count as reading it.
    pub fn holds(&self, key: &FrameKey) -> bool {
        self.kept.lock().frames.contains_key(key)
    }

    /// Asks for frames. What is not there is for the caller to fetch, or comes from another question that fetches it
    /// at this moment; see [`Asked`].
    pub fn ask<'a>(&'a self, turn: u64, listed: &'a [Listed]) -> Asked<'a> {
        Asked { cache: self, turn, listed, frames: vec![None; listed.len()], claimed: HashSet::default() }
    }

    fn insert(&self, turn: u64, key: FrameKey, frame: &Arc<Frame>) {
        let bytes = frame.bytes() + ENTRY_BYTES;
        // Dropped when the lock is not held any more.
        let mut gone = Vec::new();
        let mut kept = self.kept.lock();
        if kept.frames.contains_key(&key)
            || !kept.make_room((turn, key.time), bytes, self.max_bytes, &mut gone)
        {
            return;
        }
        kept.bytes += bytes;
        kept.frames.insert(key, Kept { frame: Arc::clone(frame), turn, bytes });
    }

    fn release(&self, claimed: &mut HashSet<FrameKey, IdState>) {
        if claimed.is_empty() {
            return;
        }
        let mut kept = self.kept.lock();
        for key in claimed.drain() {
            kept.pending.remove(&key);
        }
        drop(kept);
        self.arrived.notify_waiters();
    }
}

impl Frames {
    /// Forgets frames of lower rank until there is room for one of this rank; `false` where there is none.
    fn make_room(&mut self, rank: Rank, bytes: usize, max_bytes: usize, gone: &mut Vec<Kept>) -> bool {
        if bytes > max_bytes {
            return false;
        }
        if self.bytes + bytes <= max_bytes {
            return true;
        }
        if self.refused.is_some_and(|refused| rank <= refused) {
            return false;
        }
        // An eighth at a time: looking through all of them for each frame that comes would be slow.
        let goal = (max_bytes - max_bytes / 8).saturating_sub(bytes);
        let lower = self.frames.iter().map(|(key, kept)| ((kept.turn, key.time), *key));
        let mut lower: Vec<(Rank, FrameKey)> = lower.filter(|(other, _)| *other < rank).collect();
        lower.sort_unstable_by_key(|(rank, _)| *rank);
        for (_, key) in lower {
            if self.bytes <= goal {
                break;
            }
            if let Some(kept) = self.frames.remove(&key) {
                self.bytes -= kept.bytes;
                gone.push(kept);
            }
        }
        let fits = self.bytes + bytes <= max_bytes;
        self.refused = (!fits).then_some(rank);
        fits
    }

    /// A frame that is kept, now read by this question.
    fn read(&mut self, key: &FrameKey, turn: u64) -> Option<Arc<Frame>> {
        let kept = self.frames.get_mut(key)?;
        kept.turn = kept.turn.max(turn);
        Some(Arc::clone(&kept.frame))
    }
}

/// Frames that a question asked for.
///
/// The caller goes round: [`claim`](Self::claim) says what it is to fetch, [`give`](Self::give) takes each frame, and
/// [`others`](Self::others) waits for those that other questions fetch; until nothing is claimed any more. Whoever gives
/// up leaves its claims to the others. Nobody waits while it holds a claim, so nobody waits for ever.
pub struct Asked<'a> {
    cache: &'a FrameCache,
    turn: u64,
    listed: &'a [Listed],
    /// One a listed frame.
    frames: Vec<Option<Arc<Frame>>>,
    claimed: HashSet<FrameKey, IdState>,
}

impl Asked<'_> {
    /// Takes what is there and claims what nobody fetches; answers the places of the latter. `None` when all are there.
    pub fn claim(&mut self) -> Option<Vec<usize>> {
        let mut mine = Vec::new();
        let mut missing = false;
        let frames = self.frames.chunks_mut(AT_ONCE).zip(self.listed.chunks(AT_ONCE));
        for ((frames, listed), first) in frames.zip((0..).step_by(AT_ONCE)) {
            let mut kept = self.cache.kept.lock();
            for ((frame, listed), place) in frames.iter_mut().zip(listed).zip(first..) {
                if frame.is_some() {
                    continue;
                }
                *frame = kept.read(&listed.key, self.turn);
                if frame.is_some() {
                    continue;
                }
                missing = true;
                // Where nothing is kept there is nothing to wait for either.
                if self.cache.max_bytes == 0 || kept.pending.insert(listed.key) {
                    self.claimed.insert(listed.key);
                    mine.push(place);
                }
            }
        }
        missing.then_some(mine)
    }

    /// The frame of a place, fetched.
    pub fn give(&mut self, place: usize, frame: Frame) -> Result<(), PortError> {
        let unasked = || damaged("a frame that was not asked for");
        let listed = self.listed.get(place).ok_or_else(unasked)?;
        let frame = Arc::new(frame);
        self.cache.insert(self.turn, listed.key, &frame);
        *self.frames.get_mut(place).ok_or_else(unasked)? = Some(frame);
        Ok(())
    }

    /// Gives up the claims; then waits until nobody fetches what is still missing.
    pub async fn others(&mut self) {
        self.cache.release(&mut self.claimed);
        loop {
            let mut arrived = pin!(self.cache.arrived.notified());
            // From here on no message is missed.
            arrived.as_mut().enable();
            if !self.others_fetch() {
                return;
            }
            arrived.await;
        }
    }

    fn others_fetch(&self) -> bool {
        let missing = self.frames.iter().zip(self.listed).filter(|(frame, _)| frame.is_none());
        let kept = self.cache.kept.lock();
        missing.into_iter().any(|(_, listed)| kept.pending.contains(&listed.key))
    }

    /// All frames, in the order in which they were listed.
    pub fn finish(mut self) -> Result<Vec<Arc<Frame>>, PortError> {
        let frames = std::mem::take(&mut self.frames).into_iter();
        let all: Option<Vec<_>> = frames.collect();
        all.ok_or_else(|| damaged("a frame that is listed cannot be read"))
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.cache.release(&mut self.claimed);
    }
}

#[cfg(test)]
mod tests;
