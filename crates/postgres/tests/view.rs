//! `metrics_ts`: the source document's columns, the answers of `select`, and plans that leave chunks alone.

mod support;

use std::collections::{BTreeMap, HashSet};

use metricsd_model::{HISTOGRAM_MARKER_BITS, Layout, NativeHistogram, is_stale, stale_marker};
use metricsd_ports::SampleSink;
use sqlx::{Executor, Row};
use support::{Database, HOUR, all_of_m, batch, frame, many};

#[tokio::test]
async fn the_view_has_exactly_the_documented_columns() {
    let database = Database::create().await;
    database.store().await;
    let sql = "SELECT column_name::text, data_type::text, character_maximum_length::int4 FROM information_schema.columns \
         WHERE table_name = 'metrics_ts' ORDER BY ordinal_position";
    let rows = database.connection().await.fetch_all(sql).await.expect("columns");
    let columns: Vec<(String, String, Option<i32>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let columns: Vec<_> =
        columns.iter().map(|(name, kind, limit)| (name.as_str(), kind.as_str(), *limit)).collect();
    let text = "character varying";
    assert_eq!(
        columns,
        [
            ("timestamp", "timestamp with time zone", None),
            ("metric_name", text, Some(200)),
            ("metric_type", text, Some(20)),
            ("value", "double precision", None),
            ("labels", "jsonb", None),
            ("source", text, Some(100)),
            ("target_id", text, Some(100)),
        ]
    );
}

#[tokio::test]
async fn the_view_shows_what_select_answers() {
    let database = Database::create().await;
    let store = database.store().await;
    let (shared, inline) = (Layout::shared(many(5)), Layout::inline(many(7)));
    let mut one = frame(
        &shared,
        HOUR,
        vec![1.0, f64::NAN, stale_marker(), f64::INFINITY, f64::from_bits(HISTOGRAM_MARKER_BITS)],
    );
    one.histograms = vec![(4, NativeHistogram::default())];
    let mut two = frame(&inline, HOUR + 5, (0..7).map(f64::from).collect());
    two.offsets = Some((0..7).map(|i| i * 1_000).collect());
    let mut three = frame(&shared, HOUR + 3_600_000, vec![-0.5; 5]);
    three.offsets = Some(vec![0, 0, 1, 2, 3_599_999]);
    let four = frame(&inline, HOUR + 60_000, vec![f64::MIN_POSITIVE; 7]);
    store.append(&[batch(1, vec![one, two, three]), batch(2, vec![four])]).await.expect("append");

    let mut expected = BTreeMap::new();
    for series in all_of_m(&store).await {
        for (timestamp, value) in series.timestamps.iter().zip(&series.values) {
            if !is_stale(*value) && value.to_bits() != HISTOGRAM_MARKER_BITS {
                let i = series.labels.get("i").unwrap_or("").to_owned();
                expected.insert((i, *timestamp), value.to_bits());
            }
        }
    }
    let sql = "SELECT labels ->> 'i', (extract(epoch FROM timestamp) * 1000)::int8, value FROM metrics_ts \
         WHERE metric_name = 'm' AND metric_type = 'GAUGE' AND source = 's' AND target_id = 't'";
    let rows = database.connection().await.fetch_all(sql).await.expect("the view");
    let shown: BTreeMap<(String, i64), u64> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get::<f64, _>(2).to_bits())).collect();
    assert_eq!(shown.len(), rows.len(), "each sample once");
    assert_eq!(shown.len(), 3 + 7 + 5 + 7);
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_condition_on_the_timestamp_excludes_chunks() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(20));
    let day: Vec<_> = (0..24)
        .map(|hour| batch(hour, vec![frame(&layout, HOUR + hour as i64 * 3_600_000, vec![1.0; 20])]))
        .collect();
    store.append(&day).await.expect("append");
    let mut connection = database.connection().await;
    let mut chunks_of = async |condition: &str| {
        let sql = format!("EXPLAIN SELECT * FROM metrics_ts WHERE metric_name = 'm' AND {condition}");
        let rows = connection.fetch_all(sqlx::AssertSqlSafe(sql)).await.expect("explain");
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let scans = |marker: &str| {
            plan.iter().filter(|line| line.contains("_chunk") && line.contains(marker)).count()
        };
        // The half of the view with a timestamp for each sample reads its partial index only, which is empty here.
        (scans(" f_") + scans(" f "), plan.join("\n"))
    };
    let (all, _) = chunks_of("true").await;
    let (one, plan) = chunks_of(&format!("timestamp = to_timestamp({})", HOUR / 1_000)).await;
    assert!(all >= 48, "all chunks, for both halves: {all}");
    assert!(one <= 24 + 1, "one chunk for the half of shared timestamps: {one}\n{plan}");
}

#[tokio::test]
async fn select_reads_the_chunks_of_its_range_only() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(200));
    let day: Vec<_> = (0..24)
        .map(|hour| batch(hour, vec![frame(&layout, HOUR + hour as i64 * 3_600_000, vec![1.0; 200])]))
        .collect();
    store.append(&day).await.expect("append");
    let mut connection = database.connection().await;
    connection.execute("SET plan_cache_mode = force_custom_plan").await.expect("set");
    let at = format!("to_timestamp({})", HOUR / 1_000);
    let statements = [
        (
            include_str!("../src/sql/list_frames.sql"),
            "int8[], timestamptz, timestamptz, timestamptz, int8",
            format!("ARRAY[1::int8], {at}, {at}, {at}, 9"),
        ),
        (
            include_str!("../src/sql/fetch_frames.sql"),
            "uuid[], int2[], timestamptz[], timestamptz, timestamptz",
            format!("ARRAY[gen_random_uuid()], ARRAY[0::int2], ARRAY[{at}], {at}, {at}"),
        ),
        (
            include_str!("../src/sql/pick_frames.sql"),
            "int8[], int4[], int4[], int4[], int4[], timestamptz, timestamptz, timestamptz",
            format!("ARRAY[1::int8], ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[1], {at}, {at}, {at}"),
        ),
    ];
    for (sql, kinds, given) in statements {
        connection
            .execute(sqlx::AssertSqlSafe(format!("PREPARE q ({kinds}) AS {sql}")))
            .await
            .expect("prepare");
        let explain = format!("EXPLAIN EXECUTE q ({given})");
        let rows = connection.fetch_all(sqlx::AssertSqlSafe(explain)).await.expect("explain");
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let chunks: HashSet<&str> =
            plan.iter().filter_map(|line| line.split(' ').find(|word| word.ends_with("_chunk"))).collect();
        assert_eq!(chunks.len(), 1, "{}", plan.join("\n"));
        connection.execute("DEALLOCATE q").await.expect("deallocate");
    }
}
