//! Labels that stand with the owner of series: those of a database of the version before, and of its processes, which go on
//! for a while.

mod support;

use std::sync::Arc;

use metricsd_model::{Batch, LabelSet, Layout, MatchOp, Matcher, Series};
use metricsd_ports::{Retention, SampleSink, SampleSource};
use metricsd_postgres::{PostgresStore, migrate};
use sqlx::{Executor, PgConnection, Row};
use support::{Database, HOUR, batch, frame, migrate_until, options, series};

/// The version before.
const BEFORE: i64 = 20;

/// Series with both labels, one of them, none, and with others; from the 90th on many have the same.
fn all(from: usize, to: usize) -> Vec<Arc<Series>> {
    let long = "long ".repeat(2_000);
    let mut all = Vec::new();
    for i in from..to {
        let number = i.to_string();
        let mut pairs = vec![("__name__", "m"), ("instanc", "x"), ("jobs", "y"), ("i", &*number)];
        let (instance, kind) = match i {
            90.. => ("host-9", 2),
            _ => (["é\"\\", "host-1:9100", &*long][i % 3], i % 4),
        };
        let shared = [("instance", instance), ("job", "node")];
        pairs.extend([&shared[..0], &shared[..1], &shared[..], &shared[1..]][kind]);
        let target = format!("t{}", i % 2);
        all.push(Arc::new(Series { target_id: target.into(), ..Series::clone(&series(&pairs)) }));
    }
    all
}

fn one(id: u128, series: &[Arc<Series>]) -> [Arc<Batch>; 1] {
    let frames = series
        .chunks(40)
        .map(|part| frame(&Layout::shared(part.to_vec()), HOUR + id as i64, vec![1.0; part.len()]));
    [batch(id, frames.collect())]
}

/// Writes series as a process of the version before does: with all labels, and numbers of owners that it remembers.
async fn write_before(
    connection: &mut PgConnection,
    series: &[Arc<Series>],
    known: &[(String, i32)],
) -> usize {
    let sql = "INSERT INTO series_names (metric_name, metric_type, help) VALUES ('m', 'GAUGE', 'help') \
         ON CONFLICT DO NOTHING";
    connection.execute(sql).await.expect("a name");
    let mut written = 0;
    for series in series {
        let owner = match known.iter().find(|(target, _)| **target == *series.target_id) {
            Some((_, owner)) => *owner,
            None => owner_before(connection, &series.target_id).await,
        };
        let labels: std::collections::BTreeMap<_, _> = series.labels.without_name().collect();
        let sql = "INSERT INTO series_rows (id, name, owner, labels) \
             SELECT id, (SELECT n.id FROM series_names n WHERE n.metric_name = 'm' AND n.help = 'help') AS name, owner, labels::jsonb \
             FROM unnest($1::int8[], $2::int4[], $3::text[]) AS new (id, owner, labels) \
             ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id";
        let insert = sqlx::query(sql).bind(vec![series.id.to_i64()]).bind(vec![owner]);
        let insert = insert.bind(vec![serde_json::to_string(&labels).expect("JSON")]);
        written += insert.fetch_all(&mut *connection).await.expect("a row").len();
    }
    written
}

/// The statement of that version.
async fn owner_before(connection: &mut PgConnection, target: &str) -> i32 {
    let sql = "WITH wanted AS MATERIALIZED (
            SELECT w.*, o.id
            FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w (target_id, source, source_type, place)
            LEFT JOIN series_owners o
                ON o.target_id = w.target_id AND o.source = w.source AND o.source_type = w.source_type
        ), written AS (
            INSERT INTO series_owners (target_id, source, source_type)
            SELECT target_id, source, source_type FROM wanted WHERE id IS NULL ORDER BY place
            ON CONFLICT DO NOTHING
            RETURNING id, target_id, source, source_type
        )
        SELECT id, place, NULL, NULL, NULL FROM wanted WHERE id IS NOT NULL
        UNION ALL
        SELECT id, NULL, target_id, source, source_type FROM written";
    let query = sqlx::query(sql).bind(vec![target]).bind(vec!["s"]).bind(vec!["APPLICATION"]);
    let rows = query.fetch_all(connection).await.expect("an owner");
    assert_eq!(rows.len(), 1, "the only match");
    rows.iter().map(|row| row.get::<i32, _>(0)).sum()
}

async fn read(store: &PostgresStore) -> Vec<(LabelSet, i64, String)> {
    let any = Matcher::new("__name__", MatchOp::Regex, "m.*").expect("a matcher");
    let found = store.series(&[any], 10_000).await.expect("series");
    told(&found)
}

fn told(series: &[Arc<Series>]) -> Vec<(LabelSet, i64, String)> {
    let told = |one: &Arc<Series>| (one.labels.clone(), one.id.to_i64(), one.target_id.to_string());
    let mut all: Vec<_> = series.iter().map(told).collect();
    all.sort();
    all
}

async fn shown(connection: &mut PgConnection) -> Vec<(i64, String, String, String)> {
    let sql = "SELECT id, metric_name::text, labels::text, target_id::text FROM series ORDER BY id";
    let rows = connection.fetch_all(sql).await.expect("series");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

async fn count(connection: &mut PgConnection, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {what}");
    connection.fetch_one(sqlx::AssertSqlSafe(sql)).await.expect("a count").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_of_the_version_before_and_of_its_processes_keep_their_labels() {
    let database = Database::create().await;
    let mut connection = database.connection().await;
    migrate_until(&mut connection, BEFORE).await;
    let series = all(0, 120);
    let known = [("t0".to_owned(), owner_before(&mut connection, "t0").await)];
    assert_eq!(write_before(&mut connection, &series[..60], &known).await, 60);
    connection.execute("GRANT SELECT ON series_owners TO PUBLIC").await.expect("grant");
    let (before, owners) = (shown(&mut connection).await, count(&mut connection, "series_owners").await);
    assert_eq!((before.len(), owners), (60, 2));

    assert_eq!(migrate(&database.url, &options()).await.expect("migrate").from, BEFORE);
    assert_eq!(shown(&mut connection).await, before);
    assert_eq!(count(&mut connection, "series_rows WHERE labels ?| '{instance, job}'").await, 0);
    assert_eq!(count(&mut connection, "series_owners").await, owners);
    let right = "SELECT has_table_privilege('public', 'series_owners', 'SELECT')";
    assert!(connection.fetch_one(right).await.expect("a right").get::<bool, _>(0));
    let store = database.store().await;
    assert_eq!(read(&store).await, told(&series[..60]));

    // By numbers that it remembers, found, and new; and what is there already, of a list that a new process has written.
    assert_eq!(write_before(&mut connection, &series[60..80], &known).await, 20);
    let gone = "DELETE FROM series_owners WHERE NOT EXISTS (SELECT FROM series_rows r WHERE r.owner = series_owners.id)";
    connection.execute(gone).await.expect("delete");
    let new: Vec<_> = series[80..90]
        .iter()
        .map(|one| Arc::new(Series { target_id: "t2".into(), ..Series::clone(one) }))
        .collect();
    assert_eq!(write_before(&mut connection, &new, &[]).await, 10);
    store.append(&one(1, &series[90..])).await.expect("append");
    let parted = "series_rows r JOIN series_holders o ON o.id = r.owner WHERE o.labels = '{\"instance\": \"host-9\", \"job\": \"node\"}'";
    assert_eq!(count(&mut connection, parted).await, 30);
    assert_eq!(write_before(&mut connection, &series[90..], &known).await, 0);
    let mut expected = series[..80].to_vec();
    expected.extend(new);
    expected.extend_from_slice(&series[90..]);

    // All are found again under their ids, and described by their names.
    for (id, store) in [(2, store), (3, database.store().await)] {
        assert_eq!(read(&store).await, told(&expected));
        let help = Some(Arc::from(format!("help {id}")));
        let described: Vec<_> = expected
            .iter()
            .map(|one| Arc::new(Series { help: help.clone(), ..Series::clone(one) }))
            .collect();
        store.append(&one(id, &described)).await.expect("append");
        assert_eq!(count(&mut connection, "series").await, expected.len() as i64);
        assert_eq!(
            count(&mut connection, &format!("series WHERE help = 'help {id}'")).await,
            expected.len() as i64
        );
        assert_eq!(read(&store).await, told(&expected));
        while store.remove_unused(0).await.expect("a removal").more {}
    }
    let unused = "series_holders o WHERE NOT EXISTS (SELECT FROM series_rows r WHERE r.owner = o.id)";
    assert_eq!(count(&mut connection, unused).await, 0);
}

/// Few series do not write an owner of their own, but have that which is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_with_labels_is_written_for_several_series() {
    let database = Database::create().await;
    let (store, other) = (database.store().await, database.store().await);
    let mut connection = database.connection().await;
    let of = |instance: &str, from: usize, to: usize| -> Vec<Arc<Series>> {
        (from..to)
            .map(|i| series(&[("__name__", "m"), ("i", &i.to_string()), ("instance", instance)]))
            .collect()
    };
    let parts = [
        (&store, of("a", 0, 12), 0),
        (&store, of("a", 12, 13), 0),
        (&other, of("a", 13, 15), 2),
        (&other, of("b", 0, 11), 13),
    ];
    let mut expected = Vec::new();
    for (id, (store, part, whole)) in parts.into_iter().enumerate() {
        store.append(&one(id as u128, &part)).await.expect("append");
        expected.extend(part);
        assert_eq!(count(&mut connection, "series_rows WHERE labels ? 'instance'").await, whole, "{id}");
        assert_eq!(read(store).await, told(&expected));
    }
    assert_eq!(count(&mut connection, "series_holders").await, 2);
}

/// Labels are put together once a series, and not at all where nobody asks for them.
#[tokio::test]
async fn plans_leave_out_what_is_not_asked_for() {
    let database = Database::create().await;
    database.store().await;
    let mut connection = database.connection().await;
    let fill = "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type) \
         SELECT n, 'm' || n % 50, 'GAUGE', jsonb_build_object('i', n::text, 'instance', n % 9), 's', 't' || n % 9, 'APPLICATION' \
         FROM generate_series(1, 5000) AS n; ANALYZE series_rows, series_names, series_holders";
    connection.execute(fill).await.expect("fill");
    for (asked, condition, has, lacks) in [
        ("count(*)", "true", "series_rows", "series_names series_holders ||"),
        ("id, source", "id = 7", "series_pkey series_holders", "series_names ||"),
        ("labels", "metric_name = 'm7'", "series_name series_holders ||", "series_pkey"),
        ("labels", "id = 7", "series_pkey series_holders ||", "series_names"),
    ] {
        let sql = format!("EXPLAIN VERBOSE SELECT {asked} FROM series WHERE {condition}");
        let rows = connection.fetch_all(sqlx::AssertSqlSafe(sql)).await.expect("explain");
        let plan = rows.iter().map(|row| row.get::<&str, _>(0)).collect::<Vec<_>>().join("\n");
        assert!(has.split(' ').all(|part| plan.contains(part)), "{asked} {condition}: {plan}");
        assert!(!lacks.split(' ').any(|part| plan.contains(part)), "{asked} {condition}: {plan}");
    }
}
