//! Requests become batches, with the series known and unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_codec::remote_write::message::{
    Exemplar, Label, MetricMetadata, Sample, TimeSeries, WriteRequest as Message,
};
use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{Batch, MetricType, Millis, PromDuration, Refusal, STALE_NAN_BITS, Series};
use prometheus_client::metrics::gauge::Gauge;
use proptest::prelude::*;

use super::intake::Intake;
use super::{PreparedWrite, Protocol, SeenLists, SeriesCache, WriteOrigin, WriteRequest};
use crate::{Admission, Limits, SeriesLimits, SeriesTracker};

pub(super) const NOW: Millis = 1_750_500_000_000;

pub(super) fn limits() -> Limits {
    Limits { max_sample_age: PromDuration::from_secs(86_400), ..Limits::default() }
}

pub(super) fn cache() -> SeriesCache {
    SeriesCache::new(1 << 20)
}

/// Without limits on series.
pub(super) fn anyone() -> Admission {
    admission_of(SeriesLimits::default())
}

pub(super) fn admission_of(limits: SeriesLimits) -> Admission {
    let store = Arc::new(metricsd_ports::memory::MemoryStore::new());
    SeriesTracker::new(limits, store, Gauge::default()).admission("s")
}

pub(super) fn series(labels: &[(&str, &str)], samples: &[(Millis, f64)]) -> TimeSeries {
    let sample = |(timestamp, value): &(Millis, f64)| Sample { value: *value, timestamp: *timestamp };
    TimeSeries {
        labels: Label::list(labels.iter().copied()),
        samples: samples.iter().map(sample).collect(),
        ..TimeSeries::default()
    }
}

pub(super) fn message(timeseries: Vec<TimeSeries>) -> Message {
    Message { timeseries, metadata: Vec::new() }
}

pub(super) fn origin(source_id: &str) -> WriteOrigin {
    WriteOrigin::new(source_id, Protocol::RemoteWrite)
}

pub(super) fn read_from(cache: &SeriesCache, source_id: &str, message: &Message) -> PreparedWrite {
    let (body, limits) = (message.to_bytes(), limits());
    let request = WriteRequest { origin: &origin(source_id), body: &body, received_at: NOW };
    Intake::new(cache, &SeenLists::new(1 << 20), &limits, request, anyone()).read().unwrap()
}

pub(super) fn read(cache: &SeriesCache, message: &Message) -> Batch {
    read_from(cache, "s", message).batch.unwrap()
}

/// Samples by series and time.
pub(super) fn samples(batch: &Batch) -> BTreeMap<(String, Millis), u64> {
    let of_frame = |frame: &metricsd_model::Frame| -> Vec<_> {
        (0..frame.values.len())
            .map(|at| {
                (
                    (frame.layout.series[at].labels.to_string(), frame.timestamp(at)),
                    frame.values[at].to_bits(),
                )
            })
            .collect()
    };
    batch.frames.iter().flat_map(of_frame).collect()
}

fn all_series(batch: &Batch) -> Vec<Arc<Series>> {
    batch.frames.iter().flat_map(|frame| frame.layout.series.clone()).collect()
}

#[test]
fn one_time_makes_one_frame_without_offsets() {
    let request = message(
        (0..100).map(|at| series(&[("__name__", "a"), ("l", &at.to_string())], &[(NOW, 1.0)])).collect(),
    );
    let batch = read(&cache(), &request);
    let [frame] = batch.frames.as_slice() else { panic!("{:?}", batch.frames) };
    assert_eq!((frame.time, &frame.offsets, frame.values.len(), frame.layout.id), (NOW, &None, 100, None));
    assert!(frame.layout.ids.iter().zip(&frame.layout.series).all(|(id, series)| *id == series.id));
}

#[test]
fn hours_are_frames_of_their_own_in_order_of_time() {
    let start = NOW - NOW % FRAME_BUCKET_MILLIS;
    let times =
        [start + 5, start - 1, start + 2, start - FRAME_BUCKET_MILLIS, start - FRAME_BUCKET_MILLIS - 1];
    let values: Vec<(Millis, f64)> = times.iter().map(|time| (*time, *time as f64)).collect();
    let batch = read(&cache(), &message(vec![series(&[("__name__", "a")], &values)]));
    let frames: Vec<(Millis, Option<Vec<i32>>)> =
        batch.frames.iter().map(|frame| (frame.time, frame.offsets.clone())).collect();
    let hour = FRAME_BUCKET_MILLIS;
    let middle = (hour - 1) as i32;
    let expected =
        [(start - hour - 1, None), (start - hour, Some(vec![middle, 0])), (start + 2, Some(vec![3, 0]))];
    assert_eq!(frames, expected);
    assert!(samples(&batch).iter().all(|((_, time), value)| *value == (*time as f64).to_bits()));
}

#[test]
fn known_series_are_not_named_again() {
    let cache = cache();
    let first = read(&cache, &message(vec![series(&[("__name__", "a")], &[(NOW, 1.0)])]));
    let request = message(vec![
        series(&[("__name__", "b")], &[(NOW, 1.0)]),
        series(&[("__name__", "a")], &[(NOW + 1, 2.0)]),
        series(&[("__name__", "b")], &[(NOW + 1, 2.0)]),
    ]);
    let second = all_series(&read(&cache, &request));
    assert!(Arc::ptr_eq(&all_series(&first)[0], &second[1]));
    assert!(Arc::ptr_eq(&second[0], &second[2]));
    assert_eq!(cache.size().0, 2);
    // Another writer's series are its own.
    let other = read_from(&cache, "other", &request).batch.unwrap();
    assert_eq!(all_series(&other)[0].source, "other".into());
    assert_eq!(cache.size().0, 4);
}

#[test]
fn the_order_of_labels_does_not_make_another_series() {
    let request = message(vec![
        series(&[("__name__", "a"), ("l", "1"), ("empty", "")], &[(NOW, 1.0)]),
        series(&[("l", "1"), ("__name__", "a")], &[(NOW, 1.0), (NOW + 1, 2.0)]),
    ]);
    let prepared = read_from(&cache(), "s", &request);
    assert_eq!((prepared.outcome.stored, prepared.outcome.repeated), (2, 1));
    let all = all_series(&prepared.batch.unwrap());
    assert_eq!(all[0].id, all[1].id);
}

#[test]
fn what_is_remembered_stays_within_its_bound() {
    let cache = SeriesCache::new(64 << 10);
    let labels = |at: usize| format!("{at:050}");
    let of = |numbers: std::ops::Range<usize>| {
        message(
            numbers.map(|at| series(&[("__name__", "a"), ("l", &labels(at))], &[(NOW, at as f64)])).collect(),
        )
    };
    let often = read(&cache, &of(0..10));
    for round in 1..200 {
        let (count, bytes) = cache.size();
        assert!(count > 0 && bytes <= 64 << 10, "{count} {bytes}");
        read(&cache, &of(round * 10..round * 10 + 10));
        let again = read(&cache, &of(0..10));
        assert_eq!(samples(&again), samples(&often));
        let series = |batch: &Batch| batch.frames[0].layout.series.clone();
        let same = series(&again).iter().zip(&series(&often)).all(|(one, other)| Arc::ptr_eq(one, other));
        assert!(same, "what is used stays, whatever comes and goes");
    }
    // More at once than fits is stored all the same.
    assert_eq!(read(&cache, &of(0..1_000)).samples(), 1_000);
    assert!(cache.size().1 <= 64 << 10);
}

#[test]
fn a_body_that_breaks_off_is_refused_as_a_whole() {
    let body = message(vec![
        series(&[("__name__", "a")], &[(NOW, 1.0)]),
        series(&[("__name__", "b")], &[(NOW, 1.0)]),
    ])
    .to_bytes();
    let (cache, limits) = (cache(), limits());
    for end in 1..body.len() {
        let request = WriteRequest { origin: &origin("s"), body: &body[..end], received_at: NOW };
        let first_alone = end == body.len() / 2;
        assert_eq!(
            Intake::new(&cache, &SeenLists::new(1 << 20), &limits, request, anyone()).read().is_ok(),
            first_alone,
            "{end}"
        );
    }
}

fn metadata(kind: i32, family: &str, help: &str) -> MetricMetadata {
    MetricMetadata { kind, metric_family_name: family.into(), help: help.into(), unit: String::new() }
}

#[test]
fn families_describe_series_before_with_and_after_them() {
    let cache = cache();
    let at = |time| series(&[("__name__", "c_total")], &[(time, 1.0)]);
    let describes = |batch: &Batch| {
        let series = &all_series(batch)[0];
        (series.metric_type, series.help.clone().unwrap_or_default())
    };
    assert_eq!(describes(&read(&cache, &message(vec![at(NOW)]))), (MetricType::Custom, "".into()));
    // In the same request, behind the series; the family is named as OpenMetrics does.
    let with =
        Message { timeseries: vec![at(NOW + 1), at(NOW + 2)], metadata: vec![metadata(1, "c", "One.")] };
    let batch = read(&cache, &with);
    assert_eq!(describes(&batch), (MetricType::Counter, "One.".into()));
    assert!(Arc::ptr_eq(&all_series(&batch)[0], &all_series(&batch)[1]));
    assert_eq!((batch.families.len(), batch.families[0].family.as_str()), (1, "c"));
    let known = read(&cache, &message(vec![at(NOW + 3)]));
    assert!(Arc::ptr_eq(&all_series(&known)[0], &all_series(&batch)[0]));
    // What is said anew replaces what was said; what is said of others changes nothing.
    read(
        &cache,
        &Message { timeseries: Vec::new(), metadata: vec![metadata(1, "c", "Two."), metadata(2, "g", "")] },
    );
    let described = read(&cache, &message(vec![at(NOW + 4)]));
    assert_eq!(describes(&described), (MetricType::Counter, "Two.".into()));
    let other = read_from(&cache, "other", &message(vec![at(NOW)])).batch.unwrap();
    assert_eq!(describes(&other), (MetricType::Custom, "".into()));
}

#[test]
fn families_answer_for_the_series_of_their_kind() {
    let cache = cache();
    let families = vec![
        metadata(3, "h", ""),
        metadata(5, "s", ""),
        metadata(4, "gh", ""),
        metadata(2, "h_sum", ""),
        metadata(6, "build", ""),
    ];
    let names = [
        "h_bucket",
        "h_sum",
        "h_count",
        "h_total",
        "s",
        "s_sum",
        "s_bucket",
        "gh_gsum",
        "build_info",
        "h_created",
    ];
    let timeseries = names.iter().map(|name| series(&[("__name__", name)], &[(NOW, 1.0)])).collect();
    let batch = read(&cache, &Message { timeseries, metadata: families });
    let types: Vec<MetricType> = all_series(&batch).iter().map(|series| series.metric_type).collect();
    use MetricType::{Custom, Gauge, Histogram, Summary};
    let expected =
        [Histogram, Gauge, Histogram, Custom, Summary, Summary, Custom, Histogram, Gauge, Histogram];
    assert_eq!(types, expected);
    assert_eq!(batch.collection.types.histograms, 4);
}

#[test]
fn texts_of_families_are_cut_and_cleaned() {
    let cache = cache();
    let long = "ä".repeat(3_000);
    let mut odd = metadata(1, "odd", "a\0b");
    odd.unit = "x".repeat(300);
    let entries = vec![metadata(1, "long", &long), odd, metadata(1, "", "no name"), metadata(1, "a\0b", "")];
    let families = read(&cache, &Message { timeseries: Vec::new(), metadata: entries }).families;
    let seen: Vec<(&str, usize, &str)> = families
        .iter()
        .map(|family| (family.family.as_str(), family.unit.len(), family.help.as_str()))
        .collect();
    assert_eq!(seen, [("long", 0, &long[..4_096]), ("odd", 256, "ab")]);
}

#[test]
fn exemplars_come_along_with_their_series() {
    let exemplar =
        |id: &str, timestamp| Exemplar { labels: Label::list([("trace_id", id)]), value: 0.5, timestamp };
    let mut with = series(&[("__name__", "a")], &[]);
    with.exemplars = vec![exemplar("abc", NOW), exemplar(&"x".repeat(121), NOW), exemplar("old", 1)];
    let prepared = read_from(&cache(), "s", &message(vec![with]));
    assert_eq!((prepared.outcome.received, prepared.outcome.exemplars_dropped), (0, 2));
    let batch = prepared.batch.unwrap();
    assert!(batch.frames.is_empty());
    let [kept] = batch.exemplars.as_slice() else { panic!("{:?}", batch.exemplars) };
    assert_eq!((kept.series.labels.to_string(), kept.exemplar.value), ("a".to_owned(), 0.5));
}

#[test]
fn a_request_that_says_nothing_makes_no_batch() {
    let nothing = message(vec![series(&[("__name__", "a")], &[]), series(&[], &[])]);
    let prepared = read_from(&cache(), "s", &nothing);
    assert!(prepared.batch.is_none() && prepared.outcome.is_whole());
}

#[test]
fn what_is_refused_is_part_of_what_makes_a_batch_the_same() {
    let (cache, limits) = (cache(), limits());
    let body = message(vec![series(&[("__name__", "a")], &[(NOW, 1.0), (NOW + 3_600_000, 2.0)])]).to_bytes();
    let id = |source_id, received_at| {
        let request = WriteRequest { origin: &origin(source_id), body: &body, received_at };
        Intake::new(&cache, &SeenLists::new(1 << 20), &limits, request, anyone())
            .read()
            .unwrap()
            .batch
            .unwrap()
            .id
    };
    assert_eq!(id("s", NOW), id("s", NOW + 1));
    assert_eq!(id("s", NOW + 3_600_000), id("s", NOW + 3_600_001));
    assert_ne!(id("s", NOW), id("s", NOW + 3_600_000));
    assert_ne!(id("s", NOW), id("other", NOW));
}

/// Few names, times and values, so that they meet.
fn requests() -> impl Strategy<Value = Message> {
    let label = prop_oneof![
        Just(("__name__", "a")),
        Just(("__name__", "b")),
        Just(("l", "1")),
        Just(("l", "2")),
        Just(("m", ""))
    ];
    let value = prop_oneof![Just(1.0), Just(2.0), Just(f64::NAN), Just(f64::from_bits(STALE_NAN_BITS))];
    let time = prop_oneof![NOW - 3..NOW + 3, Just(NOW - 3_600_000), Just(0), Just(NOW + 900_000)];
    let one = (proptest::collection::vec(label, 0..4), proptest::collection::vec((time, value), 0..4));
    proptest::collection::vec(one, 0..8)
        .prop_map(|all| message(all.iter().map(|(labels, samples)| series(labels, samples)).collect()))
}

proptest! {
    #[test]
    fn every_sample_is_accounted_for_and_the_first_of_a_time_is_kept(request in requests()) {
        let (cache, limits) = (cache(), limits());
        let times = crate::validate::accepted_times(NOW, &limits);
        let (mut expected, mut total) = (BTreeMap::new(), 0);
        for series in &request.timeseries {
            total += series.samples.len() as u64;
            let pairs = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
            let Ok(labels) = metricsd_model::LabelSet::new(pairs) else { continue };
            if labels.metric_name().is_empty() {
                continue;
            }
            for sample in series.samples.iter().filter(|sample| times.contains(&sample.timestamp)) {
                expected.entry((labels.to_string(), sample.timestamp)).or_insert(sample.value.to_bits());
            }
        }
        let cold = read_from(&cache, "s", &request);
        let warm = read_from(&cache, "s", &request);
        prop_assert_eq!(&cold.outcome, &warm.outcome);
        let outcome = &cold.outcome;
        prop_assert_eq!(outcome.received, total);
        prop_assert_eq!(outcome.stored, expected.len() as u64);
        match (&cold.batch, &warm.batch) {
            (Some(cold), Some(warm)) => {
                prop_assert_eq!(samples(cold), expected);
                prop_assert_eq!(samples(warm), samples(cold));
                prop_assert_eq!(warm.id, cold.id);
                let ledger = &cold.collection.ledger;
                prop_assert_eq!(ledger.received, ledger.stored + ledger.refused_total());
            }
            (None, None) => prop_assert_eq!(total, 0),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn order_makes_no_difference_to_what_is_found() {
    let cache = cache();
    let labels: Vec<String> = (0..50).map(|at| at.to_string()).collect();
    let of = |order: &[usize]| {
        message(
            order
                .iter()
                .map(|at| series(&[("__name__", "a"), ("l", &labels[*at])], &[(NOW, *at as f64)]))
                .collect(),
        )
    };
    let forwards: Vec<usize> = (0..50).collect();
    let first = samples(&read(&cache, &of(&forwards)));
    let mut order = forwards.clone();
    for round in 0..50 {
        order.rotate_left(7);
        order.swap(round, (round * 13) % 50);
        assert_eq!(samples(&read(&cache, &of(&order))), first);
    }
    order.reverse();
    assert_eq!(samples(&read(&cache, &of(&order))), first);
    assert_eq!(cache.size().0, 50);
}

#[test]
fn what_is_too_old_makes_no_series_active() {
    let (cache, limits) = (cache(), limits());
    let series_limits = SeriesLimits { max_active: 2, max_new_per_minute: 1_000 };
    let store = Arc::new(metricsd_ports::memory::MemoryStore::new());
    let tracker = SeriesTracker::new(series_limits, store, Gauge::default());
    let read = |message: &Message| {
        let body = message.to_bytes();
        let request = WriteRequest { origin: &origin("s"), body: &body, received_at: NOW };
        let lists = SeenLists::new(1 << 20);
        Intake::new(&cache, &lists, &limits, request, tracker.admission("s")).read().unwrap().outcome
    };
    let at = |name: &str, times: &[Millis]| {
        let samples: Vec<_> = times.iter().map(|time| (*time, 1.0)).collect();
        series(&[("__name__", name)], &samples)
    };
    let old = read(&message((0..5).map(|n| at(&format!("old_{n}"), &[1, 2])).collect()));
    assert_eq!(old.refused, BTreeMap::from([(Refusal::TooOld, 10)]));
    let mixed = read(&message(vec![at("a", &[1, NOW]), at("b", &[NOW]), at("c", &[NOW])]));
    assert_eq!(mixed.refused, BTreeMap::from([(Refusal::TooOld, 1), (Refusal::SeriesLimit, 1)]));
    assert_eq!(mixed.stored, 2);
}
