//! What remote writers say of metric families, kept so that series which come later are typed by it.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_codec::exposition::{MetricKind, OPEN_METRICS};
use metricsd_codec::remote_write::MetadataEntry;
use metricsd_model::{FamilyMetadata, MetricType, Series};

use crate::hash::Keyed;
use crate::validate::check_metric_name;
use crate::{Limits, Texts};

/// Families that are remembered.
const MAX_FAMILIES: usize = 100_000;

/// Bytes of their texts.
const MAX_BYTES: usize = 32 << 20;

/// What one writer says of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Described<'a> {
    /// As declared.
    pub(super) kind: MetricKind,
    /// The same in the model's terms.
    pub(super) family: &'a FamilyMetadata,
}

/// What is known of families, by who said it. Two halves: when the newer is full it takes the place of the older, whose
/// families go; senders repeat themselves every minute, so that what is still said is in the newer.
#[derive(Default)]
pub(super) struct Families {
    newer: Half,
    older: Half,
    version: u32,
    /// Of series that are new.
    pub(super) texts: Texts,
}

/// What one source says, by family.
type OfSource = HashMap<String, (MetricKind, FamilyMetadata), Keyed>;

#[derive(Default)]
struct Half {
    known: HashMap<String, OfSource>,
    count: usize,
    bytes: usize,
}

impl Half {
    fn get(&self, source_id: &str, family: &str) -> Option<&(MetricKind, FamilyMetadata)> {
        self.known.get(source_id)?.get(family)
    }

    fn says(&self, source_id: &str, described: &Described<'_>) -> bool {
        let known = self.get(source_id, &described.family.family);
        known.is_some_and(|(kind, family)| *kind == described.kind && family == described.family)
    }

    fn insert(&mut self, source_id: &str, Described { kind, family }: &Described<'_>) {
        let of_source = self.known.entry(source_id.to_owned()).or_default();
        match of_source.insert(family.family.clone(), (*kind, (*family).clone())) {
            Some((_, replaced)) => self.bytes = self.bytes.saturating_sub(size_of(&replaced)),
            None => self.count += 1,
        }
        self.bytes += size_of(family);
    }
}

impl Families {
    /// Changes whenever something new is said.
    #[inline]
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Whether all of this was said before, and lately.
    pub(super) fn knows(&self, source_id: &str, said: &[Described<'_>]) -> bool {
        said.iter().all(|described| self.newer.says(source_id, described))
    }

    /// Takes note.
    pub(super) fn note(&mut self, source_id: &str, said: &[Described<'_>]) {
        let mut changed = false;
        for described in said {
            if self.newer.says(source_id, described) {
                continue;
            }
            changed |= self.newer.get(source_id, &described.family.family).is_some()
                || !self.older.says(source_id, described);
            let full = self.newer.count >= MAX_FAMILIES / 2
                || self.newer.bytes + size_of(described.family) > MAX_BYTES / 2;
            if full {
                self.older = std::mem::take(&mut self.newer);
            }
            self.newer.insert(source_id, described);
        }
        if changed {
            self.version = self.version.wrapping_add(1);
        }
    }

    fn get(&self, source_id: &str, family: &str) -> Option<&(MetricKind, FamilyMetadata)> {
        self.newer.get(source_id, family).or_else(|| self.older.get(source_id, family))
    }

    /// What was said of the family to which a metric of this name belongs. A family of exactly this name goes first.
    pub(super) fn of_metric(&self, source_id: &str, name: &str) -> Option<&FamilyMetadata> {
        if let Some((_, family)) = self.get(source_id, name) {
            return Some(family);
        }
        OPEN_METRICS.iter().find_map(|(suffix, kinds)| {
            let (kind, family) = self.get(source_id, name.strip_suffix(suffix)?)?;
            kinds.contains(kind).then_some(family)
        })
    }

    /// The series as its family describes it now; `None` where that changes nothing.
    pub(super) fn describe(&self, source_id: &str, series: &Series) -> Option<Series> {
        let family = self.of_metric(source_id, series.labels.metric_name())?;
        let text = |text: &str, known: &Option<Arc<str>>| {
            if text.is_empty() { known.clone() } else { Some(self.texts.share(text)) }
        };
        let metric_type = match family.metric_type.metric_type() {
            MetricType::Custom => series.metric_type,
            declared => declared,
        };
        let described = Series {
            metric_type,
            help: text(&family.help, &series.help),
            unit: text(&family.unit, &series.unit),
            ..series.clone()
        };
        (described != *series).then_some(described)
    }
}

fn size_of(family: &FamilyMetadata) -> usize {
    192 + 2 * family.family.len() + family.help.len() + family.unit.len()
}

/// Metadata as it can be stored; `None` for a family whose name cannot be a metric's. A help text that is too long is
/// cut: it is for people.
pub(super) fn family_of(entry: &MetadataEntry<'_>, limits: &Limits) -> Option<FamilyMetadata> {
    let name = std::str::from_utf8(entry.family).ok()?;
    check_metric_name(name, limits).ok()?;
    Some(FamilyMetadata {
        family: name.to_owned(),
        metric_type: entry.kind.family_type(),
        help: text_of(entry.help, limits.max_label_value_bytes),
        unit: text_of(entry.unit, limits.max_label_name_bytes),
    })
}

/// At most `max` bytes of a text, without what databases cannot hold.
fn text_of(bytes: &[u8], max: usize) -> String {
    // A character that is cut in two goes as a whole.
    let text = String::from_utf8_lossy(bytes.get(..max).unwrap_or(bytes));
    let text = if bytes.len() > max { text.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { &text };
    text.replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(number: usize, help: &str) -> FamilyMetadata {
        FamilyMetadata {
            family: format!("family_{number}"),
            metric_type: metricsd_model::FamilyType::Gauge,
            help: help.to_owned(),
            unit: String::new(),
        }
    }

    #[test]
    fn what_is_said_no_more_goes_and_the_rest_stays() {
        let mut families = Families::default();
        let said = |number, help| family(number, help);
        let note = |families: &mut Families, of: &FamilyMetadata| {
            families.note("s", &[Described { kind: MetricKind::Gauge, family: of }]);
        };
        for number in 0..2 * MAX_FAMILIES {
            note(&mut families, &said(number, ""));
            if number % 10_000 == 0 {
                let version = families.version();
                note(&mut families, &said(0, ""));
                assert_eq!(families.version(), version, "nothing new");
            }
        }
        assert!(families.newer.count + families.older.count <= MAX_FAMILIES);
        let known = |number: usize| families.of_metric("s", &format!("family_{number}")).is_some();
        assert!(known(0) && known(2 * MAX_FAMILIES - 1) && !known(1));
        let version = families.version();
        note(&mut families, &said(0, "another text"));
        assert_ne!(families.version(), version);
        assert_eq!(families.of_metric("s", "family_0").unwrap().help, "another text");
    }
}
