//! Who is connected, so that the silent make room for others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A connection that spoke within this is not displaced by another.
const BUSY: Duration = Duration::from_secs(1);

/// The places of a listener.
pub(crate) struct Places {
    most: usize,
    started: Instant,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    /// Connections that are open: those in `by_id` and those that were displaced and have not left yet.
    open: usize,
    by_id: HashMap<u64, Arc<Guest>>,
}

struct Guest {
    /// Milliseconds since the listener started.
    heard: AtomicU64,
    leave: CancellationToken,
}

/// One connection's place, until it is dropped.
pub(crate) struct Place {
    id: u64,
    guest: Arc<Guest>,
    places: Arc<Places>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), started: Instant::now(), taken: Mutex::default() })
    }

    /// A place, and whether another had to leave it; `None` where all are busy.
    pub(crate) fn take(self: &Arc<Self>) -> Option<(Place, bool)> {
        let now = self.millis();
        let mut taken = self.taken.lock();
        // Who was displaced while its lines wait to be taken leaves only after that.
        if taken.open >= self.most.saturating_mul(2) {
            return None;
        }
        let full = taken.by_id.len() >= self.most;
        if full {
            let heard = |guest: &Arc<Guest>| guest.heard.load(Ordering::Relaxed);
            let silent = taken.by_id.iter().min_by_key(|(_, guest)| heard(guest));
            let (id, guest) = silent.map(|(id, guest)| (*id, guest.clone()))?;
            if now.saturating_sub(heard(&guest)) < BUSY.as_millis() as u64 {
                return None;
            }
            guest.leave.cancel();
            taken.by_id.remove(&id);
        }
        let guest = Arc::new(Guest { heard: AtomicU64::new(now), leave: CancellationToken::new() });
        taken.next += 1;
        taken.open += 1;
        let id = taken.next;
        taken.by_id.insert(id, guest.clone());
        Some((Place { id, guest, places: self.clone() }, full))
    }

    /// How many are taken.
    pub(crate) fn len(&self) -> usize {
        self.taken.lock().by_id.len()
    }

    fn millis(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl Place {
    /// A whole line came.
    pub(crate) fn heard(&self) {
        self.guest.heard.store(self.places.millis(), Ordering::Relaxed);
    }

    /// Ends when another needs the place more.
    pub(crate) async fn displaced(&self) {
        self.guest.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.by_id.remove(&self.id);
        taken.open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_silent_make_room() {
        let places = Places::new(2);
        let (first, _) = places.take().unwrap();
        let (second, _) = places.take().unwrap();
        assert!(places.take().is_none(), "both have just come");
        tokio::time::advance(Duration::from_secs(5)).await;
        first.heard();
        let (third, displaced) = places.take().unwrap();
        assert!(displaced);
        second.displaced().await;
        drop(second);
        assert_eq!(places.len(), 2);
        assert!(places.take().is_none(), "both are busy");
        drop(first);
        assert!(!places.take().unwrap().1);
        drop(third);
        assert_eq!(places.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_leave_counts() {
        let places = Places::new(1);
        let (first, _) = places.take().unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        let (second, displaced) = places.take().unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(displaced && places.take().is_none(), "the first is still here");
        drop(first);
        let (third, displaced) = places.take().unwrap();
        assert!(displaced);
        drop((second, third));
        assert_eq!((places.len(), places.taken.lock().open), (0, 0));
    }
}
