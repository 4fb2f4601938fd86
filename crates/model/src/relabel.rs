//! What a relabelling rule says; the crate `relabel` carries rules out.

use serde::{Deserialize, Serialize};

use crate::series::names;

/// What a rule does (Prometheus' documentation, `relabel_config`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelabelAction {
    /// Sets `target_label` to `replacement` where `regex` matches the sources.
    #[default]
    Replace,
    /// Drops what `regex` does not match.
    Keep,
    /// Drops what `regex` matches.
    Drop,
    /// Sets `target_label` to the hash of the sources modulo `modulus`.
    HashMod,
    /// Copies labels whose names `regex` matches to names that `replacement` makes.
    LabelMap,
    /// Removes labels whose names `regex` matches.
    LabelDrop,
    /// Removes labels whose names `regex` does not match.
    LabelKeep,
    /// Sets `target_label` to the sources in lower case.
    Lowercase,
    /// Sets `target_label` to the sources in upper case.
    Uppercase,
    /// Drops what does not have the sources in `target_label`.
    KeepEqual,
    /// Drops what has the sources in `target_label`.
    DropEqual,
}

names!(RelabelAction {
    Replace = "replace",
    Keep = "keep",
    Drop = "drop",
    HashMod = "hashmod",
    LabelMap = "labelmap",
    LabelDrop = "labeldrop",
    LabelKeep = "labelkeep",
    Lowercase = "lowercase",
    Uppercase = "uppercase",
    KeepEqual = "keepequal",
    DropEqual = "dropequal",
});

/// One rule, defaults filled in, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelabelConfig {
    /// Labels whose values are joined.
    pub source_labels: Vec<String>,
    /// Stands between the values.
    pub separator: String,
    /// Pattern for the joined values, or for label names; must match the whole text. Absent: `(.*)`.
    pub regex: Option<String>,
    /// For `hashmod`.
    pub modulus: u64,
    /// The label that is set or compared.
    pub target_label: Option<String>,
    /// What it is set to; `$1`, `${1}`, `$name`, `${name}` stand for groups of `regex`. Absent: `$1`.
    pub replacement: Option<String>,
    /// What is done.
    pub action: RelabelAction,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: None,
            modulus: 0,
            target_label: None,
            replacement: None,
            action: RelabelAction::Replace,
        }
    }
}
