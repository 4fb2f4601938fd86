//! Reads one page into columns. What is known from the page before costs a comparison of bytes for each line.

use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::sync::Arc;

use metricsd_codec::exposition::{Entry, Families, Format, Parser, SampleLine};
use metricsd_ingest::builder::plain_float;
use metricsd_ingest::validate::check_timestamp;
use metricsd_ingest::{Acquaintance, Admission};
use metricsd_model::{FailureReason, Layout, Ledger, Millis, Refusal, Series, SeriesId, TypeCounts};
use xxhash_rust::xxh3::Xxh3;

use crate::client::ScrapeError;
use crate::naming::{Namer, Verdict};
use crate::report::REPORTS;

/// What one page held.
pub(crate) struct Scraped {
    /// Samples at the scrape's own time: a column each, followed by a column for each report.
    pub(crate) layout: Arc<Layout>,
    /// One a page column of `layout`; the reports' values are still to come.
    pub(crate) values: Vec<f64>,
    /// Samples that brought their own timestamp.
    pub(crate) timed: Vec<(Arc<Series>, Millis, f64)>,
    /// Series of the page before that this one does not have.
    pub(crate) vanished: Vec<Arc<Series>>,
    /// What became of the page's samples.
    pub(crate) ledger: Ledger,
    /// Samples in `values` by type.
    pub(crate) types: TypeCounts,
    /// Series that the page before did not have.
    pub(crate) added: u64,
}

/// What a target's last page looked like.
pub(crate) struct PageReader {
    lines: Vec<Line>,
    known: HashMap<Box<str>, u32>,
    /// Lines of the last page, in its order.
    order: Vec<u32>,
    /// Hash of the last page's metadata: when it changes, types and help are read anew.
    metadata: u64,
    shape: Shape,
    /// Series of the last page that brought their own timestamps: they end with the target, not with the page.
    timed: Vec<Arc<Series>>,
    /// Whether any page was read.
    has_read: bool,
}

struct Line {
    raw: Box<str>,
    verdict: Verdict,
}

/// How the lines of a page become columns; found anew only when the page's series change.
struct Shape {
    /// Lines that are stored at the scrape's time, in order.
    sequence: Vec<u32>,
    /// Which of them are columns; absent where all are. The others repeat a series.
    columns: Option<Vec<u32>>,
    layout: Arc<Layout>,
    types: TypeCounts,
}

/// What one pass over a page gathers.
#[derive(Default)]
struct Pass {
    order: Vec<u32>,
    sequence: Vec<u32>,
    values: Vec<f64>,
    timed: Vec<(u32, Millis, f64)>,
    ledger: Ledger,
    metadata: u64,
    missed: bool,
}

impl PageReader {
    /// Knows only the reports.
    pub(crate) fn new(namer: &Namer) -> Self {
        let shape = Shape {
            sequence: Vec::new(),
            columns: None,
            layout: Layout::shared(reports(namer)),
            types: TypeCounts::default(),
        };
        Self {
            lines: Vec::new(),
            known: HashMap::new(),
            order: Vec::new(),
            metadata: 0,
            shape,
            timed: Vec::new(),
            has_read: false,
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
        let mut pass = self.pass(page, format, namer, at, admission)?;
        if pass.metadata != self.metadata && !self.order.is_empty() {
            self.lines.clear();
            self.known.clear();
            pass = self.pass(page, format, namer, at, admission)?;
        }
        if admission.in_doubt() {
            return Ok(None);
        }
        self.metadata = pass.metadata;
        let before = self.shape.layout.clone();
        let mut ledger = pass.ledger;
        if pass.missed || pass.sequence != self.shape.sequence || self.order.is_empty() {
            self.shape = self.reshape(std::mem::take(&mut pass.sequence), namer);
        }
        let (vanished, added) = difference(&before, &self.shape.layout);
        let values = self.shape.pick(pass.values, &mut ledger);
        let types = self.shape.types;
        let timed: Vec<_> = pass
            .timed
            .into_iter()
            .filter_map(|(line, timestamp, value)| match &self.lines[line as usize].verdict {
                Verdict::Keep(series) => Some((series.clone(), timestamp, value)),
                _ => None,
            })
            .collect();
        self.timed = timed.iter().map(|(series, ..)| series.clone()).collect();
        self.has_read = true;
        ledger.stored = (values.len() + timed.len()) as u64;
        self.order = pass.order;
        self.forget_old_lines();
        let layout = self.shape.layout.clone();
        Ok(Some(Scraped { layout, values, timed, vanished, ledger, types, added }))
    }

    /// The target could not be scraped: all its series end. What is known of its lines stays.
    pub(crate) fn fail(&mut self, namer: &Namer) -> (Arc<Layout>, Vec<Arc<Series>>) {
        let before = self.shape.layout.clone();
        let sequence = Vec::new();
        let layout = Layout::shared(reports(namer));
        self.shape = Shape { sequence, columns: None, layout, types: TypeCounts::default() };
        let (vanished, _) = difference(&before, &self.shape.layout);
        self.forget_old_lines();
        (self.shape.layout.clone(), vanished)
    }

    /// Series of the last scrape, reports and those with timestamps of their own included.
    pub(crate) fn current(&self) -> Vec<Arc<Series>> {
        self.shape.layout.series.iter().chain(&self.timed).cloned().collect()
    }

    /// Whether this reader knows what the target's series are: it has read a page, or took over from one that had.
    pub(crate) fn has_read(&self) -> bool {
        self.has_read
    }

    /// Takes for the last page's what another process stored last.
    pub(crate) fn assume(&mut self, known: &[Arc<Series>]) {
        self.timed.extend_from_slice(known);
        self.shape.layout = Layout::inline(self.current());
        self.has_read = true;
    }

    /// Takes over what another reader stored last, so that what this one does not find again is marked as ended.
    pub(crate) fn inherit(&mut self, other: &Self) {
        self.shape.layout = other.shape.layout.clone();
        self.timed = other.timed.clone();
        self.has_read = other.has_read;
    }

    #[cfg(test)]
    pub(crate) fn lines_kept(&self) -> usize {
        self.lines.len()
    }

    fn pass(
        &mut self,
        page: &[u8],
        format: Format,
        namer: &Namer,
        at: Millis,
        admission: &mut Admission,
    ) -> Result<Pass, ScrapeError> {
        let mut pass = Pass::default();
        let mut families = Families::new(format);
        let mut metadata = Xxh3::new();
        let mut parser = Parser::new(page, format);
        let limit = namer.limits().max_scrape_samples;
        loop {
            let entry =
                parser.next_entry().map_err(|e| ScrapeError::new(FailureReason::Parse, e.to_string()))?;
            match entry {
                None => break,
                Some(Entry::Sample(sample)) if pass.order.len() < limit => {
                    let line = self.find(sample.series, &mut pass, &mut families, namer);
                    if let Verdict::Wait(_) = self.lines[line as usize].verdict {
                        self.ask(line, admission, &mut pass);
                    }
                    self.sample(&sample, line, &mut pass, namer, at);
                }
                Some(Entry::Sample(_)) => {
                    let message =
                        format!("the page has more than {limit} samples (limits.max_scrape_samples)");
                    return Err(ScrapeError::new(FailureReason::Limit, message));
                }
                Some(entry) => {
                    hash_metadata(&mut metadata, &entry);
                    families.observe(&entry);
                }
            }
        }
        pass.metadata = metadata.finish();
        Ok(pass)
    }

    #[inline]
    fn sample(&mut self, sample: &SampleLine<'_>, line: u32, pass: &mut Pass, namer: &Namer, at: Millis) {
        pass.order.push(line);
        pass.ledger.received += 1;
        match &self.lines[line as usize].verdict {
            // Counted where it was asked for.
            Verdict::Wait(_) => {}
            Verdict::Drop => pass.ledger.dropped += 1,
            Verdict::Refuse(reason) => pass.ledger.refuse(*reason),
            Verdict::Keep(_) => {
                match sample.timestamp.filter(|_| namer.spec().scrape_config.honor_timestamps) {
                    None => {
                        pass.sequence.push(line);
                        pass.values.push(plain_float(sample.value));
                    }
                    Some(timestamp) => match check_timestamp(timestamp, at, namer.limits()) {
                        Ok(()) => pass.timed.push((line, timestamp, sample.value)),
                        Err(fault) => pass.ledger.refuse(fault.reason),
                    },
                }
            }
        }
    }

    /// The line's number: usually that of the line which stood at this place last time.
    #[inline]
    fn find<'a>(&mut self, raw: &str, pass: &mut Pass, families: &mut Families<'a>, namer: &Namer) -> u32 {
        if let Some(expected) = self.order.get(pass.order.len())
            && self.lines.get(*expected as usize).is_some_and(|line| &*line.raw == raw)
        {
            return *expected;
        }
        if let Some(line) = self.known.get(raw) {
            return *line;
        }
        pass.missed = true;
        let line = self.lines.len() as u32;
        self.lines.push(Line { raw: raw.into(), verdict: namer.name(raw, families) });
        self.known.insert(raw.into(), line);
        line
    }

    /// Asks whether a series may come that waits.
    #[cold]
    fn ask(&mut self, line: u32, admission: &mut Admission, pass: &mut Pass) {
        let Some(line) = self.lines.get_mut(line as usize) else { return };
        let Verdict::Wait(series) = &line.verdict else { return };
        match admission.admit(series.id, Acquaintance::New) {
            Ok(()) => {
                line.verdict = Verdict::Keep(series.clone());
                pass.missed = true;
            }
            Err(reason) => pass.ledger.refuse(reason),
        }
    }

    /// The series of the last page, reports left out.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SeriesId> {
        self.order.iter().filter_map(|line| match &self.lines.get(*line as usize)?.verdict {
            Verdict::Keep(series) => Some(series.id),
            _ => None,
        })
    }

    fn reshape(&self, sequence: Vec<u32>, namer: &Namer) -> Shape {
        let reports = reports(namer);
        let mut taken: HashSet<SeriesId> = reports.iter().map(|series| series.id).collect();
        let mut series = Vec::with_capacity(sequence.len() + reports.len());
        let mut columns = Vec::with_capacity(sequence.len());
        let mut types = TypeCounts::default();
        for (place, line) in sequence.iter().enumerate() {
            if let Verdict::Keep(kept) = &self.lines[*line as usize].verdict
                && taken.insert(kept.id)
            {
                types.add(kept.metric_type);
                columns.push(place as u32);
                series.push(kept.clone());
            }
        }
        series.extend(reports);
        let columns = (columns.len() < sequence.len()).then_some(columns);
        Shape { sequence, columns, layout: Layout::shared(series), types }
    }

    /// Lines of pages long gone must not add up.
    fn forget_old_lines(&mut self) {
        if self.lines.len() <= 2 * self.order.len() + 1_000 {
            return;
        }
        let mut moved: HashMap<u32, u32> = HashMap::new();
        let mut kept = Vec::with_capacity(self.order.len());
        for line in self.order.iter().chain(&self.shape.sequence) {
            moved.entry(*line).or_insert_with(|| {
                let Line { raw, verdict } = &self.lines[*line as usize];
                kept.push(Line { raw: raw.clone(), verdict: verdict.clone() });
                kept.len() as u32 - 1
            });
        }
        for line in self.order.iter_mut().chain(&mut self.shape.sequence) {
            *line = moved[line];
        }
        self.known = kept.iter().enumerate().map(|(at, line)| (line.raw.clone(), at as u32)).collect();
        self.lines = kept;
    }
}

impl Shape {
    /// The values of the columns; repeated series are refused, the first of each wins.
    fn pick(&self, values: Vec<f64>, ledger: &mut Ledger) -> Vec<f64> {
        let Some(columns) = &self.columns else {
            return values;
        };
        *ledger.refused.entry(Refusal::Duplicate).or_default() += (values.len() - columns.len()) as u64;
        columns.iter().map(|place| values[*place as usize]).collect()
    }
}

fn reports(namer: &Namer) -> Vec<Arc<Series>> {
    REPORTS.iter().filter_map(|(name, help)| namer.report_series(name, help)).collect()
}

fn page_columns(layout: &Layout) -> &[Arc<Series>] {
    &layout.series[..layout.series.len().saturating_sub(REPORTS.len())]
}

/// Series that only the first has, reports included; and how many page series only the second has.
fn difference(before: &Arc<Layout>, after: &Arc<Layout>) -> (Vec<Arc<Series>>, u64) {
    if Arc::ptr_eq(before, after) {
        return (Vec::new(), 0);
    }
    let ids = |layout: &Layout| layout.ids.iter().copied().collect::<HashSet<SeriesId>>();
    let (old, new) = (ids(before), ids(after));
    let vanished = before.series.iter().filter(|series| !new.contains(&series.id)).cloned().collect();
    let added = page_columns(after).iter().filter(|series| !old.contains(&series.id)).count();
    (vanished, added as u64)
}

fn hash_metadata(hasher: &mut Xxh3, entry: &Entry<'_>) {
    let mut write = |kind: u8, name: &str, text: &str| {
        hasher.update(&[kind]);
        hasher.update(name.as_bytes());
        hasher.update(&[0xff]);
        hasher.update(text.as_bytes());
    };
    match entry {
        Entry::Help { name, text } => write(1, name, text),
        Entry::Type { name, kind } => write(2, name, kind.metric_type().as_str()),
        Entry::Unit { name, unit } => write(3, name, unit),
        Entry::Sample(_) => {}
    }
}
