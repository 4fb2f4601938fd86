use std::collections::HashSet;

use async_trait::async_trait;
use metricsd_model::{Batch, Refusal, SeriesId};
use metricsd_ports::{PortError, Receipt};

use super::*;

/// A store that has the series of even numbers.
struct Even;

#[async_trait]
impl SampleSink for Even {
    async fn append(&self, _: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        Ok(Vec::new())
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        Ok(ids.iter().copied().filter(|id| id.0 >> 8 & 1 == 0).collect())
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

fn tracker(max_active: usize, max_new_per_minute: usize, max_series: usize) -> Arc<SeriesTracker> {
    let limits = SeriesLimits { max_active, max_new_per_minute };
    let mut tracker = SeriesTracker::new(limits, Arc::new(Even), Gauge::default());
    Arc::get_mut(&mut tracker).unwrap().max_series = max_series;
    tracker
}

fn id(number: u64) -> SeriesId {
    SeriesId(number << 8)
}

/// How many of the series are admitted.
fn admit(admission: &mut Admission, numbers: impl Iterator<Item = u64>) -> usize {
    numbers.filter(|number| admission.admit(id(*number), Acquaintance::New).is_ok()).count()
}

#[tokio::test]
async fn what_the_store_has_is_not_new() {
    let tracker = tracker(0, 10, 1_000);
    let mut admission = tracker.admission_at("shop", 0);
    assert_eq!(admit(&mut admission, 100..110), 10);
    assert!(!admission.in_doubt());
    assert_eq!(admit(&mut admission, 0..20), 0);
    assert!(admission.in_doubt());
    assert!(admission.settle().await.unwrap());
    assert_eq!(admit(&mut admission, 0..20), 10, "the even ones");
    assert!(!admission.in_doubt(), "asked once");
    drop(admission);
    let shop = &tracker.by_source(Some("shop"), 9)[0];
    assert_eq!((shop.active, shop.refused_new, shop.refused_active), (20, 10, 0));
    let mut admission = tracker.admission_at("shop", 1);
    assert_eq!(admit(&mut admission, 0..20), 10);
    assert!(!admission.in_doubt(), "not asked again within the minute");
    let fault = admission.fault(Refusal::SeriesRateLimit);
    for part in ["\"shop\"", "limits.max_new_series_per_minute_per_source", " 10;"] {
        assert!(fault.message.contains(part), "{}", fault.message);
    }
}

#[tokio::test]
async fn a_new_process_lets_in_what_was_active_before_it() {
    let tracker = tracker(3, 0, 1_000);
    let mut admission = tracker.admission_at("shop", 0);
    assert_eq!(admit(&mut admission, 1..9), 3);
    assert!(admission.settle().await.unwrap());
    assert_eq!(admit(&mut admission, 1..9), 6, "5 and 7 are neither stored nor among the first");
    tracker.admission_at("shop", LEARNING_MILLIS / 2).refresh((1..5).map(id));
    let mut later = tracker.admission_at("shop", LEARNING_MILLIS);
    assert_eq!(admit(&mut later, 10..20), 0);
    assert!(!later.in_doubt());
}

#[test]
fn sources_are_counted_each_by_itself_and_forgotten_when_idle() {
    let tracker = tracker(2, 0, 1_000);
    assert_eq!(admit(&mut tracker.admission_at("a", 0), 0..9), 2);
    assert_eq!(admit(&mut tracker.admission_at("b", 0), 0..1), 1);
    assert_eq!((tracker.active(), tracker.gauge.get()), (3, 3));
    let ids: Vec<_> = tracker.by_source(None, 1).into_iter().map(|source| source.source_id).collect();
    assert_eq!(ids, ["a"]);
    tracker.admission_at("b", 10 * EPOCH_MILLIS).refresh([id(0)]);
    tracker.tidy(13 * EPOCH_MILLIS);
    assert_eq!(tracker.total.load(Ordering::Relaxed), 1);
    tracker.tidy(40 * EPOCH_MILLIS);
    assert_eq!((tracker.total.load(Ordering::Relaxed), tracker.sources.read().len()), (0, 0));
}

#[test]
fn memory_is_bounded_over_all_sources() {
    let tracker = tracker(0, 0, 1_000);
    for source in 0..30 {
        let now = source * EPOCH_MILLIS / 10;
        assert_eq!(admit(&mut tracker.admission_at(&source.to_string(), now), 0..100), 100);
        assert!(tracker.total.load(Ordering::Relaxed) <= 1_200);
    }
    // All of one epoch.
    for number in 0..50 {
        admit(&mut tracker.admission_at("one", 3 * EPOCH_MILLIS), number * 100..(number + 1) * 100);
    }
    tracker.tidy(3 * EPOCH_MILLIS);
    assert!(tracker.total.load(Ordering::Relaxed) <= 1_000);
    for source in 0..MAX_SOURCES + 10 {
        tracker.admission_at(&format!("source {source}"), 3 * EPOCH_MILLIS + source as u64);
    }
    assert!(tracker.sources.read().len() <= MAX_SOURCES);
    assert!(tracker.sources.read().contains_key(format!("source {MAX_SOURCES}").as_str()));
}
