//! What many series have in common is written once: their name with its description, and whose they are with the labels
//! that say so.
//!
//! Ids are remembered once they are committed, and for as long as nobody removes such rows: who does holds the lock
//! that appends share, and counts up a number that every append reads under it (see [`crate::unused`]).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use metricsd_model::Series;
use metricsd_store::Recent;
use metricsd_store::owners::Changed;
use parking_lot::Mutex;
use serde::Serializer;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::error::{Fault, damaged};

/// Bytes that are remembered of the rows of each table, about.
const KNOWN_BYTES: usize = 16 << 20;

/// What a row takes in memory beside its texts, about.
const ROW_BYTES: usize = 160;

/// Rows of one statement.
const ROWS: usize = 20_000;

/// Labels that series of one target mostly share, and that tell targets apart.
const SHARED: [&str; 2] = ["instance", "job"];

/// So many new series of one append write an owner with labels: its row takes the room that five of them spare, and the
/// time of three. Fewer have their labels with them, and an owner without, unless theirs is known.
const SHARERS: usize = 12;

/// The labels of an owner that has none.
const NO_LABELS: &str = "{}";

/// How often rows are looked up that others are writing, or whose numbers are in use.
const MAX_ATTEMPTS: usize = 16;

/// All columns of a row but its id.
type Text<'t, const N: usize> = [Option<Cow<'t, str>>; N];

/// A row of `series_names`: name, type, help, unit.
type Name<'t> = Text<'t, 4>;

/// A row of `series_holders`: target, source, type of source, labels.
type Owner<'t> = Text<'t, 4>;

fn name_of(series: &Series) -> Name<'_> {
    [
        Some(series.labels.metric_name().into()),
        Some(series.metric_type.as_str().into()),
        series.help.as_deref().map(without_nul),
        series.unit.as_deref().map(without_nul),
    ]
}

fn owner_of(series: &Series) -> Result<Owner<'_>, Fault> {
    let labels = labels_text(series, |name| SHARED.contains(&name))?;
    let [target, source, kind] =
        [&*series.target_id, &*series.source, series.source_type.as_str()].map(|text| Some(text.into()));
    Ok([target, source, kind, Some(labels.into())])
}

/// Some labels of a series, without the metric name: a JSON object, sorted by name.
fn labels_text(series: &Series, is_asked: impl Fn(&str) -> bool) -> Result<String, Fault> {
    let mut json = Vec::with_capacity(256);
    let labels = series.labels.without_name().filter(|(name, _)| is_asked(name));
    let written = serde_json::Serializer::new(&mut json).collect_map(labels);
    written.map_err(|error| damaged("cannot write labels").caused_by(error))?;
    String::from_utf8(json).map_err(|error| damaged("cannot write labels").caused_by(error))
}

/// Help texts come from outside, and text columns cannot hold NUL.
fn without_nul(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}").into(),
        false => text.into(),
    }
}

/// A state of the database for which what was remembered holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// When the server started, in microseconds since the epoch. Another may take its place that lacks the last commits.
    pub(super) started: i64,
    /// How often names or owners were removed.
    pub(super) removals: i64,
}

/// Ids of names and owners that are known to be committed. Bounded.
#[derive(Default)]
pub(crate) struct KnownTexts {
    state: Option<State>,
    names: Ids<4>,
    owners: Ids<4>,
}

impl KnownTexts {
    /// Forgets everything where the database is no longer in the state for which it holds. Answers whether another
    /// server has taken the place of the one before.
    pub(super) fn renew(&mut self, state: State) -> bool {
        if self.state == Some(state) {
            return false;
        }
        let before = self.state.replace(state);
        self.names.rows.clear();
        self.owners.rows.clear();
        before.is_some_and(|before| before.started != state.started)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Rows of one table by a hash of their texts, which nobody outside can foresee.
struct Ids<const N: usize> {
    rows: Recent<u64, Arc<Stored<N>>>,
    hasher: RandomState,
}

/// A row that is in the database.
struct Stored<const N: usize> {
    id: i32,
    texts: [Option<Box<str>>; N],
}

impl<const N: usize> Default for Ids<N> {
    fn default() -> Self {
        Self { rows: Recent::new(KNOWN_BYTES), hasher: RandomState::new() }
    }
}

impl<const N: usize> Ids<N> {
    fn hash<'t>(&self, texts: impl Iterator<Item = Option<&'t str>>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        texts.for_each(|text| text.hash(&mut hasher));
        hasher.finish()
    }

    fn get(&mut self, texts: &Text<'_, N>) -> Option<i32> {
        let stored = self.rows.get(self.hash(texts.iter().map(Option::as_deref)))?;
        let is_same =
            stored.texts.iter().zip(texts).all(|(stored, text)| stored.as_deref() == text.as_deref());
        is_same.then_some(stored.id)
    }

    fn insert(&mut self, row: Stored<N>) {
        let texts = || row.texts.iter().map(Option::as_deref);
        let bytes: usize = texts().flatten().map(str::len).sum();
        self.rows.insert(self.hash(texts()), Arc::new(row), ROW_BYTES + bytes);
    }
}

/// The names and owners of one transaction.
pub(super) struct Texts<'s> {
    known: &'s Mutex<KnownTexts>,
    /// What the database says under the lock that this transaction holds.
    state: State,
    names: Vec<Stored<4>>,
    owners: Vec<Stored<4>>,
}

/// What a row of a series says of its name and its owner.
pub(super) struct Numbers {
    pub(super) name: i32,
    pub(super) owner: i32,
    /// Whether the owner has the labels that may be shared.
    is_shared: bool,
}

impl Numbers {
    /// The labels that stand in the row of the series.
    pub(super) fn labels_text(&self, series: &Series) -> Result<String, Fault> {
        labels_text(series, |name| !self.is_shared || !SHARED.contains(&name))
    }
}

impl<'s> Texts<'s> {
    pub(super) fn new(known: &'s Mutex<KnownTexts>, state: State) -> Self {
        Self { known, state, names: Vec::new(), owners: Vec::new() }
    }

    /// Finds or writes the names and owners of these series.
    pub(super) async fn numbers(
        &mut self,
        tx: &mut PgConnection,
        series: &[(i64, Arc<Series>)],
    ) -> Result<Vec<Numbers>, Fault> {
        let names = self.names(tx, series.iter().map(|(_, series)| name_of(series))).await?;
        let owners: Result<Vec<_>, Fault> = series.iter().map(|(_, series)| owner_of(series)).collect();
        let owners = self.worth_it(owners?);
        let is_shared: Vec<bool> =
            owners.iter().map(|owner| owner[3].as_deref() != Some(NO_LABELS)).collect();
        let known = |owners: &[Owner<'_>]| self.look_up(|known| &mut known.owners, owners);
        let (owners, learned) = resolve(tx, OWNERS, known, owners.into_iter()).await?;
        self.owners.extend(learned);
        let numbers = names.into_iter().zip(owners).zip(is_shared);
        Ok(numbers.map(|((name, owner), is_shared)| Numbers { name, owner, is_shared }).collect())
    }

    /// The same owners, but without labels where these are not known and too few series have them.
    fn worth_it<'t>(&self, mut owners: Vec<Owner<'t>>) -> Vec<Owner<'t>> {
        let mut sharers: HashMap<&Owner<'t>, usize> = HashMap::new();
        owners.iter().for_each(|owner| *sharers.entry(owner).or_default() += 1);
        let few = sharers.into_iter().filter(|(_, sharers)| *sharers < SHARERS);
        let few: Vec<Owner<'t>> = few.map(|(owner, _)| owner.clone()).collect();
        let known = self.look_up(|known| &mut known.owners, &few);
        let few = few.into_iter().zip(known).filter(|(_, known)| known.is_none());
        let few: HashSet<Owner<'t>> = few.map(|(owner, _)| owner).collect();
        for owner in owners.iter_mut().filter(|owner| few.contains(*owner)) {
            owner[3] = Some(NO_LABELS.into());
        }
        owners
    }

    async fn names<'t>(
        &mut self,
        tx: &mut PgConnection,
        names: impl Iterator<Item = Name<'t>>,
    ) -> Result<Vec<i32>, Fault> {
        let known = |names: &[Name<'_>]| self.look_up(|known| &mut known.names, names);
        let (ids, learned) = resolve(tx, NAMES, known, names).await?;
        self.names.extend(learned);
        Ok(ids)
    }

    fn look_up<const N: usize>(
        &self,
        table: impl Fn(&mut KnownTexts) -> &mut Ids<N>,
        texts: &[Text<'_, N>],
    ) -> Vec<Option<i32>> {
        let mut known = self.known.lock();
        if known.state != Some(self.state) {
            return vec![None; texts.len()];
        }
        let ids = table(&mut known);
        texts.iter().map(|text| ids.get(text)).collect()
    }

    /// Writes descriptions that have changed, in order of id. What a series leaves out stays as it was.
    pub(super) async fn describe(&mut self, tx: &mut PgConnection, changed: &Changed) -> Result<(), Fault> {
        if changed.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = changed.keys().copied().collect();
        sqlx::query(include_str!("../sql/lock_series.sql")).bind(&ids).execute(&mut *tx).await?;
        // By a statement that sees what others have committed before the locks were had.
        let query = sqlx::query(include_str!("../sql/descriptions.sql")).bind(&ids);
        let rows = query.fetch_all(&mut *tx).await?;
        let (mut ids, mut names) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in &rows {
            let id: i64 = row.try_get(0)?;
            let Some(series) = changed.get(&id) else { continue };
            let [name, kind, help, unit] = name_of(series);
            let before = |column: usize| row.try_get::<Option<&str>, _>(column);
            let (help_before, unit_before) = (before(1)?.map(Cow::Borrowed), before(2)?.map(Cow::Borrowed));
            ids.push(id);
            names.push([name, kind, help.or(help_before), unit.or(unit_before)]);
        }
        let numbers = self.names(tx, names.into_iter()).await?;
        let update = sqlx::query(include_str!("../sql/describe_series.sql"));
        update.bind(ids).bind(numbers).execute(tx).await?;
        Ok(())
    }

    /// To be called after the commit, not before.
    pub(super) fn remember(self) {
        if self.names.is_empty() && self.owners.is_empty() {
            return;
        }
        let mut known = self.known.lock();
        // What was removed since this transaction ended, another may have read by now.
        if known.state == Some(self.state) {
            self.names.into_iter().for_each(|row| known.names.insert(row));
            self.owners.into_iter().for_each(|row| known.owners.insert(row));
        }
    }
}

/// Statements that find or write rows.
const NAMES: &str = include_str!("../sql/names.sql");
const OWNERS: &str = include_str!("../sql/owners.sql");

/// The id of each of these texts, and the rows among them that were not known.
async fn resolve<'t, const N: usize>(
    tx: &mut PgConnection,
    statement: &'static str,
    known: impl FnOnce(&[Text<'t, N>]) -> Vec<Option<i32>>,
    texts: impl Iterator<Item = Text<'t, N>>,
) -> Result<(Vec<i32>, Vec<Stored<N>>), Fault> {
    let mut distinct: HashMap<Text<'t, N>, usize> = HashMap::new();
    let of_each: Vec<usize> = texts
        .map(|text| {
            let next = distinct.len();
            *distinct.entry(text).or_insert(next)
        })
        .collect();
    let mut distinct: Vec<(Text<'t, N>, usize)> = distinct.into_iter().collect();
    distinct.sort_unstable_by_key(|(_, place)| *place);
    let distinct: Vec<Text<'t, N>> = distinct.into_iter().map(|(text, _)| text).collect();
    let mut ids = known(&distinct);
    let mut missing: Vec<(&Text<'t, N>, &mut Option<i32>)> =
        distinct.iter().zip(&mut ids).filter(|(_, id)| id.is_none()).collect();
    // Writers take their locks in one order.
    missing.sort_unstable_by_key(|(text, _)| *text);
    let mut learned = Vec::with_capacity(missing.len());
    for part in missing.chunks_mut(ROWS) {
        find_or_write(tx, statement, part).await?;
        for (text, id) in part.iter() {
            let texts = text.each_ref().map(|text| text.as_deref().map(Into::into));
            learned.extend(id.map(|id| Stored { id, texts }));
        }
    }
    let all: Option<Vec<i32>> = of_each.iter().map(|place| ids.get(*place).copied().flatten()).collect();
    Ok((all.ok_or_else(unwritten)?, learned))
}

/// Fills in the ids of rows, which are distinct and sorted.
async fn find_or_write<const N: usize>(
    tx: &mut PgConnection,
    statement: &'static str,
    rows: &mut [(&Text<'_, N>, &mut Option<i32>)],
) -> Result<(), Fault> {
    for _ in 0..MAX_ATTEMPTS {
        let mut open: Vec<_> = rows.iter_mut().filter(|(_, id)| id.is_none()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let answer = query(statement, &open).fetch_all(&mut *tx).await?;
        let mut written: HashMap<[Option<&str>; N], i32> = HashMap::new();
        for row in &answer {
            let number: i32 = row.try_get(0)?;
            let Some(place) = row.try_get::<Option<i64>, _>(1)? else {
                written.insert(texts_of_row(row)?, number);
                continue;
            };
            let place = usize::try_from(place - 1).ok();
            if let Some((_, id)) = place.and_then(|place| open.get_mut(place)) {
                **id = Some(number);
            }
        }
        for (text, id) in open.into_iter().filter(|_| !written.is_empty()) {
            **id = id.or_else(|| written.get(&text.each_ref().map(Option::as_deref)).copied());
        }
    }
    Err(unwritten())
}

fn texts_of_row<const N: usize>(row: &PgRow) -> Result<[Option<&str>; N], Fault> {
    let mut texts = [None; N];
    for (column, text) in (2..).zip(&mut texts) {
        *text = row.try_get(column)?;
    }
    Ok(texts)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// A statement with an array for each column.
fn query<'q, const N: usize>(
    statement: &'static str,
    rows: &[&mut (&Text<'_, N>, &mut Option<i32>)],
) -> Query<'q> {
    (0..N).fold(sqlx::query(statement), |query, column| {
        let text = |row: &&mut (&Text<'_, N>, _)| row.0.get(column)?.as_deref().map(str::to_owned);
        query.bind(rows.iter().map(text).collect::<Vec<Option<String>>>())
    })
}

fn unwritten() -> Fault {
    damaged("a name or an owner of series is neither new nor stored")
}
