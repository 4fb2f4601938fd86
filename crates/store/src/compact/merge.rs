//! New samples of a series meet the segments that it has.

use metricsd_model::Millis;

use super::bucket::{Bucket, HOUR, SPARSE, day_of, place};
use crate::column::Column;

/// Samples of one series in one bucket. `O` is how the caller names the target and the source that they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment<O> {
    /// Which span of time.
    pub bucket: Bucket,
    /// Whose they are.
    pub origin: O,
    /// Ascending, each timestamp once; `orders` mean nothing.
    pub column: Column,
}

/// What is to be done with the segments of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged<O> {
    /// To be written, in place of the segment of the same bucket where there is one.
    pub write: Vec<Segment<O>>,
    /// To be removed: what they held is in those that are written.
    pub remove: Vec<Bucket>,
}

/// Merges samples of one series in one hour with what it has there. `column` is compact; `stored` are the series'
/// segments of that hour, or of parts of it, and of the day that the hour lies in.
///
/// What a segment holds stays as it is. Few samples of an hour lie in the segment of their day; once they are more they
/// move to segments of that hour, and later ones join them there. A segment that is written anew belongs to whom it
/// did before; those of an hour's parts to whom the first of them did.
pub fn merge<O: Copy>(hour: Millis, mut column: Column, origin: O, stored: Vec<Segment<O>>) -> Merged<O> {
    stored.iter().for_each(|segment| column.without(&segment.column.timestamps));
    if column.timestamps.is_empty() {
        return Merged { write: Vec::new(), remove: Vec::new() };
    }
    let is_dense = |segment: &Segment<O>| matches!(segment.bucket, Bucket::Hour(_));
    let (dense, daily): (Vec<_>, Vec<_>) = stored.into_iter().partition(is_dense);
    match (dense.first().map(|segment| segment.origin), daily.into_iter().next()) {
        (Some(owner), _) => merge_dense(hour, column, owner, dense),
        (None, Some(day)) => merge_daily(hour, column, origin, day),
        (None, None) => Merged { write: laid(hour, column, origin, false), remove: Vec::new() },
    }
}

fn laid<O: Copy>(hour: Millis, column: Column, origin: O, dense: bool) -> Vec<Segment<O>> {
    let placed = place(hour, column, dense).into_iter();
    placed.map(|(bucket, column)| Segment { bucket, origin, column }).collect()
}

/// The hour has segments of its own: all of it is placed anew, and what did not change is left alone.
fn merge_dense<O: Copy>(hour: Millis, column: Column, owner: O, dense: Vec<Segment<O>>) -> Merged<O> {
    let before: Vec<_> = dense.iter().map(extent).collect();
    let mut all = Column::default();
    dense.into_iter().for_each(|segment| all.append(segment.column));
    all.append(column);
    all.compact();
    let mut write = laid(hour, all, owner, true);
    let is_written = |bucket: &Bucket| write.iter().any(|segment| segment.bucket == *bucket);
    let remove = before.iter().map(|(bucket, ..)| *bucket).filter(|bucket| !is_written(bucket)).collect();
    // Segments only gain samples, so as many up to the same one are the same; as many alone may be those of a shorter span.
    write.retain(|segment| !before.contains(&extent(segment)));
    Merged { write, remove }
}

/// Where a segment begins, how many samples it has and when the last of them was.
fn extent<O>(segment: &Segment<O>) -> (Bucket, usize, Option<Millis>) {
    let timestamps = &segment.column.timestamps;
    (segment.bucket, timestamps.len(), timestamps.last().copied())
}

/// The day has a segment, the hour has none of its own.
fn merge_daily<O: Copy>(hour: Millis, column: Column, origin: O, day: Segment<O>) -> Merged<O> {
    let (before, rest) = day.column.split_at(hour);
    let (mut of_hour, after) = rest.split_at(hour + HOUR);
    let owner = if of_hour.timestamps.is_empty() { origin } else { day.origin };
    let moved = !of_hour.timestamps.is_empty();
    of_hour.append(column);
    of_hour.compact();
    let few = of_hour.timestamps.len() <= SPARSE;
    let mut of_day = before;
    let mut merged = Merged { write: Vec::new(), remove: Vec::new() };
    if few {
        of_day.append(of_hour);
    } else {
        merged.write = laid(hour, of_hour, owner, true);
    }
    of_day.append(after);
    let bucket = Bucket::Day(day_of(hour));
    match of_day.timestamps.is_empty() {
        true => merged.remove.push(bucket),
        false if few || moved => merged.write.push(Segment { bucket, origin: day.origin, column: of_day }),
        false => {}
    }
    merged
}

#[cfg(test)]
mod tests {
    use metricsd_model::NativeHistogram;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;
    use crate::compact::DAY;

    const DAY_START: Millis = 20 * DAY;

    fn column(samples: impl IntoIterator<Item = (Millis, f64)>) -> Column {
        let mut column = Column::default();
        samples.into_iter().for_each(|(timestamp, value)| column.push(timestamp, 0, value, None));
        column.compact();
        column
    }

    fn every(step: Millis, from: Millis, count: usize) -> Column {
        column((0..count as i64).map(|n| (from + n * step, n as f64)))
    }

    /// Carries out what is said.
    fn apply(stored: &mut BTreeMap<Bucket, Segment<u8>>, merged: Merged<u8>) {
        merged.remove.iter().for_each(|bucket| drop(stored.remove(bucket).expect("a segment that is there")));
        stored.extend(merged.write.into_iter().map(|segment| (segment.bucket, segment)));
    }

    fn beside(stored: &BTreeMap<Bucket, Segment<u8>>, hour: Millis) -> Vec<Segment<u8>> {
        let near = |bucket: &Bucket| match bucket {
            Bucket::Day(day) => *day == day_of(hour),
            Bucket::Hour(start) => (hour..hour + HOUR).contains(start),
        };
        stored.values().filter(|segment| near(&segment.bucket)).cloned().collect()
    }

    fn buckets(merged: &Merged<u8>) -> Vec<(Bucket, u8, usize)> {
        let of = |segment: &Segment<u8>| (segment.bucket, segment.origin, segment.column.timestamps.len());
        merged.write.iter().map(of).collect()
    }

    #[test]
    fn what_a_segment_holds_stays() {
        let hour = DAY_START + HOUR;
        let held = Segment { bucket: Bucket::Hour(hour), origin: 1, column: every(1_000, hour, 100) };
        let same = merge(hour, column([(hour, 9.0), (hour + 99_000, 9.0)]), 2, vec![held.clone()]);
        assert_eq!(same, Merged { write: vec![], remove: vec![] }, "nothing is new");
        let merged = merge(hour, column([(hour, 9.0), (hour + 500, 9.0)]), 2, vec![held]);
        assert_eq!(buckets(&merged), [(Bucket::Hour(hour), 1, 101)]);
        assert_eq!(merged.write[0].column.values[..3], [0.0, 9.0, 1.0]);
        assert_eq!(merged.remove, []);
    }

    #[test]
    fn few_late_samples_join_the_hour_that_is_there() {
        let hour = DAY_START + HOUR;
        let held = Segment { bucket: Bucket::Hour(hour), origin: 1, column: every(100_000, hour, SPARSE) };
        let merged = merge(hour, column([(hour + 1, 1.0)]), 2, vec![held]);
        assert_eq!(buckets(&merged), [(Bucket::Hour(hour), 1, SPARSE + 1)]);
    }

    #[test]
    fn an_hour_leaves_its_day_when_it_has_many_samples() {
        let (first, second) = (DAY_START, DAY_START + HOUR);
        let mut stored = BTreeMap::new();
        apply(&mut stored, merge(first, every(60_000, first, 10), 1, vec![]));
        let day = beside(&stored, second);
        apply(&mut stored, merge(second, every(60_000, second, 12), 2, day));
        let held = &stored[&Bucket::Day(DAY_START)];
        assert_eq!((stored.len(), held.origin, held.column.timestamps.len()), (1, 1, 22));
        let day = beside(&stored, second);
        apply(&mut stored, merge(second, every(60_000, second + 1, 1), 2, day));
        assert_eq!(stored[&Bucket::Day(DAY_START)].column.timestamps.len(), 10);
        assert_eq!(stored[&Bucket::Hour(second)].column.timestamps.len(), 13);
        // The last hour takes the day's segment with it.
        let day = beside(&stored, first);
        apply(&mut stored, merge(first, every(60_000, first + 1, 10), 1, day));
        assert_eq!(stored.keys().copied().collect::<Vec<_>>(), [Bucket::Hour(first), Bucket::Hour(second)]);
    }

    #[test]
    fn of_an_hour_in_parts_the_part_that_changed_is_written() {
        let hour = DAY_START;
        let mut stored = BTreeMap::new();
        apply(&mut stored, merge(hour, every(1_000, hour, 3_600), 1, vec![]));
        let whole = beside(&stored, hour);
        apply(&mut stored, merge(hour, every(500, hour, 7_200), 1, whole));
        assert_eq!(stored.len(), 1);
        let whole = beside(&stored, hour);
        apply(&mut stored, merge(hour, every(250, hour, 14_400), 1, whole));
        assert_eq!(stored.len(), 12);
        let one = merge(hour, column([(hour + HOUR - 1, 1.0)]), 1, beside(&stored, hour));
        assert_eq!(buckets(&one), [(Bucket::Hour(hour + HOUR - 300_000), 1, 1_201)]);
        assert_eq!(one.remove, []);
        // Whatever became of the other parts: what is left fits into one segment, which takes the first one's place.
        stored.retain(|bucket, _| bucket.start() >= hour + HOUR - 600_000);
        let one = merge(hour, column([(hour + HOUR - 1, 1.0)]), 1, beside(&stored, hour));
        assert_eq!(buckets(&one), [(Bucket::Hour(hour), 1, 2_401)]);
        assert_eq!(one.remove.len(), 2);
    }

    #[test]
    fn parts_of_another_length_are_not_taken_for_those_that_change() {
        let hour = DAY_START;
        let tenth = |part: i64| Segment {
            bucket: Bucket::Hour(hour + part * 600_000),
            origin: 1,
            column: every(500, hour + part * 600_000, 1_200),
        };
        let mut stored: BTreeMap<_, _> = (0..6).map(tenth).map(|segment| (segment.bucket, segment)).collect();
        let held = beside(&stored, hour);
        apply(&mut stored, merge(hour, every(250, hour, 14_400), 1, held));
        let held: Vec<Millis> =
            stored.values().flat_map(|segment| &segment.column.timestamps).copied().collect();
        assert_eq!(held, every(250, hour, 14_400).timestamps);
    }

    #[test]
    fn histograms_keep_their_place() {
        let histogram = |count: f64| NativeHistogram { count, ..NativeHistogram::default() };
        let marked = |at: Millis, count: f64| {
            let mut column = Column::default();
            column.push(at, 0, count, Some(histogram(count)));
            column
        };
        let hour = DAY_START;
        let mut stored = BTreeMap::new();
        for (at, count) in [(5, 5.0), (1, 1.0), (9, 9.0), (5, 6.0)] {
            let day = beside(&stored, hour);
            apply(&mut stored, merge(hour, marked(hour + at, count), 0, day));
        }
        let held = &stored[&Bucket::Day(hour)].column;
        assert_eq!(held.histograms, [(0, histogram(1.0)), (1, histogram(5.0)), (2, histogram(9.0))]);
        assert_eq!(held.values, [1.0, 5.0, 9.0]);
    }

    proptest! {
        /// Whatever comes in whatever order: each timestamp is held once, with its first value.
        #[test]
        fn each_timestamp_is_held_once(
            passes in vec((0i64..26, vec((0i64..3_600, any::<u16>()), 1..40), any::<u8>()), 1..12),
        ) {
            let mut model: BTreeMap<Millis, f64> = BTreeMap::new();
            let mut stored = BTreeMap::new();
            for (hour, samples, origin) in passes {
                let hour = DAY_START + hour * HOUR;
                let late = column(samples.into_iter().map(|(at, value)| (hour + at * 1_000, f64::from(value))));
                for (at, value) in late.timestamps.iter().zip(&late.values) {
                    model.entry(*at).or_insert(*value);
                }
                let held = beside(&stored, hour);
                apply(&mut stored, merge(hour, late, origin, held));
            }
            let mut found = BTreeMap::new();
            for Segment { bucket, column, .. } in stored.into_values() {
                let width = if matches!(bucket, Bucket::Day(_)) { DAY } else { HOUR };
                prop_assert!(column.timestamps.is_sorted_by(|a, b| a < b));
                for (at, value) in column.timestamps.iter().zip(column.values) {
                    prop_assert!((bucket.start()..bucket.start() + width).contains(at));
                    prop_assert!(found.insert(*at, value).is_none(), "{at} twice");
                }
            }
            prop_assert_eq!(found, model);
        }
    }
}
