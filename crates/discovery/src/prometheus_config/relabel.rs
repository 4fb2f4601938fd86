//! `relabel_configs` and `metric_relabel_configs`.

use metricsd_model::{NameValidation, RelabelAction, RelabelConfig};
use metricsd_relabel::Relabeler;

use super::section::Section;
use super::value::{nearest, shown};

/// Takes a list of rules out of a section, and checks each.
pub(super) fn read(
    section: &mut Section<'_>,
    name: &'static str,
    names: NameValidation,
) -> Vec<RelabelConfig> {
    let cx = section.cx;
    let rules: Vec<RelabelConfig> = section
        .list(name)
        .into_iter()
        .filter_map(|(path, node)| Section::open(cx, path, node).map(|section| rule(section, names)))
        .collect();
    if rules.len() > metricsd_relabel::limits::MAX_RULES {
        let message = format!(
            "there are {} rules; at most {} are read",
            rules.len(),
            metricsd_relabel::limits::MAX_RULES
        );
        section.problem(name, message);
    }
    rules
}

fn rule(mut rule: Section<'_>, names: NameValidation) -> RelabelConfig {
    let defaults = RelabelConfig::default();
    let action = rule.scalar("action", action);
    let is_unknown = action.is_none() && rule.field("action").is_some();
    let config = RelabelConfig {
        source_labels: rule.plain_texts("source_labels"),
        separator: rule.text("separator").unwrap_or(defaults.separator),
        regex: rule.text("regex"),
        modulus: rule.count("modulus").unwrap_or_default(),
        target_label: rule.text("target_label"),
        replacement: rule.text("replacement"),
        action: action.unwrap_or_default(),
    };
    if rule.close()
        && !is_unknown
        && let Err(error) = Relabeler::compile_for(std::slice::from_ref(&config), names)
    {
        rule.problem(error.field, error.message);
    }
    config
}

/// An action, in any case.
fn action(text: &str) -> Result<RelabelAction, String> {
    let lower = text.to_ascii_lowercase();
    RelabelAction::from_name(&lower).ok_or_else(|| {
        let names: Vec<&str> = RelabelAction::ALL.iter().map(|action| action.as_str()).collect();
        let near = nearest(&lower, names.iter().copied());
        let meant = near.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
        format!("{} is not an action{meant}; there are {}", shown(text), names.join(", "))
    })
}
