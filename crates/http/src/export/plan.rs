//! Divides the series of a metric into groups that a selection can ask for: by the values of the label that tells most of
//! them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metricsd_model::{MatchOp, Matcher, Series};

/// Values that one matcher lists; a pattern of more may be too large to compile.
const MAX_VALUES: usize = 200;

/// Characters of the meta language of patterns.
const META: &str = r"\.+*?()|[]{}^$#&-~";

/// Some series, and the matchers that select them and no other of their metric.
pub(super) struct Group {
    pub(super) matchers: Vec<Matcher>,
    pub(super) series: Vec<Arc<Series>>,
}

impl Group {
    /// Two or more groups of `most` series each where that can be, which together are this one; `None` where it is one
    /// series, or its series cannot be told apart.
    pub(super) fn split(&self, most: usize) -> Option<Vec<Self>> {
        let label = self.telling_label()?;
        let mut by_value: BTreeMap<&str, Vec<Arc<Series>>> = BTreeMap::new();
        for series in &self.series {
            by_value.entry(series.labels.get(label).unwrap_or("")).or_default().push(series.clone());
        }
        let mut groups = Vec::new();
        let (mut values, mut gathered): (Vec<&str>, Vec<Arc<Series>>) = (Vec::new(), Vec::new());
        for (value, series) in by_value {
            if !values.is_empty() && (gathered.len() + series.len() > most || values.len() == MAX_VALUES) {
                groups.push(self.part(label, &std::mem::take(&mut values), std::mem::take(&mut gathered))?);
            }
            values.push(value);
            gathered.extend(series);
        }
        groups.push(self.part(label, &values, gathered)?);
        (groups.len() > 1).then_some(groups)
    }

    fn part(&self, label: &str, values: &[&str], series: Vec<Arc<Series>>) -> Option<Self> {
        let matcher = match values {
            [only] => Matcher::equal(label, *only),
            many => {
                let pattern = many.iter().map(|value| escaped(value)).collect::<Vec<_>>().join("|");
                Matcher::new(label, MatchOp::Regex, pattern).ok()?
            }
        };
        let mut matchers = self.matchers.clone();
        matchers.push(matcher);
        Some(Self { matchers, series })
    }

    /// The label with the most values; `None` where none has two.
    fn telling_label(&self) -> Option<&str> {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for series in &self.series {
            for (name, value) in series.labels.without_name() {
                values.entry(name).or_default().insert(value);
                *counts.entry(name).or_default() += 1;
            }
        }
        let told = |name: &str, values: &BTreeSet<&str>| {
            // A series without the label is told from those with it.
            values.len() + usize::from(counts.get(name).is_some_and(|count| *count < self.series.len()))
        };
        let best = values.iter().map(|(name, values)| (told(name, values), *name)).max()?;
        (best.0 > 1).then_some(best.1)
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if META.contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use metricsd_model::{LabelSet, MetricSource, MetricType, SeriesId};

    use super::*;

    fn series(pairs: &[(&str, &str)]) -> Arc<Series> {
        let labels = LabelSet::new(pairs.iter().copied().chain([("__name__", "a")])).unwrap();
        Arc::new(Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type: MetricType::Gauge,
            source_type: MetricSource::Application,
            source: "s".into(),
            target_id: "".into(),
            help: None,
            unit: None,
        })
    }

    #[test]
    fn groups_are_a_partition() {
        let mut all = vec![series(&[]), series(&[("odd", "a|b.*")])];
        for host in 0..40 {
            for disk in 0..3 {
                all.push(series(&[("host", &format!("h.{host}")), ("disk", &disk.to_string())]));
            }
        }
        let whole = Group { matchers: vec![Matcher::equal("__name__", "a")], series: all.clone() };
        let (mut waiting, mut done) = (vec![whole], Vec::new());
        while let Some(group) = waiting.pop() {
            if group.series.len() <= 7 {
                done.push(group);
            } else {
                waiting.extend(group.split(7).expect("they can be told apart"));
            }
        }
        for series in &all {
            let matching =
                |group: &&Group| group.matchers.iter().all(|matcher| matcher.matches_labels(&series.labels));
            let of: Vec<&Group> = done.iter().filter(matching).collect();
            assert_eq!(of.len(), 1, "{}", series.labels);
            assert!(of[0].series.contains(series));
        }
        let single = Group { matchers: Vec::new(), series: vec![series(&[("a", "b")])] };
        assert!(single.split(1).is_none());
    }
}
