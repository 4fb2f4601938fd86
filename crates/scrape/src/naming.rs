//! From a line of a page to a series: the target's labels, the `honor_labels` rule, filters and limits.

use std::sync::Arc;

use metricsd_codec::exposition::{Families, SeriesText, parse_series, unescape_help};
use metricsd_ingest::validate::{check_metric_name, check_page_labels};
use metricsd_ingest::{FilterSet, Limits};
use metricsd_model::{LabelSet, METRIC_NAME, MetricType, Refusal, Series, SeriesId, TargetSpec};

/// What is decided once about each line of a page.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// It is stored as this series.
    Keep(Arc<Series>),
    /// It is to be stored as this series, once its source may have one more.
    Wait(Arc<Series>),
    /// A filter drops it, as configured.
    Drop,
    /// It cannot be stored.
    Refuse(Refusal),
}

/// Names the series of one target.
pub(crate) struct Namer {
    spec: TargetSpec,
    target_labels: Vec<(String, String)>,
    filters: FilterSet,
    limits: Arc<Limits>,
}

impl Namer {
    /// Filters were checked when the target was created; what still does not compile filters nothing.
    pub(crate) fn new(spec: TargetSpec, limits: Arc<Limits>) -> Self {
        let mut target_labels: Vec<(String, String)> =
            spec.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for (name, value) in [("job", spec.source_id.clone()), ("instance", spec.instance())] {
            if !spec.labels.contains_key(name) {
                target_labels.push((name.to_owned(), value));
            }
        }
        let filters = FilterSet::compile(&spec.filters).unwrap_or_else(|error| {
            tracing::error!(target_id = spec.target_id, %error, "a stored filter does not compile");
            FilterSet::default()
        });
        Self { spec, target_labels, filters, limits }
    }

    pub(crate) fn spec(&self) -> &TargetSpec {
        &self.spec
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Decides over a line that was not seen before.
    pub(crate) fn name(&self, raw: &str, families: &mut Families<'_>) -> Verdict {
        let Ok(SeriesText { name, labels }) = parse_series(raw) else {
            return Verdict::Refuse(Refusal::InvalidLabel);
        };
        let labels =
            labels.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let mut labels = self.join(labels);
        if !self.filters.apply(&name, &mut labels) {
            return Verdict::Drop;
        }
        if let Err(fault) =
            check_metric_name(&name, &self.limits).and_then(|()| check_page_labels(&labels, &self.limits))
        {
            return Verdict::Refuse(fault.reason);
        }
        let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let Ok(labels) = LabelSet::new(pairs.chain([(METRIC_NAME, name.as_ref())])) else {
            return Verdict::Refuse(Refusal::InvalidLabel);
        };
        let info = families.lookup(&name).copied().unwrap_or_default();
        let help = info.help.map(|help| unescape_help(help).into_owned());
        let unit = info.unit.map(str::to_owned);
        Verdict::Wait(Arc::new(self.series(labels, info.metric_type, help, unit)))
    }

    /// One of the series that metricsd adds to every scrape.
    pub(crate) fn report_series(&self, name: &str, help: &str) -> Option<Arc<Series>> {
        let pairs = self.target_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = LabelSet::new(pairs.chain([(METRIC_NAME, name)])).ok()?;
        Some(Arc::new(self.series(labels, MetricType::Gauge, Some(help.to_owned()), None)))
    }

    fn series(
        &self,
        labels: LabelSet,
        metric_type: MetricType,
        help: Option<String>,
        unit: Option<String>,
    ) -> Series {
        Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type,
            source_type: self.spec.source_type,
            source: self.spec.source_id.clone(),
            target_id: self.spec.target_id.clone(),
            help,
            unit,
        }
    }

    /// Joins a page's labels with the target's. Where both have one, the page's wins with `honor_labels`;
    /// otherwise it moves to `exported_<name>`, with as many prefixes as it takes to be unique (as Prometheus does).
    fn join(&self, mut labels: Vec<(String, String)>) -> Vec<(String, String)> {
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
            labels.push((exported, pages));
        }
        labels
    }
}

fn has(labels: &[(String, String)], name: &str) -> bool {
    labels.iter().any(|(label, _)| label == name)
}
