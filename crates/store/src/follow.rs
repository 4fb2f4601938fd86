//! The label index of a store: read page by page when it is first asked for, and brought up to date before each
//! question with what was committed since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metricsd_index::{LabelIndex, Statistics};
use metricsd_model::{LabelSet, Matcher, MetricType, Series, SeriesId};
use metricsd_ports::{ErrorKind, IndexStatistics, PortError};
use parking_lot::RwLock;
use tokio::sync::{Mutex, MutexGuard};

use crate::chosen::{Chosen, Remembered};
use crate::damaged;
use crate::gather::Found;

/// Series that one selection may look at before samples narrow them; bounds memory at some hundred megabytes.
const MAX_CANDIDATES: usize = 2_000_000;

/// Series of one page: what a change keeps readers of the index waiting for, and what is lost when a call is given up.
pub const PAGE: usize = 10_000;

/// What an index is told of a series.
#[derive(Debug, Clone)]
pub struct Indexed {
    /// Its id, as the database keeps it.
    pub key: i64,
    /// Identity.
    pub labels: LabelSet,
    /// Declared type.
    pub metric_type: MetricType,
    /// Who sent it first.
    pub source: String,
}

/// Series of this process's own that an index may hold back to be told; beyond them it reads them from the database.
const MAX_OWN: usize = 1_000_000;

/// Series that a transaction of this process has written and committed, so that they need not be read back.
#[derive(Debug)]
pub struct Own {
    /// How the database marks what was written: the first and the last mark of the transaction.
    pub marks: (i64, i64),
    /// By the id that the database keeps.
    pub series: Vec<(i64, Arc<Series>)>,
}

/// How far an index has come. `C` is how the database tells what was committed since.
#[derive(Debug)]
pub struct Progress<C> {
    /// Everything that was committed by then is in the index, once it is loaded.
    pub seen: Option<C>,
    /// Loading goes on at this key; `None` once all pages were read.
    pub next: Option<i64>,
}

impl<C> Progress<C> {
    const fn begin() -> Self {
        Self { seen: None, next: Some(i64::MIN) }
    }

    /// Whether all pages were read.
    pub fn is_loaded(&self) -> bool {
        self.next.is_none() && self.seen.is_some()
    }

    /// A page ended with this key; `more` says whether it was a full one.
    pub fn page_read(&mut self, last: Option<i64>, more: bool) {
        self.next = last.filter(|_| more).and_then(|last| last.checked_add(1));
    }
}

/// An index and how far it has come.
///
/// Locks are taken in one order: the right to load, a connection, the right to change. Whoever changes the index holds
/// the last from before the database takes the snapshot that is read until the index is changed, so that what is newer
/// is never overwritten by what is older.
pub struct Followed<C> {
    index: Arc<RwLock<LabelIndex>>,
    remembered: Remembered,
    progress: Mutex<Progress<C>>,
    /// Held by the one that loads, and waited for by those who hold nothing.
    loading: Mutex<()>,
    loaded: AtomicBool,
    /// In order of commit, unless several write at once.
    own: parking_lot::Mutex<Vec<Own>>,
}

impl<C> Default for Followed<C> {
    fn default() -> Self {
        Self {
            index: Arc::default(),
            remembered: Remembered::default(),
            progress: Mutex::new(Progress::begin()),
            loading: Mutex::default(),
            loaded: AtomicBool::new(false),
            own: parking_lot::Mutex::default(),
        }
    }
}

impl<C> Followed<C> {
    /// The right to load; `None` where there is nothing to load. To be asked for before a connection is, so that those
    /// who wait for it hold none; the right to change comes after the connection.
    pub async fn to_load(&self) -> Option<MutexGuard<'_, ()>> {
        if self.is_loaded() {
            return None;
        }
        let right = self.loading.lock().await;
        (!self.is_loaded()).then_some(right)
    }

    fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// The right to change the index.
    pub async fn progress(&self) -> MutexGuard<'_, Progress<C>> {
        self.progress.lock().await
    }

    /// Says that all pages were read.
    pub fn finish_loading(&self, progress: &Progress<C>) {
        self.loaded.store(progress.is_loaded(), Ordering::Release);
    }

    /// Forgets everything: what the database holds may no longer be what was read.
    pub fn start_again(&self, progress: &mut Progress<C>) {
        self.loaded.store(false, Ordering::Release);
        *progress = Progress::begin();
        self.own.lock().clear();
        let mut index = self.index.write();
        *index = LabelIndex::default();
        self.remembered.change();
    }

    /// Adds series, or notes the type of those that are known; to be called with the right to change.
    pub fn add(&self, series: &[Indexed]) -> Result<(), PortError> {
        if series.is_empty() {
            return Ok(());
        }
        let mut index = self.index.write();
        self.remembered.change();
        for Indexed { key, labels, metric_type, source } in series {
            if !index.insert(*key, labels, *metric_type) && !index.update_type(*key, *metric_type) {
                return Err(damaged("there are more series than an index can number"));
            }
            index.set_source(*key, source);
        }
        Ok(())
    }

    /// Notes what this process has committed.
    pub fn wrote(&self, own: Own) {
        if !self.is_loaded() {
            return;
        }
        let mut all = self.own.lock();
        if all.iter().map(|own| own.series.len()).sum::<usize>() + own.series.len() > MAX_OWN {
            all.clear();
        }
        all.push(own);
    }

    /// Takes what was committed by this process, to be asked for before the database takes the snapshot that is read: what
    /// that snapshot removes was removed before these were written. What is taken and not added is read like any other.
    pub fn take_own(&self) -> Vec<Own> {
        std::mem::take(&mut self.own.lock())
    }

    /// Adds what was taken; to be called with the right to change.
    pub fn add_own(&self, own: &Own) -> Result<(), PortError> {
        for page in own.series.chunks(PAGE) {
            let entry = |(key, series): &(i64, Arc<Series>)| Indexed {
                key: *key,
                labels: series.labels.clone(),
                metric_type: series.metric_type,
                source: series.source.to_string(),
            };
            self.add(&page.iter().map(entry).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Forgets series; to be called with the right to change.
    pub fn remove(&self, keys: &[i64]) {
        if keys.is_empty() {
            return;
        }
        let mut index = self.index.write();
        self.remembered.change();
        for key in keys {
            index.remove(*key);
        }
    }

    /// The series that match, by labels.
    pub async fn select(&self, matchers: &[Matcher]) -> Result<Arc<Chosen>, PortError> {
        if let Some(chosen) = self.remembered.get(matchers) {
            return Ok(chosen);
        }
        let (version, asked) = (self.remembered.version(), matchers.to_vec());
        let selected = self.ask(move |index| index.select(&asked, MAX_CANDIDATES)).await?;
        let found = selected.map_err(|error| {
            let message = format!(
                "{} series match, whether or not they have samples in the range; {} are allowed",
                error.found, error.limit
            );
            PortError::new(ErrorKind::Limit, message)
        })?;
        let found = found.into_iter().map(|found| Found {
            id: SeriesId::from_i64(found.key),
            labels: found.labels,
            metric_type: found.metric_type,
        });
        let chosen = Arc::new(Chosen::new(found.collect()));
        self.remembered.insert(version, matchers.to_vec(), &chosen);
        Ok(chosen)
    }

    /// Names of labels of series that match, sorted, at most `limit`.
    pub async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError> {
        let matchers = matchers.to_vec();
        self.ask(move |index| index.label_names(&matchers, limit)).await
    }

    /// Values of a label over series that match, sorted, at most `limit`.
    pub async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        let (name, matchers) = (name.to_owned(), matchers.to_vec());
        self.ask(move |index| index.label_values(&name, &matchers, limit)).await
    }

    /// Series in the index.
    pub fn len(&self) -> usize {
        self.index.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the index holds; lists are cut to `top` entries.
    pub async fn statistics(&self, top: usize) -> Result<IndexStatistics, PortError> {
        Ok(to_port(self.ask(move |index| index.statistics(top)).await?))
    }

    /// The same of the series that one source sent first.
    pub async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError> {
        let source = source.to_owned();
        Ok(to_port(self.ask(move |index| index.statistics_of(&source, top)).await?))
    }

    /// On a thread where an expression that is tried on a million values is in nobody's way.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&LabelIndex) -> T + Send + 'static,
    ) -> Result<T, PortError> {
        let index = Arc::clone(&self.index);
        let answer = tokio::task::spawn_blocking(move || question(&index.read())).await;
        answer.map_err(|error| damaged("a look-up in the index failed").caused_by(error))
    }
}

fn to_port(found: Statistics) -> IndexStatistics {
    IndexStatistics {
        series: found.series,
        label_pairs: found.label_pairs,
        series_by_metric: found.series_by_metric,
        values_by_label: found.values_by_label,
        bytes_by_label: found.bytes_by_label,
        series_by_pair: found.series_by_pair,
        series_by_source: found.series_by_source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_that_is_not_full_is_the_last() {
        let followed = Followed::<i64>::default();
        let mut progress = followed.progress().await;
        progress.seen = Some(7);
        progress.page_read(Some(-3), true);
        assert_eq!((progress.next, progress.is_loaded()), (Some(-2), false));
        followed.finish_loading(&progress);
        assert!(!followed.is_loaded());
        progress.page_read(Some(i64::MAX), true);
        assert!(progress.is_loaded(), "no key comes after it");
        followed.finish_loading(&progress);
        assert!(followed.is_loaded());
        let labels = LabelSet::new([("__name__", "up")]).unwrap();
        let up = |metric_type| Indexed { key: 1, labels: labels.clone(), metric_type, source: "shop".into() };
        followed.add(&[up(MetricType::Custom)]).unwrap();
        followed.add(&[up(MetricType::Gauge)]).unwrap();
        let chosen = followed.select(&[Matcher::equal("__name__", "up")]).await.unwrap();
        assert_eq!((chosen.found.len(), chosen.found[0].metric_type), (1, MetricType::Gauge));
        followed.start_again(&mut progress);
        assert!(!followed.is_loaded() && progress.next == Some(i64::MIN));
        assert!(followed.label_names(&[], 9).await.unwrap().is_empty());
    }
}
