//! The spool in one outage after another, and what processes find that come later.

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{
    Batch, BatchId, Exemplar, FamilyMetadata, FamilyType, JobStatus, JoinedPush, LabelSet, Refusal,
    SeriesExemplar,
};
use metricsd_ports::{Receipt, SampleSink};
use metricsd_spool::{Folder, SpoolLog, SpoolOptions};
use support::{Mood, Process, Store, Temp, batch, files, layout, parked, parked_log};

fn damaged(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "damaged")).count()
}

/// All that a folder holds, in order.
fn drain(folder: &Path) -> Vec<u128> {
    let mut log = SpoolLog::open(folder, SpoolOptions::default()).unwrap();
    let mut ids = Vec::new();
    while let Some(chunk) = log.oldest_batches().unwrap() {
        ids.extend(chunk.batches.iter().map(|batch| batch.id.0));
        log.replayed(&chunk, chunk.batches.len());
    }
    ids
}

#[tokio::test]
async fn an_outage_after_another_one_loses_nothing_when_the_process_is_killed() {
    // As many batches as in the first outage, more, and fewer: what is known of the first must not be taken for them.
    for (first, second) in [(10u128, 20u128), (10, 10), (10, 3), (1, 2)] {
        let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(3));
        let mut expected = 0;
        for outage in 0..3 {
            let process = Process::start(&store, &folder.0, SpoolOptions::default());
            process.append(expected..expected + first, &layout).await;
            store.is(Mood::Takes);
            process.drained().await;
            store.is(Mood::Away);
            expected += first;
            for id in expected..expected + second {
                assert_eq!(process.append([id], &layout).await, [Receipt::Kept]);
            }
            expected += second;
            process.die().await;
            let process = Process::start(&store, &folder.0, SpoolOptions::default());
            assert_eq!(u128::from(process.sink.status().batches()), second, "outage {outage}");
            store.is(Mood::Takes);
            process.drained().await;
            store.is(Mood::Away);
            process.die().await;
            assert_eq!(store.ids(), (0..expected).collect::<Vec<u128>>(), "{first} and {second}");
        }
        assert_eq!(damaged(&folder.0), 0);
    }
}

#[test]
fn what_is_taken_over_is_not_taken_for_what_was_replayed_here() {
    let (base, layout) = (Temp::new(), layout(3));
    let (first, second) = (Folder::take(&base.0, 1).unwrap(), Folder::take(&base.0, 1).unwrap());
    let fill = |folder: &Folder, ids: std::ops::Range<u128>| {
        let mut log = SpoolLog::open(&folder.path().join("1"), SpoolOptions::default()).unwrap();
        ids.for_each(|id| log.append(&[batch(id, &layout)], 77).unwrap());
    };
    // Both have been through an outage of ten batches, and say so.
    for folder in [&first, &second] {
        fill(folder, 0..10);
        assert_eq!(drain(&folder.path().join("1")).len(), 10);
    }
    // The second leaves ten others and is gone.
    fill(&second, 10..20);
    drop((first, second));
    let first = Folder::take(&base.0, 1).unwrap();
    assert_eq!(drain(&first.path().join("1")), (10..20).collect::<Vec<u128>>());
    // Now a process takes the folder that was emptied.
    let second = Folder::take(&base.0, 1).unwrap();
    fill(&second, 20..30);
    assert_eq!(drain(&second.path().join("1")), (20..30).collect::<Vec<u128>>());
}

#[test]
fn what_lies_in_lanes_of_stores_that_are_gone_is_brought_by_the_first() {
    let (base, layout) = (Temp::new(), layout(3));
    let write = |folder: &Folder, lane: u128| {
        let path = folder.path().join(lane.to_string());
        let mut log = SpoolLog::open(&path, SpoolOptions::default()).unwrap();
        log.append(&[batch(lane, &layout)], 77).unwrap();
    };
    // Three stores, then two, then one; also in the folder of another process that is gone.
    let (first, other) = (Folder::take(&base.0, 3).unwrap(), Folder::take(&base.0, 3).unwrap());
    (1..=3).for_each(|lane| write(&first, lane));
    write(&other, 4);
    drop((first, other));
    let first = Folder::take(&base.0, 2).unwrap();
    assert_eq!(drain(&first.path().join("2")), [2]);
    write(&first, 2);
    drop(first);
    let first = Folder::take(&base.0, 1).unwrap();
    assert_eq!(drain(&first.path().join("1")), [1, 3, 4, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_a_store_with_a_full_disk_does_not_take_waits_for_it() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(3));
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    process.append(0..5, &layout).await;
    store.is(Mood::Full);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(process.sink.status().batches(), 5);
    assert!(!folder.0.join("parked").exists());
    store.is(Mood::Takes);
    process.drained().await;
    assert_eq!(store.ids(), [0, 1, 2, 3, 4]);
}

/// A batch of three pushes: two samples each, an exemplar and a family; of the samples of another one all were refused.
fn of_three_pushes(id: u128) -> Arc<Batch> {
    let layout = layout(6);
    let mut whole = batch(id, &layout).as_ref().clone();
    whole.frames[0].values = vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5];
    whole.joined = (0..3)
        .map(|n| JoinedPush { id: BatchId(id + 1 + n), columns: vec![2], exemplars: 1, families: 1 })
        .collect();
    let exemplar = |n: usize| {
        let exemplar = Exemplar { labels: LabelSet::default(), value: n as f64, timestamp: 1 };
        SeriesExemplar { series: layout.series[2 * n].clone(), exemplar }
    };
    whole.exemplars = (0..3).map(exemplar).collect();
    let family = |n: usize| FamilyMetadata {
        family: format!("f{n}"),
        metric_type: FamilyType::Gauge,
        help: String::new(),
        unit: String::new(),
    };
    whole.families = (0..3).map(family).collect();
    let ledger = &mut whole.collection.ledger;
    (ledger.received, ledger.stored) = (10, 6);
    ledger.refused.insert(Refusal::TooOld, 4);
    whole.collection.status = JobStatus::Partial;
    Arc::new(whole)
}

#[tokio::test]
async fn of_joined_pushes_only_those_are_put_aside_that_are_refused_by_themselves() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(3));
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    process.append([1], &layout).await;
    process.sink.append(&[of_three_pushes(100)]).await.unwrap();
    process.append([2], &layout).await;
    store.is(Mood::RefusesValue(1.0));
    process.drained().await;
    assert_eq!(store.ids(), [1, 101, 103, 2]);
    let whole: Vec<Arc<Batch>> = store.stored.lock()[1..3].to_vec();
    for (place, (push, n)) in whole.iter().zip([0.0, 2.0]).enumerate() {
        assert_eq!(push.frames[0].values, [n, n + 0.5]);
        assert_eq!((push.exemplars.len(), push.exemplars[0].exemplar.value), (1, n));
        assert_eq!(
            push.families.iter().map(|family| family.family.clone()).collect::<Vec<_>>(),
            [format!("f{n}")]
        );
        assert_eq!(push.collection.ledger.unexplained(), 0);
        let status = if place == 0 { JobStatus::Partial } else { JobStatus::Completed };
        assert_eq!((push.collection.status, push.collection.ledger.stored), (status, 2));
        assert_eq!((push.joined.len(), push.joined[0].id), (1, push.id), "it is known when it comes again");
    }
    assert_eq!(whole[0].collection.ledger.refused_total(), 4);
    // The one that is put aside is whole, and may be brought back.
    let (mut log, _folder) = parked_log(&folder.0);
    let left = log.oldest_batches().unwrap().unwrap().batches;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].joined.len(), left[0].joined[0].id.0), (1, 102));
    assert_eq!(left[0].frames[0].values, [1.0, 1.5]);
    assert_eq!((left[0].exemplars.len(), left[0].families[0].family.as_str()), (1, "f1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_done_of_a_group_is_not_done_again() {
    let (folder, store, layout) = (Temp::new(), Store::new(Mood::Away), layout(3));
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    process.append(0..10, &layout).await;
    store.is(Mood::RefusesAndFull(2, 5));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((store.ids(), process.sink.status().batches()), (vec![0, 1, 3, 4], 5));
    // The next process knows it too.
    process.die().await;
    let process = Process::start(&store, &folder.0, SpoolOptions::default());
    assert_eq!(process.sink.status().batches(), 5);
    store.is(Mood::Takes);
    process.drained().await;
    assert_eq!(store.ids(), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(parked(&folder.0), 1);
}

/// A file of ten batches, and where each of them ends.
fn file_of_ten(folder: &Path) -> (std::path::PathBuf, Vec<u64>) {
    let mut log = SpoolLog::open(folder, SpoolOptions::default()).unwrap();
    let layout = layout(40);
    let mut ends = Vec::new();
    for id in 0..10 {
        log.append(&[batch(id, &layout)], 1_800_000_000_000).unwrap();
        ends.push(log.bytes());
    }
    (files(folder).remove(0), ends)
}

#[test]
fn a_file_with_damage_is_kept_whole_whatever_of_it_is_wrong() {
    // A mark of a later version, a first record, one in the middle, and the length of one in the middle.
    for (place, bit, before) in [(7usize, 2u8, 0), (40, 1, 0), (500, 1, 2), (0, 1, 5)] {
        let folder = Temp::new();
        let (path, ends) = file_of_ten(&folder.0);
        let place = if place == 0 { ends[4] as usize + 1 } else { place };
        let mut bytes = fs::read(&path).unwrap();
        bytes[place] ^= bit;
        fs::write(&path, &bytes).unwrap();
        let log = SpoolLog::open(&folder.0, SpoolOptions::default()).unwrap();
        assert_eq!(log.damaged(), 1, "byte {place}");
        assert!(log.bytes() > 0, "it takes room");
        drop(log);
        let whole = drain(&folder.0);
        assert!(before == 0 || !whole.is_empty(), "byte {place}: what stands before the damage is brought");
        assert_eq!(whole, (0..whole.len() as u128).collect::<Vec<u128>>());
        assert_eq!((files(&folder.0).len(), damaged(&folder.0)), (0, 1), "byte {place}");
        assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bytes);
        // The next files have other numbers: a second one that is put aside does not take its place.
        let mut log = SpoolLog::open(&folder.0, SpoolOptions::default()).unwrap();
        assert_eq!(log.bytes(), bytes.len() as u64, "what is put aside takes room");
        log.append(&[batch(50, &layout(3))], 77).unwrap();
        assert_ne!(files(&folder.0)[0], path);
    }
}

#[test]
fn a_record_that_was_not_finished_is_cut_off_and_is_no_damage() {
    for left in [1u64, 7, 15, 16, 17, 100] {
        let folder = Temp::new();
        let (path, ends) = file_of_ten(&folder.0);
        let (whole, bytes) = (ends[8], fs::read(&path).unwrap());
        fs::write(&path, &bytes[..(whole + left) as usize]).unwrap();
        let log = SpoolLog::open(&folder.0, SpoolOptions::default()).unwrap();
        assert_eq!((log.batches(), log.damaged()), (9, 0), "{left} bytes");
        assert_eq!(fs::metadata(&path).unwrap().len(), whole);
        drop(log);
        assert_eq!(drain(&folder.0), (0..9).collect::<Vec<u128>>());
        assert_eq!((files(&folder.0).len(), damaged(&folder.0)), (0, 0));
    }
}

#[test]
fn batches_that_are_put_aside_take_room_and_give_it_back() {
    let (folder, layout) = (Temp::new(), layout(40));
    let options = SpoolOptions { max_bytes: 12_000, ..SpoolOptions::default() };
    let mut log = SpoolLog::open(&folder.0, options.clone()).unwrap();
    let mut count = 0;
    while log.append(&[batch(count, &layout)], 77).is_ok() {
        log.park(&batch(1_000 + count, &layout), 77).unwrap();
        count += 1;
        assert!(count < 1_000, "it is bounded");
    }
    assert_eq!(u128::from(parked(&folder.0)), count);
    // Half a record at the end, as a kill leaves it, hides none that comes later.
    let path = folder.0.join("parked");
    let size = fs::metadata(&path).unwrap().len();
    drop(log);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size - 5).unwrap();
    let mut log = SpoolLog::open(&folder.0, options).unwrap();
    assert_eq!(log.damaged(), 0);
    log.park(&batch(2_000, &layout), 77).unwrap();
    assert_eq!(u128::from(parked(&folder.0)), count);
    fs::remove_file(path).unwrap();
    log.append(&[batch(3_000, &layout)], 77).unwrap();
    let last = drain(&folder.0).pop();
    assert_eq!(last.map(BatchId), Some(BatchId(3_000)));
}
