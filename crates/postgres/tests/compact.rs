//! Frames become segments: each sample is read once at every moment, by `select` and by `metrics_ts`.

mod support;

use metricsd_model::{Frame, HISTOGRAM_MARKER_BITS, Layout, Matcher, NativeHistogram, stale_marker};
use metricsd_ports::{Compacted, CompactionPolicy, SampleSink, SampleSource, SelectedSeries};
use sqlx::{Connection, Executor, Row};
use support::compacting::{START, WIDTH, compact_all, count, exact, policy, shown, view};
use support::{Database, all_of_m, batch, frame, many, selection};

#[tokio::test]
async fn all_kinds_of_frames_become_segments_and_read_as_before() {
    let database = Database::create().await;
    let store = database.store().await;
    let (shared, inline) = (Layout::shared(many(5)), Layout::inline(many(7)));
    let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
    let mut frames = Vec::new();
    for n in 0..30 {
        let values = vec![n as f64, f64::NAN, stale_marker(), f64::INFINITY, marker];
        let mut one = frame(&shared, START + n * 15_000, values);
        one.histograms = vec![(4, NativeHistogram { count: n as f64, ..NativeHistogram::default() })];
        frames.push(one);
    }
    let mut spread = frame(&inline, START + 5, (0..7).map(f64::from).collect());
    spread.offsets = Some((0..7).map(|i| i * 1_000).collect());
    let next_hour = frame(&inline, START + WIDTH + 60_000, vec![f64::MIN_POSITIVE; 7]);
    store.append(&[batch(1, frames), batch(2, vec![spread, next_hour])]).await.expect("append");

    let before = all_of_m(&store).await;
    let mut connection = database.connection().await;
    assert_eq!(view(&mut connection).await, shown(&before));
    let done = compact_all(&store, &policy()).await;
    assert_eq!((done.samples, done.frames), (30 * 5 + 14, 32));
    assert_eq!(count(&mut connection, "frames").await, 0);
    assert_eq!(count(&mut connection, "segments").await, 5, "30 samples an hour");
    assert_eq!(count(&mut connection, "segments_daily").await, 7, "few samples");
    assert_eq!(exact(&all_of_m(&store).await), exact(&before));
    assert_eq!(view(&mut connection).await, shown(&before));
    assert_eq!(compact_all(&store, &policy()).await, Compacted::default());
}

#[tokio::test]
async fn every_form_of_values_reads_as_before() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(12));
    let at = |n: i64| {
        let n = n as f64;
        // Never, hundredths, a steady counter, a large one, pages, neither, negative zero and a marker once; then three
        // bytes, two of which the upper one is mostly alike, five, and two.
        let odd = if n == 17.0 { -0.0 } else { n };
        let ended = if n == 239.0 { stale_marker() } else { 3.0 };
        let noise = (n * 7919.0) % 1009.0;
        let first = [f64::NAN, n % 7.0 / 100.0, 1e12 + n * 15_000.0, noise * 99_991.0, n % 3.0 * 4096.0];
        let steps = (n / 80.0).floor() * 300.0 + noise % 200.0;
        let wide = [noise * 9_991.0, steps, noise * 999_999_937.0, noise * 31.0];
        first.into_iter().chain([n.sqrt(), odd, ended]).chain(wide).collect::<Vec<f64>>()
    };
    let frames = (0..240).map(|n| frame(&layout, START + n * 15_000, at(n)));
    store.append(&[batch(1, frames.collect())]).await.expect("append");
    let before = all_of_m(&store).await;
    compact_all(&store, &policy()).await;
    let mut connection = database.connection().await;
    let forms =
        [("low1", 4), ("low2", 2), ("low4", 2), ("high", 3), ("\"values\"", 3), ("level", 9), ("scale", 8)];
    for (form, expected) in forms {
        let table = format!("segments WHERE {form} IS NOT NULL");
        assert_eq!(count(&mut connection, &table).await, expected, "{form}");
    }
    let check = async |connection: &mut sqlx::PgConnection, expected: &[_], what: &str| {
        let read = all_of_m(&store).await;
        assert_eq!(exact(&read), exact(expected), "{what}");
        assert_eq!(view(connection).await, shown(&read), "{what}");
    };
    check(&mut connection, &before, "compacted").await;
    // Parts of the hour are cut by the database.
    for (first, last) in [(0, 0), (0, 600_000), (600_001, 1_260_000), (15_000 * 239, WIDTH)] {
        let part = selection(vec![Matcher::equal("__name__", "m")], START + first, START + last);
        let part = store.select(&part).await.expect("select");
        let within = |series: &SelectedSeries| -> Vec<(i64, u64)> {
            let samples = series.timestamps.iter().zip(&series.values);
            let within = samples.filter(|(at, _)| (START + first..=START + last).contains(*at));
            within.map(|(at, value)| (*at, value.to_bits())).collect()
        };
        let found: Vec<_> = part.iter().map(within).collect();
        assert_eq!(found, before.iter().map(within).collect::<Vec<_>>(), "{first}..{last}");
        assert!(part.iter().all(|series| series.timestamps.iter().all(|at| *at <= START + last)));
    }
    // As segments were before there were other forms than floats.
    let floats = "UPDATE segments g SET \"values\" = (
            SELECT array_agg(m.value ORDER BY m.timestamp) FROM metrics_ts m WHERE m.labels = s.labels
        ), level = NULL, slope = NULL, scale = NULL, low1 = NULL, low2 = NULL, low4 = NULL, high = NULL
        FROM series s WHERE s.id = g.series AND g.\"values\" IS NULL";
    connection.execute(floats).await.expect("turn back");
    assert_eq!(count(&mut connection, "segments WHERE level IS NOT NULL").await, 0);
    check(&mut connection, &before, "as floats").await;
    // Late samples meet both forms.
    let late = frame(&layout, START + 7_000, at(5));
    store.append(&[batch(2, vec![late])]).await.expect("append");
    let with_late = all_of_m(&store).await;
    compact_all(&store, &policy()).await;
    assert_eq!(count(&mut connection, "segments WHERE level IS NOT NULL").await, 9);
    check(&mut connection, &with_late, "merged").await;
}

#[tokio::test]
async fn numbers_of_every_size_are_the_same_to_the_bit_in_sql() {
    // Of hours, and of a day that is written hour by hour.
    for (table, step) in [("segments", 30_000), ("segments_daily", 600_000)] {
        let database = Database::create().await;
        let store = database.store().await;
        store.append(&[batch(1, of_every_size(step))]).await.expect("append");
        let before = all_of_m(&store).await;
        compact_all(&store, &policy()).await;
        assert_eq!(exact(&all_of_m(&store).await), exact(&before));
        let mut connection = database.connection().await;
        assert_eq!(view(&mut connection).await, shown(&before));
        for low in ["low1", "low2", "low4"] {
            for high in ["NULL", "NOT NULL"] {
                let of_form = format!("{table} WHERE {low} IS NOT NULL AND high IS {high}");
                let found = count(&mut connection, &of_form).await;
                assert!(found >= 8, "{found} of {of_form}");
            }
        }
    }
}

/// Frames of a day with numbers of up to so many bits, by four scales.
fn of_every_size(step: i64) -> Vec<Frame> {
    let scales = [1.0, 100.0, 1e9, 1.0 / 4096.0];
    let layout = Layout::shared(many(52 * scales.len()));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let frames = (0..120).map(|n: i64| {
        // All of the bits noise, or the upper half steps; some beside a line, some far below 0.
        let mut value = |bits: u32, scale: f64| {
            let (noisy, step) = if bits.is_multiple_of(2) { (bits, 0) } else { (bits / 2 + 1, n / 40) };
            let number = (noise() & ((1 << noisy) - 1)) as i64 + (step << bits >> 2);
            let line = if bits.is_multiple_of(3) { n << (bits / 2) } else { 0 };
            let start = if bits.is_multiple_of(5) { -(1 << 50) } else { 0 };
            (start + line + number) as f64 / scale
        };
        let values = scales.iter().flat_map(|scale| (1..=52).map(move |bits| (bits, *scale)));
        let values: Vec<f64> = values.map(|(bits, scale)| value(bits, scale)).collect();
        frame(&layout, START - START % (24 * WIDTH) + n * step, values)
    });
    frames.collect()
}

#[tokio::test]
async fn the_function_and_the_view_answer_alike_over_all_kinds_of_storage() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(4));
    let mut connection = database.connection().await;
    for hour in 0..5 {
        let step = if hour % 2 == 0 { 30_000 } else { 600_000 };
        let frames = (0..WIDTH / step).map(|n| {
            let mut one = frame(&layout, START + hour * WIDTH + n * step, vec![(hour * 1_000 + n) as f64; 4]);
            one.offsets = (n % 3 == 0).then(|| vec![0, 1, 2, 3]);
            one
        });
        store.append(&[batch(hour as u128, frames.collect())]).await.expect("append");
        if hour == 3 {
            compact_all(&store, &policy()).await;
            // One that is late, of an hour that is compacted.
            let late = frame(&layout, START + 7, vec![0.5; 4]);
            store.append(&[batch(100, vec![late])]).await.expect("append");
        }
    }
    let all = shown(&all_of_m(&store).await);
    assert_eq!(view(&mut connection).await, all);
    for (first, last) in [(0, 5 * WIDTH), (7, 7), (WIDTH + 600_000, 2 * WIDTH), (4 * WIDTH - 1, 9 * WIDTH)] {
        let sql = format!(
            "SELECT labels ->> 'i', (extract(epoch FROM timestamp) * 1000)::int8, value \
             FROM metrics_between(to_timestamp({}::float8 / 1000), to_timestamp({}::float8 / 1000))",
            START + first,
            START + last
        );
        let rows = connection.fetch_all(sqlx::AssertSqlSafe(sql)).await.expect("the function");
        let mut found: Vec<((String, i64), u64)> =
            rows.iter().map(|row| ((row.get(0), row.get(1)), row.get::<f64, _>(2).to_bits())).collect();
        found.sort();
        let within = |(_, at): &(String, i64)| (START + first..=START + last).contains(at);
        let expected: Vec<_> =
            all.iter().filter(|(key, _)| within(key)).map(|(key, bits)| (key.clone(), *bits)).collect();
        assert!(!expected.is_empty());
        assert_eq!(found, expected, "{first}..{last}");
    }
    // Of the day's chunks of segments, and the hours' of frames, only those of the range are planned for.
    let sql = format!(
        "EXPLAIN SELECT * FROM metrics_between(to_timestamp({0}), to_timestamp({0})) WHERE metric_name = 'm'",
        (START + 30 * 24 * WIDTH) / 1_000
    );
    let rows = connection.fetch_all(sqlx::AssertSqlSafe(sql)).await.expect("explain");
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(!plan.iter().any(|line| line.contains("_chunk")), "{}", plan.join("\n"));
}

#[tokio::test]
async fn cold_days_are_packed_and_say_so() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(5));
    let day = START - START % (24 * WIDTH);
    for hour in 0..30 {
        let count = if hour % 6 == 5 { 3 } else { 40 };
        let marked = HISTOGRAM_MARKER_BITS;
        let frames = (0..count).map(|n| {
            let values = vec![n as f64, 0.1, stale_marker(), f64::from_bits(marked), f64::NAN];
            let mut one = frame(&layout, day + hour * WIDTH + n * 60_000, values);
            one.histograms = vec![(3, NativeHistogram { count: n as f64, ..NativeHistogram::default() })];
            one
        });
        store.append(&[batch(hour as u128, frames.collect())]).await.expect("append");
    }
    let before = all_of_m(&store).await;
    let packing = CompactionPolicy { pack_before: Some(day + 24 * WIDTH), max_samples: 2_000, ..policy() };
    compact_all(&store, &packing).await;
    let mut connection = database.connection().await;
    assert_eq!(exact(&all_of_m(&store).await), exact(&before));
    assert_eq!(count(&mut connection, "segments_daily WHERE packed IS NOT NULL").await, 5);
    let samples =
        connection.fetch_one("SELECT sum(samples)::int8 FROM metrics_ts_packed").await.expect("sum");
    assert_eq!(
        samples.get::<i64, _>(0),
        20 * 40 * 2 + 4 * 3 * 5,
        "what does not change within an hour stays"
    );
    let is_open = |((i, at), _): &((String, i64), u64)| {
        *at >= day + 24 * WIDTH || ["1", "4"].contains(&i.as_str()) && (*at - day) / WIDTH % 6 != 5
    };
    let open: Vec<_> = shown(&before).into_iter().filter(is_open).collect();
    assert_eq!(view(&mut connection).await.into_iter().collect::<Vec<_>>(), open, "the rest is there");
    let chunks = "timescaledb_information.chunks WHERE hypertable_name = 'segments'";
    assert_eq!(
        count(&mut connection, chunks).await,
        2,
        "the first day's chunk is gone; the last is of the day to come"
    );

    // Late samples of the packed day: a few of one hour, and more of another than its day holds of a sparse one.
    for (n, (hour, samples)) in [(2, 3), (5, 3), (5, 20)].into_iter().enumerate() {
        let frames = (0..samples).map(|s| {
            let at = day + hour * WIDTH + s * 60_000 + 7 + n as i64;
            frame(&layout, at, vec![s as f64; 5])
        });
        store.append(&[batch(200 + n as u128, frames.collect())]).await.expect("append");
        let late = exact(&all_of_m(&store).await);
        compact_all(&store, &policy()).await;
        assert_eq!(exact(&all_of_m(&store).await), late, "merged {n}");
        compact_all(&store, &packing).await;
        assert_eq!(exact(&all_of_m(&store).await), late, "packed again {n}");
    }
}

#[tokio::test]
async fn an_empty_chunk_goes_when_no_snapshot_is_older() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(3));
    let of = |id: u128, at: i64| [batch(id, vec![frame(&layout, START + at, vec![id as f64; 3])])];
    store.append(&of(1, 5)).await.expect("append");
    store.append(&of(2, WIDTH)).await.expect("append");
    let (mut old, mut connection) = (database.connection().await, database.connection().await);
    let mut reader = old.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begin");
    assert_eq!(count(&mut reader, "series").await, 3);
    let hour = CompactionPolicy { before: START + WIDTH, ..policy() };
    let done = compact_all(&store, &hour).await;
    assert_eq!((done.frames, done.chunks), (1, 0), "a snapshot is older");
    assert_eq!(view(&mut reader).await.len(), 6, "which reads all of it");
    assert_eq!(compact_all(&store, &hour).await, Compacted::default());
    reader.rollback().await.expect("rollback");

    // Someone reads the chunk: dropping gives up soon, and does not fail the call.
    let mut reader = old.begin().await.expect("begin");
    assert_eq!(count(&mut reader, "frames").await, 1);
    let done = compact_all(&store, &hour).await;
    assert_eq!((done.frames, done.chunks), (0, 0));
    reader.rollback().await.expect("rollback");

    assert_eq!(compact_all(&store, &hour).await, Compacted { chunks: 1, ..Compacted::default() });
    let chunks = "timescaledb_information.chunks WHERE hypertable_name = 'frames'";
    assert_eq!(count(&mut connection, chunks).await, 1, "that of the hour that is not over");
    assert_eq!(count(&mut connection, "compactions WHERE span = 'hour'").await, 0);
    // A late frame makes a chunk of its own.
    store.append(&of(3, 6)).await.expect("append");
    assert_eq!(view(&mut connection).await.len(), 9);
    let done = compact_all(&store, &hour).await;
    assert_eq!((done.frames, done.chunks), (1, 1));
    assert_eq!(view(&mut connection).await, shown(&all_of_m(&store).await));
}

/// A statement reads the chunks that it found when it was planned: samples do not move into one that it cannot know.
#[tokio::test]
async fn an_hour_waits_for_who_reads_segments_without_its_chunk() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(3));
    let of = |id: u128, at: i64| [batch(id, vec![frame(&layout, START + at, vec![id as f64; 3])])];
    store.append(&of(1, 5)).await.expect("append");
    let mut old = database.connection().await;
    let mut reader = old.begin().await.expect("begin");
    assert_eq!(view(&mut reader).await.len(), 3);
    assert_eq!(compact_all(&store, &policy()).await, Compacted::default(), "in use: another time");
    assert_eq!(view(&mut reader).await.len(), 3);
    reader.rollback().await.expect("rollback");
    assert_eq!(compact_all(&store, &policy()).await.frames, 1);

    // Late samples of an hour whose chunk is there wait for nobody.
    store.append(&of(2, 6)).await.expect("append");
    let mut reader = old.begin().await.expect("begin");
    assert_eq!(view(&mut reader).await.len(), 6);
    assert_eq!(compact_all(&store, &policy()).await.frames, 1);
    assert_eq!(view(&mut reader).await.len(), 6);
    reader.rollback().await.expect("rollback");
}
