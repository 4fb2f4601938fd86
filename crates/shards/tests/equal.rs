//! Whatever is stored, several shards answer as one store does.

mod support;

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Batch, Exemplar, FamilyMetadata, FamilyType, Layout, Matcher, SeriesExemplar};
use metricsd_ports::conformance::fixtures::*;
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{Catalog, JobFilter, Rollup, RollupValue, SampleSink, SampleSource};
use proptest::prelude::*;

use support::sharded;

/// Milliseconds between timestamps that are drawn: some within a span of five minutes, some beyond it.
const SPREAD: i64 = 60_001;

/// One batch as it is drawn: its target, and its samples as (series, timestamp).
type Drawn = (u8, Vec<(u8, u8)>, bool);

/// Of a series' samples at one time all have one value, whoever sends them: of different ones commits decide, and commits
/// of several databases have no order.
fn value(series: u8, at: i64) -> f64 {
    f64::from(series) * 1_000.0 + (at - NOON) as f64
}

fn built(place: usize, (target, samples, inline): &Drawn) -> Arc<Batch> {
    let name =
        |n: u8| series(["drawn_a", "drawn_b"][usize::from(n % 2)], &[("n", &n.to_string()), ("job", "x")]);
    let mut samples = samples.clone();
    samples.sort_unstable();
    samples.dedup_by_key(|(series, _)| *series);
    let all: Vec<_> = samples.iter().map(|(series, _)| name(*series)).collect();
    let layout = if *inline { Layout::inline(all) } else { Layout::shared(all) };
    let at: Vec<_> = samples.iter().map(|(series, at)| (NOON + i64::from(*at) * SPREAD, *series)).collect();
    let columns: Vec<_> = at.iter().map(|(at, series)| (*at, value(*series, *at))).collect();
    let mut frames = if columns.is_empty() { vec![] } else { vec![frame_at(&layout, &columns)] };
    for (column, (at, series)) in at.iter().enumerate().filter(|(_, (_, series))| *series > 9) {
        frames.iter_mut().for_each(|frame| put_histogram(frame, column, histogram(value(*series, *at))));
    }
    let mut batch = Batch::clone(&batch(&format!("target-{target}"), &place.to_string(), frames));
    batch.exemplars = at
        .iter()
        .take(2)
        .map(|(at, series)| SeriesExemplar {
            series: name(*series),
            exemplar: Exemplar {
                labels: labels("", &[("trace", "t")]).without_metric_name(),
                value: value(*series, *at),
                timestamp: *at,
            },
        })
        .collect();
    batch.families = samples
        .iter()
        .take(1)
        .map(|(series, at)| FamilyMetadata {
            family: format!("family_{}", series % 3),
            metric_type: FamilyType::Counter,
            help: format!("help {}", at % 4),
            unit: String::new(),
        })
        .collect();
    Arc::new(batch)
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let samples = prop::collection::vec((0_u8..12, 0_u8..40), 0..8);
    prop::collection::vec((0_u8..9, samples, any::<bool>()), 1..30)
}

/// Values of spans, as (labels, span, bits, counts).
async fn rolled(store: &impl SampleSource, matchers: &[Matcher]) -> Vec<String> {
    use RollupValue::{Average, Count, Last, Max, Min, Newest, Sum};
    let mut told = Vec::new();
    for value in [Min, Max, Sum, Count, Average, Last, Newest] {
        let wide = metricsd_ports::Selection {
            matchers: matchers.to_vec(),
            ..selection("", NOON - HOUR + 1, NOON + HOUR)
        };
        let found = store.select_rolled(&wide, Rollup { step: 300_000, value }).await.unwrap();
        let series: Vec<_> = found.iter().map(|rolled| rolled.series.clone()).collect();
        let beside: Vec<_> = found.iter().map(|rolled| (rolled.counts.clone(), rolled.rolled)).collect();
        told.push(format!("{value:?} {:?} {beside:?}", rows(&series)));
    }
    told
}

/// Everything that can be asked, in a form that compares.
async fn asked(store: &(impl SampleSource + Catalog)) -> Vec<String> {
    let a = [Matcher::equal("__name__", "drawn_a")];
    let some = [matcher("__name__", "=~", "drawn_.*"), matcher("n", "!~", "1.*")];
    let wide = |matchers: &[Matcher]| metricsd_ports::Selection {
        matchers: matchers.to_vec(),
        ..selection("", NOON, NOON + 30 * SPREAD)
    };
    let mut told = Vec::new();
    for matchers in [&a[..], &some[..]] {
        told.push(format!("{:?}", rows(&store.select(&wide(matchers)).await.unwrap())));
        let histograms = store.select(&wide(matchers)).await.unwrap();
        told.push(format!("{:?}", histograms.iter().map(|series| &series.histograms).collect::<Vec<_>>()));
        told.push(format!("{:?}", store.exemplars(&wide(matchers)).await.unwrap()));
        told.extend(rolled(store, matchers).await);
        for limit in [2, 100] {
            told.push(format!("{:?}", store.label_sets(matchers, limit).await.unwrap()));
            told.push(format!("{:?}", store.label_names(matchers, limit).await.unwrap()));
            told.push(format!("{:?}", store.label_values("n", matchers, limit).await.unwrap()));
            let series = store.series(matchers, limit).await.unwrap();
            told.push(format!(
                "{:?}",
                series.iter().map(|series| (series.id, series.labels.clone())).collect::<Vec<_>>()
            ));
        }
    }
    for limit in [1, 2, 100] {
        told.push(format!("{:?}", store.families(None, limit).await.unwrap()));
        let limits = metricsd_ports::SelectLimits { max_series: limit, max_samples: 4 * limit };
        let narrow = metricsd_ports::Selection { limits, ..wide(&a) };
        told.push(format!(
            "{:?}",
            store.select(&narrow).await.map(|found| rows(&found)).map_err(|error| error.kind())
        ));
    }
    for target in 0..9 {
        let latest = store.latest(&format!("target-{target}"), NOON).await.unwrap();
        let latest: Vec<_> =
            latest.iter().map(|metric| (metric.series.labels.clone(), metric.sample.clone())).collect();
        told.push(format!("{latest:?}"));
    }
    let jobs = store.jobs(&JobFilter::default(), 1_000).await.unwrap();
    let mut jobs: Vec<_> =
        jobs.into_iter().map(|job| (std::cmp::Reverse(job.created_at), job.job_id)).collect();
    assert!(jobs.is_sorted_by_key(|(at, _)| *at), "newest first");
    jobs.sort();
    told.push(format!("{jobs:?}"));
    let stats =
        store.stats(NOON + 20 * SPREAD, Duration::from_millis(15 * SPREAD.unsigned_abs())).await.unwrap();
    told.push(format!("{stats:?}"));
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_shards_answer_as_one_store(drawn in drawn(), shards in 1_usize..5, repeated in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, several) = (MemoryStore::new(), sharded(shards));
            let batches: Vec<_> = drawn.iter().enumerate().map(|(place, drawn)| built(place, drawn)).collect();
            let repeated = repeated.index(batches.len());
            for part in [&batches[..], &batches[repeated..]] {
                let (ours, theirs) = (several.store.append(part).await.unwrap(), one.append(part).await.unwrap());
                prop_assert_eq!(ours, theirs);
            }
            prop_assert_eq!(asked(&several.store).await, asked(&one).await);
            Ok(())
        })?;
    }
}
