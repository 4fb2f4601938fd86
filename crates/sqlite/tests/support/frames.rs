//! Frames of every kind, and stores over one database that answer the same whatever they remember.

use std::sync::Arc;

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HISTOGRAM_MARKER_BITS, HealthStatus, JobStatus,
    LabelSet, Layout, Ledger, Matcher, MetricSource, MetricType, Millis, NativeHistogram, Series, SeriesId,
    TypeCounts, stale_marker,
};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{Retention, SampleSink, SampleSource, SelectLimits, Selection};

/// A round hour.
const HOUR: Millis = 1_750_500_000_000;

/// Numbers that come again in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn series(number: usize) -> Arc<Series> {
    let (number, kind) = (number.to_string(), (number % 7).to_string());
    let labels = LabelSet::new([("__name__", "m"), ("i", number.as_str()), ("kind", kind.as_str())]);
    let labels = labels.expect("labels of a test");
    Arc::new(Series {
        id: SeriesId::of(&labels),
        labels,
        metric_type: MetricType::Gauge,
        source_type: MetricSource::Application,
        source: "s".into(),
        target_id: "t".into(),
        help: None,
        unit: None,
    })
}

fn value(numbers: &mut Numbers) -> f64 {
    if numbers.below(20) == 0 { stale_marker() } else { numbers.below(1_000) as f64 / 8.0 }
}

/// A frame of a layout in the hours after [`HOUR`]; often at a time that others have, too.
fn frame(numbers: &mut Numbers, layout: &Arc<Layout>) -> Frame {
    let time = HOUR + numbers.below(2) as i64 * 3_600_000 + numbers.below(40) as i64 * 15_000;
    let columns = layout.ids.len();
    let mut values: Vec<f64> = (0..columns).map(|_| value(numbers)).collect();
    let mut histograms = Vec::new();
    if numbers.below(6) == 0 {
        let column = numbers.below(columns as u64) as u32;
        values[column as usize] = f64::from_bits(HISTOGRAM_MARKER_BITS);
        let histogram = NativeHistogram { count: numbers.below(50) as f64, ..NativeHistogram::default() };
        histograms.push((column, histogram));
    }
    let spread = numbers.below(5) == 0;
    let offsets = spread.then(|| (0..columns).map(|_| numbers.below(60_000) as i32).collect());
    Frame { layout: Arc::clone(layout), time, offsets, values, histograms }
}

fn batch(id: u128, frames: Vec<Frame>) -> Arc<Batch> {
    let stored = frames.iter().map(|frame| frame.values.len() as u64).sum();
    Arc::new(Batch::new(
        BatchId(id),
        Collection {
            source_id: "s".into(),
            target_id: "t".into(),
            method: CollectionMethod::PullScraping,
            started: HOUR,
            duration_ms: 1.0,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger { received: stored, stored, ..Ledger::default() },
            types: TypeCounts::default(),
        },
        frames,
    ))
}

/// Layouts that share series, some of them for one frame only; the lists of the latter are not in order of ids.
fn layouts() -> Vec<Arc<Layout>> {
    let run = |first: usize, count: usize| (first..first + count).map(series).collect::<Vec<_>>();
    vec![
        Layout::shared(run(0, 120)),
        Layout::shared(run(100, 90)),
        Layout::shared(run(300, 1)),
        Layout::inline(run(90, 40)),
        Layout::inline(run(0, 3)),
    ]
}

/// Series that one sample was read of, in a form that can be compared.
async fn answer<S: SampleSource + ?Sized>(store: &S, selection: &Selection) -> Vec<String> {
    let selected = store.select(selection).await.expect("select");
    let lines = selected.iter().map(|series| {
        let bits: Vec<u64> = series.values.iter().map(|value| value.to_bits()).collect();
        let counts: Vec<(usize, f64)> = series.histograms.iter().map(|(at, one)| (*at, one.count)).collect();
        format!("{} {:?} {bits:?} {counts:?}", series.labels, series.timestamps)
    });
    lines.collect()
}

fn question(numbers: &mut Numbers) -> Selection {
    let mut matchers = vec![Matcher::equal("__name__", "m")];
    match numbers.below(4) {
        0 => matchers.push(Matcher::equal("i", numbers.below(200).to_string())),
        1 => matchers.push(Matcher::equal("kind", numbers.below(7).to_string())),
        _ => {}
    }
    let start = HOUR + numbers.below(80) as i64 * 60_000;
    let (start, end) = match numbers.below(3) {
        0 => (i64::MIN, i64::MAX),
        1 => (start, start),
        _ => (start, start + numbers.below(60) as i64 * 60_000),
    };
    Selection { matchers, start, end, limits: SelectLimits { max_series: 1_000, max_samples: 1_000_000 } }
}

/// Appends by turns, asks all stores the same, twice and at once, and compares with a store in memory; then removes what
/// is old and compares the stores with each other.
pub(crate) async fn all_answer_alike<S: SampleSink + SampleSource + Retention>(stores: &[S]) {
    let (memory, layouts) = (MemoryStore::default(), layouts());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for turn in 0..12usize {
        let batches: Vec<_> = (0..4)
            .map(|place| {
                let count = 1 + numbers.below(2);
                let frames = (0..count).map(|_| {
                    let layout = &layouts[numbers.below(layouts.len() as u64) as usize];
                    frame(&mut numbers, layout)
                });
                let frames = frames.collect();
                batch(turn as u128 * 10 + place + 1, frames)
            })
            .collect();
        memory.append(&batches).await.expect("append to memory");
        stores[turn % stores.len()].append(&batches).await.expect("append");
        for _ in 0..4 {
            let question = question(&mut numbers);
            let expected = answer(&memory, &question).await;
            for store in stores {
                let (first, second) = tokio::join!(answer(store, &question), answer(store, &question));
                assert_eq!(first, expected, "{question:?}");
                assert_eq!(second, expected, "{question:?}");
            }
        }
    }
    let everything = Selection { start: i64::MIN, end: i64::MAX, ..question(&mut numbers) };
    let everything = Selection { matchers: vec![Matcher::equal("__name__", "m")], ..everything };
    let before = answer(&stores[0], &everything).await;
    stores[0].remove_before("t", HOUR + 3_600_000).await.expect("remove");
    let left = answer(&stores[0], &everything).await;
    assert!(left != before && !left.is_empty(), "half of it is gone");
    for store in stores {
        assert_eq!(answer(store, &everything).await, left, "what is gone is not answered from memory");
    }
}
