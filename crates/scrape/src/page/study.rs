//! A page that is not as expected, line by line: known series are looked up by their text, others are named.

use std::collections::HashSet;
use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use metricsd_codec::exposition::{
    Entry, Families, FamilyInfo, Format, MetricKind, Parser, SeriesText, parse_series, unescape_help,
};
use metricsd_ingest::validate::check_metric_name;
use metricsd_ingest::{Acquaintance, Admission};
use metricsd_model::{FailureReason, FamilyMetadata, OnLimit, Refusal, Series, SeriesId};
use xxhash_rust::xxh3::Xxh3;

use super::Source;
use super::item::{Example, Item};
use super::pass::{Pass, Scene};
use super::template::{Lookup, MAX_SHOWN, Template, TemplateBuilder};
use super::transcript::Transcript;
use crate::client::ScrapeError;
use crate::naming::{LineFault, Verdict};

/// What is known when a page is studied.
pub(super) struct Known<'k> {
    /// The template of the page before.
    pub(super) template: Option<&'k Template>,
    /// The series of the reports.
    pub(super) reports: &'k [Arc<Series>],
    /// Gathers the series that were stored last; only asked where not all can be.
    pub(super) stored: &'k dyn Fn() -> HashSet<SeriesId>,
}

/// Reads a page, and makes a template of it.
pub(super) fn study(
    mut source: Source<'_>,
    format: Format,
    scene: Scene<'_>,
    known: &Known<'_>,
    admission: &mut Admission,
) -> Result<(Template, Pass), ScrapeError> {
    let listed = match &mut source {
        Source::Page(_) => Vec::new(),
        Source::Transcript(transcript) => std::mem::take(&mut transcript.items),
    };
    let mut survey = match &source {
        Source::Page(page) => Survey::of(page, format, scene.namer.limits().max_scrape_samples),
        Source::Transcript(transcript) => Survey::of_transcript(transcript, listed),
    };
    let fault = survey.fault.take();
    // Of a page that stops to read somewhere it is told what it held up to there; one that is too much is left.
    if let Some(fault) = fault.clone().filter(|fault| fault.reason != FailureReason::Parse) {
        return Err(fault);
    }
    let incomplete = fault.is_some();
    let page = survey.text;
    let described = (format, survey.metadata);
    // What the page says of its families decides over types and help.
    let same = known.template.filter(|known| known.metadata() == survey.metadata);
    let samples = std::mem::take(&mut survey.samples);
    let particular = survey.families.all().any(|(family, info)| is_particular(family, info));
    let mut student = Student {
        survey,
        particular,
        described: HashSet::new(),
        scene,
        admission,
        lookup: same.map(Lookup::new),
        taken: known.reports.iter().map(|series| series.id).collect(),
        builder: TemplateBuilder::with_capacity(samples.len(), page),
        pass: Pass {
            values: Vec::with_capacity(samples.len() + known.reports.len()),
            incomplete,
            ..Pass::default()
        },
    };
    let verdicts: Vec<Verdict> = samples.iter().map(|sample| student.verdict(sample.raw(page))).collect();
    student.pass.failure = fault.or_else(|| student.failure(page, &samples, &verdicts));
    if student.pass.failure.is_some() {
        student.builder.unsettled();
    }
    let cut = student.cut(&verdicts, known.stored);
    let mut from = 0;
    student.pass.ledger.received = samples.len() as u64;
    for (index, (sample, verdict)) in samples.into_iter().zip(verdicts).enumerate() {
        student.builder.line(page, from, sample.series.clone());
        from = sample.next;
        match student.pass.failure.is_some() {
            true => student.fail(verdict),
            false => student.sample(sample.raw(page), sample.item, verdict, cut.contains(&index)),
        }
    }
    let rest = page.get(from..).filter(|_| !incomplete).unwrap_or_default();
    let before = known.template.map(Template::layout);
    let template = student.builder.finish(rest, described, known.reports, before);
    student.pass.offenders = template.offenders().clone();
    Ok((template, student.pass))
}

/// A line with a value, by its place in the page.
struct Sample<'p> {
    series: Range<usize>,
    /// Where the next line starts.
    next: usize,
    item: Item<'p>,
}

impl Sample<'_> {
    /// The text of its series; the survey found it to be text.
    fn raw<'t>(&self, page: &'t [u8]) -> &'t str {
        page.get(self.series.clone()).and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or("")
    }
}

/// What a page says, before anything is named.
struct Survey<'p> {
    /// The page, or the list of its series.
    text: &'p [u8],
    samples: Vec<Sample<'p>>,
    families: Families<'p>,
    metadata: u64,
    /// Why the page is not read to its end, where it is not.
    fault: Option<ScrapeError>,
}

impl<'p> Survey<'p> {
    fn of(page: &'p [u8], format: Format, limit: usize) -> Self {
        let families = Families::new(format);
        let mut survey = Self { text: page, samples: Vec::new(), families, metadata: 0, fault: None };
        survey.fault = survey.read(page, format, limit).err();
        survey
    }

    fn read(&mut self, page: &'p [u8], format: Format, limit: usize) -> Result<(), ScrapeError> {
        if u32::try_from(page.len()).is_err() {
            let message = "a page of four gigabytes and more is not read";
            return Err(ScrapeError::new(FailureReason::TooLarge, message));
        }
        let mut metadata = Xxh3::new();
        let mut parser = Parser::new(page, format);
        while let Some(entry) =
            parser.next_entry().map_err(|e| ScrapeError::new(FailureReason::Parse, e.to_string()))?
        {
            let Entry::Sample(sample) = entry else {
                hash_metadata(&mut metadata, &entry);
                self.families.observe(&entry);
                continue;
            };
            if self.samples.len() == limit {
                let message = format!("the page has more than {limit} samples (limits.max_scrape_samples)");
                return Err(ScrapeError::new(FailureReason::Limit, message));
            }
            let start = sample.series.as_ptr().addr() - page.as_ptr().addr();
            let series = start..start + sample.series.len();
            let mut item = Item::float(sample.value, sample.timestamp);
            item.examples.extend(sample.exemplar.map(Example::Text));
            self.samples.push(Sample { next: line_end(page, series.end), series, item });
        }
        self.metadata = metadata.finish();
        Ok(())
    }

    /// Of a list of series, and what each brings.
    fn of_transcript(transcript: &'p Transcript<'p>, listed: Vec<(u32, Item<'p>)>) -> Self {
        let mut start = 0;
        let samples = listed.into_iter().map(|(end, item)| {
            let series = start..end as usize;
            start = series.end + 1;
            Sample { next: start, series, item }
        });
        Self {
            text: transcript.text.as_bytes(),
            samples: samples.collect(),
            families: transcript.families(),
            metadata: transcript.metadata(),
            fault: transcript.fault.clone(),
        }
    }
}

fn line_end(page: &[u8], at: usize) -> usize {
    let rest = page.get(at..).unwrap_or_default();
    rest.iter().position(|byte| *byte == b'\n').map_or(page.len(), |length| at + length + 1)
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
        Entry::Type { name, kind } => write(2, name, kind.family_type().as_str()),
        Entry::Unit { name, unit } => write(3, name, unit),
        Entry::Sample(_) => {}
    }
}

/// Goes through the samples of one page.
struct Student<'s, 'p> {
    survey: Survey<'p>,
    scene: Scene<'s>,
    admission: &'s mut Admission,
    lookup: Option<Lookup<'s>>,
    /// Series that have a column.
    taken: HashSet<SeriesId>,
    builder: TemplateBuilder,
    pass: Pass,
    /// Whether the page says of some family what its series do not say.
    particular: bool,
    /// Families of which it was noted.
    described: HashSet<String>,
}

/// Whether a family is more than its series tell: they know no types but five, and their own names.
fn is_particular(family: &str, info: &FamilyInfo<'_>) -> bool {
    let said = info.help.is_some() || info.unit.is_some();
    match info.kind {
        MetricKind::Info | MetricKind::StateSet | MetricKind::GaugeHistogram => true,
        MetricKind::Counter => !family.ends_with("_total"),
        MetricKind::Unknown => !said,
        MetricKind::Gauge | MetricKind::Histogram | MetricKind::Summary => false,
    }
}

impl Student<'_, '_> {
    fn verdict(&mut self, raw: &str) -> Verdict {
        let known = self.lookup.as_mut().and_then(|lookup| lookup.find(raw));
        known.unwrap_or_else(|| self.scene.namer.name(raw, &mut self.survey.families))
    }

    /// Why the page is not stored at all, where that is so.
    fn failure(&mut self, page: &[u8], samples: &[Sample<'_>], verdicts: &[Verdict]) -> Option<ScrapeError> {
        let options = self.scene.namer.options();
        let fatal = samples.iter().zip(verdicts).find_map(|(sample, verdict)| match verdict {
            Verdict::Fail(reason, fatal) => Some((sample.raw(page), *reason, *fatal)),
            _ => None,
        });
        if let Some((raw, reason, fatal)) = fatal {
            let shown: String = raw.chars().take(MAX_SHOWN).collect();
            return Some(ScrapeError::new(fatal, format!("{shown}: {}", self.why(raw, reason))));
        }
        if let Some(failure) =
            samples.iter().zip(verdicts).find_map(|(sample, verdict)| fatal_histogram(sample, verdict, page))
        {
            return Some(failure);
        }
        let kept = verdicts.iter().filter(|verdict| !matches!(verdict, Verdict::Drop)).count();
        let (limit, rejects) = (options.sample_limit, options.on_limit == OnLimit::Reject);
        if !rejects || limit == 0 || kept as u64 <= limit {
            return None;
        }
        let message = format!("the page has {kept} samples after relabelling, and sample_limit is {limit}");
        Some(ScrapeError::new(FailureReason::Limit, message))
    }

    /// Lines beyond the target's `sample_limit`: known series go first, then those that stand first.
    fn cut(&self, verdicts: &[Verdict], stored: &dyn Fn() -> HashSet<SeriesId>) -> HashSet<usize> {
        let limit = self.scene.namer.options().sample_limit;
        let series = |(index, verdict): (usize, &Verdict)| match verdict {
            Verdict::Keep(series) | Verdict::Wait(series) => Some((index, series.id)),
            _ => None,
        };
        let kept = || verdicts.iter().enumerate().filter_map(series);
        if self.pass.failure.is_some() || limit == 0 || kept().count() as u64 <= limit {
            return HashSet::new();
        }
        let stored = stored();
        let (known, new): (Vec<_>, Vec<_>) = kept().partition(|(_, id)| stored.contains(id));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        known.into_iter().chain(new).skip(limit).map(|(index, _)| index).collect()
    }

    /// A line of a page that is not stored: what is known of it is kept for the next page.
    fn fail(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Drop => self.pass.ledger.dropped += 1,
            Verdict::Refuse(reason) => self.builder.refused(reason),
            Verdict::Fail(reason, fatal) => self.builder.failed(reason, fatal),
            Verdict::Keep(series) | Verdict::Wait(series) => self.builder.waiting(series),
        }
    }

    fn sample(&mut self, raw: &str, item: Item<'_>, verdict: Verdict, cut: bool) {
        match verdict {
            Verdict::Drop => self.pass.ledger.dropped += 1,
            Verdict::Refuse(reason) | Verdict::Fail(reason, _) => {
                self.builder.refused(reason);
                self.refuse(raw, reason);
            }
            Verdict::Keep(series) | Verdict::Wait(series) if cut => {
                self.builder.cut(series);
                self.refuse(raw, Refusal::SampleLimit);
            }
            Verdict::Keep(series) => self.keep(raw, series, item),
            Verdict::Wait(series) => match self.admission.admit(series.id, Acquaintance::New) {
                Ok(()) => {
                    self.describe(raw);
                    self.keep(raw, series, item);
                }
                Err(reason) => {
                    self.builder.waiting(series);
                    self.refuse(raw, reason);
                }
            },
        }
    }

    /// Notes what the page says of the family of a new series, where the series itself does not say as much.
    fn describe(&mut self, raw: &str) {
        if !self.particular {
            return;
        }
        let Ok(SeriesText { name, .. }) = parse_series(raw) else { return };
        let Some((family, info)) = self.survey.families.family_of(&name) else { return };
        if !is_particular(family, info) || !self.described.insert(family.to_owned()) {
            return;
        }
        // Of names and texts that databases would not take, nothing is said.
        let limits = self.scene.namer.limits();
        if check_metric_name(family, limits).is_err() {
            return;
        }
        let mut help = unescape_help(info.help.unwrap_or_default()).replace('\0', "");
        help.truncate(help.floor_char_boundary(limits.max_label_value_bytes));
        self.pass.families.push(FamilyMetadata {
            family: family.to_owned(),
            metric_type: info.kind.family_type(),
            help,
            unit: info.unit.unwrap_or_default().to_owned(),
        });
    }

    fn keep(&mut self, raw: &str, series: Arc<Series>, mut item: Item<'_>) {
        if let Some(Err(_)) = item.native.as_deref()
            && let Some(Err(fault)) = item.native.take().map(|native| *native)
        {
            self.builder.faulty(series);
            return self.refuse_because(raw, &fault);
        }
        let Self { pass, builder, scene, .. } = self;
        // Histograms that cannot be stored are gone: nothing below refuses one.
        if let Some(timestamp) = scene.honored(item.timestamp) {
            // What is wrong with a timestamp may not be wrong the next time: it is counted, but not remembered.
            let _ = pass.timed(*scene, &series, timestamp, item);
            builder.timed(series);
        } else if self.taken.insert(series.id) {
            let _ = pass.column(*scene, &series, item);
            builder.column(series);
        } else {
            builder.repeated(series);
            self.refuse(raw, Refusal::Duplicate);
        }
    }

    /// Counts a histogram that is not stored, and names it if it is one of the first.
    fn refuse_because(&mut self, raw: &str, fault: &LineFault) {
        self.pass.ledger.refuse(fault.reason);
        if self.builder.names_more() {
            self.builder.offender(raw, &fault.message);
        }
    }

    /// Counts a line that is not stored, and names it if it is one of the first.
    fn refuse(&mut self, raw: &str, reason: Refusal) {
        self.pass.ledger.refuse(reason);
        if self.builder.names_more() {
            let why = self.why(raw, reason);
            self.builder.offender(raw, &why);
        }
    }

    fn why(&mut self, raw: &str, reason: Refusal) -> String {
        match reason {
            Refusal::Duplicate => "it comes a second time".to_owned(),
            Refusal::SampleLimit => {
                format!("it is beyond sample_limit, which is {}", self.scene.namer.options().sample_limit)
            }
            _ => match self.scene.namer.fault_of(raw, &mut self.survey.families) {
                Some(fault) => fault.message,
                None => reason.to_string(),
            },
        }
    }
}

/// Why the page fails because of a histogram, where it does.
fn fatal_histogram(sample: &Sample<'_>, verdict: &Verdict, page: &[u8]) -> Option<ScrapeError> {
    let Some(Err(LineFault { fatal: Some(fatal), message, .. })) = sample.item.native.as_deref() else {
        return None;
    };
    let shown: String = sample.raw(page).chars().take(MAX_SHOWN).collect();
    let stored = matches!(verdict, Verdict::Keep(_) | Verdict::Wait(_));
    stored.then(|| ScrapeError::new(*fatal, format!("{shown}: {message}")))
}
