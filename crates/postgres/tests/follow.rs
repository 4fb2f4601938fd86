//! Series that other processes write are seen, in whatever order their transactions commit; migrated data too.

mod support;

use metricsd_model::{Layout, Matcher, MetricType, Series};
use metricsd_ports::{SampleSink, SampleSource};
use sqlx::{Acquire, AssertSqlSafe, Executor, PgConnection, Row};
use support::{Database, HOUR, batch, frame, many, options, series};

fn named(name: &str) -> Vec<Matcher> {
    vec![Matcher::equal("__name__", name)]
}

async fn insert(connection: &mut PgConnection, id: i64, name: &str) {
    let sql = format!(
        "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type) \
         VALUES ({id}, '{name}', 'GAUGE', '{{\"i\": \"{id}\"}}', 's', 't', 'APPLICATION')"
    );
    connection.execute(AssertSqlSafe(sql)).await.expect("insert a series");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_commit_out_of_order_are_all_seen() {
    let database = Database::create().await;
    let store = database.store().await;
    let known = async || {
        let mut ids = store.label_values("i", &[], 100).await.expect("values");
        ids.sort_by_key(|id| id.parse::<i64>().unwrap_or(0));
        ids.join(" ")
    };
    assert_eq!(known().await, "");
    let (mut one, mut two) = (database.connection().await, database.connection().await);
    // Who writes a series of a new owner waits for whoever writes that owner.
    let owner = "INSERT INTO series_owners (target_id, source, source_type) VALUES ('t', 's', 'APPLICATION')";
    one.execute(owner).await.expect("insert an owner");
    let mut early = one.begin().await.expect("begin");
    insert(&mut early, 1, "early").await;
    let mut late = two.begin().await.expect("begin");
    insert(&mut late, 2, "late").await;
    assert_eq!(known().await, "", "nothing is committed");
    late.commit().await.expect("commit");
    assert_eq!(known().await, "2");
    insert(&mut two, 3, "later").await;
    assert_eq!(known().await, "2 3");
    insert(&mut early, 4, "early").await;
    early.commit().await.expect("commit");
    assert_eq!(known().await, "1 2 3 4");
    let mut undone = one.begin().await.expect("begin");
    insert(&mut undone, 5, "undone").await;
    undone.rollback().await.expect("rollback");
    assert_eq!(known().await, "1 2 3 4");
    // A savepoint has a number of its own inside the server; the row has that of its transaction.
    let mut outer = one.begin().await.expect("begin");
    let mut inner = outer.begin().await.expect("begin");
    insert(&mut inner, 6, "nested").await;
    inner.commit().await.expect("release");
    assert_eq!(known().await, "1 2 3 4");
    outer.commit().await.expect("commit");
    assert_eq!(known().await, "1 2 3 4 6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_describes_a_series_is_heard() {
    let database = Database::create().await;
    let (one, two) = (database.store().await, database.store().await);
    let plain = series(&[("__name__", "m")]);
    let typed = std::sync::Arc::new(Series { metric_type: MetricType::Counter, ..Series::clone(&plain) });
    let select = async || {
        let found = support::all_of_m(&one).await;
        found.first().map(|series| (series.metric_type, series.timestamps.len()))
    };
    two.append(&[batch(1, vec![frame(&Layout::inline(vec![plain]), HOUR, vec![1.0])])])
        .await
        .expect("append");
    assert_eq!(select().await, Some((MetricType::Gauge, 1)));
    two.append(&[batch(2, vec![frame(&Layout::inline(vec![typed]), HOUR + 1, vec![2.0])])])
        .await
        .expect("append");
    assert_eq!(select().await, Some((MetricType::Counter, 2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_reads_what_is_new_and_no_more() {
    let database = Database::create().await;
    let store = database.store().await;
    let all = many(30_000);
    for (id, part) in (1..).zip(all.chunks(10_000)) {
        let layout = Layout::inline(part.to_vec());
        store.append(&[batch(id, vec![frame(&layout, HOUR, vec![1.0; part.len()])])]).await.expect("append");
    }
    // More than a page is loaded at once.
    assert_eq!(store.index_statistics(1).await.expect("statistics").series, 30_000);
    let mut connection = database.connection().await;
    let seen =
        sqlx::query("SELECT pg_current_snapshot()::text").fetch_one(&mut connection).await.expect("a row");
    let seen: String = seen.try_get(0).expect("a snapshot");
    for analysed in [false, true] {
        if analysed {
            connection.execute("ANALYZE series_rows, series_names, series_owners").await.expect("analyze");
        }
        let sql = include_str!("../src/sql/new_series.sql");
        let sql = sql.replace("$1", &format!("'{seen}'")).replace("$2", "0").replace("$3", "'{}'");
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(&mut connection).await;
        let plan: Vec<String> =
            plan.expect("a plan").iter().map(|row| row.try_get(0).expect("a line")).collect();
        assert!(
            plan.iter().any(|line| line.contains("series_added")),
            "analysed: {analysed}\n{}",
            plan.join("\n")
        );
    }
}

/// A database as version 2 left it keeps its series, and what they say of families.
#[tokio::test]
async fn series_from_before_are_found_and_their_families_too() {
    let database = Database::create().await;
    let mut connection = database.connection().await;
    for sql in [
        "CREATE EXTENSION IF NOT EXISTS timescaledb",
        "SET metricsd.chunk_interval = '1 hour'",
        "SET metricsd.space_partitions = '1'",
        include_str!("../../../migrations/postgres/0001_catalogue.sql"),
        include_str!("../../../migrations/postgres/0002_samples.sql"),
        include_str!("../src/sql/migrations_table.sql"),
        "INSERT INTO metricsd_migrations (version, name) VALUES (1, 'catalogue'), (2, 'samples')",
        "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit) VALUES
            (1, 'h_bucket', 'HISTOGRAM', '{\"le\": \"1\"}', 's', 't', 'APPLICATION', 'Times.', 'seconds'),
            (2, 'h_bucket', 'HISTOGRAM', '{\"le\": \"2\"}', 's', 't', 'APPLICATION', 'Times.', 'seconds'),
            (3, 'h_sum', 'HISTOGRAM', '{}', 's', 't', 'APPLICATION', 'Times.', 'seconds'),
            (4, 'q_bucket', 'SUMMARY', '{}', 's', 't', 'APPLICATION', NULL, NULL),
            (5, '_sum', 'SUMMARY', '{}', 's', 't', 'APPLICATION', NULL, NULL),
            (6, 'silent', 'CUSTOM', '{}', 's', 't', 'APPLICATION', NULL, NULL)",
    ] {
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("a statement");
    }
    let store = metricsd_postgres::PostgresStore::connect(&database.url, options()).await.expect("connect");
    assert_eq!(store.series(&named("h_bucket"), 10).await.expect("series").len(), 2);
    assert_eq!(store.index_statistics(1).await.expect("statistics").series, 6);
    let families = store.families(None, 10).await.expect("families");
    let families: Vec<_> = families
        .iter()
        .map(|said| (said.family.as_str(), said.metric_type.as_str(), said.unit.as_str()))
        .collect();
    assert_eq!(
        families,
        [("_sum", "SUMMARY", ""), ("h", "HISTOGRAM", "seconds"), ("q_bucket", "SUMMARY", "")]
    );
}
