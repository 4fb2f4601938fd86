//! What a page says about its metrics beside their values.

use std::borrow::Cow;
use std::collections::HashMap;

use metricsd_model::MetricType;

use super::{Entry, Format, MetricKind};

/// What is known of a metric family. Help and unit are slices of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FamilyInfo<'a> {
    /// As declared; unknown where only help or unit were given.
    pub kind: MetricKind,
    /// The model's type for it.
    pub metric_type: MetricType,
    /// As it stands in the page; see [`super::unescape_help`]. An empty text is none.
    pub help: Option<&'a str>,
    /// An empty unit is none.
    pub unit: Option<&'a str>,
}

/// Remembers metadata while a page is read and answers for the names of samples.
///
/// Remembering is a push onto a list; the index is made by the first lookup, so a page whose series are all known
/// already pays next to nothing. Where a page repeats itself the last word counts, as in Prometheus.
#[derive(Debug, Clone)]
pub struct Families<'a> {
    format: Format,
    heard: Vec<(Cow<'a, str>, Fact<'a>)>,
    index: HashMap<Cow<'a, str>, FamilyInfo<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Fact<'a> {
    Kind(MetricKind),
    Help(&'a str),
    Unit(&'a str),
}

/// Sample names in Prometheus text: which suffix belongs to which kinds of family.
const TEXT: &[(&str, &[MetricKind])] = &[
    ("_bucket", &[MetricKind::Histogram]),
    ("_sum", &[MetricKind::Histogram, MetricKind::Summary]),
    ("_count", &[MetricKind::Histogram, MetricKind::Summary]),
];

/// The same in OpenMetrics, which knows all of them.
pub const OPEN_METRICS: &[(&str, &[MetricKind])] = &[
    ("_total", &[MetricKind::Counter]),
    ("_bucket", &[MetricKind::Histogram, MetricKind::GaugeHistogram]),
    ("_sum", &[MetricKind::Histogram, MetricKind::Summary]),
    ("_count", &[MetricKind::Histogram, MetricKind::Summary]),
    ("_created", &[MetricKind::Counter, MetricKind::Histogram, MetricKind::Summary]),
    ("_gsum", &[MetricKind::GaugeHistogram]),
    ("_gcount", &[MetricKind::GaugeHistogram]),
    ("_info", &[MetricKind::Info]),
];

/// The same in protobuf, where the names are made from families: [`crate::metric_family`] gives gauge histograms the
/// suffixes of histograms.
const PROTOBUF: &[(&str, &[MetricKind])] = &[
    ("_bucket", &[MetricKind::Histogram, MetricKind::GaugeHistogram]),
    ("_sum", &[MetricKind::Histogram, MetricKind::GaugeHistogram, MetricKind::Summary]),
    ("_count", &[MetricKind::Histogram, MetricKind::GaugeHistogram, MetricKind::Summary]),
];

impl<'a> Families<'a> {
    /// Knows nothing yet.
    pub fn new(format: Format) -> Self {
        Self { format, heard: Vec::new(), index: HashMap::new() }
    }

    /// Takes note of an entry; samples are ignored.
    #[inline]
    pub fn observe(&mut self, entry: &Entry<'a>) {
        let (name, fact) = match entry {
            Entry::Sample(_) => return,
            Entry::Help { name, text } => (name, Fact::Help(text)),
            Entry::Type { name, kind } => (name, Fact::Kind(*kind)),
            Entry::Unit { name, unit } => (name, Fact::Unit(unit)),
        };
        self.heard.push((name.clone(), fact));
    }

    /// What was said of the family to which a sample of this name belongs. A family of exactly this name goes first;
    /// then the suffixes of the format count, each for the kinds that have it.
    pub fn lookup(&mut self, sample_name: &str) -> Option<&FamilyInfo<'a>> {
        self.family_of(sample_name).map(|(_, info)| info)
    }

    /// The same, and the family's name.
    pub fn family_of<'n>(&mut self, sample_name: &'n str) -> Option<(&'n str, &FamilyInfo<'a>)> {
        self.catch_up();
        if self.index.contains_key(sample_name) {
            return self.index.get(sample_name).map(|info| (sample_name, info));
        }
        let suffixes = match self.format {
            Format::Text => TEXT,
            Format::OpenMetrics => OPEN_METRICS,
            Format::Protobuf => PROTOBUF,
        };
        suffixes.iter().find_map(|(suffix, kinds)| {
            let family = sample_name.strip_suffix(suffix)?;
            let info = self.index.get(family)?;
            kinds.contains(&info.kind).then_some((family, info))
        })
    }

    /// All families, in no order.
    pub fn all(&mut self) -> impl Iterator<Item = (&str, &FamilyInfo<'a>)> {
        self.catch_up();
        self.index.iter().map(|(name, info)| (name.as_ref(), info))
    }

    fn catch_up(&mut self) {
        for (name, fact) in self.heard.drain(..) {
            let info = self.index.entry(name).or_default();
            match fact {
                Fact::Kind(kind) => (info.kind, info.metric_type) = (kind, kind.metric_type()),
                Fact::Help(text) => info.help = Some(text).filter(|text| !text.is_empty()),
                Fact::Unit(unit) => info.unit = Some(unit).filter(|unit| !unit.is_empty()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::Parser;

    fn families(page: &'static str, format: Format) -> Families<'static> {
        let mut families = Families::new(format);
        let mut parser = Parser::new(page.as_bytes(), format);
        while let Some(entry) = parser.next_entry().unwrap() {
            families.observe(&entry);
        }
        families
    }

    fn check(families: &mut Families<'_>, name: &str, expected: Option<MetricKind>) {
        assert_eq!(families.lookup(name).map(|info| info.kind), expected, "{name}");
    }

    #[test]
    fn text_families_answer_for_their_samples() {
        let page = "# HELP h Help.\n# TYPE h histogram\n# TYPE s summary\n# TYPE c_total counter\n# TYPE c counter\n\
                    # TYPE h_sum gauge\n# HELP only Help.\n# TYPE twice gauge\n# TYPE twice counter\n";
        let families = &mut families(page, Format::Text);
        check(families, "h", Some(MetricKind::Histogram));
        check(families, "h_bucket", Some(MetricKind::Histogram));
        check(families, "h_count", Some(MetricKind::Histogram));
        check(families, "h_sum", Some(MetricKind::Gauge));
        check(families, "s_sum", Some(MetricKind::Summary));
        check(families, "s_bucket", None);
        check(families, "c_total", Some(MetricKind::Counter));
        check(families, "c_created", None);
        check(families, "only", Some(MetricKind::Unknown));
        check(families, "only_sum", None);
        check(families, "twice", Some(MetricKind::Counter));
        check(families, "other", None);
        assert_eq!(families.lookup("h_bucket").unwrap().help, Some("Help."));
        assert_eq!(families.lookup("h_bucket").unwrap().metric_type, MetricType::Histogram);
    }

    #[test]
    fn open_metrics_families_answer_for_their_samples() {
        let page = "# TYPE c_seconds counter\n# UNIT c_seconds seconds\n# HELP c_seconds \n# TYPE h histogram\n\
                    # TYPE g gaugehistogram\n# TYPE i info\n# TYPE s summary\n# TYPE set stateset\n# EOF\n";
        let families = &mut families(page, Format::OpenMetrics);
        let expected = FamilyInfo {
            kind: MetricKind::Counter,
            metric_type: MetricType::Counter,
            help: None,
            unit: Some("seconds"),
        };
        assert_eq!(families.lookup("c_seconds_total"), Some(&expected));
        check(families, "c_seconds_created", Some(MetricKind::Counter));
        check(families, "h_created", Some(MetricKind::Histogram));
        check(families, "h_bucket", Some(MetricKind::Histogram));
        check(families, "h_gsum", None);
        check(families, "g_bucket", Some(MetricKind::GaugeHistogram));
        check(families, "g_gsum", Some(MetricKind::GaugeHistogram));
        check(families, "g_gcount", Some(MetricKind::GaugeHistogram));
        check(families, "g_sum", None);
        check(families, "i_info", Some(MetricKind::Info));
        check(families, "s", Some(MetricKind::Summary));
        check(families, "s_created", Some(MetricKind::Summary));
        check(families, "set", Some(MetricKind::StateSet));
        check(families, "set_total", None);
        assert_eq!(families.lookup("g_bucket").unwrap().metric_type, MetricType::Histogram);
        assert_eq!(families.lookup("set").unwrap().metric_type, MetricType::Gauge);
    }
}
