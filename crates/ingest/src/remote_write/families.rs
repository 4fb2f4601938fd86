//! What remote writers say of metric families, kept so that series which come later are typed by it.

use std::collections::HashMap;

use metricsd_codec::exposition::{MetricKind, OPEN_METRICS};
use metricsd_codec::remote_write::MetadataEntry;
use metricsd_model::{FamilyMetadata, MetricType, Series};

use crate::Limits;
use crate::hash::Keyed;
use crate::validate::check_metric_name;

/// Families that are remembered; beyond, all are forgotten and told again: senders repeat themselves every minute.
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

/// What is known of families, by who said it.
#[derive(Default)]
pub(super) struct Families {
    known: HashMap<String, HashMap<String, (MetricKind, FamilyMetadata), Keyed>>,
    count: usize,
    bytes: usize,
    version: u32,
}

impl Families {
    /// Changes whenever something new is said.
    #[inline]
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Whether all of this was said before.
    pub(super) fn knows(&self, source_id: &str, said: &[Described<'_>]) -> bool {
        let of_source = self.known.get(source_id);
        said.iter().all(|described| {
            let known = of_source.and_then(|known| known.get(&described.family.family));
            known.is_some_and(|(kind, family)| *kind == described.kind && family == described.family)
        })
    }

    /// Takes note.
    pub(super) fn note(&mut self, source_id: &str, said: &[Described<'_>]) {
        for Described { kind, family } in said {
            let size = size_of(family);
            if self.count >= MAX_FAMILIES || self.bytes + size > MAX_BYTES {
                *self = Self { version: self.version, ..Self::default() };
            }
            let of_source = self.known.entry(source_id.to_owned()).or_default();
            match of_source.insert(family.family.clone(), (*kind, (*family).clone())) {
                Some((_, replaced)) => self.bytes = self.bytes.saturating_sub(size_of(&replaced)),
                None => self.count += 1,
            }
            self.bytes += size;
        }
        self.version = self.version.wrapping_add(1);
    }

    /// What was said of the family to which a metric of this name belongs. A family of exactly this name goes first.
    pub(super) fn of_metric(&self, source_id: &str, name: &str) -> Option<&FamilyMetadata> {
        let known = self.known.get(source_id)?;
        if let Some((_, family)) = known.get(name) {
            return Some(family);
        }
        OPEN_METRICS.iter().find_map(|(suffix, kinds)| {
            let (kind, family) = known.get(name.strip_suffix(suffix)?)?;
            kinds.contains(kind).then_some(family)
        })
    }

    /// The series as its family describes it now; `None` where that changes nothing.
    pub(super) fn describe(&self, source_id: &str, series: &Series) -> Option<Series> {
        let family = self.of_metric(source_id, series.labels.metric_name())?;
        let text = |text: &String, known: &Option<String>| {
            if text.is_empty() { known.clone() } else { Some(text.clone()) }
        };
        let metric_type = match family.metric_type {
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
        metric_type: entry.kind.metric_type(),
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
