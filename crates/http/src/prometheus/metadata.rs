//! `metadata`: what is said of metric families; and how families and their types are named.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use metricsd_model::{FamilyMetadata, FamilyType};
use metricsd_ports::PortError;

use super::answer::{Pieces, Remarks, success};
use super::error::ApiError;
use super::form::Form;
use super::{AppState, json, values};
use crate::api::Api;

/// Most families of an answer, whatever is asked for.
const MAX_FAMILIES: usize = 100_000;

/// `/api/v1/metadata`
pub(super) async fn metadata(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let limit = values::number(form.first("limit"))
        .map_err(|_| ApiError::bad_data("limit must be a number"))?
        .and_then(|limit| usize::try_from(limit).ok());
    let per_metric = values::number(form.first("limit_per_metric"))
        .map_err(|_| ApiError::bad_data("limit_per_metric must be a number"))?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let metric = Some(form.first("metric")).filter(|metric| !metric.is_empty());
    let limit = limit.unwrap_or(MAX_FAMILIES).min(MAX_FAMILIES);
    let mut families = match (metric, limit) {
        (_, 0) => Vec::new(),
        (Some(metric), _) => of_metric(&shared.api, metric).await?,
        // Some of what series say goes for what their families say.
        (None, limit) => shared.api.source.families(None, limit.saturating_mul(2)).await?,
    };
    families = Statements::new(families).uncovered();
    let mut names = 0;
    let mut last: Option<&str> = None;
    let kept = families.iter().take_while(|said| {
        names += usize::from(last.replace(&said.family) != Some(said.family.as_str()));
        names <= limit
    });
    let kept = kept.count();
    families.truncate(kept);
    families.retain(|said| metric.is_none_or(|metric| said.family == metric));
    Ok(success(
        Families { rest: families.into_iter().peekable(), per_metric, begun: false },
        &Remarks::default(),
    ))
}

/// What is said of a family, and of those of which it may be a sample's name.
async fn of_metric(api: &Api, metric: &str) -> Result<Vec<FamilyMetadata>, PortError> {
    let mut said = api.source.families(Some(metric), 1).await?;
    if said.is_empty() {
        return Ok(said);
    }
    let bases: BTreeSet<&str> = FamilyType::ALL
        .iter()
        .flat_map(|kind| kind.suffixes())
        .filter_map(|suffix| metric.strip_suffix(suffix).filter(|base| !base.is_empty()))
        .collect();
    for base in bases {
        said.extend(api.source.families(Some(base), 1).await?);
    }
    Ok(said)
}

/// Statements, ordered by family.
pub(super) struct Statements(Vec<FamilyMetadata>);

impl Statements {
    /// Takes them in any order.
    pub(super) fn new(mut statements: Vec<FamilyMetadata>) -> Self {
        statements.sort_by(|a, b| a.family.cmp(&b.family));
        Self(statements)
    }

    /// All that are stored, within reason.
    pub(super) async fn all(api: &Api) -> Result<Self, PortError> {
        Ok(Self::new(api.source.families(None, MAX_FAMILIES).await?))
    }

    fn of_family(&self, family: &str) -> impl Iterator<Item = &FamilyMetadata> {
        let from = self.0.partition_point(|said| said.family.as_str() < family);
        let rest = self.0.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|said| said.family == family).count();
        rest.iter().take(count)
    }

    /// The statement of a family that says better what a series says in passing.
    pub(super) fn covering(&self, said: &FamilyMetadata) -> Option<&FamilyMetadata> {
        let suffixes = FamilyType::ALL.iter().flat_map(|kind| kind.suffixes());
        let bases = suffixes.filter_map(|suffix| said.family.strip_suffix(suffix));
        let mut families = bases.chain([said.family.as_str()]).flat_map(|base| self.of_family(base));
        families.find(|family| said.is_covered_by(family))
    }

    /// Those that no other says better.
    fn uncovered(self) -> Vec<FamilyMetadata> {
        let covered: Vec<bool> = self.0.iter().map(|said| self.covering(said).is_some()).collect();
        self.0.into_iter().zip(covered).filter_map(|(said, covered)| (!covered).then_some(said)).collect()
    }
}

/// An object with a list for every family.
struct Families {
    rest: std::iter::Peekable<std::vec::IntoIter<FamilyMetadata>>,
    per_metric: usize,
    begun: bool,
}

impl Pieces for Families {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(first) = self.rest.next() else {
            out.extend_from_slice(if self.begun { b"}" } else { b"{}" });
            return false;
        };
        out.push(if self.begun { b',' } else { b'{' });
        self.begun = true;
        json::string(out, &first.family);
        out.extend_from_slice(b":[{");
        statement(out, first.metric_type, &first.help, &first.unit);
        let mut written = 1;
        while let Some(next) = self.rest.next_if(|next| next.family == first.family) {
            if written < self.per_metric {
                out.extend_from_slice(b",{");
                statement(out, next.metric_type, &next.help, &next.unit);
                written += 1;
            }
        }
        out.push(b']');
        true
    }
}

/// `"type":…,"help":…,"unit":…}`
pub(super) fn statement(out: &mut Vec<u8>, metric_type: FamilyType, help: &str, unit: &str) {
    for (index, (name, text)) in
        [("type", type_name(metric_type)), ("help", help), ("unit", unit)].into_iter().enumerate()
    {
        if index > 0 {
            out.push(b',');
        }
        json::string(out, name);
        out.push(b':');
        json::string(out, text);
    }
    out.push(b'}');
}

/// A type as Prometheus names it.
fn type_name(metric_type: FamilyType) -> &'static str {
    match metric_type {
        FamilyType::Counter => "counter",
        FamilyType::Gauge => "gauge",
        FamilyType::Histogram => "histogram",
        FamilyType::GaugeHistogram => "gaugehistogram",
        FamilyType::Summary => "summary",
        FamilyType::Info => "info",
        FamilyType::StateSet => "stateset",
        FamilyType::Custom => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_go_before_what_their_series_say() {
        let said = |family: &str, metric_type| FamilyMetadata {
            family: family.to_owned(),
            metric_type,
            help: "Help.".to_owned(),
            unit: String::new(),
        };
        use FamilyType::{Counter, Gauge, GaugeHistogram, Histogram, Info};
        let all = vec![
            said("a", Counter),
            said("a_total", Counter),
            said("b", Info),
            said("b_info", Gauge),
            said("g", GaugeHistogram),
            said("g", Histogram),
            said("g_gsum", Histogram),
            said("plain_total", Counter),
        ];
        let kept = Statements::new(all).uncovered();
        let kept: Vec<(&str, FamilyType)> =
            kept.iter().map(|said| (said.family.as_str(), said.metric_type)).collect();
        assert_eq!(kept, [("a", Counter), ("b", Info), ("g", GaugeHistogram), ("plain_total", Counter)]);
    }
}
