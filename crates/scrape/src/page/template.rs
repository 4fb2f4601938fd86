//! What is kept of a page: the text of its lines up to their values, and what became of each.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use metricsd_codec::exposition::{Format, read_tail};
use metricsd_model::{FailureReason, Layout, Refusal, Series, SeriesId, TypeCounts};

use super::Source;
use super::item::{Example, Item};
use super::pass::{Pass, Scene};
use super::transcript::Transcript;
use crate::naming::Verdict;
use crate::report::REPORTS;

/// How far behind the expected line a line is looked for before an index of all lines is made.
const LOOK_AHEAD: usize = 4;

/// Lines that are not stored and are named to people.
const MAX_OFFENDERS: usize = 3;

/// Characters of such a line that are shown.
pub(super) const MAX_SHOWN: usize = 120;

/// One page as it is expected to come again, values left out.
pub(super) struct Template {
    format: Format,
    /// Hash of the page's metadata: when it changes, types and help are read anew.
    metadata: u64,
    /// For each sample: what stands before it (metadata, comments, mostly nothing), its series, one byte after that.
    /// What follows the last sample stands at the end.
    text: Box<[u8]>,
    lines: Box<[Line]>,
    /// The page's columns, then those of the reports.
    layout: Arc<Layout>,
    page_columns: usize,
    types: TypeCounts,
    /// Series without a column.
    others: Vec<Arc<Series>>,
    /// Whether the page is to be studied again even if it comes again: a line waits to be admitted, or the page failed.
    unsettled: bool,
    /// Some of the lines that are not stored, for people: each with its reason.
    offenders: Arc<[String]>,
}

struct Line {
    /// Where the series stands in the text.
    start: u32,
    end: u32,
    slot: Slot,
}

/// What becomes of a line's sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// It goes into the next column, which has this number.
    Column(u32),
    /// It brings its own timestamp; one of the others.
    Timed(u32),
    /// It repeats a series; one of the others.
    Repeated(u32),
    /// Its source may have no more series for now; one of the others.
    Waiting(u32),
    /// It is beyond the target's `sample_limit`; one of the others.
    Cut(u32),
    /// It was a histogram that cannot be stored; one of the others.
    Faulty(u32),
    /// A filter or a rule drops it.
    Dropped,
    /// It cannot be stored.
    Refused(Refusal),
    /// The page fails because of it.
    Failed(Refusal, FailureReason),
}

impl Slot {
    /// Whether a sample can be treated as this says.
    fn fits(self, item: &Item<'_>, scene: Scene<'_>) -> bool {
        let is_timed = scene.honored(item.timestamp).is_some();
        let is_faulty = item.native.as_deref().is_some_and(Result::is_err);
        match self {
            Self::Column(_) | Self::Repeated(_) => !is_timed && !is_faulty,
            Self::Timed(_) => is_timed && !is_faulty,
            Self::Faulty(_) => is_faulty,
            Self::Dropped | Self::Refused(_) | Self::Cut(_) => true,
            Self::Waiting(_) | Self::Failed(..) => false,
        }
    }
}

impl Template {
    /// Reads a page that has exactly the lines of this one; `None` where it has others, or a fault.
    pub(super) fn follow(&self, source: &mut Source<'_>, format: Format, scene: Scene<'_>) -> Option<Pass> {
        if format != self.format || self.unsettled || source.is_damaged() {
            return None;
        }
        let mut pass = Pass {
            values: Vec::with_capacity(self.layout.ids.len()),
            offenders: self.offenders.clone(),
            ..Pass::default()
        };
        match source {
            Source::Page(page) => self.follow_text(page, scene, &mut pass)?,
            Source::Transcript(transcript) => self.follow_transcript(transcript, scene, &mut pass)?,
        }
        pass.ledger.received = self.lines.len() as u64;
        Some(pass)
    }

    fn follow_text(&self, page: &[u8], scene: Scene<'_>, pass: &mut Pass) -> Option<()> {
        let (mut here, mut from) = (0, 0);
        for line in &self.lines {
            // The byte after the series tells that it ends there.
            let to = line.end as usize + 1;
            let expected = self.text.get(from..to)?;
            let after = here + expected.len();
            if page.get(here..after)? != expected {
                return None;
            }
            let tail = read_tail(page, after - 1, self.format)?;
            (here, from) = (tail.next, to);
            let mut item = Item::float(tail.value, tail.timestamp);
            if let Some(exemplar) = tail.exemplar {
                item.examples.push(Example::Text(exemplar));
            }
            self.take(line.slot, item, scene, pass)?;
        }
        (page.get(here..)? == self.text.get(from..)?).then_some(())
    }

    fn follow_transcript(
        &self,
        transcript: &mut Transcript<'_>,
        scene: Scene<'_>,
        pass: &mut Pass,
    ) -> Option<()> {
        if *transcript.text.as_bytes() != *self.text
            || transcript.items.len() != self.lines.len()
            || transcript.metadata() != self.metadata
        {
            return None;
        }
        // What is in doubt is left to be studied as a whole.
        let settled = self.lines.iter().zip(&transcript.items);
        if !settled.into_iter().all(|(line, (_, item))| line.slot.fits(item, scene)) {
            return None;
        }
        for (line, (_, item)) in self.lines.iter().zip(&mut transcript.items) {
            self.take(line.slot, std::mem::take(item), scene, pass)?;
        }
        Some(())
    }

    /// Does with a sample what was done with it before; `None` where that is not right any more.
    #[inline]
    fn take(&self, slot: Slot, item: Item<'_>, scene: Scene<'_>, pass: &mut Pass) -> Option<()> {
        match (slot, scene.honored(item.timestamp)) {
            (Slot::Column(column), None) => {
                let series = self.layout.series.get(column as usize)?;
                pass.column(scene, series, item).ok()?;
            }
            (Slot::Repeated(_), None) => pass.ledger.refuse(Refusal::Duplicate),
            (Slot::Timed(other), Some(timestamp)) => {
                pass.timed(scene, self.others.get(other as usize)?, timestamp, item).ok()?;
            }
            (Slot::Dropped, _) => pass.ledger.dropped += 1,
            (Slot::Refused(reason), _) => pass.ledger.refuse(reason),
            (Slot::Cut(_), _) => pass.ledger.refuse(Refusal::SampleLimit),
            (Slot::Faulty(_), _) => pass.ledger.refuse(Refusal::InvalidValue),
            // A timestamp came or went, and the columns are others.
            (Slot::Column(_) | Slot::Repeated(_) | Slot::Timed(_), _) => return None,
            (Slot::Waiting(_) | Slot::Failed(..), _) => return None,
        }
        Some(())
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Some of the lines that are not stored.
    pub(super) fn offenders(&self) -> &Arc<[String]> {
        &self.offenders
    }

    /// Samples with columns, by type.
    pub(super) fn types(&self) -> TypeCounts {
        self.types
    }

    pub(super) fn metadata(&self) -> u64 {
        self.metadata
    }

    /// Whether the page is to be studied again even if it comes again.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// The page's series that are stored.
    pub(super) fn ids(&self) -> impl Iterator<Item = SeriesId> {
        let timed = self.lines.iter().filter_map(|line| match line.slot {
            Slot::Timed(other) => self.others.get(other as usize).map(|series| series.id),
            _ => None,
        });
        self.layout.ids.iter().take(self.page_columns).copied().chain(timed)
    }

    #[cfg(test)]
    pub(super) fn lines_kept(&self) -> usize {
        self.lines.len()
    }

    fn series_text(&self, line: &Line) -> &[u8] {
        self.text.get(line.start as usize..line.end as usize).unwrap_or_default()
    }

    fn verdict(&self, line: &Line) -> Option<Verdict> {
        let other = |other: u32| self.others.get(other as usize).cloned();
        Some(match line.slot {
            Slot::Column(column) => Verdict::Keep(self.layout.series.get(column as usize)?.clone()),
            Slot::Timed(series) | Slot::Repeated(series) => Verdict::Keep(other(series)?),
            Slot::Waiting(series) | Slot::Cut(series) | Slot::Faulty(series) => Verdict::Wait(other(series)?),
            Slot::Dropped => Verdict::Drop,
            Slot::Refused(reason) => Verdict::Refuse(reason),
            Slot::Failed(reason, fatal) => Verdict::Fail(reason, fatal),
        })
    }
}

/// Looks up lines of a template in the order of another page, which mostly is the same.
pub(super) struct Lookup<'t> {
    template: &'t Template,
    /// The line that is expected next.
    next: usize,
    index: Option<HashMap<&'t [u8], usize>>,
}

impl<'t> Lookup<'t> {
    pub(super) fn new(template: &'t Template) -> Self {
        Self { template, next: 0, index: None }
    }

    /// What became of this series the last time.
    pub(super) fn find(&mut self, series: &str) -> Option<Verdict> {
        let lines = &self.template.lines;
        let is = |line: &&Line| self.template.series_text(line) == series.as_bytes();
        let near = lines.iter().skip(self.next).take(LOOK_AHEAD).position(|line| is(&line));
        let found = match near {
            Some(ahead) => self.next + ahead,
            None => *self.index().get(series.as_bytes())?,
        };
        self.next = found + 1;
        self.template.verdict(lines.get(found)?)
    }

    fn index(&mut self) -> &HashMap<&'t [u8], usize> {
        let template = self.template;
        self.index.get_or_insert_with(|| {
            let texts = template.lines.iter().map(|line| template.series_text(line));
            texts.zip(0..).collect()
        })
    }
}

/// Makes a template of a page, line by line.
pub(super) struct TemplateBuilder {
    text: Vec<u8>,
    lines: Vec<Line>,
    others: Vec<Arc<Series>>,
    columns: Vec<Arc<Series>>,
    types: TypeCounts,
    unsettled: bool,
    offenders: Vec<String>,
}

impl TemplateBuilder {
    pub(super) fn with_capacity(lines: usize, page: &[u8]) -> Self {
        Self {
            text: Vec::with_capacity(page.len()),
            lines: Vec::with_capacity(lines),
            others: Vec::new(),
            columns: Vec::with_capacity(lines + REPORTS.len()),
            types: TypeCounts::default(),
            unsettled: false,
            offenders: Vec::new(),
        }
    }

    /// Copies what is compared of one line: from where the line before ended to one byte after the series. The slot is
    /// still to be set by what follows.
    pub(super) fn line(&mut self, page: &[u8], from: usize, series: Range<usize>) {
        self.text.extend_from_slice(page.get(from..=series.end).unwrap_or_default());
        // Pages beyond four gigabytes are refused before.
        let end = self.text.len().saturating_sub(1) as u32;
        let start = end.saturating_sub(series.len() as u32);
        self.lines.push(Line { start, end, slot: Slot::Dropped });
    }

    /// The line's sample gets a column.
    pub(super) fn column(&mut self, series: Arc<Series>) {
        self.set(Slot::Column(self.columns.len() as u32));
        self.types.add(series.metric_type);
        self.columns.push(series);
    }

    /// The line's sample has its own timestamp.
    pub(super) fn timed(&mut self, series: Arc<Series>) {
        let other = self.other(series);
        self.set(Slot::Timed(other));
    }

    /// The line's series has a column already.
    pub(super) fn repeated(&mut self, series: Arc<Series>) {
        let other = self.other(series);
        self.set(Slot::Repeated(other));
    }

    /// The line's series is not admitted yet.
    pub(super) fn waiting(&mut self, series: Arc<Series>) {
        let other = self.other(series);
        self.set(Slot::Waiting(other));
        self.unsettled = true;
    }

    /// The line is beyond the target's `sample_limit`.
    pub(super) fn cut(&mut self, series: Arc<Series>) {
        let other = self.other(series);
        self.set(Slot::Cut(other));
    }

    /// The line's histogram cannot be stored.
    pub(super) fn faulty(&mut self, series: Arc<Series>) {
        let other = self.other(series);
        self.set(Slot::Faulty(other));
    }

    /// The page fails because of the line.
    pub(super) fn failed(&mut self, reason: Refusal, fatal: FailureReason) {
        self.set(Slot::Failed(reason, fatal));
    }

    /// The page is to be studied again even if it comes again.
    pub(super) fn unsettled(&mut self) {
        self.unsettled = true;
    }

    /// Whether another line that is not stored would be named.
    pub(super) fn names_more(&self) -> bool {
        self.offenders.len() < MAX_OFFENDERS
    }

    /// Names a line that is not stored, and says why.
    pub(super) fn offender(&mut self, raw: &str, why: &str) {
        let shown: String = raw.chars().take(MAX_SHOWN).collect();
        let more = if shown.len() < raw.len() { "…" } else { "" };
        self.offenders.push(format!("{shown}{more}: {why}"));
    }

    /// The line's sample cannot be stored.
    pub(super) fn refused(&mut self, reason: Refusal) {
        self.set(Slot::Refused(reason));
    }

    fn set(&mut self, slot: Slot) {
        if let Some(line) = self.lines.last_mut() {
            line.slot = slot;
        }
    }

    fn other(&mut self, series: Arc<Series>) -> u32 {
        self.others.push(series);
        self.others.len() as u32 - 1
    }

    /// Adds what follows the last line, and the reports. A layout of the very same series is taken over.
    pub(super) fn finish(
        mut self,
        rest: &[u8],
        (format, metadata): (Format, u64),
        reports: &[Arc<Series>],
        before: Option<&Arc<Layout>>,
    ) -> Template {
        self.text.extend_from_slice(rest);
        let page_columns = self.columns.len();
        self.columns.extend_from_slice(reports);
        let same = |layout: &&Arc<Layout>| {
            layout.series.len() == self.columns.len()
                && layout.series.iter().zip(&self.columns).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let layout = match before.filter(same) {
            Some(layout) => layout.clone(),
            None => {
                self.columns.shrink_to_fit();
                Layout::shared(self.columns)
            }
        };
        self.others.shrink_to_fit();
        Template {
            format,
            metadata,
            text: self.text.into_boxed_slice(),
            lines: self.lines.into_boxed_slice(),
            layout,
            page_columns,
            types: self.types,
            others: self.others,
            unsettled: self.unsettled,
            offenders: self.offenders.into(),
        }
    }
}
