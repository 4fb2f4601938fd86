//! Lists of series are found by some bits of the ids in them, however many these were when a list was written.

mod support;

use metricsd_model::{Layout, Matcher, Millis, Series};
use metricsd_ports::{Retention, SampleSink, SampleSource};
use metricsd_postgres::migrate;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use support::{Database, HOUR, all_of_m, batch, frame, many, migrate_until, options, selection};

/// Series in lists of 1, 2, 3 and so on.
const LENGTHS: usize = 20;

/// The version before.
const BEFORE: i64 = 19;

fn ids(series: &[std::sync::Arc<Series>]) -> Vec<i64> {
    series.iter().map(|series| series.id.to_i64()).collect()
}

/// One list and a frame of it, as a process of the version before writes them.
async fn write_before(connection: &mut PgConnection, id: i64, series: &[i64], time: Millis) {
    let sql = "INSERT INTO layouts (id, series) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    sqlx::query(sql).bind(id).bind(series).execute(&mut *connection).await.expect("a list");
    let sql = "INSERT INTO frames (time, target_id, source, batch_id, part, layout, \"values\", seq) \
         VALUES (to_timestamp($1::float8 / 1000), 't', 's', gen_random_uuid(), 0, $2, $3, nextval('append_order'))";
    let values = vec![1.0; series.len()];
    sqlx::query(sql).bind(time).bind(id).bind(values).execute(connection).await.expect("a frame");
}

/// How many samples each of the series has, asked for one by one by a process that knows nothing yet.
async fn samples(database: &Database, count: usize) -> Vec<usize> {
    let store = database.store().await;
    let mut found = Vec::new();
    for i in 0..count {
        let one = vec![Matcher::equal("__name__", "m"), Matcher::equal("i", i.to_string())];
        let all = store.select(&selection(one, i64::MIN, i64::MAX)).await.expect("select");
        found.push(all.iter().map(|series| series.values.len()).sum());
    }
    let together: usize = all_of_m(&store).await.iter().map(|series| series.values.len()).sum();
    assert_eq!(together, found.iter().sum::<usize>());
    found
}

async fn set_bits(connection: &mut PgConnection, bits: &str) {
    let sql = format!("ALTER TABLE layouts ALTER COLUMN bits SET DEFAULT {bits}");
    connection.execute(AssertSqlSafe(sql)).await.expect("a default");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_the_version_before_and_of_all_sizes_of_a_store_are_found() {
    let database = Database::create().await;
    let mut connection = database.connection().await;
    migrate_until(&mut connection, BEFORE).await;
    let all = many(LENGTHS);
    for (i, series) in all.iter().enumerate() {
        let sql = format!(
            "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type) \
             VALUES ({}, 'm', 'GAUGE', '{{\"i\": \"{i}\"}}', 's', 't', 'APPLICATION')",
            series.id.to_i64()
        );
        connection.execute(AssertSqlSafe(sql)).await.expect("a series");
    }
    for count in 1..=LENGTHS {
        write_before(&mut connection, count as i64, &ids(&all[..count]), HOUR + count as i64).await;
    }
    migrate(&database.url, &options()).await.expect("migrate");
    let mut expected: Vec<usize> = (0..LENGTHS).map(|i| LENGTHS - i).collect();
    assert_eq!(samples(&database, LENGTHS).await, expected);

    // By processes of this version and of that before, as the store grows.
    for (turn, bits) in [11, 16, 19, 22, 25, 27].into_iter().enumerate() {
        set_bits(&mut connection, &bits.to_string()).await;
        let (part, store) = (&all[turn..2 * turn + 3], database.store().await);
        let time = HOUR + 1_000 * (turn as i64 + 1);
        let frames = vec![frame(&Layout::shared(part.to_vec()), time, vec![2.0; part.len()])];
        store.append(&[batch(turn as u128, frames)]).await.expect("append");
        let rest: Vec<i64> = ids(&all[turn + 5..]);
        write_before(&mut connection, 100 + turn as i64, &rest, time + 1).await;
        expected[turn..2 * turn + 3].iter_mut().for_each(|samples| *samples += 1);
        expected[turn + 5..].iter_mut().for_each(|samples| *samples += 1);
        assert_eq!(samples(&database, LENGTHS).await, expected, "{bits} bits");
    }
    let sql = "SELECT array_agg(DISTINCT bits ORDER BY bits)::text FROM layouts";
    let bits: String = connection.fetch_one(sql).await.expect("bits").get(0);
    assert_eq!(bits, "{11,16,19,22,25,27}");
}

/// The number of bits grows with the table of series, and lists are never found but through the index.
#[tokio::test]
async fn keys_follow_the_size_of_the_store_and_are_looked_up_in_the_index() {
    let database = Database::create().await;
    database.store().await;
    let mut connection = database.connection().await;
    for (rows, bits) in [(0, 11), (10_000, 11), (40_000, 16)] {
        let sql = format!(
            "INSERT INTO series_rows (id, name, owner, labels) SELECT n, 1, 1, jsonb_build_object('i', repeat('x', 50)) \
             FROM generate_series(1, {rows}) AS n ON CONFLICT DO NOTHING"
        );
        connection.execute(AssertSqlSafe(sql)).await.expect("series");
        let row = connection.fetch_one("SELECT metricsd_list_bits()").await.expect("a number");
        assert_eq!(row.get::<i16, _>(0), bits, "{rows}");
    }
    let sql = "INSERT INTO layouts (id, series) SELECT n, ARRAY[n, -n, n << 40] FROM generate_series(1, 300::int8) AS n";
    connection.execute(sql).await.expect("lists");
    connection.execute("SET enable_seqscan = off").await.expect("set");
    for (statement, kinds, given) in [
        (
            include_str!("../src/sql/find_layouts.sql"),
            "(int4[], int4[], int4[])",
            "('{1}', '{3}', '{1, 2, 3}')",
        ),
        (
            include_str!("../src/sql/listed_series.sql"),
            "(int4[], int4[], int4[], int8[], int8)",
            "('{1}', '{3}', '{1, 2, 3}', '{7}', 0)",
        ),
        (include_str!("../src/sql/list_bits.sql"), "", ""),
    ] {
        let prepare = format!("PREPARE q {kinds} AS {statement}");
        connection.execute(AssertSqlSafe(prepare)).await.expect("prepare");
        let explain = format!("EXPLAIN (ANALYZE, VERBOSE) EXECUTE q {given}");
        let rows = connection.fetch_all(AssertSqlSafe(explain)).await.expect("explain");
        let plan = rows.iter().map(|row| row.get::<&str, _>(0)).collect::<Vec<_>>().join("\n");
        assert!(plan.contains("layouts_keys") || plan.contains("layouts_bits"), "{plan}");
        assert!(!plan.contains("Seq Scan on public.layouts"), "{plan}");
        connection.execute("DEALLOCATE q").await.expect("deallocate");
    }
}

/// A list that was being written when a sweep looked at all of them, and one that was written since.
#[tokio::test]
async fn lists_that_came_after_the_first_look_are_seen_by_the_second() {
    let database = Database::create().await;
    database.store().await;
    let (mut connection, mut writer) = (database.connection().await, database.connection().await);
    let insert = "INSERT INTO layouts (id, series) SELECT n, ARRAY[n] FROM generate_series($1, $1 + 1) AS n";
    sqlx::query(insert).bind(1i64).execute(&mut connection).await.expect("old lists");
    let mut tx = writer.begin().await.expect("begin");
    sqlx::query(insert).bind(3i64).execute(&mut *tx).await.expect("lists");
    // The oldest that a snapshot of now does not show, but for those of other databases.
    let row = tx.fetch_one("SELECT pg_current_xact_id()::text").await.expect("a number");
    let since: String = row.get(0);
    sqlx::query(insert).bind(5i64).execute(&mut connection).await.expect("new lists");
    tx.commit().await.expect("commit");
    connection.execute("VACUUM layouts").await.expect("vacuum");
    let find = sqlx::query(include_str!("../src/sql/newly_listed_series.sql"));
    let find = find.bind((1..=7).collect::<Vec<i64>>()).bind(since).bind(0i64);
    let mut found: Vec<i64> =
        find.fetch_all(&mut connection).await.expect("series").iter().map(|row| row.get(0)).collect();
    found.sort_unstable();
    assert_eq!(found, [3, 4, 5, 6]);
}

/// Whose keys lead to lists of others is not taken to stand in them, when it is removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_without_lists_are_removed_though_others_have_their_keys() {
    let database = Database::create().await;
    let store = database.store().await;
    let mut connection = database.connection().await;
    let kept = many(40);
    let key = |series: &Series| series.id.0 >> (64 - 11);
    let lost = (0..).map(|i: u32| support::series(&[("__name__", "lost"), ("i", &i.to_string())]));
    let lost =
        lost.into_iter().find(|lost| kept.iter().any(|kept| key(kept) == key(lost))).expect("a series");
    let lost = Layout::shared(vec![lost]);
    let kept_frame = frame(&Layout::shared(kept), HOUR, vec![1.0; 40]);
    let mut lost_batch = batch(2, vec![frame(&lost, HOUR, vec![1.0])]).as_ref().clone();
    lost_batch.collection.target_id = "gone".into();
    store.append(&[batch(1, vec![kept_frame]), std::sync::Arc::new(lost_batch)]).await.expect("append");
    connection.execute("DELETE FROM frames WHERE target_id = 'gone'").await.expect("delete");
    while store.remove_unused(i64::MAX).await.expect("a removal").more {}
    let left = "SELECT count(*), count(*) FILTER (WHERE metric_name = 'm') FROM series";
    let row = connection.fetch_one(left).await.expect("counts");
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (40, 40));
}
