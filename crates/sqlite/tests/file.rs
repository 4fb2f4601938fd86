//! What is particular to a store in a file: making it, opening it again, sharing it, refusing it.

mod support;

use std::sync::Arc;

use metricsd_model::{Batch, Layout, MetricType, STALE_NAN_BITS, Series};
use metricsd_ports::conformance::fixtures::{
    NOON, all_of, batch, frame, histogram, many_series, put_histogram, row, selection, series,
    series_with_id, target,
};
use metricsd_ports::{
    Catalog, ErrorKind, JobFilter, LogSink, LogStep, Outbox, ParkedRecord, Receipt, SampleSink, SampleSource,
};
use metricsd_sqlite::{Migrated, SqliteStore, migrate};
use sqlx::Row;
use support::{Folder, connection, execute};

#[tokio::test]
async fn what_was_stored_is_there_when_the_file_is_opened_again() {
    let folder = Folder::new();
    let all = many_series("kept", 40);
    let mut kept = frame(&Layout::shared(all.clone()), NOON, &[f64::from_bits(STALE_NAN_BITS); 40]);
    put_histogram(&mut kept, 3, histogram(1.0));
    let batch = batch("kept", "1", vec![kept]);
    let before = {
        let store = folder.store().await;
        store.append(&[Arc::clone(&batch)]).await.expect("append");
        store.create_target(&target("kept")).await.expect("create");
        // Dropped, not closed: as when the process is killed.
        all_of(&store, "kept").await
    };
    let store = folder.store().await;
    assert_eq!(all_of(&store, "kept").await, before);
    assert_eq!(before.len(), 40);
    assert!(store.target("kept").await.expect("a target").is_some());
    assert_eq!((store.backlog().await.expect("backlog"), jobs(&store).await), (1, 1));
    assert_eq!(store.append(&[batch]).await.expect("append"), [Receipt::Duplicate]);
}

#[tokio::test]
async fn migrating_twice_is_harmless() {
    let folder = Folder::new();
    let newest = migrate(&folder.file()).await.expect("migrate").to;
    assert_eq!(migrate(&folder.file()).await.expect("migrate"), Migrated { from: newest, to: newest });
    folder.store().await.ping().await.expect("ping");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_migrate_at_once() {
    let folder = Folder::new();
    let path = folder.file();
    let all = futures::future::join_all((0..6).map(|_| migrate(&path))).await;
    let all: Vec<Migrated> = all.into_iter().map(|migrated| migrated.expect("migrate")).collect();
    assert_eq!(all.iter().filter(|migrated| migrated.from == 0).count(), 1, "{all:?}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = Folder::new();
    folder.store().await.close().await;
    execute(&folder.file(), "INSERT INTO metricsd_migrations (version, name) VALUES (99, 'later')").await;
    for error in [
        SqliteStore::open(&folder.file()).await.err().expect("a refusal"),
        migrate(&folder.file()).await.expect_err("a refusal"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("schema version 99"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let store = folder.store().await;
    store.create_target(&target("t")).await.expect("create");
    let data = folder.file();
    let data = data.parent().expect("a folder");
    let mut files = 0;
    for entry in std::fs::read_dir(data).expect("the folder") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("metadata").permissions().mode() & 0o777, 0o600, "{entry:?}");
        files += 1;
    }
    assert_eq!(files, 3, "the database, its journal and its index");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let folder = Folder::new();
    let path = folder.file();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
    std::fs::write(
        &path,
        "not a database, although it is long enough to hold the header of one; ".repeat(20),
    )
    .expect("write");
    let error = SqliteStore::open(&path).await.err().expect("a refusal");
    assert_eq!(error.kind(), ErrorKind::Internal, "{}", error.chain());
    let folder_instead = path.parent().expect("a folder");
    let error = SqliteStore::open(folder_instead).await.err().expect("a refusal");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    let error = SqliteStore::open(std::path::Path::new("/")).await.err().expect("a refusal");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_that_append_the_same_batches_store_each_once() {
    let folder = Folder::new();
    let (one, two) = (folder.store().await, folder.store().await);
    // Colliding ids, and other layouts in each batch: series, layouts and jobs are all contended.
    let all: Vec<_> = (0..60)
        .map(|n| match n % 20 {
            0 => series_with_id(0x0c01_11de, "both", &[("n", &format!("{n:02}"))]),
            _ => series("both", &[("n", &format!("{n:02}"))]),
        })
        .collect();
    let batches: Vec<Arc<Batch>> = (0..40usize)
        .map(|n| {
            let mut columns = all.clone();
            columns.rotate_left(n);
            let values: Vec<f64> = (0..60).map(|column| ((column + n) % 60) as f64).collect();
            batch("both", &n.to_string(), vec![frame(&Layout::shared(columns), NOON + n as i64, &values)])
        })
        .collect();
    let reversed: Vec<_> = batches.iter().rev().cloned().collect();
    let run = async |store: &SqliteStore, batches: &[Arc<Batch>]| {
        let mut stored = 0;
        for group in batches.chunks(3) {
            let receipts = store.append(group).await.expect("append");
            stored += receipts.iter().filter(|receipt| **receipt == Receipt::Stored).count();
        }
        stored
    };
    let (a, b) = tokio::join!(run(&one, &batches), run(&two, &reversed));
    assert_eq!(a + b, 40, "each batch is stored by one of them");
    for (n, series) in all.iter().enumerate() {
        let samples: Vec<_> = (0..40).map(|at| (NOON + at, n as f64)).collect();
        let expected = row(series, &samples);
        for store in [&one, &two] {
            assert_eq!(all_of(store, "both").await[n], expected);
        }
    }
    assert_eq!((two.backlog().await.expect("backlog"), jobs(&one).await), (40, 40));
    let stats = one.stats(NOON, std::time::Duration::from_secs(60)).await.expect("stats");
    assert_eq!(stats.total_metrics_collected, 2_400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_made_by_another_store_is_seen_while_waiting() {
    let folder = Folder::new();
    let (one, two) = (Arc::new(folder.store().await), folder.store().await);
    let waiting = {
        let one = Arc::clone(&one);
        tokio::spawn(async move { one.changes(0, std::time::Duration::from_secs(20)).await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    two.create_target(&target("told")).await.expect("create");
    let changed = tokio::time::timeout(std::time::Duration::from_secs(5), waiting).await;
    let changed = changed.expect("in time").expect("no panic").expect("changes");
    assert_eq!(changed.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_of_another_store_are_found_with_their_newest_type() {
    let folder = Folder::new();
    let (one, two) = (folder.store().await, folder.store().await);
    let plain = series("followed", &[("s", "a")]);
    let typed = Arc::new(Series { metric_type: MetricType::Counter, ..Series::clone(&plain) });
    for (n, known, said) in [(1, 0, &plain), (2, 2, &typed)] {
        assert_eq!(all_of(&one, "followed").await.len(), known);
        let other = series("followed", &[("s", &format!("other-{n}"))]);
        let layout = Layout::inline(vec![Arc::clone(said), other]);
        let at = NOON + n as i64;
        two.append(&[batch("followed", &n.to_string(), vec![frame(&layout, at, &[1.0, 2.0])])])
            .await
            .expect("append");
        let found = one.select(&selection("followed", NOON, at)).await.expect("a selection");
        assert_eq!((found.len(), found[0].metric_type), (n + 1, said.metric_type));
        assert_eq!(one.index_statistics(0).await.expect("statistics").series, n + 1);
    }
}

/// A file as version 2 left it keeps its series, and what they say of families.
#[tokio::test]
async fn series_from_before_are_found_and_their_families_too() {
    let folder = Folder::new();
    let path = folder.file();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
    std::fs::File::create(&path).expect("make the file");
    for sql in [
        include_str!("../../../migrations/sqlite/0001_catalogue.sql"),
        include_str!("../../../migrations/sqlite/0002_samples.sql"),
        "CREATE TABLE metricsd_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER);
         INSERT INTO metricsd_migrations (version, name) VALUES (1, 'catalogue'), (2, 'samples')",
        r#"INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit) VALUES
            (1, 'h_bucket', 'HISTOGRAM', '{"le": "1"}', 's', 't', 'APPLICATION', 'Times.', 'seconds'),
            (2, 'h_bucket', 'HISTOGRAM', '{"le": "2"}', 's', 't', 'APPLICATION', 'Times.', 'seconds'),
            (3, 'h_sum', 'HISTOGRAM', '{}', 's', 't', 'APPLICATION', 'Times.', 'seconds'),
            (4, 'q_bucket', 'SUMMARY', '{}', 's', 't', 'APPLICATION', NULL, NULL),
            (5, '_sum', 'SUMMARY', '{}', 's', 't', 'APPLICATION', NULL, NULL),
            (6, 'silent', 'CUSTOM', '{}', 's', 't', 'APPLICATION', NULL, NULL)"#,
    ] {
        execute(&path, sql).await;
    }
    let store = folder.store().await;
    let buckets = store.series(&selection("h_bucket", 0, 0).matchers, 10).await.expect("series");
    assert_eq!(buckets.len(), 2);
    assert_eq!(store.index_statistics(1).await.expect("statistics").series, 6);
    let families = store.families(None, 10).await.expect("families");
    let families: Vec<_> = families
        .iter()
        .map(|said| (said.family.as_str(), said.metric_type.as_str(), said.unit.as_str()))
        .collect();
    let expected = [("_sum", "SUMMARY", ""), ("h", "HISTOGRAM", "seconds"), ("q_bucket", "SUMMARY", "")];
    assert_eq!(families, expected);
}

#[tokio::test]
async fn a_batch_whose_job_was_purged_is_still_a_duplicate_and_harms_no_neighbour() {
    let folder = Folder::new();
    let store = folder.store().await;
    let all = many_series("purged", 3);
    let layout = Layout::shared(all.clone());
    let old =
        batch("purged", "1", vec![frame(&layout, NOON, &[1.0; 3]), frame(&layout, NOON + 1, &[2.0; 3])]);
    assert_eq!(store.append(&[Arc::clone(&old)]).await.expect("append"), [Receipt::Stored]);
    assert_eq!(store.purge_jobs(NOON + 1).await.expect("purge"), 1);
    let new = batch("purged", "2", vec![frame(&layout, NOON + 2, &[3.0; 3])]);
    let receipts = store.append(&[new, old]).await.expect("append");
    assert_eq!(receipts, [Receipt::Stored, Receipt::Duplicate]);
    let samples = [(NOON, 1.0), (NOON + 1, 2.0), (NOON + 2, 3.0)];
    let expected: Vec<_> = all.iter().map(|series| row(series, &samples)).collect();
    assert_eq!(all_of(&store, "purged").await, expected);
    assert_eq!((store.backlog().await.expect("backlog"), jobs(&store).await), (2, 1));
}

#[tokio::test]
async fn a_damaged_batch_is_named_and_nothing_of_its_group_is_stored() {
    let folder = Folder::new();
    let store = folder.store().await;
    let layout = Layout::shared(many_series("damaged", 2));
    let good = batch("damaged", "1", vec![frame(&layout, NOON, &[1.0, 2.0])]);
    let mut short = frame(&layout, NOON, &[1.0, 2.0]);
    short.values.pop();
    let mut crossing = frame(&layout, NOON, &[1.0, 2.0]);
    crossing.offsets = Some(vec![0, 3_600_000]);
    let long = Layout::shared(vec![series(&"n".repeat(201), &[])]);
    let mut nul = Arc::unwrap_or_clone(batch("damaged", "5", Vec::new()));
    nul.collection.source_id = "a\0b".into();
    let damaged = [
        batch("damaged", "2", vec![short]),
        batch("damaged", "3", vec![frame(&layout, i64::MAX, &[1.0, 2.0])]),
        batch("damaged", "4", vec![crossing]),
        Arc::new(nul),
        // Found by the table itself, in the middle of the transaction.
        batch("damaged", "6", vec![frame(&long, NOON, &[1.0])]),
    ];
    for batch in damaged {
        let error = store.append(&[Arc::clone(&good), batch]).await.expect_err("a damaged batch");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
        assert!(all_of(&store, "damaged").await.is_empty());
        assert_eq!((store.backlog().await.expect("backlog"), jobs(&store).await), (0, 0));
    }
    assert!(store.series(&[], 10).await.expect("series").is_empty(), "no series was left behind");
    assert_eq!(store.append(&[good]).await.expect("append"), [Receipt::Stored]);
    assert_eq!(all_of(&store, "damaged").await.len(), 2, "nothing was remembered that was not committed");
}

#[tokio::test]
async fn a_layout_id_that_stands_for_another_list_is_not_used() {
    let folder = Folder::new();
    let one = folder.store().await;
    let all = many_series("layouts", 4);
    let first = Layout::shared(all[..2].to_vec());
    let mut second = Arc::unwrap_or_clone(Layout::shared(all[2..].to_vec()));
    second.id = first.id;
    let second = Arc::new(second);
    let frames = |time| vec![frame(&first, time, &[0.0, 1.0]), frame(&second, time, &[2.0, 3.0])];
    // By a store that knows nothing, by the same that knows the first, and by another.
    one.append(&[batch("layouts", "1", frames(NOON))]).await.expect("append");
    one.append(&[batch("layouts", "2", frames(NOON + 1))]).await.expect("append");
    let two = folder.store().await;
    two.append(&[batch("layouts", "3", frames(NOON + 2))]).await.expect("append");
    let expected: Vec<_> = (0..4)
        .map(|n| row(&all[n], &[(NOON, n as f64), (NOON + 1, n as f64), (NOON + 2, n as f64)]))
        .collect();
    assert_eq!(all_of(&two, "layouts").await, expected);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let folder = Folder::new();
    let store = folder.store().await;
    let layout = Layout::shared(many_series("dropped", 500));
    for n in 0..40u64 {
        let batch = batch("dropped", &n.to_string(), vec![frame(&layout, NOON + n as i64, &[1.0; 500])]);
        let wait = std::time::Duration::from_micros(n * 200);
        let _ = tokio::time::timeout(wait, store.append(&[batch])).await;
    }
    // However far each came, batches are whole and the writer is free.
    let last = batch("dropped", "last", vec![frame(&layout, NOON + 100, &[1.0; 500])]);
    assert_eq!(store.append(&[last]).await.expect("append"), [Receipt::Stored]);
    let found = all_of(&store, "dropped").await;
    assert_eq!(found.len(), 500);
    assert!(found.iter().all(|(_, samples)| samples.len() == found[0].1.len()));
    assert_eq!(jobs(&store).await, found[0].1.len());
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let folder = Folder::new();
    let store = folder.store().await;
    store.close().await;
    let error = store.ping().await.expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = store.append(&[batch("closed", "1", Vec::new())]).await.expect_err("it is closed");
    assert!(error.is_retryable());
}

async fn jobs(store: &SqliteStore) -> usize {
    store.jobs(&JobFilter::default(), 1_000).await.expect("jobs").len()
}

#[tokio::test]
async fn a_parked_record_keeps_its_bytes() {
    let folder = Folder::new();
    let store = folder.store().await;
    let content = vec![0, 255, 7, 0];
    let record = ParkedRecord { log: "l".into(), partition: 1, position: 2, error: "no".into(), content };
    store.park(&record, &LogStep { log: "l".into(), partition: 1, from: 2, next: 3 }).await.expect("parked");
    store.close().await;
    let mut connection = connection(&folder.file()).await;
    let row =
        sqlx::query("SELECT content FROM parked_records").fetch_one(&mut connection).await.expect("a row");
    assert_eq!(row.get::<Vec<u8>, _>(0), record.content);
}
