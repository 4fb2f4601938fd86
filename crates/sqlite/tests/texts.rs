//! What series share stands in the file once: written, read back, changed, and removed with the last of them.

mod support;

use std::sync::Arc;

use metricsd_model::{Layout, MetricType, Series};
use metricsd_ports::conformance::fixtures::{NOON, all_of, batch, frame, selection, series};
use metricsd_ports::{Retention, SampleSink, SampleSource};
use metricsd_sqlite::SqliteStore;
use sqlx::{AssertSqlSafe, Executor, Row};
use support::{Folder, connection, execute};

/// Two targets of a fleet, with labels that JSON has to escape, and series that have no more than one of the shared labels.
fn fleet() -> Vec<Arc<Series>> {
    let mut all = Vec::new();
    for instance in ["a:1", "b\"\\:\n2"] {
        for device in ["eth0", "wlan é", ""] {
            let labels = [("device", device), ("instance", instance), ("job", "node")];
            all.push(series("texts", if device.is_empty() { &labels[1..] } else { &labels }));
        }
    }
    all.extend([
        series("texts", &[("job", "node")]),
        series("texts", &[]),
        series("texts", &[("zone", "z")]),
    ]);
    all
}

/// How many series, names and owners the file holds.
async fn texts(folder: &Folder) -> (i64, i64, i64) {
    let sql = "SELECT (SELECT count(*) FROM series_rows), (SELECT count(*) FROM series_names), \
        (SELECT count(*) FROM series_owners)";
    let row = connection(&folder.file()).await.fetch_one(sql).await.expect("counts");
    (row.get(0), row.get(1), row.get(2))
}

async fn read(store: &SqliteStore) -> Vec<Series> {
    let found = store.series(&selection("texts", 0, 0).matchers, 100).await.expect("series");
    let mut found: Vec<Series> = found.into_iter().map(Arc::unwrap_or_clone).collect();
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    found
}

fn sorted(series: &[Arc<Series>]) -> Vec<Series> {
    let mut all: Vec<Series> = series.iter().map(|series| Series::clone(series)).collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

#[tokio::test]
async fn what_series_share_is_written_once_and_goes_with_the_last_of_them() {
    let folder = Folder::new();
    let store = folder.store().await;
    let all = fleet();
    // In two appends, so that the second finds what the first has written.
    for (id, part) in [&all[..4], &all[4..]].into_iter().enumerate() {
        let values = vec![1.0; part.len()];
        let one = frame(&Layout::shared(part.to_vec()), NOON, &values);
        store.append(&[batch("texts", &id.to_string(), vec![one])]).await.expect("append");
    }
    assert_eq!(texts(&folder).await, (9, 1, 4), "four owners: two targets, a job alone, none");
    assert_eq!(read(&store).await, sorted(&all));
    let again = folder.store().await;
    assert_eq!(read(&again).await, sorted(&all), "by who reads the file anew");

    // A description that changes for one of them, and back to what others have.
    let described = |help: Option<&str>, kind| {
        let mut one = Series::clone(&all[0]);
        (one.help, one.metric_type) = (help.map(Into::into), kind);
        Layout::shared(vec![Arc::new(one)])
    };
    for (id, help, kind, names) in [
        (7, Some("Bytes."), MetricType::Counter, 2),
        (8, None, MetricType::Gauge, 3),
        (9, Some("Bytes."), MetricType::Counter, 3),
    ] {
        let one = frame(&described(help, kind), NOON + id, &[1.0]);
        again.append(&[batch("texts", &id.to_string(), vec![one])]).await.expect("append");
        assert_eq!(texts(&folder).await, (9, names, 4), "{id}");
        let found = read(&store).await.into_iter().find(|found| found.labels == all[0].labels);
        let found = found.expect("the series");
        assert_eq!((found.metric_type, found.help.as_deref()), (kind, Some("Bytes.")), "{id}");
    }

    // The descriptions that nobody has any more go, though all series stay.
    while store.remove_unused(0).await.expect("a removal").more {}
    assert_eq!(texts(&folder).await, (9, 2, 4));

    store.remove_others_before(&[], i64::MAX / 2).await.expect("a removal");
    while store.remove_unused(i64::MAX).await.expect("a removal").more {}
    assert_eq!(texts(&folder).await, (0, 0, 0));
    let one = frame(&Layout::shared(all.clone()), NOON, &[1.0; 9]);
    again.append(&[batch("texts", "10", vec![one])]).await.expect("append");
    assert_eq!((texts(&folder).await, all_of(&again, "texts").await.len()), ((9, 1, 4), 9));
}

/// A file as version 13 left it.
#[tokio::test]
async fn series_of_an_older_file_keep_their_labels() {
    let folder = Folder::new();
    let path = folder.file();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
    std::fs::File::create(&path).expect("make the file");
    for sql in [
        include_str!("../../../migrations/sqlite/0001_catalogue.sql"),
        include_str!("../../../migrations/sqlite/0002_samples.sql"),
        "CREATE TABLE metricsd_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER);
         INSERT INTO metricsd_migrations (version, name) VALUES (1, 'catalogue'), (2, 'samples')",
    ] {
        execute(&path, sql).await;
    }
    let all = fleet();
    for series in &all {
        let labels: Vec<String> = series
            .labels
            .without_name()
            .map(|(name, value)| {
                let quote = |text: &str| serde_json::to_string(text).expect("JSON");
                format!("{}:{}", quote(name), quote(value))
            })
            .collect();
        let labels = format!("{{{}}}", labels.join(",")).replace('\'', "''");
        let id = series.id.to_i64();
        let sql = format!(
            "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type) \
             VALUES ({id}, 'texts', 'GAUGE', '{labels}', 'fixture', '', 'APPLICATION')"
        );
        connection(&path).await.execute(AssertSqlSafe(sql)).await.expect("a row");
    }
    let store = folder.store().await;
    assert_eq!(read(&store).await, sorted(&all));
    assert_eq!(texts(&folder).await, (9, 1, 4));
    // What is written now is found among what was there.
    let one = frame(&Layout::shared(all.clone()), NOON, &[1.0; 9]);
    store.append(&[batch("texts", "1", vec![one])]).await.expect("append");
    assert_eq!(texts(&folder).await, (9, 1, 4));
    assert_eq!(all_of(&store, "texts").await.len(), 9);
}
