//! What a rule must say and what it must not, for each action.

use metricsd_model::{NameValidation, RelabelAction as Action, RelabelConfig};
use metricsd_relabel::{RelabelError, Relabeler};

fn base(action: Action) -> RelabelConfig {
    RelabelConfig { action, ..RelabelConfig::default() }
}

fn with_target(action: Action) -> RelabelConfig {
    RelabelConfig {
        target_label: Some("t".into()),
        modulus: u64::from(action == Action::HashMod),
        ..base(action)
    }
}

fn fault(rule: RelabelConfig) -> RelabelError {
    fault_for(rule, NameValidation::Utf8)
}

fn fault_for(rule: RelabelConfig, names: NameValidation) -> RelabelError {
    let rules = [with_target(Action::Replace), rule];
    let error = Relabeler::compile_for(&rules, names).expect_err("this rule must not compile");
    assert_eq!(error.rule, 1);
    error
}

fn fine(rule: RelabelConfig) {
    Relabeler::compile(&[rule]).expect("this rule must compile");
}

const WITH_TARGET: [Action; 6] = [
    Action::Replace,
    Action::HashMod,
    Action::Lowercase,
    Action::Uppercase,
    Action::KeepEqual,
    Action::DropEqual,
];

#[test]
fn a_target_is_needed_where_something_is_set_or_compared() {
    for action in WITH_TARGET {
        fine(with_target(action));
        let error = fault(RelabelConfig { target_label: None, ..with_target(action) });
        assert_eq!(error.field, "target_label", "{action:?}");
        assert_eq!(fault(RelabelConfig { target_label: Some(String::new()), ..with_target(action) }), error);
        assert!(error.to_string().starts_with("rule 2: target_label: "), "{error}");
    }
    for action in [Action::Keep, Action::Drop, Action::LabelMap, Action::LabelDrop, Action::LabelKeep] {
        fine(base(action));
    }
}

#[test]
fn hashmod_needs_a_modulus() {
    assert_eq!(fault(RelabelConfig { modulus: 0, ..with_target(Action::HashMod) }).field, "modulus");
}

#[test]
fn fields_that_mean_nothing_are_refused() {
    let set = |field: &str, rule: RelabelConfig| match field {
        "source_labels" => RelabelConfig { source_labels: vec!["a".into()], ..rule },
        "separator" => RelabelConfig { separator: ",".into(), ..rule },
        "regex" => RelabelConfig { regex: Some("a".into()), ..rule },
        "modulus" => RelabelConfig { modulus: 2, ..rule },
        "target_label" => RelabelConfig { target_label: Some("t".into()), ..rule },
        _ => RelabelConfig { replacement: Some("x".into()), ..rule },
    };
    let refused = |rule: RelabelConfig, fields: &[&str]| {
        for field in ["source_labels", "separator", "regex", "modulus", "target_label", "replacement"] {
            match fields.contains(&field) {
                true => assert_eq!(fault(set(field, rule.clone())).field, field, "{rule:?}"),
                false => fine(set(field, rule.clone())),
            }
        }
    };
    for action in [Action::Lowercase, Action::Uppercase] {
        refused(with_target(action), &["replacement"]);
    }
    for action in [Action::KeepEqual, Action::DropEqual] {
        refused(with_target(action), &["regex", "modulus", "separator", "replacement"]);
    }
    for action in [Action::LabelDrop, Action::LabelKeep] {
        refused(base(action), &["source_labels", "target_label", "modulus", "separator", "replacement"]);
    }
    for action in [Action::Replace, Action::HashMod] {
        refused(with_target(action), &[]);
    }
    for action in [Action::Keep, Action::Drop, Action::LabelMap] {
        refused(base(action), &[]);
    }
    // The defaults may be written out.
    fine(RelabelConfig {
        replacement: Some("$1".into()),
        separator: ";".into(),
        ..with_target(Action::Lowercase)
    });
}

#[test]
fn names_must_be_valid() {
    let target =
        |action, name: &str| RelabelConfig { target_label: Some(name.into()), ..with_target(action) };
    let replaces = |name: &str| target(Action::Replace, name);
    let maps = |to: &str| RelabelConfig { replacement: Some(to.into()), ..base(Action::LabelMap) };
    for name in ["a b", "0", "é.x", "${1}", "$1.x", "$$", "a$"] {
        fine(replaces(name));
        fine(maps(name));
        fine(target(Action::Lowercase, name));
    }
    assert_eq!(fault(maps("")).field, "replacement");
    let legacy = |rule: RelabelConfig| Relabeler::compile_for(&[rule], NameValidation::Legacy).is_ok();
    for name in ["a", "_a0", "${1}", "a_${1}_b", "$1", "${1}0", "x$name"] {
        assert!(legacy(replaces(name)) && legacy(maps(name)), "{name}");
    }
    for name in ["a b", "0", "é", "$1.x", "0$1", "$$", "a$", "a-$1", "${1"] {
        assert!(!legacy(replaces(name)) && !legacy(maps(name)), "{name}");
        assert_eq!(fault_for(replaces(name), NameValidation::Legacy).field, "target_label");
        assert_eq!(fault_for(maps(name), NameValidation::Legacy).field, "replacement");
    }
    for action in WITH_TARGET.into_iter().skip(1) {
        assert!(!legacy(target(action, "${1}")), "{action:?} does not replace in its target");
    }
    let sources =
        RelabelConfig { source_labels: vec!["a".into(), String::new()], ..with_target(Action::Replace) };
    assert_eq!(fault(sources).field, "source_labels");
}

#[test]
fn patterns_must_compile_within_bounds() {
    let regex = |text: &str| RelabelConfig { regex: Some(text.into()), ..base(Action::Keep) };
    for text in ["(", "a)|(b", "[", "*", r"\8", "((a{100}){100}){100}", &"x".repeat(70_000)] {
        let error = fault(regex(text));
        assert_eq!(error.field, "regex");
        assert!(!error.message.contains('\n'), "one line: {error}");
    }
    let long = "x".repeat(70_000);
    assert_eq!(
        fault(RelabelConfig { replacement: Some(long.clone()), ..with_target(Action::Replace) }).field,
        "replacement"
    );
    assert_eq!(fault(RelabelConfig { separator: long.clone(), ..base(Action::Keep) }).field, "separator");
    assert_eq!(
        fault(RelabelConfig { target_label: Some(long), ..with_target(Action::Replace) }).field,
        "target_label"
    );
    let sources = RelabelConfig { source_labels: vec!["a".into(); 1_001], ..base(Action::Keep) };
    assert_eq!(fault(sources).field, "source_labels");
    assert_eq!(Relabeler::compile(&vec![base(Action::Keep); 1_001]).unwrap_err().rule, 1_000);
}
