//! The spool before a store that goes away, comes back, is slow, or refuses.

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use metricsd_model::{BatchId, Waited};
use metricsd_ports::{Backlog, ErrorKind, Receipt, SampleSink};
use metricsd_spool::{Folder, Order, SpoolLog, SpoolOptions};
use support::{Mood, Process, Store, Temp, batch, files, layout, parked};

#[tokio::test]
async fn while_the_store_takes_all_the_disk_is_not_touched() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Takes), layout(3));
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    assert_eq!(
        process.append([1, 2, 1], &layout).await,
        [Receipt::Stored, Receipt::Stored, Receipt::Duplicate]
    );
    assert_eq!((files(&folder.0).len(), store.asked.load(Ordering::Relaxed)), (0, 1));
    assert_eq!(process.sink.status().fill(), 0.0);
}

#[tokio::test]
async fn who_always_brings_more_comes_past_the_spool_again() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(3));
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    process.append(0..10, &layout).await;
    store.is(Mood::Slow);
    let begun = std::time::Instant::now();
    let mut id = 10;
    while process.append([id], &layout).await == [Receipt::Kept] {
        assert!(begun.elapsed() < Duration::from_secs(60), "{id} batches, and still the spool is not empty");
        id += 1;
    }
    assert_eq!(process.sink.status().batches(), 0);
    assert_eq!(store.ids(), (0..=id).collect::<Vec<u128>>());
}

#[tokio::test]
async fn what_the_store_does_not_take_comes_to_it_in_order_and_once() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Takes), layout(40));
    let options = SpoolOptions { segment_bytes: 4_000, replay_bytes: 1_500, ..SpoolOptions::default() };
    let process = Process::start(&store, &folder.0, options);
    process.append([0], &layout).await;
    store.is(Mood::Away);
    for id in 1..50 {
        assert_eq!(process.append([2 * id, 2 * id + 1], &layout).await, [Receipt::Kept, Receipt::Kept]);
    }
    // A client that comes again is kept again, and stored once.
    process.append([7], &layout).await;
    assert!(files(&folder.0).len() > 2, "several files");
    assert_eq!(process.sink.status().batches(), 99);
    assert!(process.sink.ping().await.is_err());
    store.is(Mood::Takes);
    // New ones wait behind the others, or go directly when those are through.
    process.append([100], &layout).await;
    process.drained().await;
    assert_eq!(process.append([101], &layout).await, [Receipt::Stored]);
    let expected: Vec<u128> = [0].into_iter().chain(2..=101).collect();
    assert_eq!(store.ids(), expected);
    let stored = store.stored.lock();
    let one = stored.iter().find(|stored| stored.id.0 == 40).unwrap();
    assert_eq!(one.frames[0].values, batch(40, &layout).frames[0].values);
    assert_eq!(one.frames[0].layout.series[39].labels, layout.series[39].labels);
    assert_eq!(one.collection.ledger.waited, Some(Waited::Spool));
    assert_eq!(stored[0].collection.ledger.waited, None);
    assert_eq!(files(&folder.0).len(), 0, "what was replayed is gone");
}

#[tokio::test]
async fn a_killed_process_leaves_all_that_it_acknowledged_and_a_torn_record_is_cut_off() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(40));
    let options = SpoolOptions { segment_bytes: 20_000, ..SpoolOptions::default() };
    for (run, torn) in [(0u128, 1u64), (1, 17), (2, 60), (3, 0)] {
        let process = Process::start(&store, &folder.0, options.clone());
        assert_eq!(process.sink.status().batches() as u128, 10 * run);
        for id in 10 * run..10 * run + 10 {
            process.append([id], &layout).await;
        }
        // One more, of which only a part reached the disk.
        if torn > 0 {
            process.append([1_000 + run], &layout).await;
        }
        process.die().await;
        let last = files(&folder.0).pop().unwrap();
        let size = std::fs::metadata(&last).unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(&last).unwrap();
        file.set_len(size - torn).unwrap();
    }
    store.is(Mood::Takes);
    let process = Process::start(&store, &folder.0, options.clone());
    process.drained().await;
    assert_eq!(store.ids(), (0..40).collect::<Vec<u128>>());
    process.die().await;
    let process = Process::start(&store, &folder.0, options);
    assert_eq!(process.sink.status().batches(), 0);
}

#[tokio::test]
async fn a_process_killed_in_the_middle_of_the_replay_goes_on_where_it_was() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(200));
    let options = SpoolOptions { replay_bytes: 1, ..SpoolOptions::default() };
    let process = Process::start(&store, &folder.0, options.clone());
    process.append(0..300, &layout).await;
    store.is(Mood::Takes);
    while store.ids().len() < 20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    process.die().await;
    let before = store.ids().len();
    let asked = store.asked.load(Ordering::Relaxed);
    let process = Process::start(&store, &folder.0, options);
    process.drained().await;
    assert_eq!(store.ids(), (0..300).collect::<Vec<u128>>());
    let asked = store.asked.load(Ordering::Relaxed) - asked;
    assert!(asked as usize <= 300 - before + 2, "{asked} questions after {before} batches");
}

#[tokio::test]
async fn a_slow_store_is_not_waited_for() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Hangs), layout(3));
    let options = SpoolOptions { after: Duration::from_millis(50), ..SpoolOptions::default() };
    let process = Process::start(&store, &folder.0, options);
    assert_eq!(process.append([1], &layout).await, [Receipt::Kept]);
    // Now there is no more waiting at all.
    let begun = std::time::Instant::now();
    for id in 2..6 {
        assert_eq!(process.append([id], &layout).await, [Receipt::Kept]);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn where_new_batches_come_first_they_pass_those_that_wait() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(3));
    let options = SpoolOptions { order: Order::Newest, replay_bytes: 1, ..SpoolOptions::default() };
    let process = Process::start(&store, &folder.0, options);
    process.append(0..200, &layout).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    store.is(Mood::Takes);
    assert_eq!(process.append([1_000], &layout).await, [Receipt::Stored]);
    process.drained().await;
    let ids = store.ids();
    let mut waited: Vec<u128> = ids.iter().copied().filter(|id| *id != 1_000).collect();
    assert_eq!(waited, (0..200).collect::<Vec<u128>>());
    waited.push(1_000);
    assert_ne!(ids, waited, "the new one was not the last");
}

#[tokio::test]
async fn a_full_spool_refuses_until_there_is_room() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(40));
    let options = SpoolOptions { max_bytes: 20_000, segment_bytes: 4_000, ..SpoolOptions::default() };
    let process = Process::start(&store, &folder.0, options);
    let mut kept = 0;
    let refused = loop {
        match process.sink.append(&[batch(kept, &layout)]).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1_000, "it is bounded");
    };
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("spool.max_bytes"), "{refused}");
    let status = process.sink.status();
    assert!(status.bytes() <= 20_000 && status.fill() > 0.9, "{}", status.bytes());
    assert_eq!(status.retry_after(), Duration::from_secs(15), "the store is away");
    store.is(Mood::Takes);
    process.drained().await;
    assert!(status.drain_rate() > 0 && status.retry_after() < Duration::from_secs(15));
    assert_eq!(process.append([kept], &layout).await, [Receipt::Stored]);
    assert_eq!(store.ids(), (0..=kept).collect::<Vec<u128>>());
}

#[tokio::test]
async fn a_batch_that_no_store_takes_is_put_aside_and_holds_up_no_other() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(3));
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    process.append(0..10, &layout).await;
    store.is(Mood::Refuses(4));
    process.drained().await;
    assert_eq!(store.ids(), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(parked(&folder.0), 1);
    // It takes room until a person takes it away.
    let taken = std::fs::metadata(folder.0.join("parked")).unwrap().len();
    assert_eq!(process.sink.status().bytes(), taken);
    // The file goes back to the queue, once too early: the same file, by the same name, is another one the next time.
    process.die().await;
    let bring_back = || std::fs::rename(folder.0.join("parked"), folder.0.join(format!("{:020}.spool", 0)));
    for _ in 0..2 {
        bring_back().unwrap();
        let process = Process::start(&store, &folder.0, SpoolOptions::default());
        process.drained().await;
        assert_eq!(parked(&folder.0), 1);
        process.die().await;
    }
    // The store has learned to take it.
    bring_back().unwrap();
    store.is(Mood::Takes);
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    process.drained().await;
    assert_eq!(store.ids(), [0, 1, 2, 3, 5, 6, 7, 8, 9, 4]);
    assert_eq!(process.sink.status().bytes(), 0);
}

#[tokio::test]
async fn a_damaged_file_is_put_aside_and_what_follows_is_replayed() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(40));
    let options = SpoolOptions { segment_bytes: 4_000, ..SpoolOptions::default() };
    let process = Process::start(&store, &folder.0, options.clone());
    for id in 0..40 {
        process.append([id], &layout).await;
    }
    process.die().await;
    let all = files(&folder.0);
    assert!(all.len() > 2);
    let mut bytes = std::fs::read(&all[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&all[1], bytes).unwrap();
    store.is(Mood::Takes);
    let process = Process::start(&store, &folder.0, options);
    process.drained().await;
    let ids = store.ids();
    let missing: Vec<u128> = (0..40).filter(|id| !ids.contains(id)).collect();
    assert!(!missing.is_empty() && missing.len() < 20, "{missing:?}");
    assert_eq!(missing.last().unwrap() - missing[0] + 1, missing.len() as u128, "of one file alone");
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(ids, sorted, "in order");
    assert!(
        all[1].with_extension("damaged").exists(),
        "it is kept whole, with what stands behind the damage"
    );
}

#[test]
fn a_process_takes_a_folder_of_its_own_and_what_one_that_is_gone_has_left() {
    let base = Temp::new();
    let (first, second) = (Folder::take(&base.0, 1).unwrap(), Folder::take(&base.0, 1).unwrap());
    assert_ne!(first.path(), second.path());
    let lane = second.path().join("1");
    let mut log = SpoolLog::open(&lane, SpoolOptions::default()).unwrap();
    log.append(&[batch(5, &layout(3))], 77).unwrap();
    // It lives: nobody takes anything from it.
    drop(first);
    let first = Folder::take(&base.0, 1).unwrap();
    assert_eq!(SpoolLog::open(&first.path().join("1"), SpoolOptions::default()).unwrap().batches(), 0);
    drop((first, log, second));
    let third = Folder::take(&base.0, 1).unwrap();
    let mut log = SpoolLog::open(&third.path().join("1"), SpoolOptions::default()).unwrap();
    assert_eq!((log.batches(), log.oldest()), (1, Some(77)));
    assert_eq!(log.oldest_batches().unwrap().unwrap().batches[0].id, BatchId(5));
}
