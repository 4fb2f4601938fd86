//! Lists of groups of targets as files and web addresses write them, and limits for what any provider may find.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::provider::{FoundLabels, TargetGroup};

/// Label with the address of a target.
pub const ADDRESS_LABEL: &str = "__address__";

/// Bytes of one file or answer.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Targets of one provider.
pub const MAX_TARGETS: usize = 200_000;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// A JSON array.
    Json,
    /// A YAML sequence.
    Yaml,
}

/// Why a text is not a list of groups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not the format, or not the fields.
    #[error("it is not a list of groups with `targets` and `labels`: {0}")]
    Syntax(String),
    /// A label without a name.
    #[error("group {0} has a label without a name")]
    LabelName(usize),
    /// More than [`MAX_TARGETS`].
    #[error("it lists {0} targets, more than the {MAX_TARGETS} that one source may have")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGroup {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Reads a list. The group at place `n` gets the source `<origin>:<n>`, and the labels `extra` besides its own.
///
/// # Errors
/// A sentence about the first thing that is wrong; a list is taken as a whole or not at all.
pub fn read_list(
    text: &str,
    format: ListFormat,
    origin: &str,
    extra: &FoundLabels,
) -> Result<Vec<TargetGroup>, ListError> {
    let written = match format {
        ListFormat::Json => {
            serde_json::from_str::<Option<Vec<WrittenGroup>>>(text).map_err(|e| e.to_string())
        }
        ListFormat::Yaml if text.trim().is_empty() => Ok(None),
        ListFormat::Yaml => {
            serde_saphyr::from_str::<Option<Vec<WrittenGroup>>>(text).map_err(|e| first_line(&e))
        }
    };
    let written = written.map_err(ListError::Syntax)?.unwrap_or_default();
    let targets = written.iter().map(|group| group.targets.len()).sum();
    if targets > MAX_TARGETS {
        return Err(ListError::TooMany(targets));
    }
    written.into_iter().enumerate().map(|(place, group)| group.at(place, origin, extra)).collect()
}

/// What a parser says without the piece of the text that it shows.
fn first_line(error: &impl ToString) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl WrittenGroup {
    fn at(self, place: usize, origin: &str, extra: &FoundLabels) -> Result<TargetGroup, ListError> {
        let mut labels = self.labels.unwrap_or_default();
        if labels.keys().any(String::is_empty) {
            return Err(ListError::LabelName(place));
        }
        labels.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        let targets = self.targets.into_iter().map(target_at).collect();
        Ok(TargetGroup { source: format!("{origin}:{place}"), labels, targets })
    }
}

/// A target of which only the address is known.
pub fn target_at(address: String) -> FoundLabels {
    FoundLabels::from([(ADDRESS_LABEL.to_owned(), address)])
}

/// `host:port`, with brackets around an IPv6 address.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A name as a part of a label's name: what may not stand there becomes `_`.
pub fn label_part(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: ListFormat) -> Result<Vec<TargetGroup>, ListError> {
        read_list(text, format, "here", &FoundLabels::from([("__meta_x".into(), "y".into())]))
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let json = r#"[{"targets": ["a:1", "[::1]:2"], "labels": {"env": "prod"}}, {"targets": ["b:3"]}]"#;
        let yaml = "- targets: [a:1, '[::1]:2']\n  labels:\n    env: prod\n- targets:\n  - b:3\n";
        let groups = read(json, ListFormat::Json).unwrap();
        assert_eq!(groups, read(yaml, ListFormat::Yaml).unwrap());
        assert_eq!(groups[0].source, "here:0");
        assert_eq!(groups[0].labels["env"], "prod");
        assert_eq!(groups[0].labels["__meta_x"], "y");
        assert_eq!(groups[0].targets[1][ADDRESS_LABEL], "[::1]:2");
        assert_eq!(groups[1].labels.len(), 1);
    }

    #[test]
    fn an_empty_list_is_a_list() {
        for text in ["[]", "null"] {
            assert_eq!(read(text, ListFormat::Json), Ok(Vec::new()));
        }
        for text in ["[]", "", "\n# nothing yet\n", "null"] {
            assert_eq!(read(text, ListFormat::Yaml), Ok(Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn yaml_takes_numbers_for_values_of_labels() {
        let groups = read("- targets: [a:1]\n  labels: {shard: 7}\n", ListFormat::Yaml).unwrap();
        assert_eq!(groups[0].labels["shard"], "7");
    }

    #[test]
    fn what_is_no_list_of_groups_is_refused_with_a_reason() {
        for text in
            [r#"{"targets": []}"#, r#"[{"targets": "a:1"}]"#, r#"[{"target": ["a:1"]}]"#, "[", r#"["a:1"]"#]
        {
            let error = read(text, ListFormat::Json).unwrap_err().to_string();
            assert!(error.starts_with("it is not a list of groups"), "{error}");
        }
        let error = read("- targets: {a: 1}\n", ListFormat::Yaml).unwrap_err().to_string();
        assert!(error.starts_with("it is not a list of groups") && !error.contains('\n'), "{error}");
        assert_eq!(read(r#"[{"labels": {"": "x"}}]"#, ListFormat::Json), Err(ListError::LabelName(0)));
    }

    #[test]
    fn too_many_targets_are_refused() {
        let text = serde_json::json!([{"targets": vec!["a:1"; MAX_TARGETS + 1]}]).to_string();
        assert_eq!(read(&text, ListFormat::Json), Err(ListError::TooMany(MAX_TARGETS + 1)));
    }

    #[test]
    fn hosts_and_names_of_labels_are_written_as_prometheus_does() {
        assert_eq!(host_port("::1", 80), "[::1]:80");
        assert_eq!(host_port("example.org", 80), "example.org:80");
        assert_eq!(label_part("app.kubernetes.io/name-é"), "app_kubernetes_io_name__");
    }
}
