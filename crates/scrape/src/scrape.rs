//! One scrape of one target, from request to batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_codec::exposition::Format;
use metricsd_codec::negotiation;
use metricsd_ingest::{Admission, BatchBuilder, Limits, SeriesTracker};
use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, FailureReason, Frame, HealthStatus, JobStatus, Ledger,
    Millis, Refusal, SampleValue, Series, TargetSpec, TypeCounts,
};

use crate::client::{Page, PageClient, PageRequest, ScrapeError};
use crate::naming::Namer;
use crate::pace::Pace;
use crate::page::{PageReader, Scraped};
use crate::report::Report;

/// Pages beyond this many bytes are read where they hold up no other task of the thread.
const LARGE_PAGE: usize = 256 << 10;

/// A timer that goes off so late did so because the process was stopped, or did not get the processor.
const HELD_UP: Duration = Duration::from_millis(500);

/// What a target's scrapes remember from one to the next.
pub(crate) struct LoopState {
    namer: Namer,
    request: Result<PageRequest, ScrapeError>,
    reader: PageReader,
    /// Time of the last scrape; the next one's is later.
    last: Millis,
    /// Which series the target's source may have.
    series: Arc<SeriesTracker>,
    /// In which epoch the target's series were said to be active.
    epoch: Option<u64>,
    /// Which limit of the source kept series of the last page out.
    limited: Option<String>,
    /// Lines of the last page that are not stored, each with its reason.
    offenders: Arc<[String]>,
    /// Bytes of the last page; -1 where it was beyond its limit, 0 where there was none.
    body_bytes: i64,
    pace: Pace,
    /// Whether another process may have scraped the target before this one.
    inherits: bool,
}

impl LoopState {
    pub(crate) fn new(spec: TargetSpec, limits: Arc<Limits>, series: Arc<SeriesTracker>) -> Self {
        let request = PageRequest::new(&spec);
        let namer = Namer::new(spec, limits);
        let reader = PageReader::new(&namer);
        let config = &namer.spec().scrape_config;
        let pace = Pace::new(config.scrape_interval.millis(), config.options.adaptive_interval_max_ms);
        Self {
            namer,
            request,
            reader,
            last: 0,
            series,
            epoch: None,
            limited: None,
            offenders: Arc::default(),
            body_bytes: 0,
            pace,
            inherits: false,
        }
    }

    /// The same for a target that another process may have scraped until now: its series are asked for before the first
    /// page is read, so that none is taken for new and those that are gone end.
    pub(crate) fn inheriting(self) -> Self {
        Self { inherits: true, ..self }
    }

    /// The same target with other settings: what it no longer has will be marked as ended.
    pub(crate) fn replace(&mut self, spec: TargetSpec, limits: Arc<Limits>) {
        let mut next = Self::new(spec, limits, self.series.clone());
        next.reader.inherit(&self.reader);
        next.last = self.last;
        next.inherits = self.inherits;
        *self = next;
    }

    /// Whose state this is.
    pub(crate) fn target_id(&self) -> &str {
        &self.namer.spec().target_id
    }

    /// Scrapes the target; the samples get the timestamp `at`, or a later one where that was used before.
    /// Where the scrape fails and this process does not know what the target had, `known` tells: it ends. `None` where the
    /// process itself was held up on the way, which says nothing of the target: nothing has happened then.
    pub(crate) async fn scrape(
        &mut self,
        client: &PageClient,
        at: Millis,
        known: impl AsyncFnOnce() -> Option<Vec<Arc<Series>>>,
    ) -> Option<Batch> {
        let at = at.max(self.last + 1);
        self.last = at;
        let started = Instant::now();
        let page = self.fetch(client).await;
        let timeout = self.namer.spec().scrape_config.scrape_timeout.0;
        if page.as_ref().is_err_and(|error| was_held_up(error, started.elapsed(), timeout)) {
            return None;
        }
        self.body_bytes = match &page {
            Ok(page) => i64::try_from(page.body.len()).unwrap_or(i64::MAX),
            Err(error) => -i64::from(error.reason == FailureReason::TooLarge),
        };
        // Fetched first: meanwhile the last scrape of the one before is stored.
        if self.inherits && !self.reader.has_read() {
            match known().await {
                Some(known) => self.reader.assume(&known),
                None => self.reader.assume_any(),
            }
            let scraped = match page {
                Ok(page) => self.read(&page, at).await,
                Err(error) => Err(error),
            };
            return Some(self.batch(scraped, at, started.elapsed().as_secs_f64()));
        }
        let scraped = match page {
            Ok(page) => self.read(&page, at).await,
            Err(error) => Err(error),
        };
        let elapsed = started.elapsed().as_secs_f64();
        if scraped.is_err()
            && !self.reader.has_read()
            && let Some(known) = known().await
        {
            self.reader.assume(&known);
        }
        Some(self.batch(scraped, at, elapsed))
    }

    async fn fetch(&self, client: &PageClient) -> Result<Page, ScrapeError> {
        client.fetch(self.request.as_ref().map_err(ScrapeError::clone)?).await
    }

    /// Reads a page. Where a limit would refuse series, the store is asked first whether it knows them.
    pub(crate) async fn read(&mut self, page: &Page, at: Millis) -> Result<Scraped, ScrapeError> {
        let mut admission = self.series.admission(&self.namer.spec().source_id);
        let mut scraped = self.read_once(page, at, &mut admission)?;
        if scraped.is_none() {
            if let Err(error) = admission.settle().await {
                tracing::warn!(target_id = self.target_id(), %error, "the store cannot say which series are new");
            }
            scraped = self.read_once(page, at, &mut admission)?;
        }
        let scraped = scraped
            .ok_or_else(|| ScrapeError::new(FailureReason::Internal, "new series are in doubt for good"))?;
        if self.epoch.replace(admission.epoch()) != Some(admission.epoch()) {
            admission.refresh(self.reader.ids());
        }
        let limits = [Refusal::SeriesLimit, Refusal::SeriesRateLimit];
        let reached = limits.into_iter().find(|reason| scraped.ledger.refused.contains_key(reason));
        self.limited = reached.map(|reason| admission.fault(reason).message);
        Ok(scraped)
    }

    fn read_once(
        &mut self,
        page: &Page,
        at: Millis,
        admission: &mut Admission,
    ) -> Result<Option<Scraped>, ScrapeError> {
        let Self { reader, namer, .. } = self;
        let fallback = negotiation::fallback(&namer.spec().scrape_config.options);
        let format = Format::negotiate(&page.content_type, fallback)
            .map_err(|error| ScrapeError::new(FailureReason::Parse, error.to_string()))?;
        let threads = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
        match threads {
            Ok(tokio::runtime::RuntimeFlavor::MultiThread) if page.body.len() > LARGE_PAGE => {
                tokio::task::block_in_place(|| reader.read(&page.body, format, namer, at, admission))
            }
            _ => reader.read(&page.body, format, namer, at, admission),
        }
    }

    fn batch(&mut self, scraped: Result<Scraped, ScrapeError>, at: Millis, seconds: f64) -> Batch {
        let mut builder = BatchBuilder::default();
        let (scraped, error, failed) = match scraped {
            Ok(scraped) => (scraped, None, Ledger::default()),
            Err(error) => {
                let failed = self.reader.failed();
                (self.nothing(), Some(error), failed)
            }
        };
        match error.is_none() {
            true => self.pace.observe(&scraped),
            false => self.pace.reset(),
        }
        let Scraped { layout, mut values, histograms, timed, starts, exemplars, .. } = scraped;
        let Scraped { vanished, mut ledger, mut types, added, offenders, families, .. } = scraped;
        self.offenders = offenders;
        for (series, timestamp, value) in timed {
            let metric_type = series.metric_type;
            if builder.push_unique(series, timestamp, value) {
                types.add(metric_type);
            } else {
                ledger.refuse(Refusal::Duplicate);
                ledger.stored -= 1;
            }
        }
        // A page that could be read but not stored is reported by what it held.
        let (scraped, dropped) = (ledger.received + failed.received, ledger.dropped + failed.dropped);
        let report = self.report(error.is_none(), seconds, (scraped, scraped - dropped, added));
        // A report whose name clashes with the target's labels has no column.
        let reports = layout.ids.len() - values.len();
        values.extend(&report.values()[..reports]);
        builder.push_frame(Frame { layout, time: at, offsets: None, values, histograms });
        for (series, timestamp, nothing) in starts {
            builder.push_unique(series, timestamp, nothing);
        }
        end(vanished, at, &mut builder);
        let id = BatchId::for_scrape(&self.namer.spec().target_id, at);
        let mut collection = self.collection(at, seconds * 1e3, ledger, types);
        if let Some(error) = error {
            collection.status = JobStatus::Failed;
            collection.health = HealthStatus::Unhealthy;
            collection.reason = Some(error.reason);
            collection.error = Some(error.message);
        }
        Batch { exemplars, families, ..builder.finish(id, collection) }
    }

    fn report(&self, up: bool, seconds: f64, (scraped, kept, added): (u64, u64, u64)) -> Report {
        let config = &self.namer.spec().scrape_config;
        Report {
            up,
            seconds,
            scraped,
            kept,
            added,
            timeout_seconds: config.scrape_timeout.0.as_secs_f64(),
            sample_limit: config.options.sample_limit,
            body_bytes: self.body_bytes,
        }
    }

    fn nothing(&mut self) -> Scraped {
        let (layout, vanished) = self.reader.fail();
        let (ledger, types) = (Ledger::default(), TypeCounts::default());
        Scraped {
            layout,
            values: Vec::new(),
            histograms: Vec::new(),
            timed: Vec::new(),
            starts: Vec::new(),
            exemplars: Vec::new(),
            families: Vec::new(),
            vanished,
            ledger,
            types,
            added: 0,
            offenders: Arc::default(),
        }
    }

    /// The last batch of a target that will not be scraped again: all its series end, its reports too.
    /// `known` stands in for what this process never scraped itself.
    pub(crate) fn goodbye(&mut self, at: Millis, known: Vec<Arc<Series>>) -> Batch {
        let at = at.max(self.last + 1);
        self.last = at;
        let mut ending = self.reader.current();
        self.reader.fail();
        ending.extend(known);
        let mut builder = BatchBuilder::default();
        end(ending, at, &mut builder);
        let id = BatchId::for_scrape(&self.namer.spec().target_id, at);
        let mut collection = self.collection(at, 0.0, Ledger::default(), TypeCounts::default());
        collection.health = HealthStatus::Disabled;
        builder.finish(id, collection)
    }

    /// Whether a scheduled scrape is worth its while: fewer are where the target's values do not change.
    pub(crate) fn is_due(&self, slot: Millis) -> bool {
        self.pace.next_due(slot, self.last) == slot
    }

    /// The first scheduled time from `slot` on that is worth its while.
    pub(crate) fn next_due(&self, slot: Millis) -> Millis {
        self.pace.next_due(slot, self.last)
    }

    /// Whether this process knows the target's series by itself.
    pub(crate) fn knows_series(&self) -> bool {
        self.reader.has_read()
    }

    fn collection(&self, at: Millis, duration_ms: f64, ledger: Ledger, types: TypeCounts) -> Collection {
        let spec = self.namer.spec();
        let refused = ledger.refused_total();
        let first = ledger.refused.keys().next();
        Collection {
            source_id: spec.source_id.clone(),
            target_id: spec.target_id.clone(),
            method: CollectionMethod::PullScraping,
            started: at,
            duration_ms,
            status: if refused > 0 { JobStatus::Partial } else { JobStatus::Completed },
            health: HealthStatus::Healthy,
            reason: None,
            error: first.map(|reason| self.refusals(refused, *reason)).or_else(|| self.pace.note()),
            ledger,
            types,
        }
    }

    /// What people are told of samples that are not stored.
    fn refusals(&self, refused: u64, first: Refusal) -> String {
        let why = match &self.limited {
            Some(limited) => format!("{refused} samples refused: {limited}"),
            None => format!("{refused} samples refused, first reason: {first}"),
        };
        match self.offenders.is_empty() {
            true => why,
            false => format!("{why}; among them {}", self.offenders.join("; ")),
        }
    }
}

/// Whether a request ran out because the process did not run: then the time was over long before it noticed.
fn was_held_up(error: &ScrapeError, elapsed: Duration, timeout: Duration) -> bool {
    error.reason == FailureReason::Timeout && elapsed > timeout.saturating_add(HELD_UP)
}

fn end(series: Vec<Arc<Series>>, at: Millis, builder: &mut BatchBuilder) {
    for series in series {
        builder.push_unique(series, at, SampleValue::Stale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_that_comes_much_too_late_is_the_processs_own() {
        let [timeout, refused] = [FailureReason::Timeout, FailureReason::Connect]
            .map(|reason| ScrapeError::new(reason, "no answer"));
        let second = Duration::from_secs(1);
        assert!(!was_held_up(&timeout, Duration::from_millis(1_400), second));
        assert!(was_held_up(&timeout, Duration::from_millis(3_000), second));
        assert!(!was_held_up(&refused, Duration::from_millis(3_000), second));
    }
}
