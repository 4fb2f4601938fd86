//! Each action, from the documentation of `relabel_config`: what it does, and its edges.

use metricsd_model::{NameValidation, RelabelAction as Action, RelabelConfig};
use metricsd_relabel::Relabeler;

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A rule with these fields; those that are empty are not given.
fn rule(action: Action, sources: &[&str], regex: &str, target: &str, replacement: &str) -> RelabelConfig {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    RelabelConfig {
        action,
        source_labels: sources.iter().map(|name| (*name).to_owned()).collect(),
        regex: given(regex),
        target_label: given(target),
        replacement: given(replacement),
        ..RelabelConfig::default()
    }
}

/// Applies rules and returns what is left, sorted; `None` where the rules drop it. Explaining must come to the same.
fn apply(rules: &[RelabelConfig], pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let relabeler = Relabeler::compile(rules).unwrap();
    let mut list = labels(pairs);
    let kept = relabeler.apply(&mut list);
    let mut explained = labels(pairs);
    let steps = relabeler.explain(&mut explained);
    assert_eq!(steps.iter().all(|step| step.kept), kept);
    assert_eq!(explained, list);
    list.sort();
    kept.then_some(list)
}

#[track_caller]
fn check(rules: &[RelabelConfig], before: &[(&str, &str)], after: &[(&str, &str)]) {
    let mut after = labels(after);
    after.sort();
    assert_eq!(apply(rules, before), Some(after));
}

#[track_caller]
fn dropped(rules: &[RelabelConfig], before: &[(&str, &str)]) {
    assert_eq!(apply(rules, before), None);
}

#[test]
fn no_rules_change_nothing() {
    check(&[], &[("a", "1")], &[("a", "1")]);
    let relabeler = Relabeler::compile(&[]).unwrap();
    assert!(relabeler.is_empty());
}

#[test]
fn replace_sets_the_target_where_the_pattern_matches() {
    let check_replace = |sources: &[&str], regex: &str, replacement: &str, expected: &str| {
        let rule = rule(Action::Replace, sources, regex, "d", replacement);
        let with = [("a", "foo"), ("b", "bar"), ("d", expected)];
        let expected = if expected.is_empty() { &with[..2] } else { &with[..] };
        check(&[rule], &[("a", "foo"), ("b", "bar")], expected);
    };
    check_replace(&["a"], "", "", "foo");
    check_replace(&["a"], "f(.*)", "", "oo");
    check_replace(&["a"], "f(.*)", "${1}-$1-x$0", "oo-oo-xfoo");
    check_replace(&["a", "b"], "(.*);(.*)", "$2;$1", "bar;foo");
    check_replace(&["a", "b"], "", "", "foo;bar");
    check_replace(&["a", "c", "b"], "", "", "foo;;bar");
    check_replace(&["c"], "", "", "");
    check_replace(&["c"], "", "constant", "constant");
    check_replace(&["c"], "(.+)", "constant", "");
    check_replace(&[], "", "constant", "constant");
    check_replace(&["a"], "o", "x", "");
    check_replace(&["a"], "(?P<first>.)(?P<rest>.*)", "$rest-${first}_$first_", "oo-f_");
    check_replace(&["a"], "(f)(x)?.*", "[$1$2]", "[f]");
    check_replace(&["a"], "", "$$1", "$1");
    check_replace(&["a"], "(?i)F(O+)", "$1", "oo");
}

#[test]
fn replace_removes_the_label_where_the_replacement_comes_out_empty() {
    let before = [("a", "foo"), ("d", "old")];
    check(&[rule(Action::Replace, &["a"], "f(x?)oo", "d", "$1")], &before, &[("a", "foo")]);
    check(&[rule(Action::Replace, &["a"], "", "d", "$7")], &before, &[("a", "foo")]);
    check(&[rule(Action::Replace, &["none"], "", "d", "")], &before, &[("a", "foo")]);
    let mut empty = rule(Action::Replace, &["a"], "", "d", "");
    empty.replacement = Some(String::new());
    check(&[empty.clone()], &before, &[("a", "foo")]);
    empty.regex = Some("bar".to_owned());
    check(&[empty], &before, &before);
}

#[test]
fn replace_may_choose_its_target_by_groups() {
    let choose = |target: &str, value: &str| rule(Action::Replace, &["a"], "(.*)-(.*)", target, value);
    check(&[choose("${1}", "$2")], &[("a", "x-y")], &[("a", "x-y"), ("x", "y")]);
    check(&[choose("l_$2", "$1")], &[("a", "x-y")], &[("a", "x-y"), ("l_y", "x")]);
    check(&[choose("a", "$2")], &[("a", "x-y")], &[("a", "y")]);
    // A name that comes out empty is none, and nothing happens.
    check(&[choose("$1", "v")], &[("a", "-y")], &[("a", "-y")]);
    check(&[choose("$3", "v")], &[("a", "x-y")], &[("a", "x-y")]);
    // Any other name is one, unless only the old ones are valid.
    check(&[choose("$1", "v")], &[("a", "0 ü-y")], &[("a", "0 ü-y"), ("0 ü", "v")]);
    let legacy = Relabeler::compile_for(&[choose("$1", "v")], NameValidation::Legacy).unwrap();
    let mut list = labels(&[("a", "0x-y")]);
    assert!(legacy.apply(&mut list));
    assert_eq!(list, labels(&[("a", "0x-y")]));
}

#[test]
fn a_dot_matches_newlines_and_patterns_match_whole_texts() {
    let any = rule(Action::Replace, &["a"], "x.(.*)", "d", "");
    check(&[any], &[("a", "x\ny\nz")], &[("a", "x\ny\nz"), ("d", "y\nz")]);
    dropped(&[rule(Action::Keep, &["a"], "foo", "", "")], &[("a", "foobar")]);
    dropped(&[rule(Action::Keep, &["a"], "foo|ba", "", "")], &[("a", "bar")]);
    dropped(&[rule(Action::Keep, &["a"], "foo", "", "")], &[("a", "foo\n")]);
}

#[test]
fn keep_and_drop_decide_by_the_pattern() {
    let keep = |sources: &[&str], regex: &str| rule(Action::Keep, sources, regex, "", "");
    let drop = |sources: &[&str], regex: &str| rule(Action::Drop, sources, regex, "", "");
    let before = [("a", "foo"), ("b", "bar")];
    check(&[keep(&["a"], "fo.*")], &before, &before);
    dropped(&[keep(&["a"], "bar")], &before);
    dropped(&[drop(&["a"], ".*o.*")], &before);
    check(&[drop(&["a"], "f")], &before, &before);
    check(&[keep(&["a", "b"], "foo;bar")], &before, &before);
    // What is absent is empty.
    dropped(&[drop(&["none"], "")], &before);
    check(&[keep(&["none"], ".*")], &before, &before);
    dropped(&[keep(&["none"], ".+")], &before);
    dropped(&[drop(&["none", "none"], ";")], &before);
    // What comes after a rule that drops is not done.
    let set = rule(Action::Replace, &[], "", "c", "x");
    let relabeler = Relabeler::compile(&[drop(&["a"], "foo"), set]).unwrap();
    let mut list = labels(&before);
    assert!(!relabeler.apply(&mut list));
    assert_eq!(list, labels(&before));
}

#[test]
fn keepequal_and_dropequal_compare_with_the_target() {
    let keep = |sources: &[&str]| rule(Action::KeepEqual, sources, "", "port", "");
    let drop = |sources: &[&str]| rule(Action::DropEqual, sources, "", "port", "");
    let (same, other) = ([("a", "80"), ("port", "80")], [("a", "80"), ("port", "81")]);
    check(&[keep(&["a"])], &same, &same);
    dropped(&[keep(&["a"])], &other);
    dropped(&[drop(&["a"])], &same);
    check(&[drop(&["a"])], &other, &other);
    let joined = [("a", "x"), ("b", "y"), ("port", "x;y")];
    check(&[keep(&["a", "b"])], &joined, &joined);
    // Absent on both sides is equal; regular expressions have no meaning.
    check(&[keep(&["none"])], &[("b", "y")], &[("b", "y")]);
    dropped(&[drop(&["none"])], &[("b", "y")]);
    dropped(&[keep(&["a"])], &[("a", "x"), ("port", ".*")]);
}

#[test]
fn hashmod_takes_the_last_bytes_of_md5() {
    let bucket = |modulus: u64, sources: &[&str], pairs: &[(&str, &str)]| {
        let rule = RelabelConfig { modulus, ..rule(Action::HashMod, sources, "", "d", "") };
        let after = apply(&[rule], pairs).unwrap();
        after.into_iter().find(|(name, _)| name == "d").unwrap().1
    };
    // MD5 of "foo" is acbd18db4cc2f85c edef654fccc4a4d8 (RFC 1321's algorithm), of the empty text
    // d41d8cd98f00b204 e9800998ecf8427e, of "a" 0cc175b9c0f1b6a8 31c399e269772661.
    let foo = 0xedef_654f_ccc4_a4d8_u64;
    assert_eq!(bucket(u64::MAX, &["a"], &[("a", "foo")]), foo.to_string());
    assert_eq!(bucket(8, &["a"], &[("a", "foo")]), (foo % 8).to_string());
    assert_eq!(
        bucket(1_000, &["a"], &[("a", "a"), ("d", "x")]),
        (0x31c3_99e2_6977_2661_u64 % 1_000).to_string()
    );
    assert_eq!(bucket(1_000, &["none"], &[("a", "a")]), (0xe980_0998_ecf8_427e_u64 % 1_000).to_string());
    assert_eq!(bucket(1, &["a"], &[("a", "foo")]), "0", "a bucket is never empty");
    assert_eq!(bucket(97, &["a", "b"], &[("a", "x"), ("b", "y")]), bucket(97, &["c"], &[("c", "x;y")]));
}

#[test]
fn labelmap_copies_all_labels_that_match() {
    let map = |regex: &str, replacement: &str| rule(Action::LabelMap, &[], regex, "", replacement);
    let before = [("__meta_x", "1"), ("__meta_y", "2"), ("x", "old"), ("z", "3")];
    check(
        &[map("__meta_(.+)", "")],
        &before,
        &[("__meta_x", "1"), ("__meta_y", "2"), ("x", "1"), ("y", "2"), ("z", "3")],
    );
    check(&[map("__meta_(x)", "k_${1}")], &[("__meta_x", "1")], &[("__meta_x", "1"), ("k_x", "1")]);
    check(&[map("none_(.+)", "")], &before, &before);
    check(&[map("(.*)", "")], &before, &before);
    // Labels are taken as they were: a copy is not copied again, and two may change places.
    check(&[map("(a+)", "a$1")], &[("a", "1")], &[("a", "1"), ("aa", "1")]);
    check(&[map("(.)(.)", "$2$1")], &[("xy", "1"), ("yx", "2")], &[("xy", "2"), ("yx", "1")]);
    // Of several, the last by name wins, in whatever order they came.
    check(&[map("[ab]", "c")], &[("b", "2"), ("a", "1")], &[("a", "1"), ("b", "2"), ("c", "2")]);
    // A label without a name is none, and one without a value neither.
    check(&[map("a(.*)", "")], &[("a", "1")], &[("a", "1")]);
    check(&[map("a(.)", "")], &[("ab", ""), ("b", "1")], &[("ab", ""), ("b", "1")]);
    check(&[map("(.*)", "$1.é")], &[("a", "1")], &[("a", "1"), ("a.é", "1")]);
}

#[test]
fn labeldrop_and_labelkeep_go_by_names() {
    let before = [("__name__", "n"), ("a", "1"), ("ab", "2"), ("b", "3")];
    let drop = |regex: &str| rule(Action::LabelDrop, &[], regex, "", "");
    let keep = |regex: &str| rule(Action::LabelKeep, &[], regex, "", "");
    check(&[drop("a.*")], &before, &[("__name__", "n"), ("b", "3")]);
    check(&[keep("a.*|__name__")], &before, &[("__name__", "n"), ("a", "1"), ("ab", "2")]);
    check(&[drop("x")], &before, &before);
    check(&[keep("x")], &before, &[]);
    check(&[rule(Action::LabelDrop, &[], "", "", "")], &before, &[]);
}

#[test]
fn lowercase_and_uppercase_change_letters() {
    let low = rule(Action::Lowercase, &["a"], "", "d", "");
    let up = rule(Action::Uppercase, &["a"], "", "d", "");
    check(std::slice::from_ref(&low), &[("a", "ÄbC-1")], &[("a", "ÄbC-1"), ("d", "äbc-1")]);
    check(&[up], &[("a", "äbC-1")], &[("a", "äbC-1"), ("d", "ÄBC-1")]);
    check(std::slice::from_ref(&low), &[("d", "old")], &[]);
    let both = RelabelConfig { source_labels: vec!["a".into(), "b".into()], separator: "_X_".into(), ..low };
    check(&[both], &[("a", "A"), ("b", "B")], &[("a", "A"), ("b", "B"), ("d", "a_x_b")]);
}

#[test]
fn rules_see_what_those_before_them_did() {
    let rules = [
        rule(Action::Replace, &["__address__"], "([^:]+):\\d+", "host", ""),
        rule(Action::Uppercase, &["host"], "", "host", ""),
        rule(Action::Drop, &["host"], "SECRET", "", ""),
        rule(Action::LabelDrop, &[], "__.*", "", ""),
    ];
    check(&rules, &[("__address__", "web:80"), ("job", "j")], &[("host", "WEB"), ("job", "j")]);
    dropped(&rules, &[("__address__", "secret:80")]);
}

#[test]
fn steps_tell_what_was_done() {
    let rules = [
        rule(Action::Replace, &["a", "b"], "(.*);(.*)", "c", "$2"),
        rule(Action::LabelDrop, &[], "a", "", ""),
        rule(Action::Replace, &["a"], ".+", "c", "x"),
        rule(Action::Drop, &["c"], "2", "", ""),
        rule(Action::Replace, &[], "", "never", "x"),
    ];
    let mut list = labels(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let steps = Relabeler::compile(&rules).unwrap().explain(&mut list);
    let json = serde_json::to_value(&steps).unwrap();
    let expected = serde_json::json!([
        {"rule": 0, "action": "replace", "source": "1;2", "matched": true,
            "set": [{"name": "c", "before": "3", "after": "2"}], "removed": [], "kept": true},
        {"rule": 1, "action": "labeldrop", "matched": true, "set": [],
            "removed": [{"name": "a", "before": "1", "after": ""}], "kept": true},
        {"rule": 2, "action": "replace", "source": "", "matched": false, "set": [], "removed": [], "kept": true},
        {"rule": 3, "action": "drop", "source": "2", "matched": true, "set": [], "removed": [], "kept": false},
    ]);
    assert_eq!(json, expected);
}

#[test]
fn labels_cannot_grow_without_end() {
    let doubles = |target: &str| rule(Action::Replace, &["a"], "", target, "$1$1");
    let rules: Vec<RelabelConfig> = (0..40).map(|_| doubles("a")).collect();
    let long = apply(&rules, &[("a", "x")]).unwrap();
    assert_eq!(long[0].1.len(), metricsd_relabel::limits::MAX_VALUE_BYTES);
    let maps: Vec<RelabelConfig> =
        (0..20).map(|n| rule(Action::LabelMap, &[], "(.*)", "", &format!("{n}_$1"))).collect();
    let many = apply(&maps, &[("a", "x")]).unwrap();
    assert_eq!(many.len(), metricsd_relabel::limits::MAX_LABELS);
}
