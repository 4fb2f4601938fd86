//! Which id each label set has: what is known is skipped, what is new is written with its first batch, and where two
//! label sets have one id, the second gets another.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use metricsd_model::{FamilyMetadata, Layout, LayoutId, MetricType, Series, SeriesId};
use metricsd_ports::PortError;
use parking_lot::Mutex;

use crate::ids::IdState;
use crate::{Recent, damaged, families};

/// Ids that a label set tries. Two collisions of one label set are already beyond belief.
pub const MAX_ATTEMPTS: u64 = 16;

/// Statements of families that are remembered as written.
const KNOWN_FAMILIES: usize = 100_000;

/// What a process knows to be committed; everything else is looked up. Bounded.
pub struct Known {
    /// Series by the id that they own.
    pub series: Recent<SeriesId, Arc<Series>, IdState>,
    /// Layouts whose series all kept their ids.
    pub layouts: Recent<LayoutId, Arc<Layout>, IdState>,
    /// Hashes of what was said of families.
    pub families: Recent<u64, ()>,
    /// The last removal of series and layouts that is known: what was removed later may be remembered wrongly.
    pub removal: i64,
}

/// A series or a layout that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Ascending, without gaps.
    pub number: i64,
    /// A layout; else a series.
    pub layout: bool,
    /// Its id.
    pub id: i64,
}

impl Known {
    /// Remembers about so many series, and layouts of so many columns.
    pub fn new(max_series: usize, max_columns: usize) -> Self {
        Self {
            series: Recent::new(max_series),
            layouts: Recent::new(max_columns),
            families: Recent::new(KNOWN_FAMILIES),
            removal: 0,
        }
    }

    /// Forgets what was removed; `removals` are those after the last that was known, as far as they are still told, and
    /// `last` is the number of the newest there ever was.
    pub fn forget(&mut self, removals: &[Removal], last: i64) {
        let told = removals.first().map_or(last, |first| first.number - 1);
        if told > self.removal {
            // Too long ago: some are no longer told.
            self.clear();
        }
        for removal in removals.iter().filter(|removal| removal.number > self.removal) {
            match removal.layout {
                true => self.layouts.remove(LayoutId(removal.id.cast_unsigned())),
                false => {
                    // What the layouts of this series stand for is removed before the series is.
                    self.series.remove(SeriesId::from_i64(removal.id));
                }
            }
        }
        self.removal = self.removal.max(last);
    }

    /// Forgets everything, so that all is looked up again.
    pub fn clear(&mut self) {
        self.series.clear();
        self.layouts.clear();
        self.families.clear();
    }
}

/// The columns of a group's layouts as a database has them, and what was learned on the way. `C` is how the database
/// names the columns of a frame.
pub struct Interned<C> {
    /// By address; the group keeps the layouts alive.
    columns: HashMap<usize, C>,
    learned: Learned,
    layouts: Vec<Arc<Layout>>,
}

impl<C> Default for Interned<C> {
    fn default() -> Self {
        Self { columns: HashMap::new(), learned: Learned::default(), layouts: Vec::new() }
    }
}

impl<C> Interned<C> {
    /// How the frames of a layout name their series.
    pub fn columns(&self, layout: &Arc<Layout>) -> Result<&C, PortError> {
        let columns = self.columns.get(&Arc::as_ptr(layout).addr());
        columns.ok_or_else(|| damaged("a layout was not prepared"))
    }

    /// Notes how the frames of a layout name their series.
    pub fn place(&mut self, layout: &Arc<Layout>, columns: C) {
        self.columns.insert(Arc::as_ptr(layout).addr(), columns);
    }

    /// The same for a layout that the database has under its id, and that can be remembered.
    pub fn share(&mut self, layout: &Arc<Layout>, columns: C) {
        self.place(layout, columns);
        self.layouts.push(Arc::clone(layout));
    }

    /// The usual case is skipped, the very layout of the scrape before; what is left is work.
    pub fn skip_known(
        &mut self,
        known: &Mutex<Known>,
        layouts: &[Arc<Layout>],
        shared: impl Fn(LayoutId) -> C,
    ) -> Vec<Arc<Layout>> {
        let mut known = known.lock();
        let mut work = Vec::new();
        for layout in layouts {
            let stored = layout.id.and_then(|id| Some((id, known.layouts.get(id)?)));
            match stored.filter(|(_, stored)| Arc::ptr_eq(stored, layout)) {
                Some((id, _)) => self.place(layout, shared(id)),
                None => work.push(Arc::clone(layout)),
            }
        }
        work
    }

    /// Keeps what the work on series brought to light.
    pub fn learn(&mut self, learned: Learned) {
        self.learned = learned;
    }

    /// All series that the transaction has written, by id; `None` where it has changed others too, or none.
    pub fn take_written(&mut self) -> Option<Vec<(i64, Arc<Series>)>> {
        let written = std::mem::take(&mut self.learned.written);
        (!self.learned.described && !written.is_empty()).then_some(written)
    }

    /// What series that are new, or newly described, say of their families; each statement once, in order.
    pub fn statements(&self) -> Vec<FamilyMetadata> {
        let mut statements: Vec<_> =
            self.learned.said.iter().filter_map(|series| metricsd_model::stated_by(series)).collect();
        families::sort(&mut statements);
        statements
    }

    /// To be called after the commit, not before.
    pub fn remember(self, known: &Mutex<Known>) {
        if self.learned.series.is_empty() && self.layouts.is_empty() {
            return;
        }
        let mut known = known.lock();
        for (id, series) in self.learned.series {
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

/// What an append found out about series.
#[derive(Default)]
pub struct Learned {
    series: HashMap<SeriesId, Arc<Series>, IdState>,
    /// Written for the first time, or with another description.
    said: Vec<Arc<Series>>,
    /// Written for the first time, by id.
    written: Vec<(i64, Arc<Series>)>,
    /// Whether a series that was there is described anew.
    described: bool,
}

/// Which label set each id belongs to.
pub struct Owners<'k> {
    known: &'k Mutex<Known>,
    /// Found or written by this transaction.
    learned: Learned,
}

/// Where a label set stands.
enum Place {
    /// It owns this id; this is what is known of it.
    At(SeriesId, Arc<Series>),
    /// It owns this id unless the database says that another does.
    Unknown(SeriesId),
}

/// Series whose description is not what is stored, by the id that they own.
pub type Changed = BTreeMap<i64, Arc<Series>>;

impl<'k> Owners<'k> {
    /// To begin with, only what is known.
    pub fn new(known: &'k Mutex<Known>) -> Self {
        Self { known, learned: Learned::default() }
    }

    /// Ids that must be asked for, each with the first series that claims it, in order of id as a database sorts.
    pub fn missing(&self, work: &[Arc<Layout>]) -> Result<Vec<(i64, Arc<Series>)>, PortError> {
        let mut known = self.known.lock();
        let mut missing = BTreeMap::new();
        for layout in work {
            for (id, series) in layout.ids.iter().zip(&layout.series) {
                if let Place::Unknown(id) = self.place(&mut known, *id, series)? {
                    missing.entry(id.to_i64()).or_insert_with(|| Arc::clone(series));
                }
            }
        }
        Ok(missing.into_iter().collect())
    }

    /// A series was written under an id that was free.
    pub fn wrote(&mut self, id: i64, series: &Arc<Series>) {
        self.learned.series.insert(SeriesId::from_i64(id), Arc::clone(series));
        self.learned.said.push(Arc::clone(series));
        self.learned.written.push((id, Arc::clone(series)));
    }

    /// A series was found under its id.
    pub fn found(&mut self, series: Series) {
        self.learned.series.insert(series.id, Arc::new(series));
    }

    /// The ids of every layout's columns, and the series whose description is not what is stored.
    pub fn assign(&mut self, work: &[Arc<Layout>]) -> Result<(Vec<Vec<SeriesId>>, Changed), PortError> {
        let known = self.known;
        let mut known = known.lock();
        let mut changed = Changed::new();
        let mut assigned = Vec::with_capacity(work.len());
        for layout in work {
            let mut ids = Vec::with_capacity(layout.ids.len());
            for (id, series) in layout.ids.iter().zip(&layout.series) {
                let Place::At(id, owner) = self.place(&mut known, *id, series)? else {
                    return Err(damaged(format!("series {} is neither new nor stored", series.labels)));
                };
                if !Arc::ptr_eq(&owner, series) {
                    self.compare(id, series, &owner, &mut changed);
                }
                ids.push(id);
            }
            assigned.push(ids);
        }
        Ok((assigned, changed))
    }

    /// What was learned, to be kept once it is committed.
    pub fn into_learned(self) -> Learned {
        self.learned
    }

    fn place(&self, known: &mut Known, first: SeriesId, series: &Arc<Series>) -> Result<Place, PortError> {
        for attempt in 0..MAX_ATTEMPTS {
            let id = match attempt {
                0 => first,
                _ => SeriesId::rehashed(&series.labels, attempt),
            };
            match self.learned.series.get(&id).cloned().or_else(|| known.series.get(id)) {
                None => return Ok(Place::Unknown(id)),
                Some(owner) if Arc::ptr_eq(&owner, series) || owner.labels == series.labels => {
                    return Ok(Place::At(id, owner));
                }
                Some(_) => {}
            }
        }
        Err(damaged(format!("no free id for series {}", series.labels)))
    }

    fn compare(&mut self, id: SeriesId, series: &Arc<Series>, owner: &Series, changed: &mut Changed) {
        if owner.description_hash() == series.description_hash() {
            // The caller's own, so that next time one pointer tells that they are the same.
            self.learned.series.insert(id, Arc::clone(series));
        } else if says_more(series, owner) {
            let said = match changed.get(&id.to_i64()) {
                Some(earlier) => completed(series, earlier),
                None => Arc::clone(series),
            };
            changed.insert(id.to_i64(), said);
            self.learned.described = true;
            let whole = completed(series, owner);
            self.learned.said.push(Arc::clone(&whole));
            self.learned.series.insert(id, whole);
        }
    }
}

/// Whether a series brings a description that is not what is stored. What it leaves out does not count.
fn says_more(series: &Series, stored: &Series) -> bool {
    let nothing = series.metric_type == MetricType::Custom && series.help.is_none() && series.unit.is_none();
    let differs = |new: &Option<Arc<str>>, old: &Option<Arc<str>>| new.is_some() && new != old;
    !nothing
        && (series.metric_type != stored.metric_type
            || differs(&series.help, &stored.help)
            || differs(&series.unit, &stored.unit))
}

/// The series with what it leaves out as it was said before.
fn completed(series: &Arc<Series>, before: &Series) -> Arc<Series> {
    let or = |new: &Option<Arc<str>>, old: &Option<Arc<str>>| new.clone().or_else(|| old.clone());
    let (help, unit) = (or(&series.help, &before.help), or(&series.unit, &before.unit));
    if help == series.help && unit == series.unit {
        return Arc::clone(series);
    }
    Arc::new(Series { help, unit, ..Series::clone(series) })
}
