//! One request's questions to the tracker.

use std::fmt;
use std::sync::Arc;

use metricsd_model::{Refusal, SeriesId};

use super::SeriesTracker;
use super::source::{Answer, Source};
use crate::IngestError;
use crate::validate::Fault;

/// Whether the caller has met a series before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquaintance {
    /// It was just named.
    New,
    /// It stands in a cache.
    Known,
}

/// What a request, or a page, may bring. Samples that were refused are counted when it is dropped.
pub struct Admission {
    tracker: Arc<SeriesTracker>,
    source: Arc<Source>,
    now: u64,
    /// Refused unless the store has them.
    doubtful: Vec<SeriesId>,
    settled: bool,
    refused_active: u64,
    refused_new: u64,
}

impl Admission {
    pub(super) fn new(tracker: Arc<SeriesTracker>, source: Arc<Source>, now: u64) -> Self {
        Self { tracker, source, now, doubtful: Vec::new(), settled: false, refused_active: 0, refused_new: 0 }
    }

    /// Decides over a series that has a sample: it is active from now on, or is refused.
    pub fn admit(&mut self, id: SeriesId, acquaintance: Acquaintance) -> Result<(), Refusal> {
        let limits = &self.tracker.limits;
        let answer = self.source.state.lock().admit(id, acquaintance, limits, self.now);
        match answer {
            Answer::Active => Ok(()),
            Answer::Added => {
                self.tracker.added(1);
                Ok(())
            }
            Answer::Refused { reason, doubtful } => {
                if doubtful && !self.settled {
                    self.doubtful.push(id);
                }
                match reason {
                    Refusal::SeriesLimit => self.refused_active += 1,
                    _ => self.refused_new += 1,
                }
                Err(reason)
            }
        }
    }

    /// Says of a series that was admitted before that it is still active, whatever the limits.
    pub fn refresh(&self, ids: impl IntoIterator<Item = SeriesId>) {
        let epoch = self.epoch();
        let mut state = self.source.state.lock();
        let added = ids.into_iter().filter(|id| state.active.insert(id.0, epoch)).count();
        drop(state);
        self.tracker.added(added);
    }

    /// Which epoch it is; see [`SeriesTracker::epoch`].
    pub fn epoch(&self) -> u64 {
        self.now / super::EPOCH_MILLIS
    }

    /// Whether series were refused that the store may know. The request is then to be read again once
    /// [`Admission::settle`] answers `true`.
    pub fn in_doubt(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Asks the store for the series in doubt: those that it has are not new. Answers whether there were such; whatever
    /// was refused before then does not count, since all of it is asked for again.
    pub async fn settle(&mut self) -> Result<bool, IngestError> {
        let asked = std::mem::take(&mut self.doubtful);
        self.settled = true;
        if asked.is_empty() {
            return Ok(false);
        }
        let stored = self.tracker.store.stored_series(&asked).await.map_err(|e| IngestError::from(&e))?;
        let added = self.source.state.lock().learn(&asked, &stored, self.now);
        self.tracker.added(added);
        if stored.is_empty() {
            return Ok(false);
        }
        (self.refused_active, self.refused_new) = (0, 0);
        Ok(true)
    }

    /// What to tell of a series that was refused: the limit, its value, the source, and what to do.
    pub fn fault(&self, reason: Refusal) -> Fault {
        let (source_id, limits) = (&self.source.source_id, &self.tracker.limits);
        let stands = match reason {
            Refusal::SeriesLimit => format!(
                "source {source_id:?} has as many active series as limits.max_active_series_per_source allows, {}",
                limits.max_active
            ),
            _ => format!(
                "source {source_id:?} brings more new series a minute than \
                 limits.max_new_series_per_minute_per_source allows, {}",
                limits.max_new_per_minute
            ),
        };
        let advice = format!(
            "known series are stored, new ones are refused: remove labels with ever new values (see GET \
             /api/v1/metrics/cardinality?source_id={source_id}) or raise the limit"
        );
        Fault::new(reason, "labels", format!("{stands}; {advice}"))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("doubtful", &self.doubtful.len()).finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.source.refused(self.refused_active, self.refused_new);
    }
}
