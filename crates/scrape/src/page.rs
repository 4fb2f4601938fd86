//! Reads one page into columns. A page that has the lines of the page before costs a comparison of bytes and a number
//! for each of them; any other is studied line by line.

mod classic;
mod item;
mod pass;
mod study;
mod template;
mod transcript;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use metricsd_codec::exposition::Format;
use metricsd_ingest::Admission;
use metricsd_ingest::validate::check_timestamp;
use metricsd_model::{
    FamilyMetadata, Layout, Ledger, Millis, NativeHistogram, Series, SeriesExemplar, SeriesId, TypeCounts,
};

use crate::client::ScrapeError;
use crate::naming::Namer;
use crate::report::reports;
use pass::{Pass, Scene, Start, Timed};
use study::{Known, study};
use template::Template;
use transcript::Transcript;

/// What one page held.
pub(crate) struct Scraped {
    /// Samples at the scrape's own time: a column each, followed by a column for each report.
    pub(crate) layout: Arc<Layout>,
    /// One a page column of `layout`; the reports' values are still to come.
    pub(crate) values: Vec<f64>,
    /// Native histograms, by page column.
    pub(crate) histograms: Vec<(u32, NativeHistogram)>,
    /// Samples that brought their own timestamp.
    pub(crate) timed: Vec<Timed>,
    /// What was counted when series began: nothing. Not among the page's samples.
    pub(crate) starts: Vec<Timed>,
    /// Exemplars that the page before did not have.
    pub(crate) exemplars: Vec<SeriesExemplar>,
    /// What is said of families of which series are new, where those cannot say it.
    pub(crate) families: Vec<FamilyMetadata>,
    /// Series of the page before that this one does not have.
    pub(crate) vanished: Vec<Arc<Series>>,
    /// What became of the page's samples.
    pub(crate) ledger: Ledger,
    /// Samples in `values` by type.
    pub(crate) types: TypeCounts,
    /// Series that the page before did not have.
    pub(crate) added: u64,
    /// Some of the page's lines that are not stored, each with its reason.
    pub(crate) offenders: Arc<[String]>,
}

/// A page in the form in which it is compared with the page before.
enum Source<'p> {
    /// As it is.
    Page(&'p [u8]),
    Transcript(Transcript<'p>),
}

impl Source<'_> {
    /// Whether the page is known not to read to its end.
    fn is_damaged(&self) -> bool {
        match self {
            Self::Page(_) => false,
            Self::Transcript(transcript) => transcript.fault.is_some(),
        }
    }
}

/// What a target's last page looked like.
pub(crate) struct PageReader {
    reports: Vec<Arc<Series>>,
    template: Option<Template>,
    /// Series that were stored last.
    stored: Arc<Layout>,
    /// Series of the last page that brought their own timestamps: they end with the target, and with the page only where
    /// `track_timestamps_staleness` says so.
    timed: Vec<Arc<Series>>,
    tracks_timed: bool,
    /// What the last page held that was read but not stored.
    failed: Ledger,
    /// Exemplars of the last page, in short.
    told: HashSet<u64>,
    /// When the series of the last page began, where that is stored; and when that page was scraped.
    began: HashMap<SeriesId, Millis>,
    last: Millis,
    /// Whether any page was read.
    has_read: bool,
    /// What another process stored last, until a page is read: with or without timestamps of their own; `None` where that is not known.
    inherited: Option<HashSet<SeriesId>>,
}

impl PageReader {
    /// Knows only the reports.
    pub(crate) fn new(namer: &Namer) -> Self {
        let options = namer.options();
        let reports: Vec<_> = reports(options.extra_scrape_metrics)
            .filter_map(|(name, help)| namer.report_series(name, help))
            .collect();
        let stored = Layout::shared(reports.clone());
        Self {
            reports,
            template: None,
            stored,
            timed: Vec::new(),
            tracks_timed: options.track_timestamps_staleness,
            failed: Ledger::default(),
            told: HashSet::new(),
            began: HashMap::new(),
            last: Millis::MIN,
            has_read: false,
            inherited: Some(HashSet::new()),
        }
    }

    /// Reads a page that was scraped at `at`. On `Err` nothing is remembered of it. `None` where the store is to be asked
    /// first whether series are new; then the page is to be read again.
    pub(crate) fn read(
        &mut self,
        page: &[u8],
        format: Format,
        namer: &Namer,
        at: Millis,
        admission: &mut Admission,
    ) -> Result<Option<Scraped>, ScrapeError> {
        self.failed = Ledger::default();
        if let Some(error) = namer.fault() {
            return Err(error);
        }
        let mut source = match Transcript::wanted(format, namer.options()) {
            true => Source::Transcript(Transcript::of(page, format, namer)),
            false => Source::Page(page),
        };
        let scene = Scene { namer, at, told: &self.told };
        let known = self.template.as_ref();
        let followed = known.and_then(|known| Some((known, known.follow(&mut source, format, scene)?)));
        let (template, pass) = match followed {
            Some(followed) => followed,
            None => {
                let stored = || self.stored.ids.iter().copied().chain(ids(&self.timed)).collect();
                let known = Known { template: known, reports: &self.reports, stored: &stored };
                let (new, pass) = study(source, format, scene, &known, admission)?;
                if let Some(failure) = pass.failure {
                    self.failed = pass.ledger;
                    // What is known of a whole page is worth more than what is known of a part.
                    if !pass.incomplete || self.template.as_ref().is_none_or(Template::is_unsettled) {
                        self.template = Some(new);
                    }
                    return Err(failure);
                }
                (&*self.template.insert(new), pass)
            }
        };
        if admission.in_doubt() {
            return Ok(None);
        }
        let layout = template.layout().clone();
        let types = template.types();
        let Pass {
            values, histograms, timed, mut ledger, offenders, exemplars, told, starts, families, ..
        } = pass;
        let starts = self.new_starts(starts, namer, at);
        (self.told, self.last) = (told, at);
        let timed_series: Vec<_> = timed.iter().map(|(series, ..)| series.clone()).collect();
        let (vanished, added) = self.difference(&layout, &timed_series);
        self.stored = layout.clone();
        self.timed = timed_series;
        self.inherited = Some(HashSet::new());
        self.has_read = true;
        ledger.stored = (values.len() + timed.len()) as u64;
        Ok(Some(Scraped {
            layout,
            values,
            histograms,
            timed,
            starts,
            exemplars,
            families,
            vanished,
            ledger,
            types,
            added,
            offenders,
        }))
    }

    /// Zeros for series that began, once for each beginning: one that is not before the sample, or not after the page
    /// before where the series was there already, is none.
    fn new_starts(&mut self, starts: Vec<Start>, namer: &Namer, at: Millis) -> Vec<Timed> {
        let began: HashMap<SeriesId, Millis> =
            starts.iter().map(|start| (start.series.id, start.created)).collect();
        let before = std::mem::replace(&mut self.began, began);
        let is_new = |start: &Start| match before.get(&start.series.id) {
            Some(known) => *known != start.created && start.created > self.last,
            None => self.inherited.as_ref().is_some_and(|known| !known.contains(&start.series.id)),
        };
        let fits = |start: &Start| {
            start.created < start.sampled && check_timestamp(start.created, at, namer.limits()).is_ok()
        };
        let zero = |start: Start| (start.series, start.created, start.nothing);
        starts.into_iter().filter(|start| is_new(start) && fits(start)).map(zero).collect()
    }

    /// What the page held that could be read, but not be stored.
    pub(crate) fn failed(&mut self) -> Ledger {
        std::mem::take(&mut self.failed)
    }

    /// The target could not be scraped: all its series end. What is known of its lines stays.
    pub(crate) fn fail(&mut self) -> (Arc<Layout>, Vec<Arc<Series>>) {
        let layout = Layout::shared(self.reports.clone());
        let (vanished, _) = self.difference(&layout, &[]);
        self.stored = layout.clone();
        if self.tracks_timed {
            self.timed.clear();
        }
        (layout, vanished)
    }

    /// Series of the last scrape, reports and those with timestamps of their own included.
    pub(crate) fn current(&self) -> Vec<Arc<Series>> {
        self.stored.series.iter().chain(&self.timed).cloned().collect()
    }

    /// Whether this reader knows what the target's series are: it has read a page, or took over from one that had.
    pub(crate) fn has_read(&self) -> bool {
        self.has_read
    }

    /// Takes for the last page's what another process stored last.
    pub(crate) fn assume(&mut self, known: &[Arc<Series>]) {
        self.timed.extend_from_slice(known);
        self.inherited = Some(ids(known).collect());
        self.stored = Layout::inline(self.current());
        self.has_read = true;
    }

    /// What another process stored last is not known: no series of the next page is called new.
    pub(crate) fn assume_any(&mut self) {
        self.inherited = None;
    }

    /// Takes over what another reader stored last, so that what this one does not find again is marked as ended.
    pub(crate) fn inherit(&mut self, other: &Self) {
        self.stored = other.stored.clone();
        self.timed = other.timed.clone();
        (self.began, self.last) = (other.began.clone(), other.last);
        self.has_read = other.has_read;
    }

    /// The series of the last page, reports left out.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SeriesId> {
        self.template.iter().flat_map(Template::ids)
    }

    #[cfg(test)]
    pub(crate) fn lines_kept(&self) -> usize {
        self.template.as_ref().map_or(0, Template::lines_kept)
    }

    /// Series that only the last scrape has, reports included; and how many page series only the new one has.
    fn difference(&self, after: &Arc<Layout>, timed: &[Arc<Series>]) -> (Vec<Arc<Series>>, u64) {
        let before = &self.stored;
        if Arc::ptr_eq(before, after) && ids(&self.timed).eq(ids(timed)) {
            return (Vec::new(), 0);
        }
        // Reports are no series of the page.
        let page = |layout: &Layout| layout.ids.len().saturating_sub(self.reports.len());
        let old: HashSet<SeriesId> =
            before.ids.iter().take(page(before)).copied().chain(ids(&self.timed)).collect();
        let found: HashSet<SeriesId> =
            after.ids.iter().take(page(after)).copied().chain(ids(timed)).collect();
        let added = if self.inherited.is_none() { 0 } else { found.difference(&old).count() };
        let mut new: HashSet<SeriesId> = after.ids.iter().copied().collect();
        let ended: &[_] = if self.tracks_timed { &self.timed } else { &[] };
        if self.tracks_timed || self.inherited.as_ref().is_some_and(|known| !known.is_empty()) {
            new.extend(ids(timed));
        }
        let vanished = before.series.iter().chain(ended).filter(|series| !new.contains(&series.id));
        (vanished.cloned().collect(), added as u64)
    }
}

fn ids(series: &[Arc<Series>]) -> impl Iterator<Item = SeriesId> {
    series.iter().map(|series| series.id)
}
