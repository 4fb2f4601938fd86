//! Series that do not change within an hour stand many in a row.

mod support;

use std::sync::Arc;

use metricsd_model::{Batch, Layout, Matcher};
use metricsd_ports::{CompactionPolicy, Retention, SampleSink, SampleSource};
use support::compacting::{START, WIDTH, compact_all, count, exact, policy, shown, view};
use support::{Database, all_of_m, batch, frame, many, selection};

const TOGETHER: &str = "(SELECT unnest(series) AS series, time FROM segments_constant) AS m";

#[tokio::test]
async fn series_that_do_not_change_stand_together_and_part() {
    let database = Database::create().await;
    let store = database.store().await;
    // So many that keys have bits.
    let layout = Layout::shared(many(300));
    let values =
        |n: i64| (0..300).map(|i| if i % 3 == 0 { n as f64 } else { f64::from(i) }).collect::<Vec<_>>();
    for hour in 0..2 {
        let frames = (0..30).map(|n| frame(&layout, START + hour * WIDTH + n * 60_000, values(n)));
        store.append(&[batch(hour as u128, frames.collect())]).await.expect("append");
    }
    let before = all_of_m(&store).await;
    compact_all(&store, &policy()).await;
    let mut connection = database.connection().await;
    let check = async |connection: &mut sqlx::PgConnection, expected: &[_], what: &str| {
        let read = all_of_m(&store).await;
        assert_eq!(exact(&read), exact(expected), "{what}");
        assert_eq!(view(connection).await, shown(&read), "{what}");
    };
    check(&mut connection, &before, "compacted").await;
    assert_eq!(count(&mut connection, "segments").await, 2 * 100);
    assert_eq!(count(&mut connection, TOGETHER).await, 2 * 200);
    let rows = count(&mut connection, "segments_constant").await;
    assert!((4..=8).contains(&rows), "{rows} rows");

    // One that is asked for alone, and a part of an hour.
    let one = vec![Matcher::equal("__name__", "m"), Matcher::equal("i", "7")];
    let part = store.select(&selection(one, START + 600_000, START + 1_200_000)).await.expect("select");
    assert_eq!(part.len(), 1);
    assert_eq!(part[0].values, [7.0; 11]);
    assert_eq!(part[0].timestamps.first(), Some(&(START + 600_000)));

    // Late samples: one series changes, one gains a sample of the same value, one has its samples once more.
    let late = Layout::shared(many(5));
    store
        .append(&[batch(9, vec![frame(&late, START + 30_000, vec![0.5, 9.0, 2.0, 1.0, 4.0])])])
        .await
        .expect("append");
    store.append(&[batch(10, vec![frame(&late, START, values(0)[..5].to_vec())])]).await.expect("append");
    let with_late = all_of_m(&store).await;
    compact_all(&store, &policy()).await;
    check(&mut connection, &with_late, "merged").await;
    let at_first = format!("{TOGETHER} WHERE time = to_timestamp({})", START / 1_000);
    assert_eq!(count(&mut connection, &at_first).await, 200 - 1, "2 and 4 are the same at other times");
    let once = "(SELECT DISTINCT m, time FROM segments_constant, unnest(series) AS m) AS d";
    assert_eq!(count(&mut connection, once).await, 2 * 200 - 1, "none stands twice");
}

#[tokio::test]
async fn what_many_passes_wrote_is_laid_together() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(300));
    let still: Vec<f64> = (0..300).map(|i| f64::from(i) / 4.0 - 20.0).collect();
    let frames = (0..30).map(|n| frame(&layout, START + n * 60_000, still.clone()));
    store.append(&[batch(1, frames.collect())]).await.expect("append");
    let before = all_of_m(&store).await;
    let small = CompactionPolicy { max_samples: 500, ..policy() };
    compact_all(&store, &small).await;
    let mut connection = database.connection().await;
    let rows = count(&mut connection, "segments_constant").await;
    assert!((1..=8).contains(&rows), "{rows} rows, by 18 passes");
    assert_eq!(count(&mut connection, TOGETHER).await, 300);
    let read = all_of_m(&store).await;
    assert_eq!(exact(&read), exact(&before));
    assert_eq!(view(&mut connection).await, shown(&read));

    // Late samples, a series at a time: rows stay as they are laid, or are laid together again.
    for (n, i) in (0..40).map(|n| (n, n as usize * 7)) {
        let late = frame(&Layout::shared(many(300)[i..=i].to_vec()), START + 30_000 + n, vec![still[i]]);
        store.append(&[batch(10 + n as u128, vec![late])]).await.expect("append");
        compact_all(&store, &small).await;
    }
    let rows = count(&mut connection, "segments_constant").await;
    assert!((1..=16).contains(&rows), "{rows} rows");
    let read = all_of_m(&store).await;
    assert_eq!(read.iter().map(|series| series.timestamps.len()).sum::<usize>(), 300 * 30 + 40);
    assert_eq!(view(&mut connection).await, shown(&read));
    let once = "(SELECT DISTINCT m FROM segments_constant, unnest(series) AS m) AS d";
    assert_eq!(count(&mut connection, once).await, count(&mut connection, TOGETHER).await);

    assert_eq!(store.remove_before("t", START + WIDTH).await.expect("remove"), 300);
    assert_eq!(count(&mut connection, "segments_constant").await, 0);
    assert_eq!(count(&mut connection, "spans").await, 0);
}

#[tokio::test]
async fn one_target_leaves_the_rows_that_it_shares_with_others() {
    let database = Database::create().await;
    let store = database.store().await;
    for (n, target) in ["t", "u"].into_iter().enumerate() {
        let layout = Layout::shared(many(40 * (n + 1))[40 * n..].to_vec());
        let frames = (0..30).map(|at| frame(&layout, START + at * 60_000, vec![target.len() as f64; 40]));
        let mut batch = Batch::clone(&batch(n as u128, frames.collect()));
        batch.collection.target_id = target.into();
        store.append(&[Arc::new(batch)]).await.expect("append");
    }
    compact_all(&store, &policy()).await;
    let mut connection = database.connection().await;
    assert_eq!(count(&mut connection, TOGETHER).await, 80);
    let shared = "segments_constant WHERE cardinality(ARRAY(SELECT DISTINCT unnest(origins))) = 2";
    assert!(count(&mut connection, shared).await > 0);
    let latest = store.latest("u", START).await.expect("latest");
    assert_eq!(latest.len(), 40);

    assert_eq!(store.remove_before("u", START + WIDTH).await.expect("remove"), 40);
    assert_eq!(count(&mut connection, TOGETHER).await, 40);
    assert_eq!(count(&mut connection, "spans").await, 1);
    let left = all_of_m(&store).await;
    assert_eq!(left.len(), 40);
    assert!(left.iter().all(|series| series.timestamps.len() == 30));
    assert_eq!(view(&mut connection).await, shown(&left));
    let mut unused = 0;
    loop {
        let removed = store.remove_unused(i64::MAX).await.expect("remove unused");
        unused += removed.series;
        if !removed.more {
            break;
        }
    }
    assert_eq!(unused, 40, "those of the other target have samples");
    assert_eq!(all_of_m(&store).await.len(), 40);

    assert_eq!(store.remove_before("t", START + WIDTH).await.expect("remove"), 40);
    assert_eq!(count(&mut connection, "segments_constant").await, 0);
}
