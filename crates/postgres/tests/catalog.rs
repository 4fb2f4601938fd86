//! What the catalogue promises between processes, beyond the conformance suite.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metricsd_model::Secret;
use metricsd_model::{AuthConfig, CollectionMethod, MetricSource, PromDuration, ScrapeConfig, TargetSpec};
use metricsd_ports::{Catalog, Created, ErrorKind, TargetChange, TargetFilter};
use sqlx::{Executor, Row};
use support::Database;

fn spec(target_id: &str) -> TargetSpec {
    TargetSpec {
        target_id: target_id.into(),
        source_id: "s".into(),
        source_type: MetricSource::Application,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: "http://localhost:9100/metrics".into(),
            scrape_interval: PromDuration::from_secs(15),
            scrape_timeout: PromDuration::from_secs(10),
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: std::sync::Arc::default(),
        },
        labels: BTreeMap::from([("env".into(), "test".into())]),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}

#[tokio::test]
async fn a_change_wakes_who_waits_in_another_process() {
    let database = Database::create().await;
    let (one, two) = (database.store().await, database.store().await);
    one.create_target(&spec("a")).await.expect("create");
    let seen = two.changes(0, Duration::ZERO).await.expect("changes");
    let (mut revision, long) = (seen[0].revision, Duration::from_secs(20));
    let mut fastest = Duration::MAX;
    for round in 0..3 {
        let change = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let change = TargetChange { enabled: Some(round % 2 == 0), labels: None };
            one.change_target("a", &change).await.expect("change");
            Instant::now()
        };
        let wait = async { (two.changes(revision, long).await.expect("changes"), Instant::now()) };
        let (changed_at, (changed, woke_at)) = tokio::join!(change, wait);
        assert_eq!(changed.len(), 1);
        revision = changed[0].revision;
        fastest = fastest.min(woke_at.saturating_duration_since(changed_at));
    }
    // Polling alone would take some 700 ms in each round.
    assert!(fastest < Duration::from_millis(300), "woken after {fastest:?}");
}

#[tokio::test]
async fn revisions_that_a_reader_sees_leave_none_behind() {
    let database = Database::create().await;
    let stores = [database.store().await, database.store().await, database.store().await];
    let reader = database.store().await;
    let writes = stores.iter().enumerate().map(|(writer, store)| async move {
        for n in 0..30 {
            let created = store.create_target(&spec(&format!("{writer}-{n}"))).await.expect("create");
            assert!(matches!(created, Created::New(_)));
        }
    });
    let read = async {
        let (mut revision, mut seen) = (0, Vec::new());
        while seen.len() < 90 {
            for target in reader.changes(revision, Duration::from_secs(5)).await.expect("changes") {
                assert!(target.revision > revision);
                revision = target.revision;
                seen.push(target.spec.target_id);
            }
        }
        seen
    };
    let (_, seen) = tokio::join!(futures::future::join_all(writes), read);
    assert_eq!(seen.len(), 90);
    assert_eq!(reader.targets(&TargetFilter::default(), 1_000).await.expect("targets").len(), 90);
}

#[tokio::test]
async fn secrets_reach_the_database_sealed_or_not_at_all() {
    let database = Database::create().await;
    let store = database.store().await;
    let mut open = spec("open");
    open.scrape_config.authentication = Some(AuthConfig::Bearer { token: Secret::new("hunter2") });
    let error = store.create_target(&open).await.expect_err("an unsealed secret");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let mut sealed = spec("sealed");
    sealed.scrape_config.authentication = Some(AuthConfig::Sealed { sealed: "c2VhbGVk".into() });
    store.create_target(&sealed).await.expect("create");
    let target = store.target("sealed").await.expect("read").expect("it is there");
    assert_eq!(target.spec, sealed);
}

#[tokio::test]
async fn what_a_column_cannot_hold_is_invalid_and_names_no_secret() {
    let database = Database::create().await;
    let store = database.store().await;
    let mut long = spec(&"x".repeat(101));
    assert_eq!(store.create_target(&long).await.expect_err("too long").kind(), ErrorKind::Invalid);
    long = spec("url");
    long.scrape_config.target_url = format!("http://{}", "x".repeat(500));
    assert_eq!(store.create_target(&long).await.expect_err("too long").kind(), ErrorKind::Invalid);
    long = spec("nul\0");
    assert_eq!(store.create_target(&long).await.expect_err("NUL").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn the_tables_have_the_documented_columns() {
    let database = Database::create().await;
    database.store().await;
    let mut connection = database.connection().await;
    let mut columns = async |table: &str, count: i64| {
        let sql = "SELECT column_name || ' ' || udt_name || coalesce('(' || character_maximum_length || ')', '') \
             || CASE is_nullable WHEN 'NO' THEN ' required' ELSE '' END \
             FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position LIMIT $2";
        let rows = connection.fetch_all(sqlx::query(sql).bind(table.to_owned()).bind(count)).await;
        rows.expect("columns").iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    assert_eq!(
        columns("metric_targets", 9).await,
        [
            "id uuid required",
            "target_id varchar(100) required",
            "target_url varchar(500) required",
            "source_type varchar(50) required",
            "scrape_config jsonb required",
            "labels jsonb required",
            "health_status varchar(20) required",
            "enabled bool required",
            "created_at timestamptz required",
        ]
    );
    assert_eq!(
        columns("collection_jobs", 9).await,
        [
            "id uuid required",
            "job_id varchar(100) required",
            "target_id varchar(100) required",
            "collection_method varchar(50) required",
            "status varchar(20) required",
            "metrics_collected int8 required",
            "collection_duration_ms float8",
            "error_details text",
            "created_at timestamptz required",
        ]
    );
}
