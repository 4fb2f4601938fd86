//! What appending promises beyond the conformance suite: two writers at once, replays, bits, damaged batches.

mod support;

use std::sync::Arc;

use metricsd_model::{HISTOGRAM_MARKER_BITS, Layout, Matcher, NativeHistogram, STALE_NAN_BITS};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{
    Catalog, ErrorKind, LogSink, LogStep, Outbox, ParkedRecord, Receipt, SampleSink, SampleSource,
};
use sqlx::{Executor, Row};
use support::compacting::exact;
use support::{Database, HOUR, all_of_m, batch, frame, many, selection, series};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_that_append_the_same_batches_store_each_once() {
    let database = Database::create().await;
    let (one, two) = (database.store().await, database.store().await);
    let rounds: Vec<Vec<_>> = (0..6u128)
        .map(|round| {
            // Other series each round, so that series, layouts and jobs are all contended.
            let of = |n: u128| Layout::shared(many(50 + 7 * (round * 20 + n) as usize));
            (0..20)
                .map(|n| {
                    let layout = of(n);
                    let values = vec![n as f64; layout.ids.len()];
                    batch(round * 100 + n, vec![frame(&layout, HOUR + (round * 100 + n) as i64, values)])
                })
                .collect()
        })
        .collect();
    let mut samples = 0;
    for round in &rounds {
        let reversed: Vec<_> = round.iter().rev().cloned().collect();
        let (a, b) = tokio::join!(one.append(round), two.append(&reversed));
        let (a, b) = (a.expect("append"), b.expect("append"));
        for (mine, theirs) in a.iter().zip(b.iter().rev()) {
            assert_eq!(
                mine == &Receipt::Stored,
                theirs == &Receipt::Duplicate,
                "each batch is stored by one of them"
            );
        }
        samples += round.iter().map(|batch| batch.samples()).sum::<usize>();
    }
    for store in [&one, &two] {
        assert_eq!(all_of_m(store).await.iter().map(|series| series.values.len()).sum::<usize>(), samples);
        assert_eq!(store.backlog().await.expect("backlog"), 120);
    }
    let stats = one.stats(HOUR, std::time::Duration::from_secs(60)).await.expect("stats");
    assert_eq!(stats.total_metrics_collected, samples as u64);
}

/// More than a statement holds, with every kind of frame beside every other.
#[tokio::test]
async fn frames_of_every_kind_are_written_by_several_statements() {
    let database = Database::create().await;
    let (store, memory) = (database.store().await, MemoryStore::default());
    let (wide, turned) = (Layout::shared(many(20_000)), many(20_000).into_iter().rev().collect());
    let turned: Arc<Layout> = Layout::inline(turned);
    let frames = (0..24i64).map(|n| {
        let (layout, few) = if n % 3 == 0 { (&turned, n % 2 == 0) } else { (&wide, n % 4 == 1) };
        let layout = if few { Layout::inline(layout.series[..7].to_vec()) } else { Arc::clone(layout) };
        let count = layout.ids.len();
        let mut one = frame(&layout, HOUR + n * 1_000, (0..count).map(|i| (i as i64 * n) as f64).collect());
        one.offsets = (n % 5 == 2).then(|| (0..count as i32).map(|i| i % 900).collect());
        if n % 4 == 3 {
            one.values[3] = f64::from_bits(HISTOGRAM_MARKER_BITS);
            one.histograms = vec![(3, NativeHistogram { count: n as f64, ..NativeHistogram::default() })];
        }
        one
    });
    let batch = batch(1, frames.collect());
    assert_eq!(store.append(&[Arc::clone(&batch)]).await.expect("append"), [Receipt::Stored]);
    memory.append(&[batch]).await.expect("append to memory");
    let everything = selection(vec![Matcher::equal("__name__", "m")], i64::MIN, i64::MAX);
    let (mut one, mut other) =
        (all_of_m(&store).await, memory.select(&everything).await.expect("select from memory"));
    one.sort_by(|a, b| a.labels.cmp(&b.labels));
    other.sort_by(|a, b| a.labels.cmp(&b.labels));
    assert!(exact(&one) == exact(&other), "{} and {} series", one.len(), other.len());
}

/// One series is another writer's and not committed yet, so that it is neither seen nor free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_series_that_another_writer_is_writing_is_waited_for_and_shared() {
    // Few new series are inserted, many are copied.
    for count in [5, 1_200] {
        wait_for_another(count).await;
    }
}

async fn wait_for_another(count: usize) {
    let database = Database::create().await;
    let (one, two) = (Arc::new(database.store().await), database.store().await);
    let layout = Layout::shared(many(count));
    let part = Layout::shared(many(3)[2..].to_vec());
    two.append(&[batch(1, vec![frame(&part, HOUR, vec![2.0])])]).await.expect("append");
    let mut connection = database.connection().await;
    connection.execute("CREATE TABLE kept AS SELECT * FROM series_rows").await.expect("keep");
    connection.execute("DELETE FROM series_rows").await.expect("delete");
    connection.execute("BEGIN; INSERT INTO series_rows SELECT * FROM kept").await.expect("insert");
    let late = batch(2, vec![frame(&layout, HOUR + 1, vec![0.5; count])]);
    let append = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.append(&[late]).await }
    });
    let mut watcher = database.connection().await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' \
         AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
    while watcher.fetch_one(waits).await.expect("locks").get::<i64, _>(0) == 0 {
        assert!(!append.is_finished(), "nobody waited");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    connection.execute("COMMIT").await.expect("commit");
    assert_eq!(append.await.expect("no panic").expect("append"), [Receipt::Stored]);
    let lengths: Vec<usize> = all_of_m(&one).await.iter().map(|series| series.values.len()).collect();
    assert_eq!((lengths.len(), lengths.iter().filter(|length| **length == 2).count()), (count, 1));
    assert_eq!(lengths.iter().sum::<usize>(), count + 1);
    let row = watcher.fetch_one("SELECT count(*), count(DISTINCT added) FROM series").await.expect("count");
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (count as i64, 2));
}

#[tokio::test]
async fn a_batch_whose_job_was_purged_is_still_a_duplicate_and_harms_no_neighbour() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(3));
    let old = batch(
        1,
        vec![frame(&layout, HOUR, vec![1.0, 2.0, 3.0]), frame(&layout, HOUR + 1, vec![1.0, 2.0, 3.0])],
    );
    assert_eq!(store.append(&[Arc::clone(&old)]).await.expect("append"), [Receipt::Stored]);
    assert_eq!(store.purge_jobs(HOUR + 1).await.expect("purge"), 1);
    let new = batch(2, vec![frame(&layout, HOUR + 2, vec![4.0, 5.0, 6.0])]);
    let receipts = store.append(&[new, old]).await.expect("append");
    assert_eq!(receipts, [Receipt::Stored, Receipt::Duplicate]);
    let selected = all_of_m(&store).await;
    assert_eq!(selected[0].timestamps, [HOUR, HOUR + 1, HOUR + 2]);
    assert_eq!(store.backlog().await.expect("backlog"), 2);
}

#[tokio::test]
async fn every_nan_keeps_its_bits_and_histograms_their_place() {
    let database = Database::create().await;
    let store = database.store().await;
    let bits = [
        STALE_NAN_BITS,
        0x7ff8_0000_0000_0001,
        0xfff8_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        HISTOGRAM_MARKER_BITS,
    ];
    let histogram = NativeHistogram { count: 4.0, sum: f64::NAN, ..NativeHistogram::default() };
    // As few columns are picked in the database as one by one in whole arrays and in frames with ids of their own.
    for (n, layout) in
        [Layout::shared(many(5)), Layout::shared(many(300)), Layout::inline(many(5))].iter().enumerate()
    {
        let mut values: Vec<f64> = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        values.resize(layout.ids.len(), 0.5);
        let mut frame = frame(layout, HOUR + 1_000 * n as i64, values);
        frame.histograms = vec![(4, histogram.clone())];
        if n == 2 {
            frame.offsets = Some(vec![0, 1, 2, 3, 4]);
        }
        store.append(&[batch(n as u128, vec![frame])]).await.expect("append");
    }
    for (i, bits) in bits.iter().enumerate() {
        let matchers = vec![metricsd_model::Matcher::equal("i", i.to_string())];
        let selected = store.select(&selection(matchers, HOUR, HOUR + 2_004)).await.expect("select");
        let offset = i as i64;
        assert_eq!(selected[0].timestamps, [HOUR, HOUR + 1_000, HOUR + 2_000 + offset], "column {i}");
        assert_eq!(selected[0].values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), [*bits; 3]);
        let expected: Vec<_> =
            if i == 4 { (0..3).map(|n| (n, histogram.clone())).collect() } else { Vec::new() };
        assert_eq!(selected[0].histograms, expected);
    }
}

#[tokio::test]
async fn a_damaged_batch_is_named_and_nothing_of_its_group_is_stored() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(2));
    let good = batch(1, vec![frame(&layout, HOUR, vec![1.0, 2.0])]);
    let mut crossing = frame(&layout, HOUR, vec![1.0, 2.0]);
    crossing.offsets = Some(vec![0, 3_600_000]);
    let mut nul = Arc::unwrap_or_clone(batch(3, Vec::new()));
    nul.collection.source_id = "a\0b".into();
    let long = Layout::shared(vec![series(&[("__name__", &"n".repeat(201))])]);
    let damaged = [
        batch(2, vec![frame(&layout, HOUR, vec![1.0])]),
        batch(2, vec![frame(&layout, i64::MAX, vec![1.0, 2.0])]),
        batch(2, vec![crossing]),
        Arc::new(nul),
        batch(4, vec![frame(&long, HOUR, vec![1.0])]),
    ];
    for batch in damaged {
        let error = store.append(&[Arc::clone(&good), batch]).await.expect_err("a damaged batch");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
    }
    assert!(all_of_m(&store).await.is_empty());
    assert_eq!(store.backlog().await.expect("backlog"), 0);
    assert_eq!(store.append(&[good]).await.expect("append"), [Receipt::Stored]);
}

#[tokio::test]
async fn a_layout_id_that_stands_for_another_list_is_not_used() {
    let database = Database::create().await;
    let one = database.store().await;
    let all = many(4);
    let first = Layout::shared(all[..2].to_vec());
    let mut second = Arc::unwrap_or_clone(Layout::shared(all[2..].to_vec()));
    second.id = first.id;
    let second = Arc::new(second);
    one.append(&[batch(1, vec![frame(&first, HOUR, vec![0.0, 1.0])])]).await.expect("append");
    // By a store that knows the first, by one that does not, and both in one group.
    one.append(&[batch(2, vec![frame(&second, HOUR, vec![2.0, 3.0])])]).await.expect("append");
    let two = database.store().await;
    let both =
        [batch(3, vec![frame(&first, HOUR + 1, vec![0.0, 1.0]), frame(&second, HOUR + 1, vec![2.0, 3.0])])];
    two.append(&both).await.expect("append");
    for (i, selected) in all_of_m(&two).await.iter().enumerate() {
        assert_eq!(
            (selected.labels.get("i"), &selected.values[..]),
            (Some(&*i.to_string()), &[i as f64; 2][..])
        );
    }
    let mut connection = database.connection().await;
    let row = connection.fetch_one("SELECT count(*) FROM frames WHERE layout IS NULL").await.expect("count");
    assert_eq!(row.get::<i64, _>(0), 2);
}

#[tokio::test]
async fn space_partitions_are_made_when_asked_for() {
    let database = Database::create().await;
    let options = metricsd_postgres::PostgresOptions {
        space_partitions: 4,
        chunk_interval: std::time::Duration::from_secs(7_200),
        ..support::options()
    };
    let store = metricsd_postgres::PostgresStore::connect(&database.url, options).await.expect("connect");
    let layout = Layout::shared(many(3));
    let one = batch(1, vec![frame(&layout, HOUR, vec![1.0, 2.0, 3.0])]);
    store.append(&[Arc::clone(&one)]).await.expect("append");
    store.purge_jobs(i64::MAX).await.expect("purge");
    assert_eq!(store.append(&[one]).await.expect("append"), [Receipt::Duplicate]);
    assert_eq!(all_of_m(&store).await.len(), 3);
    let mut connection = database.connection().await;
    let sql = "SELECT column_name::text, coalesce(extract(epoch FROM time_interval)::int, num_partitions) \
         FROM timescaledb_information.dimensions WHERE hypertable_name = 'frames' ORDER BY 1 DESC";
    let rows = connection.fetch_all(sql).await.expect("dimensions");
    let dimensions: Vec<(String, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(dimensions, [("time".to_owned(), 7_200), ("source".to_owned(), 4)]);
}

#[tokio::test]
async fn a_parked_record_keeps_its_bytes() {
    let database = Database::create().await;
    let store = database.store().await;
    let content = vec![0, 255, 7, 0];
    let record = ParkedRecord { log: "l".into(), partition: 1, position: 2, error: "no".into(), content };
    store.park(&record, &LogStep { log: "l".into(), partition: 1, from: 2, next: 3 }).await.expect("parked");
    let mut connection = database.connection().await;
    let row =
        sqlx::query("SELECT content FROM parked_records").fetch_one(&mut connection).await.expect("a row");
    assert_eq!(row.get::<Vec<u8>, _>(0), record.content);
}
