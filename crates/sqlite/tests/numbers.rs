//! The numbers by which tables name series and layouts: in the order in which they come, and never given again.

mod support;

use std::sync::Arc;

use metricsd_model::{Layout, Matcher, MetricType, Series};
use metricsd_ports::conformance::fixtures::{
    NOON, all_of, batch, frame, many_series, row, rows, selection, series,
};
use metricsd_ports::conformance::samples::{compact_all, policy};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{Retention, SampleSink, SampleSource};
use metricsd_sqlite::SqliteStore;
use metricsd_store::compact::{DAY, day_of, timeline_id};
use sqlx::{AssertSqlSafe, Executor, Row};
use support::{Folder, connection};

async fn numbers(folder: &Folder, sql: &str) -> Vec<i64> {
    let rows = connection(&folder.file()).await.fetch_all(AssertSqlSafe(sql.to_owned())).await;
    rows.expect("rows").iter().map(|row| row.get(0)).collect()
}

async fn push(store: &SqliteStore, key: &str, layouts: &[&Arc<Layout>], at: i64) {
    let frames = layouts.iter().map(|layout| frame(layout, NOON + at, &vec![at as f64; layout.ids.len()]));
    store.append(&[batch("numbers", key, frames.collect())]).await.expect("append");
}

/// Removes everything that the file holds.
async fn remove_all(store: &SqliteStore) {
    store.remove_others_before(&[], i64::MAX / 2).await.expect("a removal");
    while store.remove_unused(i64::MAX).await.expect("a removal").more {}
}

#[tokio::test]
async fn series_of_a_layout_follow_each_other() {
    let folder = Folder::new();
    let store = folder.store().await;
    let all = many_series("numbers", 96);
    let layouts: Vec<Arc<Layout>> = all.chunks(32).map(|part| Layout::shared(part.to_vec())).collect();
    // All new in one transaction, in which a database would have them in order of id.
    push(&store, "1", &layouts.iter().collect::<Vec<_>>(), 0).await;
    let by_label = "SELECT seq FROM series ORDER BY labels";
    assert_eq!(numbers(&folder, by_label).await, (1..=96).collect::<Vec<_>>());
    let lengths = "SELECT length(series) FROM layouts ORDER BY number";
    assert_eq!(numbers(&folder, lengths).await, [33, 33, 34], "a byte for each that follows the one before");
    let blocks = "SELECT count(*) FROM layout_blocks GROUP BY layout ORDER BY layout";
    assert_eq!(numbers(&folder, blocks).await, [3; 3]);
    // Few of many are found by the blocks that they lie in.
    for n in [0, 31, 32, 95] {
        let mut asked = selection("numbers", NOON, NOON);
        asked.matchers.push(Matcher::equal("n", format!("{n:04}")));
        let found = store.select(&asked).await.expect("a selection");
        assert_eq!(rows(&found), [row(&all[n], &[(NOON, 0.0)])]);
    }
}

#[tokio::test]
async fn what_another_store_removed_gets_new_numbers() {
    let folder = Folder::new();
    let (one, two) = (folder.store().await, folder.store().await);
    let all = many_series("numbers", 6);
    let (shared, inline) = (Layout::shared(all[..3].to_vec()), Layout::inline(all[3..].to_vec()));
    push(&one, "1", &[&shared, &inline], 1).await;
    // Both remember the lists, one of them the numbers.
    assert_eq!((all_of(&one, "numbers").await.len(), all_of(&two, "numbers").await.len()), (6, 6));
    remove_all(&two).await;
    let other = many_series("other", 6);
    push(&two, "2", &[&Layout::shared(other[..3].to_vec()), &Layout::inline(other[3..].to_vec())], 2).await;
    // By a layout first, of whose series no numbers are remembered.
    push(&one, "3", &[&shared, &Layout::shared(all[3..].to_vec())], 3).await;
    push(&one, "4", &[&shared, &inline], 4).await;
    for store in [&one, &two] {
        for (name, series, times) in [("numbers", &all, &[3, 4][..]), ("other", &other, &[2])] {
            let samples: Vec<_> = times.iter().map(|at| (NOON + at, *at as f64)).collect();
            let expected: Vec<_> = series.iter().map(|one| row(one, &samples)).collect();
            assert_eq!(all_of(store, name).await, expected);
        }
    }
    assert_eq!(
        numbers(&folder, "SELECT seq FROM series_rows ORDER BY seq").await,
        (7..=18).collect::<Vec<_>>()
    );
    assert_eq!(numbers(&folder, "SELECT number FROM layouts ORDER BY number").await, [2, 3, 4]);

    // Nothing is left behind, and the next numbers are still above all that were.
    remove_all(&one).await;
    for table in ["series_rows", "series_ids", "series_times", "series_labels", "layouts", "layout_blocks"] {
        assert_eq!(numbers(&folder, &format!("SELECT count(*) FROM {table}")).await, [0], "{table}");
    }
    push(&two, "5", &[&inline], 5).await;
    assert_eq!(numbers(&folder, "SELECT seq FROM series_rows").await, [19, 20, 21]);
    assert_eq!(all_of(&one, "numbers").await.len(), 3);
}

#[tokio::test]
async fn a_description_that_changes_takes_the_next_number() {
    let folder = Folder::new();
    let store = folder.store().await;
    let plain = series("numbers", &[("s", "a")]);
    push(&store, "1", &[&Layout::inline(vec![Arc::clone(&plain), series("numbers", &[])])], 1).await;
    let added = "SELECT added FROM series ORDER BY seq";
    assert_eq!(numbers(&folder, added).await, [1, 2]);
    let typed = Arc::new(Series { metric_type: MetricType::Counter, ..Series::clone(&plain) });
    push(&store, "2", &[&Layout::inline(vec![typed])], 2).await;
    assert_eq!(numbers(&folder, added).await, [3, 2]);
    push(&store, "3", &[&Layout::inline(vec![series("numbers", &[("s", "b")])])], 3).await;
    assert_eq!(numbers(&folder, added).await, [3, 2, 4]);
    remove_all(&store).await;
    assert_eq!(numbers(&folder, "SELECT count(*) FROM series_described").await, [0]);
}

/// Two lists of timestamps of one day whose ids begin with the same three bytes: two samples each, the first at noon.
fn alike() -> [i64; 2] {
    let mut met = std::collections::HashMap::new();
    for gap in 1.. {
        let noon = i32::try_from(NOON - day_of(NOON)).expect("less than a day");
        let id = timeline_id(&[noon, noon + gap]) >> 40;
        if let Some(before) = met.insert(id, i64::from(gap)) {
            return [before, i64::from(gap)];
        }
    }
    unreachable!("there are fewer ids than gaps")
}

/// Timelines are named by three bytes of their ids: the second of two with the same ones stays with its segments.
#[tokio::test]
async fn timelines_that_are_named_alike_are_told_apart() {
    let gaps = alike();
    assert!(gaps[1] < 3_600_000, "within the hour");
    for at_once in [true, false] {
        let (folder, memory) = (Folder::new(), MemoryStore::default());
        let store = folder.store().await;
        let all = many_series("numbers", 8);
        for (part, gap) in all.chunks(4).zip(gaps) {
            let layout = Layout::shared(part.to_vec());
            for at in [0, gap] {
                let batch =
                    batch("numbers", &format!("{gap} {at}"), vec![frame(&layout, NOON + at, &[1.0; 4])]);
                store.append(&[Arc::clone(&batch)]).await.expect("append");
                memory.append(&[batch]).await.expect("append to memory");
            }
            if !at_once {
                compact_all(&store, &policy(NOON + DAY, 100_000)).await;
            }
        }
        compact_all(&store, &policy(NOON + DAY, 100_000)).await;
        assert_eq!(all_of(&store, "numbers").await, all_of(&memory, "numbers").await, "at once: {at_once}");
        assert_eq!(numbers(&folder, "SELECT count(*) FROM frames").await, [0]);
        let kinds = "SELECT count(*) FROM segments_daily GROUP BY typeof(times) ORDER BY typeof(times)";
        assert_eq!(numbers(&folder, kinds).await, [4, 4], "blobs and ids; at once: {at_once}");
        assert_eq!(numbers(&folder, "SELECT count(*) FROM timelines").await, [1]);
    }
}
