//! Series are written once: what is known is skipped, what is new is written with its first batch, and where two
//! label sets have one id, the second gets another.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use metricsd_model::{Layout, LayoutId, MetricType, Series, SeriesId};
use parking_lot::Mutex;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::layouts::place_layouts;
use super::{Columns, ROWS};
use crate::columns::{id_list, written};
use crate::error::{Fault, damaged};
use crate::read::{SERIES_COLUMNS, series_of_row};
use crate::recent::Recent;

/// Ids that a label set tries. Two collisions of one label set are already beyond belief.
const MAX_ATTEMPTS: u64 = 16;

/// What this process knows to be committed; everything else is looked up. Bounded.
pub(crate) struct Known {
    pub(super) series: Recent<SeriesId, Arc<Series>>,
    /// Layouts whose series all kept their ids.
    pub(super) layouts: Recent<LayoutId, Arc<Layout>>,
}

impl Known {
    pub(crate) fn new(max_series: usize, max_columns: usize) -> Self {
        Self { series: Recent::new(max_series), layouts: Recent::new(max_columns) }
    }

    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.layouts.clear();
    }
}

/// The columns of a group's layouts as the database has them, and what was learned on the way.
#[derive(Default)]
pub(super) struct Interned {
    /// By address; the group keeps the layouts alive.
    columns: HashMap<usize, Columns>,
    series: HashMap<SeriesId, Arc<Series>>,
    layouts: Vec<Arc<Layout>>,
}

impl Interned {
    pub(super) fn columns(&self, layout: &Arc<Layout>) -> Result<&Columns, Fault> {
        let columns = self.columns.get(&Arc::as_ptr(layout).addr());
        columns.ok_or_else(|| damaged("a layout was not prepared").into())
    }

    pub(super) fn share(&mut self, layout: &Arc<Layout>, id: LayoutId) {
        self.columns.insert(Arc::as_ptr(layout).addr(), Columns::Shared(id.0.cast_signed()));
        self.layouts.push(Arc::clone(layout));
    }

    pub(super) fn spell_out(&mut self, layout: &Arc<Layout>, ids: &[SeriesId]) {
        self.columns.insert(Arc::as_ptr(layout).addr(), Columns::inline(ids));
    }

    /// To be called after the commit, not before.
    pub(super) fn remember(self, known: &Mutex<Known>) {
        let mut known = known.lock();
        for (id, series) in self.series {
            known.series.insert(id, series, 1);
        }
        for layout in self.layouts {
            if let Some(id) = layout.id {
                let weight = layout.ids.len() + 1;
                known.layouts.insert(id, layout, weight);
            }
        }
    }
}

/// Finds or writes the series and layouts of `layouts`, which are distinct.
pub(super) async fn intern(
    tx: &mut SqliteConnection,
    known: &Mutex<Known>,
    layouts: &[Arc<Layout>],
) -> Result<Interned, Fault> {
    let mut interned = Interned::default();
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
    interned.series = owners.learned;
    describe(tx, &changed).await?;
    place_layouts(tx, known, &work, &ids, &mut interned).await?;
    Ok(interned)
}

/// The usual case: the very layout of the scrape before.
fn skip_known(known: &Mutex<Known>, layouts: &[Arc<Layout>], interned: &mut Interned) -> Vec<Arc<Layout>> {
    let mut known = known.lock();
    let mut work = Vec::new();
    for layout in layouts {
        let stored = layout.id.and_then(|id| Some((id, known.layouts.get(id)?)));
        match stored.filter(|(_, stored)| Arc::ptr_eq(stored, layout)) {
            Some((id, _)) => {
                let columns = Columns::Shared(id.0.cast_signed());
                interned.columns.insert(Arc::as_ptr(layout).addr(), columns);
            }
            None => work.push(Arc::clone(layout)),
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
    fn place(&self, known: &mut Known, first: SeriesId, series: &Arc<Series>) -> Result<Place, Fault> {
        for attempt in 0..MAX_ATTEMPTS {
            let id = match attempt {
                0 => first,
                _ => SeriesId::rehashed(&series.labels, attempt),
            };
            match self.learned.get(&id).cloned().or_else(|| known.series.get(id)) {
                None => return Ok(Place::Unknown(id)),
                Some(owner) if Arc::ptr_eq(&owner, series) || owner.labels == series.labels => {
                    return Ok(Place::At(id, owner));
                }
                Some(_) => {}
            }
        }
        Err(damaged(format!("no free id for series {}", series.labels)).into())
    }

    /// Ids that must be asked for, each with the first series that claims it.
    fn missing(&self, work: &[Arc<Layout>]) -> Result<BTreeMap<i64, Arc<Series>>, Fault> {
        let mut known = self.known.lock();
        let mut missing = BTreeMap::new();
        for layout in work {
            for (id, series) in layout.ids.iter().zip(&layout.series) {
                if let Place::Unknown(id) = self.place(&mut known, *id, series)? {
                    missing.entry(id.to_i64()).or_insert_with(|| Arc::clone(series));
                }
            }
        }
        Ok(missing)
    }

    /// Writes the series that are new and reads who owns the other ids.
    async fn write(
        &mut self,
        tx: &mut SqliteConnection,
        missing: BTreeMap<i64, Arc<Series>>,
    ) -> Result<(), Fault> {
        // In order of id, so that the table's pages are visited one after another.
        let missing: Vec<(i64, Arc<Series>)> = missing.into_iter().collect();
        let mut taken = Vec::new();
        for part in missing.chunks(ROWS) {
            let new = insert_series(tx, part).await?;
            for (id, series) in part {
                if new.contains(id) {
                    self.learned.insert(SeriesId::from_i64(*id), Arc::clone(series));
                } else {
                    taken.push(*id);
                }
            }
        }
        self.read(tx, taken).await
    }

    async fn read(&mut self, tx: &mut SqliteConnection, taken: Vec<i64>) -> Result<(), Fault> {
        if taken.is_empty() {
            return Ok(());
        }
        let mut select = QueryBuilder::<Sqlite>::new(SERIES_COLUMNS);
        select.push(" WHERE id IN (SELECT value FROM json_each(").push_bind(id_list(taken)).push("))");
        for row in select.build().fetch_all(tx).await? {
            let series = series_of_row(&row)?;
            self.learned.insert(series.id, Arc::new(series));
        }
        Ok(())
    }

    /// The ids of every layout's columns, and the series whose description is not what is stored.
    fn assign(&mut self, work: &[Arc<Layout>]) -> Result<(Vec<Vec<SeriesId>>, Changed), Fault> {
        let known = self.known;
        let mut known = known.lock();
        let mut changed = Changed::new();
        let mut assigned = Vec::with_capacity(work.len());
        for layout in work {
            let mut ids = Vec::with_capacity(layout.ids.len());
            for (id, series) in layout.ids.iter().zip(&layout.series) {
                let Place::At(id, owner) = self.place(&mut known, *id, series)? else {
                    let message = format!("series {} is neither new nor stored", series.labels);
                    return Err(damaged(message).into());
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

/// Answers the ids that were free.
async fn insert_series(
    tx: &mut SqliteConnection,
    series: &[(i64, Arc<Series>)],
) -> Result<HashSet<i64>, Fault> {
    let mut rows = Vec::with_capacity(series.len());
    for (id, series) in series {
        let labels: BTreeMap<&str, &str> = series.labels.without_name().collect();
        rows.push((*id, series, written(serde_json::to_string(&labels))?));
    }
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit) ",
    );
    insert.push_values(rows, |mut row, (id, series, labels)| {
        row.push_bind(id)
            .push_bind(series.labels.metric_name())
            .push_bind(series.metric_type.as_str())
            .push_bind(labels)
            .push_bind(&series.source)
            .push_bind(&series.target_id)
            .push_bind(series.source_type.as_str())
            .push_bind(&series.help)
            .push_bind(&series.unit);
    });
    insert.push(" ON CONFLICT (id) DO NOTHING RETURNING id");
    let rows = insert.build().fetch_all(tx).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Writes descriptions that have changed.
async fn describe(tx: &mut SqliteConnection, changed: &Changed) -> Result<(), Fault> {
    for (id, series) in changed {
        sqlx::query("UPDATE series SET metric_type = ?2, help = coalesce(?3, help), unit = coalesce(?4, unit) WHERE id = ?1")
            .bind(id.to_i64())
            .bind(series.metric_type.as_str())
            .bind(&series.help)
            .bind(&series.unit)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
