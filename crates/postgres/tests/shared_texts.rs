//! A database of version 17, whose series were whole rows, keeps all that it shows, and what others have built upon it.

mod support;

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use support::{Database, migrate_until, options};

/// The version before.
const BEFORE: i64 = 17;

/// Series with every kind of text, samples of them in frames, segments, packed days and rolled-up values, and what people add.
const FILL: &str = r#"
INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit, first_seen)
SELECT n * 7919 - 40000, 'm' || n % 5, (ARRAY['GAUGE', 'COUNTER'])[1 + n % 2],
       jsonb_build_object('i', n::text, 'instance', 'é"\' || n % 3), 'source' || n % 2, 't' || n % 3, 'APPLICATION',
       (ARRAY[NULL, '', 'help', 'Ünïcode ' || n % 4, repeat('long ', 2000)])[1 + n % 5], (ARRAY[NULL, 'seconds', ''])[1 + n % 3],
       '2026-01-01'::timestamptz + n * interval '1 minute'
FROM generate_series(1, 400) AS n;
INSERT INTO layouts (id, series) SELECT 5, array_agg(id) FROM series;
INSERT INTO frames (time, target_id, source, batch_id, part, layout, series_ids, "values", offsets, seq)
SELECT timestamptz '2026-02-01', 't', 's', gen_random_uuid(), 0, 5, NULL::int8[], array_agg(id::float8), NULL::int[], 1 FROM series
UNION ALL
SELECT timestamptz '2026-02-01 00:10', 't', 's', gen_random_uuid(), 0, NULL, array_agg(id), array_agg(id::float8 / 2), array_agg(3), 2
FROM series;
INSERT INTO origins (target_id, source) VALUES ('t', 's');
INSERT INTO segments (time, series, origin, offsets, base, slope, scale, shorts)
SELECT '2026-01-31', id, 1, '{0,1000}', id, 1.0, 100.0, '{1,-1}' FROM series;
INSERT INTO segments_daily (time, series, origin, samples, offsets, "values", packed)
SELECT timestamptz '2026-01-20', id, 1, 1, '{5}'::int[], '{1.5}'::float8[], NULL::bytea FROM series WHERE id % 2 = 0
UNION ALL
SELECT timestamptz '2026-01-20', id, 1, 9, NULL, NULL, '\x00' FROM series WHERE id % 2 <> 0;
INSERT INTO rollups_hours (day, series, places, counts, mins, maxs, sums, lasts)
SELECT '2026-01-10', id, '{1}', '{2}', '{1}', '{2}', '{3}', '{2}' FROM series;

CREATE INDEX people_labels ON series USING gin (labels jsonb_path_ops);
CREATE INDEX people_targets ON series (target_id);
CREATE VIEW people_view WITH (security_barrier = true) AS
SELECT s.id, upper(s.metric_name::text) AS name, s.labels ->> 'i' AS i FROM series s WHERE s.target_id = 't1';
CREATE VIEW people_samples AS SELECT metric_name, avg(value) AS value FROM metrics_ts GROUP BY 1;
GRANT SELECT ON series TO PUBLIC;
"#;

const SHOWN: [&str; 8] = [
    "series",
    "metrics_by_bucket",
    "metrics_ts",
    "metrics_ts_packed",
    "metrics_rolled",
    "people_view",
    "people_samples",
    "metrics_between('2026-01-30', '2026-02-02')",
];

async fn columns(connection: &mut PgConnection) -> Vec<(String, String)> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = 'series'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = connection.fetch_all(sql).await.expect("columns");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn series_that_were_whole_rows_are_shown_as_before() {
    let database = Database::create().await;
    let mut connection = database.connection().await;
    migrate_until(&mut connection, BEFORE).await;
    connection.execute(FILL).await.expect("fill");
    let before = columns(&mut connection).await;
    for (n, shown) in SHOWN.iter().enumerate() {
        let sql = format!("CREATE TABLE kept_{n} AS SELECT * FROM {shown}");
        connection.execute(AssertSqlSafe(sql)).await.expect("keep");
    }

    metricsd_postgres::migrate(&database.url, &options()).await.expect("migrate");
    assert_eq!(columns(&mut connection).await, before);
    for (n, shown) in SHOWN.iter().enumerate() {
        let sql = format!(
            "SELECT (SELECT count(*) FROM kept_{n}), (SELECT count(*) FROM {shown}), \
             (SELECT count(*) FROM (TABLE kept_{n} EXCEPT ALL SELECT * FROM {shown}) AS lost)"
        );
        let row = connection.fetch_one(AssertSqlSafe(sql)).await.expect("compare");
        let (kept, now, lost): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert!(kept > 0 && (now, lost) == (kept, 0), "{shown}: {kept} before, {now} now, {lost} lost");
    }
    let sql = "SELECT (SELECT count(*)::int FROM pg_indexes WHERE indexname = 'people_labels' AND tablename = 'series_rows'), \
         (SELECT reloptions::text FROM pg_class WHERE relname = 'people_view'), \
         has_table_privilege('public', 'series', 'SELECT'), has_table_privilege('public', 'series_names', 'SELECT'), \
         has_table_privilege('public', 'series', 'DELETE'), to_regclass('series_whole') IS NULL, \
         (SELECT count(*)::int FROM series_names), \
         (SELECT count(*)::int FROM series_holders WHERE labels <> '{}')";
    let row = connection.fetch_one(sql).await.expect("a row");
    assert_eq!((row.get::<i32, _>(0), row.get::<&str, _>(1)), (1, "{security_barrier=true}"));
    assert_eq!([2, 3, 4, 5].map(|column| row.get::<bool, _>(column)), [true, true, false, true]);
    let sql = "SELECT count(DISTINCT (metric_name, metric_type, help, unit))::int, \
         count(DISTINCT (source, target_id, source_type, labels -> 'instance'))::int FROM kept_0";
    let distinct = connection.fetch_one(sql).await.expect("a row");
    assert_eq!((row.get::<i32, _>(6), row.get::<i32, _>(7)), (distinct.get(0), distinct.get(1)));
}

/// Processes that are not yet restarted write rows of `series`; people may, too.
#[tokio::test]
async fn rows_of_the_view_can_still_be_written() {
    let database = Database::create().await;
    database.store().await;
    let mut connection = database.connection().await;
    let columns = "(id, metric_name, metric_type, labels, source, target_id, source_type, help, unit)";
    let mut copy = connection.copy_in_raw(&format!("COPY series {columns} FROM STDIN")).await.expect("begin");
    let rows = "1\tm\tGAUGE\t{\"i\": \"1\", \"job\": \"j\"}\ts\tt\tAPPLICATION\thelp\t\\N\n2\tm\tGAUGE\t{\"job\": \"j\"}\ts\tt\tAPPLICATION\thelp\t\\N\n";
    copy.send(rows.as_bytes()).await.expect("send");
    assert_eq!(copy.finish().await.expect("finish"), 2);
    let again = format!(
        "INSERT INTO series {columns} VALUES (2, 'm', 'GAUGE', '{{}}', 's', 't', 'APPLICATION', NULL, NULL)"
    );
    let error = connection.execute(AssertSqlSafe(again)).await.expect_err("an id that is taken");
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    assert_eq!(constraint, Some("series_pkey"));
    let sql = "SELECT count(*), count(DISTINCT name), count(DISTINCT owner), count(DISTINCT added), \
         count(*) FILTER (WHERE first_seen > now() - interval '1 hour') FROM series_rows";
    let row = connection.fetch_one(sql).await.expect("counts");
    assert_eq!([0, 1, 2, 3, 4].map(|column| row.get::<i64, _>(column)), [2, 1, 1, 1, 2]);
    let row = connection
        .fetch_one("SELECT labels::text, (SELECT labels::text FROM series WHERE id = 1) FROM series_holders");
    let row = row.await.expect("one owner");
    assert_eq!((row.get(0), row.get(1)), (r#"{"job": "j"}"#, r#"{"i": "1", "job": "j"}"#));
}
