use std::time::Duration;

use super::*;
use crate::frames::FrameParts;

fn listed(order: i64, time: Millis) -> Listed {
    Listed { key: FrameKey { order, batch: order as u128, time }, layout: Some(1), bytes: 0 }
}

fn frame(order: i64) -> Frame {
    Frame::shared(FrameParts { order, values: vec![order as f64; 100], ..FrameParts::default() })
}

/// A cache with room for so many frames of [`frame`].
fn cache(frames: usize) -> FrameCache {
    FrameCache::new(frames * (frame(0).bytes() + ENTRY_BYTES))
}

/// Asks as a store does; answers the orders of the frames that came, and how many had to be fetched.
async fn ask(cache: &FrameCache, listed: &[Listed]) -> (Vec<i64>, usize) {
    let mut asked = cache.ask(cache.turn(), listed);
    let mut fetched = 0;
    while let Some(missing) = asked.claim() {
        tokio::task::yield_now().await;
        for place in missing {
            fetched += 1;
            asked.give(place, frame(listed[place].key.order)).unwrap();
        }
        asked.others().await;
    }
    (asked.finish().unwrap().iter().map(|frame| frame.order()).collect(), fetched)
}

fn run(times: std::ops::Range<i64>) -> Vec<Listed> {
    times.map(|time| listed(time, time)).collect()
}

#[tokio::test]
async fn what_was_read_is_not_fetched_again() {
    let cache = cache(10);
    assert_eq!(ask(&cache, &run(0..5)).await, (vec![0, 1, 2, 3, 4], 5));
    assert_eq!(ask(&cache, &run(2..7)).await, (vec![2, 3, 4, 5, 6], 2));
    assert_eq!((cache.len(), cache.is_empty()), (7, false));
    cache.clear();
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
    assert_eq!(ask(&cache, &run(2..7)).await.1, 5);
}

#[tokio::test]
async fn another_frame_of_the_same_order_is_another_frame() {
    let cache = cache(10);
    ask(&cache, &[listed(3, 7)]).await;
    let again = Listed { key: FrameKey { batch: 99, ..listed(3, 7).key }, ..listed(3, 7) };
    assert_eq!(ask(&cache, &[again, listed(3, 8)]).await.1, 2);
    assert!(cache.holds(&again.key) && cache.holds(&listed(3, 7).key));
}

#[tokio::test]
async fn it_never_holds_more_than_its_bytes() {
    let cache = cache(20);
    for turn in 0..50 {
        ask(&cache, &run(turn * 7..turn * 7 + 9)).await;
        assert!(cache.bytes() <= cache.max_bytes && cache.len() <= 20);
        let counted: usize =
            cache.kept.lock().frames.values().map(|kept| kept.frame.bytes() + ENTRY_BYTES).sum();
        assert_eq!(cache.bytes(), counted);
    }
    assert!(cache.len() > 12);
}

#[tokio::test]
async fn what_was_read_last_stays() {
    let cache = cache(20);
    for turn in 0..10 {
        let (_, fetched) = ask(&cache, &run(0..5)).await;
        assert_eq!(fetched, if turn == 0 { 5 } else { 0 });
        ask(&cache, &run(turn * 12 + 10..turn * 12 + 22)).await;
    }
}

#[tokio::test]
async fn of_a_range_that_does_not_fit_the_recent_end_stays() {
    let cache = cache(40);
    ask(&cache, &run(1_000..1_020)).await;
    for turn in 0..3 {
        let (orders, fetched) = ask(&cache, &run(0..100)).await;
        assert_eq!(orders, (0..100).collect::<Vec<_>>());
        assert!(if turn == 0 { fetched == 100 } else { fetched <= 66 }, "{fetched}");
        assert!((66..100).all(|time| cache.holds(&listed(time, time).key)));
    }
}

#[tokio::test]
async fn without_room_everything_is_fetched() {
    for bytes in [0, 1, 700] {
        let cache = FrameCache::new(bytes);
        for _ in 0..2 {
            assert_eq!(ask(&cache, &run(0..5)).await, (vec![0, 1, 2, 3, 4], 5));
        }
        assert!(cache.is_empty() && cache.kept.lock().pending.is_empty());
    }
}

#[tokio::test]
async fn a_frame_that_does_not_come_is_an_error() {
    let cache = cache(5);
    let wanted = run(0..2);
    let mut asked = cache.ask(cache.turn(), &wanted);
    assert_eq!(asked.claim(), Some(vec![0, 1]));
    asked.give(0, frame(0)).unwrap();
    assert!(asked.give(2, frame(2)).is_err());
    assert!(asked.finish().is_err());
    assert!(cache.kept.lock().pending.is_empty());
}

#[tokio::test]
async fn two_questions_fetch_a_frame_once() {
    let cache = Arc::new(cache(100));
    let (a, b) = (run(0..60), run(30..90));
    let ((first, fetched), (second, others)) = tokio::join!(ask(&cache, &a), ask(&cache, &b));
    assert_eq!((first, second), ((0..60).collect(), (30..90).collect()));
    assert_eq!(fetched + others, 90);
}

#[tokio::test]
async fn the_claims_of_one_that_gives_up_are_taken_over() {
    let cache = cache(100);
    let wanted = run(0..3);
    let mut first = cache.ask(cache.turn(), &wanted);
    assert_eq!(first.claim().unwrap().len(), 3);
    let mut second = cache.ask(cache.turn(), &wanted);
    assert_eq!(second.claim(), Some(vec![]), "the first fetches them");
    {
        let waiting = second.others();
        let mut waiting = std::pin::pin!(waiting);
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, waiting.as_mut()).await.is_err());
        first.give(1, frame(1)).unwrap();
        drop(first);
        waiting.await;
    }
    assert_eq!(second.claim(), Some(vec![0, 2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_questions_at_once_all_get_their_frames() {
    let cache = Arc::new(cache(30));
    let mut questions = Vec::new();
    for question in 0..40i64 {
        let cache = Arc::clone(&cache);
        questions.push(tokio::spawn(async move {
            for turn in 0..50 {
                let first = (question * 7 + turn * 3) % 80;
                let (orders, _) = ask(&cache, &run(first..first + 25)).await;
                assert_eq!(orders, (first..first + 25).collect::<Vec<_>>());
                assert!(cache.bytes() <= cache.max_bytes);
            }
        }));
    }
    for question in questions {
        tokio::time::timeout(Duration::from_secs(60), question)
            .await
            .expect("nobody waits for ever")
            .unwrap();
    }
    assert!(cache.kept.lock().pending.is_empty());
}
