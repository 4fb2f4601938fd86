//! A file as metricsd left it at version 17, with frames, segments, days and rolled-up values, comes over whole.
//!
//! `data/version_17.sql` is a dump of a file that metricsd of that version made: it appended [`early`], compacted and rolled up what
//! is over by [`NOON`], and appended [`late`]. Jobs of the former and events were left out of the dump.

mod support;

use std::sync::Arc;

use metricsd_model::{
    Batch, Exemplar, LabelSet, Layout, MetricType, Millis, Series, SeriesExemplar, stale_marker,
};
use metricsd_ports::conformance::fixtures::{
    HOUR, NOON, all_of, batch, frame, frame_at, histogram, put_histogram, selection, series, series_with_id,
};
use metricsd_ports::conformance::samples::{compact_all, policy};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{
    ROLLUP_STEPS, Receipt, Retention, Rollup, RollupValue, SampleSink, SampleSource, Unused,
};
use metricsd_sqlite::SqliteStore;
use sqlx::{Executor, Row};
use support::{Folder, connection, execute};

const NAMES: [&str; 4] = ["fleet", "rare", "noise", "shapes"];

/// An hour of the day before, which is rolled up.
const YESTERDAY: Millis = NOON - 24 * HOUR;

/// Devices of a machine, two of which claim one id.
fn machine(instance: &str) -> Vec<Arc<Series>> {
    let mut all: Vec<Arc<Series>> = (0..8)
        .map(|n| {
            let device = format!("device-{n}");
            series("fleet", &[("device", &device), ("instance", instance), ("job", "node")])
        })
        .collect();
    if instance == "b" {
        all.extend(["1", "2"].map(|twin| series_with_id(7, "fleet", &[("twin", twin)])));
    }
    all
}

/// Values that never change, that count, and that do neither.
fn values(columns: usize, place: i64) -> Vec<f64> {
    let value = |column: usize| match column {
        0 => 3.0,
        1 => -0.0,
        2 => 0.25,
        3 => -1e300,
        4 if place % 10 == 9 => stale_marker(),
        _ => (place * column as i64) as f64 / 8.0,
    };
    (0..columns).map(value).collect()
}

fn rare() -> Arc<Layout> {
    Layout::inline(["x", "y"].map(|r| series("rare", &[("r", r)])).to_vec())
}

fn shapes() -> Arc<Layout> {
    Layout::shared(vec![series("shapes", &[])])
}

fn with_exemplar(key: &str, value: f64) -> Arc<Batch> {
    let bare = batch("a", key, Vec::new());
    let labels = LabelSet::new([("trace", key)]).expect("labels");
    let exemplar = Exemplar { labels, value, timestamp: NOON - HOUR };
    let carried = SeriesExemplar { series: Arc::clone(&machine("a")[0]), exemplar };
    Arc::new(Batch { exemplars: vec![carried], ..Batch::clone(&bare) })
}

/// What becomes segments.
fn early() -> Vec<Arc<Batch>> {
    let mut all = Vec::new();
    for instance in ["a", "b", "c"] {
        let layout = Layout::shared(machine(instance));
        for start in [YESTERDAY, NOON - 2 * HOUR] {
            for place in 0..40 {
                let one = frame(&layout, start + place * 60_000, &values(layout.ids.len(), place));
                all.push(batch(instance, &format!("{start} {place}"), vec![one]));
            }
        }
    }
    // So few that they lie in segments of a day.
    for place in 0..3 {
        let at = NOON - 5 * HOUR + place * 1_000_000;
        all.push(batch("r", &format!("rare {place}"), vec![frame(&rare(), at, &[place as f64, 5.0])]));
    }
    // So large that its hour lies in parts.
    let noise = Layout::shared(vec![series("noise", &[])]);
    let mut state = 1u64;
    for place in 0..240 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = f64::from_bits(0x3ff0_0000_0000_0000 | state >> 12);
        let one = frame(&noise, NOON - 3 * HOUR + place * 15_000, &[value]);
        all.push(batch("n", &format!("noise {place}"), vec![one]));
    }
    for place in 0..14 {
        let mut one = frame(&shapes(), NOON - 3 * HOUR + place * 60_000, &[1.0]);
        if place % 3 == 0 {
            put_histogram(&mut one, 0, histogram(place as f64));
        }
        all.push(batch("h", &format!("shapes {place}"), vec![one]));
    }
    all.push(with_exemplar("early", 1.5));
    all
}

/// What stays in frames: of lists that are known and new ones, with timestamps of their own, and of hours that are over.
fn late() -> Vec<Arc<Batch>> {
    let (a, b) = (machine("a"), machine("b"));
    let mut described = Series::clone(&a[5]);
    (described.help, described.metric_type) = (Some("Bytes.".into()), MetricType::Counter);
    let mut mixed = vec![Arc::new(described), series("fleet", &[("new", "long enough to be shared")])];
    mixed.extend(b.iter().rev().cloned());
    let apart: Vec<(Millis, f64)> = (0..mixed.len() as i64).map(|n| (NOON + 60_000 + n, n as f64)).collect();
    vec![
        batch("a", "late 1", vec![frame(&Layout::shared(a.clone()), NOON + 1, &values(8, 77))]),
        batch("b", "late 2", vec![frame_at(&Layout::inline(mixed.clone()), &apart)]),
        batch("b", "late 3", vec![frame(&Layout::shared(mixed), NOON + 90_000, &values(12, 78))]),
        batch("a", "late 4", vec![frame(&Layout::shared(a), YESTERDAY + 1, &values(8, 79))]),
        batch("r", "late 5", vec![frame(&rare(), NOON - 5 * HOUR + 1, &[8.0, 9.0])]),
        with_exemplar("late", 2.5),
    ]
}

/// Makes the file.
async fn make(folder: &Folder) {
    let path = folder.file();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
    std::fs::File::create(&path).expect("make the file");
    execute(&path, include_str!("data/version_17.sql")).await;
}

/// The file, and a store in memory that was told the same.
async fn both(folder: &Folder) -> (SqliteStore, MemoryStore) {
    make(folder).await;
    let memory = MemoryStore::default();
    for batch in early().into_iter().chain(late()) {
        memory.append(&[batch]).await.expect("append to memory");
    }
    (folder.store().await, memory)
}

/// Both answer the same, whatever they are asked.
async fn same(store: &SqliteStore, memory: &MemoryStore, when: &str) {
    let everything = |name| selection(name, NOON - 100 * HOUR, NOON + 100 * HOUR);
    for name in NAMES {
        assert_eq!(all_of(store, name).await, all_of(memory, name).await, "{name} {when}");
        let asked = everything(name);
        let found = (store.select(&asked).await, memory.select(&asked).await);
        let (one, other) = (found.0.expect("a selection"), found.1.expect("a selection"));
        let histograms = |all: Vec<metricsd_ports::SelectedSeries>| -> Vec<_> {
            all.into_iter().map(|series| (series.metric_type, series.histograms)).collect()
        };
        assert_eq!(histograms(one), histograms(other), "{name} {when}");
        let matchers = asked.matchers.clone();
        let known = (store.series(&matchers, 100).await, memory.series(&matchers, 100).await);
        let sorted = |all: Vec<Arc<Series>>| -> Vec<String> {
            all.iter().map(|one| format!("{} {:?} {:?}", one.labels, one.metric_type, one.help)).collect()
        };
        assert_eq!(sorted(known.0.expect("series")), sorted(known.1.expect("series")), "{name} {when}");
        let exemplars = (store.exemplars(&asked).await, memory.exemplars(&asked).await);
        assert_eq!(exemplars.0.expect("exemplars"), exemplars.1.expect("exemplars"), "{name} {when}");
    }
}

/// The same of what was newest while there are frames of it: of segments it is what stands at the newest timestamp.
async fn same_latest(store: &SqliteStore, memory: &MemoryStore, when: &str) {
    for target in ["a", "b", "c", "r", "h"] {
        let newest = (store.latest(target, 0).await, memory.latest(target, 0).await);
        let read = |all: Vec<metricsd_ports::LatestMetric>| -> Vec<String> {
            all.iter().map(|one| format!("{} {:?}", one.series.labels, one.sample)).collect()
        };
        assert_eq!(
            read(newest.0.expect("the latest")),
            read(newest.1.expect("the latest")),
            "{target} {when}"
        );
    }
}

async fn counts(folder: &Folder, sql: &'static str) -> Vec<i64> {
    let row = connection(&folder.file()).await.fetch_one(sql).await.expect("counts");
    (0..row.len()).map(|column| row.get(column)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_version_17_comes_over_whole() {
    let folder = Folder::new();
    let (store, memory) = both(&folder).await;
    let kinds = counts(
        &folder,
        "SELECT (SELECT count(*) FROM segments), (SELECT count(*) FROM segments WHERE slot % 12 <> 0),
            (SELECT count(*) FROM segments_daily), (SELECT count(*) FROM frames WHERE layout_number IS NULL),
            (SELECT count(*) FROM frames WHERE layout_number IS NOT NULL), (SELECT count(*) FROM rollups),
            (SELECT count(*) FROM exemplars), (SELECT count(*) FROM layouts)",
    )
    .await;
    assert!(kinds.iter().all(|count| *count > 0), "the file has all of it: {kinds:?}");
    same(&store, &memory, "as it came over").await;
    same_latest(&store, &memory, "as it came over").await;

    // What was acknowledged is known, and so is everything that it names.
    let rows = "SELECT (SELECT count(*) FROM series_rows), (SELECT count(*) FROM series_ids),
        (SELECT count(DISTINCT seq) FROM series_ids), (SELECT count(*) FROM layouts)";
    let before = counts(&folder, rows).await;
    assert!(before[0] == before[1] && before[1] == before[2], "{before:?}");
    assert_eq!(store.append(&late()).await.expect("append"), [Receipt::Duplicate; 6]);
    let layout = Layout::shared(machine("c"));
    for (key, at) in [("next", NOON + 5 * HOUR), ("past", YESTERDAY + 2), ("recent", NOON - 2 * HOUR + 7)] {
        let one = batch("c", key, vec![frame(&layout, at, &values(8, 50)), frame(&rare(), at, &[1.0, 2.0])]);
        assert_eq!(store.append(std::slice::from_ref(&one)).await.expect("append"), [Receipt::Stored]);
        memory.append(&[one]).await.expect("append to memory");
    }
    assert_eq!(counts(&folder, rows).await, before, "nothing of it is new");
    same(&store, &memory, "with more").await;
    same_latest(&store, &memory, "with more").await;

    compact_all(&store, &policy(NOON + HOUR, 100_000)).await;
    same(&store, &memory, "with late samples in segments").await;
    while store.remove_unused(i64::MAX).await.expect("a removal") != Unused::default() {}
    assert_eq!(counts(&folder, rows).await[0], before[0], "every series has samples");
    store.close().await;
    same(&folder.store().await, &memory, "by who reads the file anew").await;
    let check = "SELECT (SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok')";
    assert_eq!(counts(&folder, check).await, [0]);
}

/// More lists than are read at once, of both kinds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lists_come_over_page_by_page() {
    const MORE: i64 = 450;
    let folder = Folder::new();
    make(&folder).await;
    let path = folder.file();
    execute(
        &path,
        "INSERT INTO layouts (id, series)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
            SELECT (n.i - 225) * 20000000000000011, l.series FROM n, layouts l WHERE l.id = 5889043586926691551;
        INSERT INTO frames (time, target_id, source, batch_id, part, series_ids, \"values\")
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
            SELECT f.time + n.i, f.target_id, f.source, f.batch_id, n.i, f.series_ids, f.\"values\" FROM n, frames f WHERE f.seq = 3;
        INSERT INTO frames (time, target_id, source, batch_id, part, layout, \"values\")
            SELECT f.time + 500, f.target_id, f.source, f.batch_id, 900, l.id, f.\"values\"
            FROM frames f, (SELECT max(id) AS id FROM layouts WHERE id % 20000000000000011 = 0) l WHERE f.seq = 1;",
    )
    .await;
    let memory = MemoryStore::default();
    for batch in early().into_iter().chain(late()) {
        memory.append(&[batch]).await.expect("append to memory");
    }
    let store = folder.store().await;
    let samples = async |one: &dyn SampleSource| {
        let all =
            one.select(&selection("fleet", NOON - 100 * HOUR, NOON + 100 * HOUR)).await.expect("a selection");
        all.iter().map(|series| series.timestamps.len() as i64).sum::<i64>()
    };
    assert_eq!(samples(&store).await, samples(&memory).await + MORE * 12 + 8);
    assert_eq!(
        counts(&folder, "SELECT count(*), count(DISTINCT id) FROM layouts").await,
        [MORE + 4, MORE + 4]
    );
    compact_all(&store, &policy(NOON + HOUR, 1_000)).await;
    assert_eq!(samples(&store).await, samples(&memory).await + MORE * 12 + 8, "compacted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_file_open_since_before_stores_nothing_that_cannot_be_read() {
    let folder = Folder::new();
    make(&folder).await;
    let mut before = connection(&folder.file()).await;
    let frames = "INSERT INTO frames (time, target_id, source, batch_id, part, layout, series_ids, \"values\", offsets, histograms)
        SELECT time + 1, target_id, source, batch_id, part + 100, layout, series_ids, \"values\", offsets, histograms FROM frames";
    let written = before.execute(frames).await.expect("a file of its own version");
    assert!(written.rows_affected() > 0);
    let store = folder.store().await;
    let refused = before.execute(frames).await.expect_err("a file of a later version");
    assert!(refused.to_string().contains("layout"), "{refused}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rolled_up_comes_over_and_texts_are_shared() {
    let folder = Folder::new();
    let (store, memory) = both(&folder).await;
    for step in ROLLUP_STEPS {
        for value in [RollupValue::Sum, RollupValue::Last] {
            let asked = selection("fleet", YESTERDAY - HOUR, YESTERDAY + 3 * HOUR);
            let rollup = Rollup { step, value };
            let (one, other) =
                (store.select_rolled(&asked, rollup).await, memory.select_rolled(&asked, rollup).await);
            assert_eq!(format!("{:?}", one.expect("values")), format!("{:?}", other.expect("values")));
        }
    }
    let seen = "SELECT (SELECT count(*) FROM series WHERE first_seen IS NULL OR added IS NULL OR NOT json_valid(labels)),
        (SELECT count(*) FROM series WHERE labels LIKE '{\"instance\":\"_\",\"job\":\"node\",\"device\":\"device-_\"}'),
        (SELECT count(*) FROM series_labels WHERE labels LIKE '%device%')";
    assert_eq!(counts(&folder, seen).await, [0, 24, 8]);
}
