//! Series and layouts are written once: what is known is skipped, what is new is written with its first batch, and
//! where two label sets have one id, the second gets another.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use metricsd_model::{Layout, LayoutId, MetricType, Series, SeriesId};
use parking_lot::Mutex;
use sqlx::PgConnection;

use super::signed;
use crate::binary::{required, required_array};
use crate::copy::Columns;
use crate::error::{Fault, damaged};
use crate::generations::Generations;
use crate::read::series_of_row;

/// Rows of one statement; bounds the memory of both sides when many series are new at once.
const SERIES_A_STATEMENT: usize = 20_000;

/// Columns of the layouts of one statement.
const COLUMNS_A_STATEMENT: usize = 500_000;

/// Ids that a label set tries. Two collisions of one label set are already beyond belief.
const MAX_ATTEMPTS: u64 = 16;

/// What this process knows to be committed; everything else is looked up. Bounded.
pub(crate) struct Known {
    series: Generations<SeriesId, Arc<Series>>,
    /// Layouts whose series all kept their ids.
    layouts: Generations<LayoutId, Arc<Layout>>,
}

impl Known {
    pub(crate) fn new(max_series: usize, max_columns: usize) -> Self {
        Self { series: Generations::new(max_series), layouts: Generations::new(max_columns) }
    }

    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.layouts.clear();
    }
}

/// The columns of a group's layouts as the database has them, and what was learned on the way.
pub(super) struct Interned<'a> {
    /// By address; the group keeps the layouts alive.
    columns: HashMap<usize, Columns>,
    series: HashMap<SeriesId, Arc<Series>>,
    layouts: Vec<&'a Arc<Layout>>,
}

impl Interned<'_> {
    pub(super) fn columns(&self, layout: &Arc<Layout>) -> Result<&Columns, Fault> {
        self.columns.get(&Arc::as_ptr(layout).addr()).ok_or_else(|| damaged("a layout was not prepared"))
    }

    /// To be called after the commit, not before.
    pub(super) fn remember(self, known: &Mutex<Known>) {
        if self.series.is_empty() && self.layouts.is_empty() {
            return;
        }
        let mut known = known.lock();
        for (id, series) in self.series {
            known.series.insert(id, series, 1);
        }
        for layout in self.layouts {
            if let Some(id) = layout.id {
                known.layouts.insert(id, Arc::clone(layout), layout.ids.len() + 1);
            }
        }
    }
}

/// Finds or writes the series and layouts of `layouts`, which are distinct.
pub(super) async fn intern<'a>(
    tx: &mut PgConnection,
    known: &Mutex<Known>,
    layouts: &[&'a Arc<Layout>],
) -> Result<Interned<'a>, Fault> {
    let mut interned = Interned { columns: HashMap::new(), series: HashMap::new(), layouts: Vec::new() };
    let work = skip_known(known, layouts, &mut interned);
    if work.is_empty() {
        return Ok(interned);
    }
    let mut owners = Owners { known, learned: HashMap::new() };
    for _ in 0..MAX_ATTEMPTS {
        let missing = owners.missing(&work)?;
        if missing.is_empty() {
            break;
        }
        owners.write(tx, missing).await?;
    }
    let (ids, changed) = owners.assign(&work)?;
    describe(tx, &changed).await?;
    interned.series = owners.learned;
    place_layouts(tx, known, &work, ids, &mut interned).await?;
    Ok(interned)
}

/// The usual case: the very layout of the scrape before.
fn skip_known<'a>(
    known: &Mutex<Known>,
    layouts: &[&'a Arc<Layout>],
    interned: &mut Interned<'a>,
) -> Vec<&'a Arc<Layout>> {
    let mut known = known.lock();
    let mut work = Vec::new();
    for layout in layouts {
        let shared =
            layout.id.filter(|id| known.layouts.get(*id).is_some_and(|stored| Arc::ptr_eq(stored, layout)));
        match shared {
            Some(id) => {
                interned.columns.insert(Arc::as_ptr(layout).addr(), Columns::Shared(id.0.cast_signed()));
            }
            None => work.push(*layout),
        }
    }
    work
}

/// Which label set each id belongs to.
struct Owners<'k> {
    known: &'k Mutex<Known>,
    /// Found or written by this transaction.
    learned: HashMap<SeriesId, Arc<Series>>,
}

/// Where a label set stands.
enum Place {
    /// It owns this id; this is what is known of it.
    At(SeriesId, Arc<Series>),
    /// It owns this id unless the database says that another does.
    Unknown(SeriesId),
}

type Changed = BTreeMap<SeriesId, Arc<Series>>;

impl Owners<'_> {
    fn place(&self, known: &mut Known, id: SeriesId, series: &Arc<Series>) -> Result<Place, Fault> {
        for attempt in 0..MAX_ATTEMPTS {
            let id = if attempt == 0 { id } else { SeriesId::rehashed(&series.labels, attempt) };
            match self.learned.get(&id).or_else(|| known.series.get(id)) {
                None => return Ok(Place::Unknown(id)),
                Some(owner) if Arc::ptr_eq(owner, series) || owner.labels == series.labels => {
                    return Ok(Place::At(id, Arc::clone(owner)));
                }
                Some(_) => {}
            }
        }
        Err(damaged(format!("no free id for series {}", series.labels)))
    }

    /// Ids that must be asked for, each with the first series that claims it.
    fn missing(&self, work: &[&Arc<Layout>]) -> Result<HashMap<SeriesId, Arc<Series>>, Fault> {
        let mut known = self.known.lock();
        let mut missing = HashMap::new();
        for layout in work {
            for (id, series) in layout.ids.iter().zip(&layout.series) {
                if let Place::Unknown(id) = self.place(&mut known, *id, series)? {
                    missing.entry(id).or_insert_with(|| Arc::clone(series));
                }
            }
        }
        Ok(missing)
    }

    /// Writes the series that are new and reads who owns the other ids.
    async fn write(
        &mut self,
        tx: &mut PgConnection,
        missing: HashMap<SeriesId, Arc<Series>>,
    ) -> Result<(), Fault> {
        // Sorted as the database sorts, so that writers take their locks in one order.
        let mut missing: Vec<(i64, Arc<Series>)> =
            missing.into_iter().map(|(id, series)| (id.to_i64(), series)).collect();
        missing.sort_unstable_by_key(|(id, _)| *id);
        for part in missing.chunks(SERIES_A_STATEMENT) {
            let inserted = insert_series(tx, part).await?;
            let mut taken = Vec::new();
            let mut inserted = inserted.into_iter().peekable();
            for (id, series) in part {
                if inserted.next_if_eq(id).is_some() {
                    self.learned.insert(SeriesId::from_i64(*id), Arc::clone(series));
                } else {
                    taken.push(*id);
                }
            }
            self.read(tx, taken).await?;
        }
        Ok(())
    }

    async fn read(&mut self, tx: &mut PgConnection, taken: Vec<i64>) -> Result<(), Fault> {
        if taken.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(include_str!("../sql/series_by_id.sql")).bind(taken).fetch_all(tx).await?;
        for row in rows {
            let series = series_of_row(&row)?;
            self.learned.insert(series.id, Arc::new(series));
        }
        Ok(())
    }

    /// The ids of every layout's columns, and the series whose description is not what is stored.
    fn assign(&mut self, work: &[&Arc<Layout>]) -> Result<(Vec<Vec<SeriesId>>, Changed), Fault> {
        let known_series = self.known;
        let mut known = known_series.lock();
        let mut changed = Changed::new();
        let mut assigned = Vec::with_capacity(work.len());
        for layout in work {
            let mut ids = Vec::with_capacity(layout.ids.len());
            for (id, series) in layout.ids.iter().zip(&layout.series) {
                let Place::At(id, owner) = self.place(&mut known, *id, series)? else {
                    return Err(damaged(format!("series {} is neither new nor stored", series.labels)));
                };
                if !Arc::ptr_eq(&owner, series) {
                    if owner.description_hash() == series.description_hash() {
                        // The caller's own, so that next time one pointer tells that they are the same.
                        self.learned.insert(id, Arc::clone(series));
                    } else if says_more(series, &owner) {
                        let said = match changed.get(&id) {
                            Some(earlier) => completed(series, earlier),
                            None => Arc::clone(series),
                        };
                        changed.insert(id, said);
                        self.learned.insert(id, completed(series, &owner));
                    }
                }
                ids.push(id);
            }
            assigned.push(ids);
        }
        Ok((assigned, changed))
    }
}

/// Whether a series brings a description that is not what is stored. What it leaves out does not count.
fn says_more(series: &Series, stored: &Series) -> bool {
    let nothing = series.metric_type == MetricType::Custom && series.help.is_none() && series.unit.is_none();
    let differs = |new: &Option<String>, old: &Option<String>| new.is_some() && new != old;
    !nothing
        && (series.metric_type != stored.metric_type
            || differs(&series.help, &stored.help)
            || differs(&series.unit, &stored.unit))
}

/// The series with what it leaves out as it was said before.
fn completed(series: &Arc<Series>, before: &Series) -> Arc<Series> {
    let or = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
    let (help, unit) = (or(&series.help, &before.help), or(&series.unit, &before.unit));
    if help == series.help && unit == series.unit {
        return Arc::clone(series);
    }
    Arc::new(Series { help, unit, ..Series::clone(series) })
}

async fn insert_series(tx: &mut PgConnection, series: &[(i64, Arc<Series>)]) -> Result<Vec<i64>, Fault> {
    let labels: Result<Vec<String>, _> = series.iter().map(|(_, series)| labels_json(series)).collect();
    let labels = labels.map_err(|error| damaged("cannot write labels").caused_by(error))?;
    let text =
        |field: fn(&Series) -> &str| series.iter().map(|(_, series)| field(series)).collect::<Vec<_>>();
    let optional =
        |field: fn(&Series) -> Option<String>| series.iter().map(|(_, s)| field(s)).collect::<Vec<_>>();
    let rows = sqlx::query(include_str!("../sql/insert_series.sql"))
        .bind(series.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(text(|series| series.labels.metric_name()))
        .bind(text(|series| series.metric_type.as_str()))
        .bind(labels)
        .bind(text(|series| &series.source))
        .bind(text(|series| &series.target_id))
        .bind(text(|series| series.source_type.as_str()))
        .bind(optional(|series| series.help.as_deref().map(without_nul)))
        .bind(optional(|series| series.unit.as_deref().map(without_nul)))
        .fetch_all(tx)
        .await?;
    let mut ids: Vec<i64> =
        rows.iter().map(|row| required(row, 0).map(i64::from_be_bytes)).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    Ok(ids)
}

fn labels_json(series: &Series) -> serde_json::Result<String> {
    serde_json::to_string(&series.labels.without_name().collect::<BTreeMap<_, _>>())
}

/// Help texts come from outside, and text columns cannot hold NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Writes descriptions that have changed, in order of id.
async fn describe(tx: &mut PgConnection, changed: &Changed) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<(i64, &Arc<Series>)> =
        changed.iter().map(|(id, series)| (id.to_i64(), series)).collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    sqlx::query(include_str!("../sql/describe_series.sql"))
        .bind(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, series)| series.metric_type.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, series)| series.help.as_deref().map(without_nul)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, series)| series.unit.as_deref().map(without_nul)).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

/// Shares the layouts that can be shared; all others travel in their frames.
async fn place_layouts<'a>(
    tx: &mut PgConnection,
    known: &Mutex<Known>,
    work: &[&'a Arc<Layout>],
    assigned: Vec<Vec<SeriesId>>,
    interned: &mut Interned<'a>,
) -> Result<(), Fault> {
    let mut wanted: BTreeMap<i64, Arc<[i64]>> = BTreeMap::new();
    for (layout, ids) in work.iter().zip(&assigned) {
        if let Some(id) = layout.id.filter(|_| *ids == layout.ids) {
            let stored = known.lock().layouts.get(id).is_some_and(|stored| stored.ids == layout.ids);
            if !stored {
                wanted.entry(id.0.cast_signed()).or_insert_with(|| signed(&layout.ids));
            }
        }
    }
    let refused = write_layouts(tx, &wanted).await?;
    for (layout, ids) in work.iter().zip(assigned) {
        let shared = layout.id.filter(|id| {
            let number = id.0.cast_signed();
            let stored = match wanted.get(&number) {
                Some(wanted) => wanted.iter().copied().eq(layout.ids.iter().map(|id| id.to_i64())),
                None => known.lock().layouts.get(*id).is_some_and(|stored| stored.ids == layout.ids),
            };
            ids == layout.ids && stored && !refused.contains(&number)
        });
        let columns = match shared {
            Some(id) => {
                interned.layouts.push(layout);
                Columns::Shared(id.0.cast_signed())
            }
            None => Columns::Inline(signed(&ids)),
        };
        interned.columns.insert(Arc::as_ptr(layout).addr(), columns);
    }
    Ok(())
}

/// Writes layouts that are new; answers those whose id stands for another list.
async fn write_layouts(tx: &mut PgConnection, wanted: &BTreeMap<i64, Arc<[i64]>>) -> Result<Vec<i64>, Fault> {
    let mut refused = Vec::new();
    let mut rest = wanted.iter().peekable();
    while rest.peek().is_some() {
        let (mut ids, mut first, mut last, mut flat) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::<i64>::new());
        while let Some((id, series)) = rest.next_if(|_| flat.len() < COLUMNS_A_STATEMENT) {
            ids.push(*id);
            first.push(flat.len() as i32 + 1);
            flat.extend_from_slice(series);
            last.push(flat.len() as i32);
        }
        let query = sqlx::query(include_str!("../sql/insert_layouts.sql"))
            .bind(&ids)
            .bind(first)
            .bind(last)
            .bind(flat);
        let mut new = HashSet::new();
        for row in query.fetch_all(&mut *tx).await? {
            new.insert(i64::from_be_bytes(required(&row, 0)?));
        }
        ids.retain(|id| !new.contains(id));
        refused.extend(other_lists(tx, ids, wanted).await?);
    }
    Ok(refused)
}

async fn other_lists(
    tx: &mut PgConnection,
    taken: Vec<i64>,
    wanted: &BTreeMap<i64, Arc<[i64]>>,
) -> Result<Vec<i64>, Fault> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let mut other = Vec::new();
    let rows = sqlx::query(include_str!("../sql/layouts_by_id.sql")).bind(taken).fetch_all(tx).await?;
    for row in rows {
        let id = i64::from_be_bytes(required(&row, 0)?);
        let stored = required_array::<8>(&row, 1)?.iter().map(i64::from_be_bytes);
        if !wanted.get(&id).is_some_and(|ids| stored.eq(ids.iter().copied())) {
            other.push(id);
        }
    }
    Ok(other)
}
