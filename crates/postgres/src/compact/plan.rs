//! Which hour is next, and which of its targets are compacted together.

use std::collections::{BTreeMap, HashMap};

use futures::TryStreamExt;
use metricsd_model::Millis;
use metricsd_ports::CompactionPolicy;
use metricsd_store::compact::{HOUR, Rests, Units, hour_of};
use sqlx::{PgConnection, Row};

use crate::binary::{number, required, required_array};
use crate::copy::{bound, millis};
use crate::error::Fault;

/// What is left to do of an hour.
pub(super) struct Plan {
    pub(super) hour: Millis,
    pub(super) units: Vec<Unit>,
    /// Whether series stood many in a row before: none of a unit's does so by another unit of the same plan, as each series is
    /// in one of them.
    pub(super) constants: bool,
}

/// Targets that are compacted in one transaction.
pub(super) struct Unit {
    pub(super) targets: Vec<String>,
    /// The layouts of their frames.
    pub(super) layouts: Vec<i64>,
    pub(super) samples: u64,
    pub(super) state: State,
}

/// Tells whether frames came or went: their number, and their places in the order of commit laid over each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) frames: i64,
    pub(super) orders: i64,
}

impl State {
    fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.orders ^= other.orders;
    }
}

impl Plan {
    pub(super) fn is_due(&self, policy: &CompactionPolicy) -> bool {
        self.hour.saturating_add(HOUR) <= policy.before
    }
}

/// The plan of the oldest hour that has frames, is over and does not rest.
pub(super) async fn next(
    connection: &mut PgConnection,
    rests: &Rests,
    policy: &CompactionPolicy,
) -> Result<Option<Plan>, Fault> {
    let end = hour_of(policy.before);
    let mut start = Millis::MIN;
    loop {
        let row = sqlx::query(include_str!("../sql/oldest_frame.sql"))
            .bind(bound(start))
            .bind(bound(end))
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let hour = hour_of(millis(i64::from_be_bytes(required(&row, 0)?)));
        if !rests.rests(hour, policy.rest) {
            let units = units(connection, hour, policy.max_samples).await?;
            let constants =
                sqlx::query("SELECT FROM segments_constant WHERE time = $1 LIMIT 1").bind(bound(hour));
            let constants = constants.fetch_optional(&mut *connection).await?.is_some();
            return Ok(Some(Plan { hour, units, constants }));
        }
        start = hour.saturating_add(HOUR);
    }
}

/// What a target has in an hour.
#[derive(Default)]
struct Held {
    layouts: Vec<i64>,
    state: State,
}

/// Groups the targets of an hour. Frames that came meanwhile are seen when their unit is done.
async fn units(connection: &mut PgConnection, hour: Millis, max_samples: usize) -> Result<Vec<Unit>, Fault> {
    let (start, end) = (bound(hour), bound(hour.saturating_add(HOUR)));
    let rows = sqlx::query(include_str!("../sql/hour_frames.sql"))
        .bind(start)
        .bind(end)
        .fetch_all(&mut *connection)
        .await?;
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    let mut frames_of: HashMap<i64, Vec<(String, u64)>> = HashMap::new();
    let mut inline = false;
    for row in &rows {
        let target: &str = row.try_get(0)?;
        let frames = i64::from_be_bytes(required(row, 2)?);
        let of_target = held.entry(target.to_owned()).or_default();
        of_target.state.add(State { frames, orders: i64::from_be_bytes(required(row, 3)?) });
        match number(row, 1)?.map(i64::from_be_bytes) {
            Some(layout) => {
                of_target.layouts.push(layout);
                let frames = u64::try_from(frames).unwrap_or(0);
                frames_of.entry(layout).or_default().push((target.to_owned(), frames));
            }
            None => inline = true,
        }
    }
    let mut units = Units::<String>::default();
    let layouts: Vec<i64> = frames_of.keys().copied().collect();
    let mut rows =
        sqlx::query(include_str!("../sql/layouts_by_id.sql")).bind(layouts).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let layout = i64::from_be_bytes(required(&row, 0)?);
        let series = required_array::<8>(&row, 1)?;
        for (target, frames) in frames_of.get(&layout).into_iter().flatten() {
            let samples = frames.saturating_mul(series.len() as u64);
            units.note(target.as_str(), samples, series.iter().map(i64::from_be_bytes));
        }
    }
    drop(rows);
    if inline {
        let inline = include_str!("../sql/hour_inline.sql");
        let mut rows = sqlx::query(inline).bind(start).bind(end).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let series = required_array::<8>(&row, 1)?;
            let target: &str = row.try_get(0)?;
            units.note(target, series.len() as u64, series.iter().map(i64::from_be_bytes));
        }
    }
    Ok(with_states(units.finish(max_samples as u64), &held))
}

fn with_states(groups: Vec<(Vec<String>, u64)>, held: &BTreeMap<String, Held>) -> Vec<Unit> {
    let unit = |(targets, samples): (Vec<String>, u64)| {
        let (mut layouts, mut state) = (Vec::new(), State::default());
        for held in targets.iter().filter_map(|target| held.get(target)) {
            layouts.extend(&held.layouts);
            state.add(held.state);
        }
        layouts.sort_unstable();
        layouts.dedup();
        Unit { targets, layouts, samples, state }
    };
    groups.into_iter().map(unit).collect()
}
