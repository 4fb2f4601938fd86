//! Calls that come at the same time are done together: a transaction costs much the same however much it writes.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Calls that are done at once, at most.
const MOST: usize = 128;

/// Gathers calls while others are being done. Nobody waits for company: whoever finds nobody at work begins at once, with
/// all that have come by then.
#[derive(Debug)]
pub struct Together<I, O> {
    /// One for each caller that waits; those limit how many there are.
    waiting: Mutex<VecDeque<(I, oneshot::Sender<O>)>>,
    working: tokio::sync::Mutex<()>,
}

impl<I, O> Default for Together<I, O> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), working: tokio::sync::Mutex::default() }
    }
}

impl<I, O> Together<I, O> {
    /// Has `work` done for `item`, by this caller or by another, together with what others brought: an answer for each, in
    /// order. `None` where whoever did it left before the end, or answered too little; then it may have been done or not.
    pub async fn call<F>(&self, item: I, work: impl Fn(Vec<I>) -> F) -> Option<O>
    where
        F: Future<Output = Vec<O>>,
    {
        let (sender, mut answer) = oneshot::channel();
        self.waiting.lock().push_back((item, sender));
        loop {
            let turn = tokio::select! {
                biased;
                answered = &mut answer => return answered.ok(),
                turn = self.working.lock() => turn,
            };
            let (items, senders): (Vec<I>, Vec<_>) = {
                let mut waiting = self.waiting.lock();
                let count = waiting.len().min(MOST);
                waiting.drain(..count).unzip()
            };
            if !items.is_empty() {
                for (sender, answer) in senders.into_iter().zip(work(items).await) {
                    // Who asked may have gone.
                    let _ = sender.send(answer);
                }
            }
            drop(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_that_come_together_are_done_together_and_each_is_answered() {
        let together: Arc<Together<usize, usize>> = Arc::default();
        let rounds = Arc::new(AtomicUsize::new(0));
        let calls = (0..300).map(|item| {
            let (together, rounds) = (together.clone(), rounds.clone());
            tokio::spawn(async move {
                let work = |items: Vec<usize>| {
                    assert!(items.len() <= MOST);
                    rounds.fetch_add(1, Ordering::Relaxed);
                    async {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        items.into_iter().map(|item| item * 2).collect()
                    }
                };
                (item, together.call(item, work).await)
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let (item, answer) = call.await.unwrap();
            assert_eq!(answer, Some(item * 2));
        }
        assert_eq!(rounds.load(Ordering::Relaxed), 4, "the first alone, then as many as may be");
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_takes_nobody_along_for_ever() {
        let together: Arc<Together<u8, u8>> = Arc::default();
        let slow = |items: Vec<u8>| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            items
        };
        let leader = {
            let together = together.clone();
            tokio::spawn(async move { together.call(1, slow).await })
        };
        tokio::task::yield_now().await;
        let follower = {
            let together = together.clone();
            tokio::spawn(async move { together.call(2, slow).await })
        };
        tokio::task::yield_now().await;
        leader.abort();
        assert_eq!(follower.await.unwrap(), Some(2), "it was not begun, and is done by who waited");
        let none = together.call(3, |_| async { Vec::new() }).await;
        assert_eq!(none, None);
    }
}
