//! A page that is not as expected, line by line: known series are looked up by their text, others are named.

use std::collections::HashSet;
use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use metricsd_codec::exposition::{Entry, Families, Format, Parser};
use metricsd_ingest::builder::plain_float;
use metricsd_ingest::validate::check_timestamp;
use metricsd_ingest::{Acquaintance, Admission};
use metricsd_model::{FailureReason, Ledger, Millis, Refusal, Series, SeriesId};
use xxhash_rust::xxh3::Xxh3;

use super::Pass;
use super::template::{Lookup, Template, TemplateBuilder};
use crate::client::ScrapeError;
use crate::naming::{Namer, Verdict};

/// Reads a page, and makes a template of it. `known` is the template of the page before and the series of the reports.
pub(super) fn study(
    page: &[u8],
    format: Format,
    namer: &Namer,
    at: Millis,
    (known, reports): (Option<&Template>, &[Arc<Series>]),
    admission: &mut Admission,
) -> Result<(Template, Pass), ScrapeError> {
    let mut survey = Survey::of(page, format, namer.limits().max_scrape_samples)?;
    let described = (format, survey.metadata);
    // What the page says of its families decides over types and help.
    let same = known.filter(|known| known.metadata() == survey.metadata);
    let samples = std::mem::take(&mut survey.samples);
    let mut student = Student {
        survey,
        namer,
        at,
        admission,
        lookup: same.map(Lookup::new),
        taken: reports.iter().map(|series| series.id).collect(),
        builder: TemplateBuilder::with_capacity(samples.len(), page),
        pass: Pass { values: Vec::with_capacity(samples.len() + reports.len()), ..Pass::default() },
    };
    let mut from = 0;
    for sample in &samples {
        student.builder.line(page, from, sample.series.clone());
        student.sample(page, sample);
        from = sample.next;
    }
    student.pass.ledger.received = samples.len() as u64;
    let rest = page.get(from..).unwrap_or_default();
    let template = student.builder.finish(rest, described, reports, known.map(Template::layout));
    Ok((template, student.pass))
}

/// A line with a value, by its place in the page.
struct Sample {
    series: Range<usize>,
    /// Where the next line starts.
    next: usize,
    value: f64,
    timestamp: Option<Millis>,
}

/// What a page says, before anything is named.
struct Survey<'p> {
    samples: Vec<Sample>,
    families: Families<'p>,
    metadata: u64,
}

impl<'p> Survey<'p> {
    fn of(page: &'p [u8], format: Format, limit: usize) -> Result<Self, ScrapeError> {
        if u32::try_from(page.len()).is_err() {
            let message = "a page of four gigabytes and more is not read";
            return Err(ScrapeError::new(FailureReason::TooLarge, message));
        }
        let mut survey = Self { samples: Vec::new(), families: Families::new(format), metadata: 0 };
        let mut metadata = Xxh3::new();
        let mut parser = Parser::new(page, format);
        while let Some(entry) =
            parser.next_entry().map_err(|e| ScrapeError::new(FailureReason::Parse, e.to_string()))?
        {
            let Entry::Sample(sample) = entry else {
                hash_metadata(&mut metadata, &entry);
                survey.families.observe(&entry);
                continue;
            };
            if survey.samples.len() == limit {
                let message = format!("the page has more than {limit} samples (limits.max_scrape_samples)");
                return Err(ScrapeError::new(FailureReason::Limit, message));
            }
            let start = sample.series.as_ptr().addr() - page.as_ptr().addr();
            let series = start..start + sample.series.len();
            survey.samples.push(Sample {
                next: line_end(page, series.end),
                series,
                value: sample.value,
                timestamp: sample.timestamp,
            });
        }
        survey.metadata = metadata.finish();
        Ok(survey)
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
        Entry::Type { name, kind } => write(2, name, kind.metric_type().as_str()),
        Entry::Unit { name, unit } => write(3, name, unit),
        Entry::Sample(_) => {}
    }
}

/// Goes through the samples of one page.
struct Student<'s, 'p> {
    survey: Survey<'p>,
    namer: &'s Namer,
    at: Millis,
    admission: &'s mut Admission,
    lookup: Option<Lookup<'s>>,
    /// Series that have a column.
    taken: HashSet<SeriesId>,
    builder: TemplateBuilder,
    pass: Pass,
}

impl<'p> Student<'_, 'p> {
    fn sample(&mut self, page: &'p [u8], sample: &Sample) {
        let ledger: &mut Ledger = &mut self.pass.ledger;
        // The survey found it to be text.
        let raw = page.get(sample.series.clone()).and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or("");
        let known = self.lookup.as_mut().and_then(|lookup| lookup.find(raw));
        match known.unwrap_or_else(|| self.namer.name(raw, &mut self.survey.families)) {
            Verdict::Drop => ledger.dropped += 1,
            Verdict::Refuse(reason) => {
                ledger.refuse(reason);
                self.builder.refused(reason);
            }
            Verdict::Keep(series) => self.keep(series, sample),
            Verdict::Wait(series) => match self.admission.admit(series.id, Acquaintance::New) {
                Ok(()) => self.keep(series, sample),
                Err(reason) => {
                    ledger.refuse(reason);
                    self.builder.waiting(series);
                }
            },
        }
    }

    fn keep(&mut self, series: Arc<Series>, sample: &Sample) {
        let Self { pass, builder, namer, .. } = self;
        let honored = sample.timestamp.filter(|_| namer.spec().scrape_config.honor_timestamps);
        if let Some(timestamp) = honored {
            match check_timestamp(timestamp, self.at, namer.limits()) {
                Ok(()) => pass.timed.push((series.clone(), timestamp, sample.value)),
                Err(fault) => pass.ledger.refuse(fault.reason),
            }
            builder.timed(series);
        } else if self.taken.insert(series.id) {
            pass.values.push(plain_float(sample.value));
            builder.column(series);
        } else {
            pass.ledger.refuse(Refusal::Duplicate);
            builder.repeated(series);
        }
    }
}
