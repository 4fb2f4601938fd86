//! Any interleaving of appends, repeats, compactions and retention answers as a map from series and timestamp does.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_model::{Batch, Frame, Layout, Millis, NativeHistogram, STALE_NAN_BITS, Series};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::compact::{Compacting, compact_all, policy};
use crate::Receipt;
use crate::conformance::fixtures::*;

const DAY: Millis = 24 * HOUR;

/// The first midnight after which the steps' samples lie.
const FIRST: Millis = NOON - NOON % DAY;

/// Series of one target, or of the two that share theirs.
const SERIES: usize = 4;

/// One thing that is done to a store.
#[derive(Debug, Clone)]
pub enum Step {
    /// One call with these batches.
    Append(Vec<Push>),
    /// Batches that were appended before, once more.
    Repeat(Vec<prop::sample::Index>),
    /// One piece, or all of them, of the hours before this one.
    Compact {
        /// Hours after the first midnight.
        until: i64,
        /// Samples held at once.
        max_samples: usize,
        /// One call, or as many as it takes.
        once: bool,
    },
    /// What is older than this midnight goes.
    Retain {
        /// Days after the first midnight.
        before: i64,
        /// Of whom.
        whose: Whose,
    },
}

/// A batch.
#[derive(Debug, Clone)]
pub struct Push {
    target: usize,
    frames: Vec<Page>,
}

/// Frames of one layout, one after the other.
#[derive(Debug, Clone)]
pub struct Page {
    hour: i64,
    /// First minute, and for how many minutes.
    minutes: (i64, i64),
    /// Which of the series.
    mask: usize,
    shared: bool,
    /// Milliseconds that each column is late.
    spread: Option<[i32; SERIES]>,
    value: u64,
}

/// Whose samples retention removes.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    /// Of the target that shares nothing.
    Alone,
    /// Of pushes without a target.
    Nobody,
    /// Of all.
    All,
    /// Of all but the two that share series.
    AllButPair,
}

/// The first has series of its own, the next two share theirs, the last is no target.
const TARGETS: [&str; 4] = ["alone", "pair-a", "pair-b", ""];

/// Which of all series are a target's.
const FIRST_OF: [usize; 4] = [0, SERIES, SERIES, 2 * SERIES];

/// Floats that are easily changed, a count among them.
const VALUES: [u64; 6] =
    [STALE_NAN_BITS, 0x7ff8_0000_dead_beef, 0x8000_0000_0000_0000, 0x4045_0000_0000_0000, 1, 0];

fn page() -> impl Strategy<Value = Page> {
    let hour = prop_oneof![4 => 9i64..12, 1 => 0i64..60];
    let minutes = prop_oneof![3 => (0i64..20, 1i64..3), 1 => (0i64..20, 5i64..30)];
    let spread = proptest::option::weighted(0.3, [0i32..4, 0i32..4, 0i32..4, 0i32..4]);
    (hour, minutes, 1usize..16, any::<bool>(), spread, 0u64..40).prop_map(
        |(hour, minutes, mask, shared, spread, value)| Page { hour, minutes, mask, shared, spread, value },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let push = (0usize..4, vec(page(), 1..4)).prop_map(|(target, frames)| Push { target, frames });
    let whose =
        prop_oneof![Just(Whose::Alone), Just(Whose::Nobody), Just(Whose::All), Just(Whose::AllButPair)];
    let max_samples = prop_oneof![Just(1usize), Just(30), Just(1_000_000)];
    prop_oneof![
        5 => vec(push, 1..4).prop_map(Step::Append),
        1 => vec(any::<prop::sample::Index>(), 1..3).prop_map(Step::Repeat),
        4 => (prop_oneof![Just(61i64), 8i64..30], max_samples, any::<bool>())
            .prop_map(|(until, max_samples, once)| Step::Compact { until, max_samples, once }),
        1 => (0i64..4, whose).prop_map(|(before, whose)| Step::Retain { before, whose }),
    ]
}

/// Plays `cases` interleavings, each on a fresh store of `new`, and compares every answer with the model's.
pub fn check_interleavings<S: Compacting>(
    cases: u32,
    runtime: &tokio::runtime::Runtime,
    new: impl AsyncFn() -> S,
) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let played = TestRunner::new(config).run(&vec(step(), 1..14), |steps| {
        runtime.block_on(async { Player::new(new().await).play(&steps).await });
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}

type Value = (u64, Option<NativeHistogram>);

struct Player<S> {
    store: S,
    series: Vec<Arc<Series>>,
    model: BTreeMap<usize, BTreeMap<Millis, Value>>,
    batches: Vec<Arc<Batch>>,
}

impl<S: Compacting> Player<S> {
    fn new(store: S) -> Self {
        let series = many_series("interleaved", 3 * SERIES);
        Self { store, series, model: BTreeMap::new(), batches: Vec::new() }
    }

    async fn play(mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Append(pushes) => self.append(pushes).await,
                Step::Repeat(which) => self.repeat(which).await,
                Step::Compact { until, max_samples, once } => {
                    let policy = policy(FIRST + until * HOUR, *max_samples);
                    match once {
                        true => drop(self.store.compact(&policy).await.expect("a compaction")),
                        false => drop(compact_all(&self.store, &policy).await),
                    }
                }
                Step::Retain { before, whose } => self.retain(FIRST + before * DAY, *whose).await,
            }
            self.compare(step, (i64::MIN, i64::MAX)).await;
            self.compare(step, (FIRST + 9 * HOUR + 61_000, FIRST + 11 * HOUR + 120_000)).await;
        }
    }

    async fn append(&mut self, pushes: &[Push]) {
        let mut new = Vec::new();
        for push in pushes {
            let frames = push.frames.iter().flat_map(|page| self.frames(push.target, page)).collect();
            let number = self.batches.len() + new.len();
            new.push(batch(TARGETS[push.target], &number.to_string(), frames));
        }
        for (push, batch) in pushes.iter().zip(&new) {
            batch.frames.iter().for_each(|frame| self.learn(push.target, frame));
        }
        let receipts = self.store.append(&new).await.expect("an append");
        assert_eq!(receipts, vec![Receipt::Stored; new.len()]);
        self.batches.extend(new);
    }

    fn frames(&self, target: usize, page: &Page) -> Vec<Frame> {
        let own = &self.series[FIRST_OF[target]..][..SERIES];
        let mut chosen: Vec<_> =
            (0..SERIES).filter(|at| page.mask >> at & 1 == 1).map(|at| Arc::clone(&own[at])).collect();
        let layout = if page.shared {
            Layout::shared(chosen)
        } else {
            chosen.reverse();
            Layout::inline(chosen)
        };
        let (first, count) = page.minutes;
        let frames = (first..first + count).map(|minute| {
            let time = FIRST + page.hour * HOUR + minute * 60_000;
            let columns = layout.ids.len();
            let value = |column: usize| {
                let seed = page.value + column as u64 + minute.unsigned_abs();
                VALUES.get(seed as usize % 40).map_or(seed as f64, |bits| f64::from_bits(*bits))
            };
            let values: Vec<f64> = (0..columns).map(value).collect();
            let mut frame = frame(&layout, time, &values);
            frame.offsets = page.spread.map(|spread| spread[..columns].to_vec());
            if page.value.is_multiple_of(7) {
                put_histogram(&mut frame, 0, histogram(page.value as f64));
            }
            frame
        });
        frames.collect()
    }

    /// What a frame brings that is not there yet.
    fn learn(&mut self, target: usize, frame: &Frame) {
        for (column, series) in frame.layout.series.iter().enumerate() {
            let own = &self.series[FIRST_OF[target]..][..SERIES];
            let Some(place) = own.iter().position(|known| known.id == series.id) else { continue };
            let histogram = frame.histograms.iter().find(|(at, _)| *at as usize == column);
            let value = (frame.values[column].to_bits(), histogram.map(|(_, histogram)| histogram.clone()));
            let of_series = self.model.entry(FIRST_OF[target] + place).or_default();
            of_series.entry(frame.timestamp(column)).or_insert(value);
        }
    }

    async fn repeat(&mut self, which: &[prop::sample::Index]) {
        if self.batches.is_empty() {
            return;
        }
        let again: Vec<_> = which.iter().map(|index| Arc::clone(index.get(&self.batches))).collect();
        let receipts = self.store.append(&again).await.expect("an append");
        assert_eq!(receipts, vec![Receipt::Duplicate; again.len()]);
    }

    async fn retain(&mut self, before: Millis, whose: Whose) {
        let pair = TARGETS[1..3].iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        loop {
            let removed = match whose {
                Whose::Alone => self.store.remove_before(TARGETS[0], before).await,
                Whose::Nobody => self.store.remove_before(TARGETS[3], before).await,
                Whose::All => self.store.remove_others_before(&[], before).await,
                Whose::AllButPair => self.store.remove_others_before(&pair, before).await,
            };
            if removed.expect("a removal") == 0 {
                break;
            }
        }
        for (place, samples) in &mut self.model {
            let is_meant = match whose {
                Whose::Alone => *place < SERIES,
                Whose::Nobody => *place >= 2 * SERIES,
                Whose::All => true,
                Whose::AllButPair => !(SERIES..2 * SERIES).contains(place),
            };
            samples.retain(|timestamp, _| !is_meant || *timestamp >= before);
        }
    }

    async fn compare(&self, step: &Step, (start, end): (Millis, Millis)) {
        let found = self.store.select(&selection("interleaved", start, end)).await.expect("a selection");
        let mut expected = Vec::new();
        for (place, samples) in &self.model {
            let samples: Vec<_> = samples.range(start..=end).collect();
            if !samples.is_empty() {
                let values = samples.iter().map(|(at, (bits, _))| (**at, *bits)).collect();
                let row: Row = (self.series[*place].labels.to_string(), values);
                let with = samples.iter().enumerate();
                let histograms: Vec<_> =
                    with.filter_map(|(n, (_, (_, histogram)))| Some((n, histogram.clone()?))).collect();
                expected.push((row, histograms));
            }
        }
        let found: Vec<_> =
            rows(&found).into_iter().zip(found.into_iter().map(|series| series.histograms)).collect();
        assert_eq!(found, expected, "after {step:?}");
    }
}
