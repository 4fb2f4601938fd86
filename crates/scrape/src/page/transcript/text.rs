//! Text of which more is wanted than its lines: classic histograms as native ones, and times of creation.

use std::collections::HashMap;

use metricsd_codec::exposition::{
    Entry, Families, MetricKind, Parser, SampleLine, SeriesText, parse_series, unescape_help,
};
use metricsd_codec::metric_family::write_series;
use metricsd_model::{FailureReason, Millis, ScrapeOptions};

use super::Transcript;
use crate::client::ScrapeError;
use crate::page::classic::{Classic, Part};
use crate::page::item::{Example, Item};

/// Suffixes of the samples that say when their counting began, and of those that are counted from then on.
const CREATED: &str = "_created";
const COUNTED: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

/// Reads a page to its end.
///
/// # Errors
/// A page that does not read, or that says more than fits within the limits; what came before is transcribed.
pub(super) fn read<'p>(
    transcript: &mut Transcript<'p>,
    page: &'p [u8],
    options: &ScrapeOptions,
) -> Result<(), ScrapeError> {
    let (samples, mut families, fault) = lines(transcript, page);
    let mut created = HashMap::new();
    let mut classic: Vec<(String, Classic<'p>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let samples: Vec<_> = samples.into_iter().map(|sample| (role(&sample, &mut families), sample)).collect();
    for (role, sample) in &samples {
        if let Role::Created(key) = role
            && options.created_timestamp_zero
        {
            created.insert(key.as_str(), in_millis(sample.value));
        }
    }
    for (role, sample) in &samples {
        let mut item = Item::float(sample.value, sample.timestamp);
        item.examples.extend(sample.exemplar.clone().map(Example::Text));
        let (key, part) = match role {
            Role::Created(_) if options.created_timestamp_zero => continue,
            Role::Other | Role::Created(_) => (None, None),
            Role::Counted(key, part) => {
                (Some(key), part.filter(|_| options.convert_classic_histograms_to_nhcb))
            }
        };
        item.created = key.and_then(|key| created.get(key.as_str()).copied().flatten());
        if let (Some(key), Some(part)) = (key, part) {
            let place = *places.entry(key.clone()).or_insert_with(|| {
                classic.push((key.clone(), Classic::default()));
                classic.len() - 1
            });
            let keeps = options.always_scrape_classic_histograms;
            if let Some((_, classic)) = classic.get_mut(place) {
                classic.take(part, &mut item, keeps);
            }
            if !keeps {
                continue;
            }
        }
        transcript.text.push_str(sample.series);
        transcript.end_line(item)?;
    }
    for (key, mut classic) in classic {
        transcript.text.push_str(&key);
        transcript.end_line(classic.convert(options))?;
    }
    fault.map_or(Ok(()), Err)
}

/// All samples, what is said of their families, and why the page is not read to its end, where it is not.
fn lines<'p>(
    transcript: &mut Transcript<'p>,
    page: &'p [u8],
) -> (Vec<SampleLine<'p>>, Families<'p>, Option<ScrapeError>) {
    let mut families = Families::new(transcript.format);
    let mut samples = Vec::new();
    let fault = collect(transcript, page, &mut samples, &mut families).err();
    let mut described: Vec<_> = families.all().collect();
    described.sort_unstable_by_key(|(name, _)| *name);
    for (name, family) in described {
        let help = unescape_help(family.help.unwrap_or_default());
        transcript.describe(family.kind, name, &help, family.unit.unwrap_or_default());
    }
    (samples, families, fault)
}

fn collect<'p>(
    transcript: &Transcript<'p>,
    page: &'p [u8],
    samples: &mut Vec<SampleLine<'p>>,
    families: &mut Families<'p>,
) -> Result<(), ScrapeError> {
    let mut parser = Parser::new(page, transcript.format);
    while let Some(entry) =
        parser.next_entry().map_err(|error| ScrapeError::new(FailureReason::Parse, error.to_string()))?
    {
        families.observe(&entry);
        match entry {
            Entry::Sample(sample) if samples.len() == transcript.max_items => {
                let message = format!(
                    "line {}: the page has more than {} samples (limits.max_scrape_samples)",
                    sample.line, transcript.max_items
                );
                return Err(ScrapeError::new(FailureReason::Limit, message));
            }
            Entry::Sample(sample) => samples.push(sample),
            Entry::Help { .. } | Entry::Type { .. } | Entry::Unit { .. } => {}
        }
    }
    Ok(())
}

/// What a sample is to its family.
enum Role {
    /// It says when the counting of this series began.
    Created(String),
    /// It belongs to this series of its family; some are parts of a classic histogram.
    Counted(String, Option<Part>),
    Other,
}

/// Series of families are named as native histograms are: the family's name, and all labels but `le`.
fn role(sample: &SampleLine<'_>, families: &mut Families<'_>) -> Role {
    let Ok(SeriesText { name, labels }) = parse_series(sample.series) else { return Role::Other };
    let kind = families.lookup(&name).map_or(MetricKind::Unknown, |family| family.kind);
    if !matches!(kind, MetricKind::Counter | MetricKind::Histogram | MetricKind::Summary) {
        return Role::Other;
    }
    let key = |base: &str, left_out: &str| {
        let mut key = String::new();
        let kept = labels.iter().filter(|(label, _)| label != left_out);
        write_series(&mut key, base, kept.map(|(name, value)| (name.as_ref(), value.as_ref())));
        key
    };
    let mut base_of =
        |suffix: &'static str| name.strip_suffix(suffix).filter(|base| is_family(families, base, kind));
    if let Some(base) = base_of(CREATED) {
        return Role::Created(key(base, ""));
    }
    let Some((suffix, base)) = COUNTED.iter().find_map(|suffix| Some((*suffix, base_of(suffix)?))) else {
        let is_quantile = kind == MetricKind::Summary;
        return if is_quantile { Role::Counted(key(&name, "quantile"), None) } else { Role::Other };
    };
    let bound = labels.iter().find(|(label, _)| label == "le").and_then(|(_, bound)| bound.parse().ok());
    let part = match (kind, suffix, bound) {
        (MetricKind::Histogram, "_bucket", Some(bound)) => Some(Part::Bucket(bound)),
        (MetricKind::Histogram, "_count", _) => Some(Part::Count),
        (MetricKind::Histogram, "_sum", _) => Some(Part::Sum),
        _ => None,
    };
    Role::Counted(key(base, if suffix == "_bucket" { "le" } else { "" }), part)
}

fn is_family(families: &mut Families<'_>, name: &str, kind: MetricKind) -> bool {
    families.lookup(name).is_some_and(|family| family.kind == kind)
}

/// Seconds in milliseconds; `None` for what is no time.
fn in_millis(seconds: f64) -> Option<Millis> {
    let millis = (seconds * 1e3).round();
    (millis.is_finite() && millis.abs() < 1e15).then_some(millis as Millis)
}
