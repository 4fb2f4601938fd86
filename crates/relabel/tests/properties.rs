//! Laws that hold for every rule and every label list.

use std::collections::BTreeMap;

use metricsd_model::{RelabelAction as Action, RelabelConfig};
use metricsd_relabel::Relabeler;
use proptest::prelude::*;

fn label_list() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::btree_map("[abc]{1,2}", "[abx\\n]{0,3}", 0..5)
        .prop_map(|map: BTreeMap<String, String>| map.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn regex() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("(.*)".to_owned()),
        Just("(a|b)(.*)".to_owned()),
        "[ab]{0,2}",
        "[ab]{0,1}\\(\\.[*+]\\)",
        "\\([abx]\\|[abx]{0,2}\\)",
    ]
}

fn any_rule() -> impl Strategy<Value = RelabelConfig> {
    let action = prop_oneof![
        Just(Action::Replace),
        Just(Action::Keep),
        Just(Action::Drop),
        Just(Action::HashMod),
        Just(Action::LabelMap),
        Just(Action::Lowercase),
        Just(Action::Uppercase),
    ];
    let sources = proptest::collection::vec("[abc]{1,2}", 0..3);
    (action, sources, regex(), "[abc]{1,2}|\\$1|a\\$2", "[abc]{0,2}|\\$1|\\$\\{1\\}x|\\$2").prop_map(
        |(action, source_labels, regex, target, replacement)| {
            let cases = matches!(action, Action::Lowercase | Action::Uppercase);
            let maps = action == Action::LabelMap && replacement.is_empty();
            RelabelConfig {
                action,
                source_labels,
                regex: Some(regex),
                modulus: 7,
                target_label: Some(target),
                replacement: (!cases && !maps).then_some(replacement),
                ..RelabelConfig::default()
            }
        },
    )
}

fn kept(rule: &RelabelConfig, labels: &[(String, String)]) -> bool {
    Relabeler::compile(std::slice::from_ref(rule)).unwrap().apply(&mut labels.to_vec())
}

/// A pattern that means the same and is none of the simple ones.
fn full(rule: &RelabelConfig) -> RelabelConfig {
    let regex = rule.regex.as_deref().unwrap_or("(.*)");
    RelabelConfig { regex: Some(format!("(?:{regex})[^\\s\\S]{{0}}")), ..rule.clone() }
}

fn sorted(mut labels: Vec<(String, String)>) -> Vec<(String, String)> {
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort();
    labels
}

proptest! {
    /// What one keeps, the other drops.
    #[test]
    fn keep_and_drop_are_complements(rule in any_rule(), labels in label_list()) {
        let keep = RelabelConfig { action: Action::Keep, ..rule.clone() };
        let drop = RelabelConfig { action: Action::Drop, ..rule.clone() };
        prop_assert_ne!(kept(&keep, &labels), kept(&drop, &labels));
        let equal = |action| RelabelConfig {
            action,
            regex: None,
            modulus: 0,
            replacement: None,
            ..rule.clone()
        };
        prop_assert_ne!(kept(&equal(Action::KeepEqual), &labels), kept(&equal(Action::DropEqual), &labels));
    }

    /// What one removes, the other leaves; together they are everything.
    #[test]
    fn labeldrop_and_labelkeep_are_complements(regex in regex(), labels in label_list()) {
        let left = |action| {
            let rule = RelabelConfig { action, regex: Some(regex.clone()), ..RelabelConfig::default() };
            let mut labels = labels.clone();
            assert!(Relabeler::compile(&[rule]).unwrap().apply(&mut labels));
            labels
        };
        let mut all = left(Action::LabelDrop);
        all.extend(left(Action::LabelKeep));
        prop_assert_eq!(sorted(all), sorted(labels));
    }

    /// Simple patterns are short cuts, no other rules.
    #[test]
    fn short_cuts_change_nothing(rules in proptest::collection::vec(any_rule(), 1..4), labels in label_list()) {
        let quick = Relabeler::compile(&rules).unwrap();
        let slow = Relabeler::compile(&rules.iter().map(full).collect::<Vec<_>>()).unwrap();
        let (mut a, mut b) = (labels.clone(), labels);
        prop_assert_eq!(quick.apply(&mut a), slow.apply(&mut b));
        prop_assert_eq!(a, b);
    }

    /// The order in which labels come does not matter, names stay unique, and explaining comes to the same.
    #[test]
    fn order_does_not_matter(rules in proptest::collection::vec(any_rule(), 1..4), labels in label_list()) {
        let relabeler = Relabeler::compile(&rules).unwrap();
        let (mut a, mut b, mut c) = (labels.clone(), sorted(labels.clone()), labels);
        let verdict = relabeler.apply(&mut a);
        prop_assert_eq!(verdict, relabeler.apply(&mut b));
        prop_assert_eq!(verdict, relabeler.explain(&mut c).iter().all(|step| step.kept));
        prop_assert_eq!(&a, &c);
        let names: std::collections::BTreeSet<_> = a.iter().map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(names.len(), a.len());
        prop_assert_eq!(sorted(a), sorted(b));
    }

    /// Buckets are below the modulus.
    #[test]
    fn buckets_are_within_the_modulus(modulus in 1..u64::MAX, labels in label_list()) {
        let rule = RelabelConfig {
            action: Action::HashMod,
            modulus,
            source_labels: vec!["a".into(), "b".into()],
            target_label: Some("bucket".into()),
            ..RelabelConfig::default()
        };
        let mut labels = labels;
        prop_assert!(Relabeler::compile(&[rule]).unwrap().apply(&mut labels));
        let bucket = labels.iter().find(|(name, _)| name == "bucket").unwrap();
        prop_assert!(bucket.1.parse::<u64>().unwrap() < modulus);
    }
}
