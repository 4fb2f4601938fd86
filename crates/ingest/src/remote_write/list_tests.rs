//! Lists of series that come again, and requests that are followed along them.

use std::sync::Arc;

use metricsd_codec::remote_write::message::{
    Exemplar, Label, MetricMetadata, Sample, WriteRequest as Message,
};
use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{HISTOGRAM_MARKER_BITS, Layout, MetricType, Millis, STALE_NAN_BITS};

use super::intake::Intake;
use super::tests::{NOW, anyone, cache, limits, message, origin, read_from, samples, series};
use super::{PreparedWrite, SeenLists, SeriesCache, WriteRequest};

/// A request with one sample each of series by number, with values and times by place.
fn numbered(numbers: impl IntoIterator<Item = usize>, times: &[Millis]) -> Message {
    let one = |(at, number): (usize, usize)| {
        let time = times[at % times.len()];
        series(&[("__name__", "m"), ("n", &number.to_string())], &[(time, at as f64)])
    };
    message(numbers.into_iter().enumerate().map(one).collect())
}

/// Requests of one process.
struct Door {
    cache: SeriesCache,
    lists: SeenLists,
}

impl Door {
    fn new() -> Self {
        Self { cache: cache(), lists: SeenLists::new(1 << 20) }
    }

    fn read(&self, message: &Message) -> PreparedWrite {
        let (body, limits) = (message.to_bytes(), limits());
        let request = WriteRequest { origin: &origin("s"), body: &body, received_at: NOW };
        Intake::new(&self.cache, &self.lists, &limits, request, anyone()).read().unwrap()
    }

    /// The layout of the only frame, after a comparison with what a newcomer makes of the same request.
    fn layout(&self, message: &Message) -> Arc<Layout> {
        let (mine, fresh) = (self.read(message), read_from(&cache(), "s", message));
        assert_eq!(mine.outcome, fresh.outcome);
        let (mine, fresh) = (mine.batch.unwrap(), fresh.batch.unwrap());
        assert_eq!(samples(&mine), samples(&fresh));
        assert_eq!((mine.id, mine.collection.types), (fresh.id, fresh.collection.types));
        assert_eq!(mine.collection.ledger, fresh.collection.ledger);
        let [frame] = mine.frames.as_slice() else { panic!("{:?}", mine.frames) };
        frame.layout.clone()
    }
}

#[test]
fn a_list_of_series_that_comes_again_is_a_layout() {
    let door = Door::new();
    let layout = |numbers: std::ops::Range<usize>, times: &[Millis]| door.layout(&numbered(numbers, times));
    assert_eq!(layout(0..40, &[NOW]).id, None, "most lists never come again");
    let known = layout(0..40, &[NOW + 1]);
    assert!(known.id.is_some());
    for time in 2..6 {
        assert!(Arc::ptr_eq(&layout(0..40, &[NOW + time]), &known));
        assert!(Arc::ptr_eq(&layout(0..40, &[NOW + time, NOW + 10 * time]), &known), "times of their own");
    }
    assert_eq!(layout(0..39, &[NOW + 2]).id, None, "another list");
    assert_eq!([layout(0..3, &[NOW]).id, layout(0..3, &[NOW + 1]).id], [None; 2], "too short");
}

#[test]
fn a_list_with_a_series_twice_is_no_layout() {
    let door = Door::new();
    let numbers = || (0..40).chain([7]);
    let times: Vec<Millis> = (0..41).map(|at| NOW + at).collect();
    for _ in 0..4 {
        assert_eq!(door.layout(&numbered(numbers(), &times)).id, None);
    }
}

#[test]
fn a_request_that_leaves_its_track_is_read_as_any_other() {
    let door = Door::new();
    let whole = || numbered(0..40, &[NOW]);
    let change = |change: fn(&mut Message)| {
        let mut changed = whole();
        change(&mut changed);
        changed
    };
    let known = [0, 1].map(|_| door.layout(&whole()))[1].clone();
    let bits = |bits| move |sample: &mut Sample| sample.value = f64::from_bits(bits);
    let mut special = whole();
    for (at, to) in [(3, STALE_NAN_BITS), (4, HISTOGRAM_MARKER_BITS), (5, f64::NAN.to_bits()), (6, 1 << 63)] {
        bits(to)(&mut special.timeseries[at].samples[0]);
    }
    assert!(Arc::ptr_eq(&door.layout(&special), &known), "values make no difference");
    let strays: [fn(&mut Message); 8] = [
        |m| m.timeseries[20].labels[1].value.push('x'),
        |m| m.timeseries[39].labels[1].value.push('x'),
        |m| m.timeseries.swap(20, 21),
        |m| m.timeseries[20].samples.clear(),
        |m| m.timeseries[20].samples.push(Sample { value: 1.0, timestamp: NOW + 5 }),
        |m| m.timeseries[20].samples[0].timestamp = NOW - 90_000_000,
        |m| m.timeseries[20].samples[0].timestamp = NOW + 90_000_000,
        |m| m.timeseries[20].labels[0].name = "not_the_name".into(),
    ];
    for (place, stray) in strays.into_iter().enumerate() {
        let layout = door.layout(&change(stray));
        assert!(!Arc::ptr_eq(&layout, &known), "{place}");
        assert!(Arc::ptr_eq(&door.layout(&whole()), &known), "{place}");
    }
    // An exemplar is kept, and the samples are as ever.
    let exemplar = Exemplar { labels: Label::list([("trace_id", "1")]), value: 1.0, timestamp: NOW };
    let mut with_exemplar = whole();
    with_exemplar.timeseries[20].exemplars.push(exemplar);
    assert_eq!(door.read(&with_exemplar).batch.unwrap().exemplars.len(), 1);
    // Times in two hours are two frames.
    let hour = NOW - NOW % FRAME_BUCKET_MILLIS;
    assert_eq!(door.read(&numbered(0..40, &[hour, hour - 1])).batch.unwrap().frames.len(), 2);
    let mut damaged = whole().to_bytes();
    damaged.pop();
    let limits = limits();
    let request = WriteRequest { origin: &origin("s"), body: &damaged, received_at: NOW };
    assert!(Intake::new(&door.cache, &door.lists, &limits, request, anyone()).read().is_err());
}

#[test]
fn what_is_said_of_a_family_reaches_series_on_a_track() {
    let door = Door::new();
    for _ in 0..3 {
        assert_eq!(door.layout(&numbered(0..40, &[NOW])).series[0].metric_type, MetricType::Custom);
    }
    let mut told = numbered(0..40, &[NOW + 1]);
    let said = |kind| MetricMetadata { kind, metric_family_name: "m".into(), ..MetricMetadata::default() };
    told.metadata = vec![said(1)];
    assert_eq!(door.layout(&told).series[0].metric_type, MetricType::Counter);
    let layouts = [2, 3].map(|time| door.read(&numbered(0..40, &[NOW + time])).batch.unwrap());
    for batch in &layouts {
        assert_eq!(batch.frames[0].layout.series[39].metric_type, MetricType::Counter);
        assert_eq!(batch.collection.types.counters, 40);
    }
    assert!(Arc::ptr_eq(&layouts[0].frames[0].layout, &layouts[1].frames[0].layout));
}

#[test]
fn series_on_a_track_stay_in_the_cache() {
    let door = Door { cache: SeriesCache::new(60_000), lists: SeenLists::new(1 << 20) };
    for _ in 0..3 {
        door.layout(&numbered(0..40, &[NOW]));
    }
    let known = door.layout(&numbered(0..40, &[NOW]));
    for round in 1..10 {
        door.read(&numbered(round * 1_000..round * 1_000 + 20, &[NOW]));
        assert!(Arc::ptr_eq(&door.layout(&numbered(0..40, &[NOW])), &known));
    }
    let others = door.read(&numbered(3..20, &[NOW])).batch.unwrap();
    assert!(Arc::ptr_eq(&others.frames[0].layout.series[0], &known.series[3]), "it was not named anew");
}
