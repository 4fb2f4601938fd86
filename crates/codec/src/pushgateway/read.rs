//! From a page to the families of a group.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use metricsd_model::{METRIC_NAME, NativeHistogram};

use super::exemplars::{Exemplars, One};
use super::{Families, PUSH_FAILURE_TIME, PUSH_TIME, PushedFamily, series_labels};
use crate::exposition::{self, Entry, Format, MetricKind, OPEN_METRICS, Parser};
use crate::metric_family::{FamilyError, FamilyReader, Histograms, write_key};
use crate::remote_write::BodyWriter;

/// Why a push is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// A text does not read.
    #[error("{0}")]
    Text(#[from] exposition::ParseError),
    /// A protobuf message does not read.
    #[error("{0}")]
    Protobuf(#[from] FamilyError),
    /// A series' labels do not read.
    #[error("{place}: {problem}")]
    Series {
        /// The line, or the family.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A sample has a time, which pushed ones may not.
    #[error("{0}: pushed metrics must not have timestamps")]
    Timestamp(String),
    /// A series comes twice.
    #[error("{0}: the series comes twice in one push")]
    Twice(String),
    /// It says more than may stand.
    #[error("the push has more than {limit} {what}; send less, or allow more by pushgateway.{key}")]
    TooMuch {
        /// How much there may be.
        limit: u64,
        /// Of what.
        what: &'static str,
        /// Where that is configured.
        key: &'static str,
    },
}

/// Bounds that hold while a page is read: the labels of its group are said once and stand in every series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushBounds {
    /// Series, and families.
    pub max_series: u64,
    /// Bytes of the labels of all series.
    pub max_bytes: u64,
}

impl PushBounds {
    fn check_series(&self, series: usize) -> Result<(), PushError> {
        let limit = self.max_series;
        match series as u64 > limit {
            true => Err(PushError::TooMuch { limit, what: "series", key: "max_series" }),
            false => Ok(()),
        }
    }

    fn check_bytes(&self, bytes: usize) -> Result<(), PushError> {
        let limit = self.max_bytes;
        match bytes as u64 > limit {
            true => Err(PushError::TooMuch { limit, what: "bytes of labels", key: "max_bytes" }),
            false => Ok(()),
        }
    }
}

/// What a page holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// What stands from then on.
    pub families: Families,
    /// What is stored once.
    pub exemplars: Exemplars,
}

/// Reads a page under the labels of a group. When it was pushed is not for the page to say: its families of those names
/// are left out.
///
/// # Errors
/// Nothing of the page is taken.
pub fn read(
    page: &[u8],
    format: Format,
    group: &BTreeMap<String, String>,
    bounds: PushBounds,
) -> Result<Pushed, PushError> {
    let mut reading = Reading {
        group,
        bounds,
        families: BTreeMap::new(),
        exemplars: Exemplars::default(),
        seen: HashSet::new(),
        bytes: 0,
    };
    match format {
        Format::Protobuf => reading.protobuf(page)?,
        Format::Text | Format::OpenMetrics => reading.text(page, format)?,
    }
    Ok(reading.finish())
}

struct Reading<'g> {
    group: &'g BTreeMap<String, String>,
    bounds: PushBounds,
    families: BTreeMap<String, (PushedFamily, BodyWriter)>,
    exemplars: Exemplars,
    /// Labels of the series so far.
    seen: HashSet<Vec<u8>>,
    /// Bytes of these.
    bytes: usize,
}

/// A sample's value.
enum Value<'v> {
    Float(f64),
    Histogram(&'v NativeHistogram),
}

impl Reading<'_> {
    fn family(&mut self, name: &str) -> &mut (PushedFamily, BodyWriter) {
        let fresh = || (PushedFamily::new(name, MetricKind::Unknown, "", ""), BodyWriter::new());
        self.families.entry(name.to_owned()).or_insert_with(fresh)
    }

    fn describe(&mut self, name: &str, kind: Option<MetricKind>, help: Option<&str>, unit: Option<&str>) {
        let (family, _) = self.family(name);
        let described = PushedFamily::new(
            name,
            kind.unwrap_or(family.kind()),
            help.unwrap_or(&family.help),
            unit.unwrap_or(&family.unit),
        );
        *family = PushedFamily { count: family.count, ..described };
    }

    fn text(&mut self, page: &[u8], format: Format) -> Result<(), PushError> {
        let mut parser = Parser::new(page, format);
        let mut samples = Vec::new();
        while let Some(entry) = parser.next_entry()? {
            match entry {
                Entry::Help { name, text } => {
                    self.describe(&name, None, Some(&exposition::unescape_help(text)), None);
                }
                Entry::Type { name, kind } => self.describe(&name, Some(kind), None, None),
                Entry::Unit { name, unit } => self.describe(&name, None, None, Some(unit)),
                Entry::Sample(sample) => samples.push(sample),
            }
            self.bounds.check_series(samples.len().max(self.families.len()))?;
        }
        // What describes a family may stand behind its samples.
        for sample in samples {
            let place = || format!("line {}", sample.line);
            if sample.timestamp.is_some() {
                return Err(PushError::Timestamp(place()));
            }
            let labels = self.add(None, sample.series, &Value::Float(sample.value), format, &place)?;
            self.exemplars.add(labels, sample.exemplar.iter().filter_map(One::of_text));
        }
        Ok(())
    }

    fn protobuf(&mut self, page: &[u8]) -> Result<(), PushError> {
        let mut reader = FamilyReader::new(page);
        let mut key = String::new();
        while let Some(family) = reader.next_family()? {
            self.describe(family.name, Some(family.kind), Some(family.help), Some(family.unit));
            self.bounds.check_series(self.families.len())?;
            let place = || format!("family {:?}", family.name.chars().take(200).collect::<String>());
            let mut metrics = family.metrics();
            while let Some(metric) = metrics.next_metric()? {
                if metric.timestamp.is_some() {
                    return Err(PushError::Timestamp(place()));
                }
                let mut outcome = Ok(());
                let wanted = Histograms { native: true, classic_too: false };
                let visited = metric.visit(wanted, |sample| {
                    key.clear();
                    outcome = write_key(&mut key, &family, &metric, sample.role).map_err(PushError::from);
                    if outcome.is_ok() {
                        let value =
                            sample.histogram.as_ref().map_or(Value::Float(sample.value), Value::Histogram);
                        let added = self.add(Some(family.name), &key, &value, Format::Protobuf, &place);
                        let exemplars = sample.exemplars.iter().map(One::of_family);
                        outcome = added.map(|labels| self.exemplars.add(labels, exemplars));
                    }
                    if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                outcome?;
                // What breaks off early is an error already.
                let _ = visited?;
            }
        }
        Ok(())
    }

    /// Adds a sample; answers the labels of its series, where exemplars of it may be stored.
    fn add(
        &mut self,
        family: Option<&str>,
        text: &str,
        value: &Value<'_>,
        format: Format,
        place: &dyn Fn() -> String,
    ) -> Result<Option<Vec<u8>>, PushError> {
        let series = exposition::parse_series(text)
            .map_err(|error| PushError::Series { place: place(), problem: error.to_string() })?;
        let name = series.name.as_ref();
        let family = match family {
            Some(family) => family.to_owned(),
            None => self.family_of(name, format),
        };
        let bound = match self.family(&family).0.kind() {
            MetricKind::Histogram | MetricKind::GaugeHistogram => "le",
            MetricKind::Summary => "quantile",
            _ => "",
        };
        let mut labels: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
        for (label, value) in &series.labels {
            let value: Cow<'_, str> = match label == bound {
                true => exposition::normal_bound(value),
                false => Cow::Borrowed(value),
            };
            labels.insert(label, value);
        }
        for (label, value) in self.group {
            labels.insert(label, Cow::Borrowed(value));
        }
        if let Some(nul) = labels.iter().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
            let problem = format!("the label {:?} holds a NUL character", nul.0);
            return Err(PushError::Series { place: place(), problem });
        }
        let bytes = series_labels(name, labels.iter().map(|(name, value)| (*name, value.as_ref())));
        self.bytes += bytes.len();
        self.bounds.check_bytes(self.bytes)?;
        if !self.seen.insert(bytes.clone()) {
            return Err(PushError::Twice(place()));
        }
        self.bounds.check_series(self.seen.len())?;
        let (family, body) = self.family(&family);
        family.count += 1;
        let mut out = body.series();
        out.raw_labels(&bytes);
        match value {
            Value::Float(value) => drop(out.sample(0, *value)),
            Value::Histogram(histogram) => drop(out.histogram(0, histogram)),
        }
        drop(out);
        Ok(if is_left_out(&family.name) { None } else { Some(bytes) })
    }

    /// The family that a sample of text belongs to: of its own name, or of that without a suffix that its type has.
    fn family_of(&self, name: &str, format: Format) -> String {
        if self.families.contains_key(name) {
            return name.to_owned();
        }
        let in_text = |suffix: &str| matches!(suffix, "_bucket" | "_sum" | "_count");
        let suffixes =
            OPEN_METRICS.iter().filter(|(suffix, _)| format == Format::OpenMetrics || in_text(suffix));
        let family = suffixes.filter_map(|(suffix, kinds)| {
            let family = name.strip_suffix(suffix)?;
            let (known, _) = self.families.get(family)?;
            kinds.contains(&known.kind()).then_some(family)
        });
        family.into_iter().next().unwrap_or(name).to_owned()
    }

    fn finish(self) -> Pushed {
        let list = self
            .families
            .into_values()
            .filter(|(family, _)| family.count > 0 && !is_left_out(&family.name))
            .map(|(family, body)| PushedFamily { series: body.into_bytes(), ..family })
            .collect();
        Pushed { families: Families { list }, exemplars: self.exemplars }
    }
}

/// Families that are not for a page to say.
fn is_left_out(family: &str) -> bool {
    matches!(family, PUSH_TIME | PUSH_FAILURE_TIME | METRIC_NAME)
}
