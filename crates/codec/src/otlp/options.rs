//! What can be chosen of the translation.

use std::collections::BTreeSet;

/// How names of metrics and attributes become names of series and labels; called as Prometheus calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Translation {
    /// Letters, digits and underscores only; the unit and `_total` are added.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Letters, digits and underscores only; nothing is added.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are; the unit and `_total` are added.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Translation {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::UnderscoreEscapingWithSuffixes,
        Self::UnderscoreEscapingWithoutSuffixes,
        Self::NoUtf8EscapingWithSuffixes,
        Self::NoTranslation,
    ];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnderscoreEscapingWithSuffixes => "UnderscoreEscapingWithSuffixes",
            Self::UnderscoreEscapingWithoutSuffixes => "UnderscoreEscapingWithoutSuffixes",
            Self::NoUtf8EscapingWithSuffixes => "NoUTF8EscapingWithSuffixes",
            Self::NoTranslation => "NoTranslation",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == name)
    }

    /// Whether characters that names of old could not have become underscores.
    pub(super) fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    /// Whether the unit and the type are added to a metric's name.
    pub(super) fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// Which attributes of a resource become labels of all its series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promotion {
    /// Those that are named.
    These(BTreeSet<String>),
    /// All but those that are named.
    AllBut(BTreeSet<String>),
}

impl Promotion {
    /// Whether an attribute becomes a label.
    pub(super) fn takes(&self, key: &str) -> bool {
        match self {
            Self::These(keys) => keys.contains(key),
            Self::AllBut(keys) => !keys.contains(key),
        }
    }
}

/// What can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpOptions {
    /// How names become names.
    pub translation: Translation,
    /// Attributes of resources that become labels.
    pub promotion: Promotion,
    /// `target_info` keeps `service.name`, `service.namespace` and `service.instance.id`, which `job` and `instance` say.
    pub keep_identifying: bool,
    /// Histograms with bounds become native histograms with custom buckets rather than series of buckets.
    pub custom_buckets: bool,
    /// The name, version, schema URL and attributes of the instrumentation scope become labels.
    pub scope_labels: bool,
    /// Deltas are added up; without it they are refused.
    pub delta: bool,
    /// A zero is stored where a counter or a histogram began, if its sender says when.
    pub start_zeros: bool,
    /// Bytes that a converted request may take.
    pub max_bytes: usize,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self {
            translation: Translation::default(),
            promotion: Promotion::These(BTreeSet::new()),
            keep_identifying: false,
            custom_buckets: false,
            scope_labels: false,
            delta: false,
            start_zeros: false,
            max_bytes: 64 << 20,
        }
    }
}
