//! What there is to compact: the frames of one hour, in groups that share no series.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_model::Millis;
use metricsd_ports::CompactionPolicy;
use metricsd_store::compact::{HOUR, Rests, Units, hour_of};
use sqlx::{Row, SqliteConnection};

use super::generation;
use crate::SqliteStore;
use crate::columns::{id_list, signed_len};
use crate::error::Fault;
use crate::numbers;

/// Frames of one plan. Of an hour with more of them those that were committed first come first, so that what is left
/// for later never takes the place of what is written now.
const MAX_FRAMES: usize = 250_000;

/// Frames of a unit are read so often at most, each time for other series; larger units are cut, those that were
/// committed first first.
const MAX_PASSES: u64 = 8;

/// Samples of the units that are written in one transaction, as a multiple of those held at once. Rows lie in order of
/// time and series: every transaction that adds to an hour splits pages that the one before it filled.
const MAX_WRITTEN: u64 = 4;

/// Ids in one statement.
const IDS: usize = 1_000;

/// One look into the index for each target.
macro_rules! each_target {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE targets (id) AS (
                SELECT min(target_id) FROM frames
                UNION ALL
                SELECT (SELECT min(target_id) FROM frames WHERE target_id > targets.id) FROM targets
                WHERE targets.id IS NOT NULL
            ) ",
            $rest
        )
    };
}

pub(crate) const OLDEST: &str = each_target!(
    "SELECT min((SELECT min(time) FROM frames WHERE target_id = targets.id AND time >= ?1 AND time < ?2))
    FROM targets WHERE targets.id IS NOT NULL"
);

const OF_HOUR: &str = each_target!(
    "SELECT f.seq, f.layout_number
    FROM targets CROSS JOIN frames f ON f.target_id = targets.id AND f.time >= ?1 AND f.time < ?2
    ORDER BY f.seq LIMIT ?3"
);

/// An hour that is being compacted.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) hour: Millis,
    /// As it must be when the next unit is written.
    pub(super) generation: i64,
    pub(super) units: VecDeque<Unit>,
}

/// Frames that are compacted together.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// Their numbers, ascending.
    pub(super) frames: Vec<i64>,
    pub(super) samples: u64,
    /// Units of one group share series, so that each must find what the one before it wrote.
    group: usize,
}

/// What holds frames together: those of a layout have the same series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Holder {
    Layout(i64),
    Frame(i64),
}

impl Plan {
    /// Takes out the units that are written next, in one transaction.
    pub(super) fn take(&mut self, max_samples: usize) -> Vec<Unit> {
        let max = (max_samples as u64).saturating_mul(MAX_WRITTEN);
        let mut samples = 0;
        let mut taken: Vec<Unit> = Vec::new();
        let fits = |unit: &mut Unit, taken: &[Unit], samples: u64| {
            taken.is_empty()
                || (samples + unit.samples <= max && taken.iter().all(|other| other.group != unit.group))
        };
        while let Some(unit) = self.units.pop_front_if(|unit| fits(unit, &taken, samples)) {
            samples += unit.samples;
            taken.push(unit);
        }
        taken
    }
}

/// Plans the oldest hour that is due; `None` where there is none.
pub(super) async fn next(
    store: &SqliteStore,
    policy: &CompactionPolicy,
    rests: &Rests,
) -> Result<Option<Plan>, Fault> {
    let mut tx = store.snapshot().await?;
    let generation = generation(&mut tx).await?;
    let end = hour_of(policy.before);
    let mut from = i64::MIN;
    let hour = loop {
        let oldest = sqlx::query(OLDEST).bind(from).bind(end).fetch_one(&mut *tx).await?;
        let Some(oldest) = oldest.try_get::<Option<i64>, _>(0)? else { return Ok(None) };
        let hour = hour_of(oldest);
        if !rests.rests(hour, policy.rest) {
            break hour;
        }
        from = hour.saturating_add(HOUR);
    };
    let frames = frames_of(&mut tx, hour).await?;
    let lengths = note(store, &mut tx, &frames).await?;
    tx.rollback().await?;
    let units = cut(&frames, lengths, policy.max_samples);
    Ok(Some(Plan { hour, generation, units }))
}

/// The frames of an hour in order of commit, each with what holds it together with others.
async fn frames_of(tx: &mut SqliteConnection, hour: Millis) -> Result<Vec<(i64, Holder)>, Fault> {
    let query = sqlx::query(OF_HOUR).bind(hour).bind(hour.saturating_add(HOUR)).bind(signed_len(MAX_FRAMES));
    let mut rows = query.fetch(tx);
    let mut frames = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let seq = row.try_get(0)?;
        let layout: Option<i64> = row.try_get(1)?;
        frames.push((seq, layout.map_or(Holder::Frame(seq), Holder::Layout)));
    }
    Ok(frames)
}

/// Groups what shares series; answers them with the columns of each of their holders.
async fn note(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    frames: &[(i64, Holder)],
) -> Result<(Units<Holder>, HashMap<Holder, u64>), Fault> {
    let mut units = Units::default();
    let mut lengths: HashMap<Holder, u64> = HashMap::new();
    let mut counts: HashMap<i64, u64> = HashMap::new();
    let mut inline = Vec::new();
    for (seq, holder) in frames {
        match holder {
            Holder::Layout(layout) => *counts.entry(*layout).or_default() += 1,
            Holder::Frame(_) => inline.push(*seq),
        }
    }
    for (layout, count) in &counts {
        let series = layout_series(store, tx, *layout).await?;
        let holder = Holder::Layout(*layout);
        let columns = series.len() as u64;
        units.note(&holder, columns * count, series.iter().copied());
        lengths.insert(holder, columns);
    }
    for part in inline.chunks(IDS) {
        let list = id_list(part.iter().copied());
        let query = sqlx::query(
            "SELECT f.seq, f.series_numbers FROM json_each(?1) AS wanted CROSS JOIN frames f ON f.seq = wanted.value",
        );
        let mut rows = query.bind(list).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let series = numbers::unpack(row.try_get(1)?)?;
            let holder = Holder::Frame(row.try_get(0)?);
            let columns = series.len() as u64;
            units.note(&holder, columns, series.iter().copied());
            lengths.insert(holder, columns);
        }
    }
    Ok((units, lengths))
}

/// The series of a layout; layouts never change.
pub(super) async fn layout_series(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    layout: i64,
) -> Result<Arc<[i64]>, Fault> {
    let remembered = store.layouts.lock().get(layout);
    if let Some(series) = remembered {
        return Ok(series);
    }
    let row = sqlx::query("SELECT series FROM layouts WHERE number = ?1").bind(layout).fetch_one(tx).await?;
    let series: Arc<[i64]> = numbers::unpack(row.try_get(0)?)?.into();
    let weight = series.len() + 1;
    store.layouts.lock().insert(layout, Arc::clone(&series), weight);
    Ok(series)
}

/// Frames of each group, cut where they are too many for one transaction.
fn cut(
    frames: &[(i64, Holder)],
    (units, lengths): (Units<Holder>, HashMap<Holder, u64>),
    max_samples: usize,
) -> VecDeque<Unit> {
    let groups = units.finish(max_samples as u64);
    let groups: HashMap<Holder, usize> = (0..)
        .zip(groups)
        .flat_map(|(number, (holders, _))| holders.into_iter().map(move |holder| (holder, number)))
        .collect();
    let max = (max_samples as u64).saturating_mul(MAX_PASSES);
    let mut units: BTreeMap<(usize, usize), Unit> = BTreeMap::new();
    let mut parts: HashMap<usize, usize> = HashMap::new();
    for (seq, holder) in frames {
        let (Some(group), Some(columns)) = (groups.get(holder), lengths.get(holder)) else { continue };
        let part = parts.entry(*group).or_default();
        let unit = units.entry((*group, *part)).or_default();
        unit.group = *group;
        unit.frames.push(*seq);
        unit.samples += columns;
        if unit.samples >= max {
            *part += 1;
        }
    }
    units.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_units_are_cut_in_order_of_commit() {
        let (a, b) = (Holder::Layout(1), Holder::Frame(7));
        let frames: Vec<(i64, Holder)> = (0..20).map(|seq| (seq, if seq == 7 { b } else { a })).collect();
        let grouped = |shared: bool| {
            let mut units = Units::default();
            units.note(&a, 19 * 10, [1, 2]);
            units.note(&b, 10, if shared { [2, 3] } else { [3, 4] });
            (units, HashMap::from([(a, 10), (b, 10)]))
        };
        let sizes = |units: VecDeque<Unit>| units.iter().map(|unit| unit.frames.len()).collect::<Vec<_>>();
        assert_eq!(sizes(cut(&frames, grouped(true), 10)), [8, 8, 4]);
        assert_eq!(sizes(cut(&frames, grouped(false), 10)), [8, 8, 3, 1]);
        assert_eq!(sizes(cut(&frames, grouped(false), 1_000)), [20]);
        let units = cut(&frames, grouped(true), 10);
        let mut plan = Plan { hour: 0, generation: 0, units: cut(&frames, grouped(false), 10) };
        let taken = |units: Vec<Unit>| units.iter().map(|unit| unit.frames.len()).collect::<Vec<_>>();
        assert_eq!(taken(plan.take(1_000)), [8], "those of one group come one after the other");
        assert_eq!(taken(plan.take(1_000)), [8]);
        assert_eq!(taken(plan.take(10)), [3, 1], "those of several at once");
        assert_eq!(taken(plan.take(10)), [0; 0]);
        assert!(
            units.iter().flat_map(|unit| &unit.frames).is_sorted(),
            "what was committed first comes first"
        );
    }
}
