//! From a line of a page to a series: the target's labels, the `honor_labels` rule, filters, relabelling and limits.

mod limits;

use std::sync::Arc;

use metricsd_codec::exposition::{
    Families, MetricKind, SeriesText, normal_bound, parse_series, unescape_help,
};
use metricsd_ingest::validate::{check_metric_name, check_page_labels};
use metricsd_ingest::{FilterSet, Limits, Texts};
use metricsd_model::{
    FailureReason, LabelSet, METRIC_NAME, MetricType, OnLimit, Refusal, ScrapeOptions, Series, SeriesId,
    TargetSpec,
};
use metricsd_relabel::Relabeler;

use crate::client::ScrapeError;

/// What is decided once about each line of a page.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// It is stored as this series.
    Keep(Arc<Series>),
    /// It is to be stored as this series, once its source may have one more.
    Wait(Arc<Series>),
    /// A filter or a rule drops it, as configured.
    Drop,
    /// It cannot be stored.
    Refuse(Refusal),
    /// It cannot be stored, nor can the page that holds it.
    Fail(Refusal, FailureReason),
}

/// Why a line is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineFault {
    pub(crate) reason: Refusal,
    /// Why the page fails with it, where it does.
    pub(crate) fatal: Option<FailureReason>,
    /// A sentence for people.
    pub(crate) message: String,
}

/// Labels without the metric's name, names unique.
pub(crate) type Labels = Vec<(String, String)>;

/// Names the series of one target.
pub(crate) struct Namer {
    spec: TargetSpec,
    source: Arc<str>,
    target_id: Arc<str>,
    texts: Texts,
    target_labels: Labels,
    filters: FilterSet,
    rules: Result<Relabeler, String>,
    limits: Arc<Limits>,
}

impl Namer {
    /// Filters were checked when the target was created; what still does not compile filters nothing. Rules that do not
    /// compile let nothing through: they may be there to keep something out.
    pub(crate) fn new(spec: TargetSpec, limits: Arc<Limits>) -> Self {
        let mut target_labels: Labels =
            spec.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let options = &spec.scrape_config.options;
        if !options.exact_labels {
            for (name, value) in [("job", spec.source_id.clone()), ("instance", spec.instance())] {
                if !spec.labels.contains_key(name) {
                    target_labels.push((name.to_owned(), value));
                }
            }
        }
        let filters = FilterSet::compile(&spec.filters).unwrap_or_else(|error| {
            tracing::error!(target_id = spec.target_id, %error, "a stored filter does not compile");
            FilterSet::default()
        });
        let names = options.metric_name_validation_scheme;
        let rules = Relabeler::compile_for(&options.metric_relabel_configs, names)
            .map_err(|error| format!("metric_relabel_configs: {error}"));
        let (source, target_id) = (spec.source_id.as_str().into(), spec.target_id.as_str().into());
        let texts = Texts::default();
        Self { spec, source, target_id, texts, target_labels, filters, rules, limits }
    }

    pub(crate) fn spec(&self) -> &TargetSpec {
        &self.spec
    }

    pub(crate) fn options(&self) -> &ScrapeOptions {
        &self.spec.scrape_config.options
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Why no page of this target can be read, where that is so.
    pub(crate) fn fault(&self) -> Option<ScrapeError> {
        let error = self.rules.as_ref().err()?;
        Some(ScrapeError::new(FailureReason::Internal, error.as_str()))
    }

    /// Decides over a line that was not seen before.
    pub(crate) fn name(&self, raw: &str, families: &mut Families<'_>) -> Verdict {
        match self.decide(raw, families) {
            Ok(Some(series)) => Verdict::Wait(Arc::new(series)),
            Ok(None) => Verdict::Drop,
            Err(LineFault { reason, fatal: Some(fatal), .. }) => Verdict::Fail(reason, fatal),
            Err(LineFault { reason, .. }) => Verdict::Refuse(reason),
        }
    }

    /// What is wrong with a line that [`Self::name`] refused.
    pub(crate) fn fault_of(&self, raw: &str, families: &mut Families<'_>) -> Option<LineFault> {
        self.decide(raw, families).err()
    }

    /// The series that a line is stored as; `None` where it is dropped, as configured.
    fn decide(&self, raw: &str, families: &mut Families<'_>) -> Result<Option<Series>, LineFault> {
        let (name, mut labels) = self.parse(raw)?;
        let info = families.lookup(&name).copied().unwrap_or_default();
        normalize(&mut labels, info.kind);
        let Some(labels) = self.labels(&name, self.join(labels))? else { return Ok(None) };
        let help = info.help.map(|help| self.texts.share(&unescape_help(help)));
        let unit = info.unit.map(|unit| self.texts.share(unit));
        Ok(Some(self.series(labels, info.metric_type, help, unit)))
    }

    /// Takes a line's series apart.
    pub(crate) fn parse(&self, raw: &str) -> Result<(String, Labels), LineFault> {
        let invalid = |message: String| self.page_fault(Refusal::InvalidLabel, FailureReason::Parse, message);
        let SeriesText { name, labels } = parse_series(raw).map_err(|error| invalid(error.to_string()))?;
        let owned = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
            (name.into_owned(), value.into_owned())
        };
        let labels: Labels = labels.into_iter().map(owned).collect();
        match has(&labels, METRIC_NAME) {
            true => Err(invalid(format!("label {METRIC_NAME:?} is given beside a metric name"))),
            false => Ok((name.into_owned(), labels)),
        }
    }

    /// What becomes of a sample's labels after the target's joined them: filters, relabelling, checks and limits.
    fn labels(&self, name: &str, mut labels: Labels) -> Result<Option<LabelSet>, LineFault> {
        if !self.filter(name, &mut labels) {
            return Ok(None);
        }
        labels.push((METRIC_NAME.to_owned(), name.to_owned()));
        let rules =
            self.rules.as_ref().map_err(|error| self.refused(Refusal::InvalidLabel, error.clone()))?;
        if !rules.apply(&mut labels) || labels.iter().all(|(_, value)| value.is_empty()) {
            return Ok(None);
        }
        self.check(labels).map(Some)
    }

    /// The rules for every sample.
    pub(crate) fn rules(&self) -> Result<&Relabeler, LineFault> {
        self.rules.as_ref().map_err(|error| LineFault {
            reason: Refusal::InvalidLabel,
            fatal: Some(FailureReason::Internal),
            message: error.clone(),
        })
    }

    /// Whether the filters let a sample pass; they may take labels from it.
    pub(crate) fn filter(&self, name: &str, labels: &mut Labels) -> bool {
        self.filters.apply(name, labels)
    }

    /// Checks labels that are to be stored, the name among them.
    pub(crate) fn check(&self, mut labels: Labels) -> Result<LabelSet, LineFault> {
        let at = labels.iter().position(|(label, _)| label == METRIC_NAME);
        let name = at.map(|at| labels.swap_remove(at).1).unwrap_or_default();
        limits::check(&name, &labels, self.options())
            .map_err(|(reason, fatal, message)| self.page_fault(reason, fatal, message))?;
        check_metric_name(&name, &self.limits)
            .and_then(|()| check_page_labels(&labels, &self.limits))
            .map_err(|fault| self.refused(fault.reason, fault.message))?;
        let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        LabelSet::new(pairs.chain([(METRIC_NAME, name.as_str())]))
            .map_err(|error| self.refused(Refusal::InvalidLabel, error.to_string()))
    }

    /// A fault of one line, whatever is to be done about limits.
    fn refused(&self, reason: Refusal, message: String) -> LineFault {
        LineFault { reason, fatal: None, message }
    }

    /// A fault with which the page fails, unless its good part is to be kept.
    fn page_fault(&self, reason: Refusal, fatal: FailureReason, message: String) -> LineFault {
        let fatal = (self.options().on_limit == OnLimit::Reject).then_some(fatal);
        LineFault { reason, fatal, message }
    }

    /// One of the series that metricsd adds to every scrape.
    pub(crate) fn report_series(&self, name: &str, help: &str) -> Option<Arc<Series>> {
        let pairs = self.target_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = LabelSet::new(pairs.chain([(METRIC_NAME, name)])).ok()?;
        Some(Arc::new(self.series(labels, MetricType::Gauge, Some(self.texts.share(help)), None)))
    }

    fn series(
        &self,
        labels: LabelSet,
        metric_type: MetricType,
        help: Option<Arc<str>>,
        unit: Option<Arc<str>>,
    ) -> Series {
        Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type,
            source_type: self.spec.source_type,
            source: self.source.clone(),
            target_id: self.target_id.clone(),
            help,
            unit,
        }
    }

    /// Joins a page's labels with the target's. Where both have one, the page's wins with `honor_labels`;
    /// otherwise it moves to `exported_<name>`, with as many prefixes as it takes to be unique (as Prometheus does).
    pub(crate) fn join(&self, mut labels: Labels) -> Labels {
        for (name, value) in &self.target_labels {
            let Some(at) = labels.iter().position(|(label, _)| label == name) else {
                labels.push((name.clone(), value.clone()));
                continue;
            };
            if self.spec.scrape_config.honor_labels {
                continue;
            }
            let pages = std::mem::replace(&mut labels[at].1, value.clone());
            if pages.is_empty() {
                continue;
            }
            let mut exported = format!("exported_{name}");
            while has(&labels, &exported) || has(&self.target_labels, &exported) {
                exported.insert_str(0, "exported_");
            }
            labels.retain(|(label, _)| *label != exported);
            labels.push((exported, pages));
        }
        labels
    }
}

/// Writes the bounds of classic histograms and the quantiles of summaries in one way, as Prometheus 3 does: `1` and `1.0`
/// are one series. Answers which label has another value now.
pub(crate) fn normalize(labels: &mut Labels, kind: MetricKind) -> Option<&'static str> {
    let name = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => "le",
        MetricKind::Summary => "quantile",
        _ => return None,
    };
    let (_, value) = labels.iter_mut().find(|(label, _)| label == name)?;
    let std::borrow::Cow::Owned(normal) = normal_bound(value) else { return None };
    *value = normal;
    Some(name)
}

/// An empty label is none.
fn has(labels: &[(String, String)], name: &str) -> bool {
    labels.iter().any(|(label, value)| label == name && !value.is_empty())
}
