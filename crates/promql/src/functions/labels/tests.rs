use metricsd_model::matcher::anchored_regex;
use proptest::prelude::*;

use super::*;

fn set(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::new(pairs.iter().copied()).unwrap()
}

/// What `label_replace` puts into `new` where `source` has the value.
fn replaced(value: &str, pattern: &str, replacement: &str) -> Option<String> {
    let pattern = anchored_regex(pattern).unwrap();
    let labels = replace(&set(&[("source", value)]), "new", replacement, "source", &pattern)?;
    Some(labels.get("new").unwrap_or("").to_owned())
}

#[test]
fn groups_are_put_in() {
    assert_eq!(replaced("a:c", "(.*):.*", "$1").unwrap(), "a");
    assert_eq!(replaced("a:c", "(.*):(.*)", "${2}x-$1.").unwrap(), "cx-a.");
    assert_eq!(replaced("a:c", "(.*):.*", "$0").unwrap(), "a:c");
    assert_eq!(replaced("a:c", "(?P<name>.*):(?P<version>.*)", "$version/${name}").unwrap(), "c/a");
}

#[test]
fn a_name_is_as_long_as_possible() {
    assert_eq!(replaced("a:c", "(.*):.*", "$1abc").unwrap(), "");
    assert_eq!(replaced("a:c", "(.*):.*", "$1-abc").unwrap(), "a-abc");
    assert_eq!(replaced("a:c", "(.*):.*", "$1\u{e9}x-").unwrap(), "-");
    assert_eq!(replaced("a:c", "(.*):.*", "$1\u{b2}").unwrap(), "a\u{b2}");
    assert_eq!(replaced("a:c", "(.*):.*", "$01").unwrap(), "");
    assert_eq!(replaced("a:c", "(.*):.*", "$7x $99999999999999999999999").unwrap(), " ");
}

#[test]
fn dollar_signs_that_stand_for_nothing_stand_for_themselves() {
    assert_eq!(replaced("a", "(.*)", "$$1").unwrap(), "$1");
    assert_eq!(replaced("a", "(.*)", "$$$1").unwrap(), "$a");
    assert_eq!(replaced("a", "(.*)", "5$").unwrap(), "5$");
    assert_eq!(replaced("a", "(.*)", "$-${1").unwrap(), "$-${1");
    assert_eq!(replaced("a", "(.*)", "${}${1 }").unwrap(), "${}${1 }");
}

#[test]
fn the_pattern_must_match_the_whole_value() {
    assert_eq!(replaced("abc", "b", "x"), None);
    assert_eq!(replaced("abc", "a|abc", "x").unwrap(), "x");
    assert_eq!(replaced("a\nb", "a.b", "x").unwrap(), "x");
    assert_eq!(replaced("", "", "x").unwrap(), "x");
    assert_eq!(replaced("abc", "(a)|(.*)", "<$1$2>").unwrap(), "<abc>");
}

#[test]
fn the_target_is_set_or_taken_away() {
    let labels = set(&[("__name__", "up"), ("job", "a")]);
    let replace = |target: &str, replacement: &str, source: &str, pattern: &str| {
        super::replace(&labels, target, replacement, source, &anchored_regex(pattern).unwrap())
    };
    assert_eq!(replace("job", "", "job", ".*"), Some(set(&[("__name__", "up")])));
    assert_eq!(replace("job", "${1}b", "job", "(.*)"), Some(set(&[("__name__", "up"), ("job", "ab")])));
    assert_eq!(replace("__name__", "down", "absent", ""), Some(set(&[("__name__", "down"), ("job", "a")])));
    assert_eq!(replace("__name__", "", "job", "a"), Some(set(&[("job", "a")])));
    assert_eq!(replace("x", "y", "absent", ".+"), None);
    assert_eq!(replace("job", "a", "job", "a"), Some(labels.clone()));
}

#[test]
fn values_are_joined() {
    let labels = set(&[("a", "1"), ("c", "3")]);
    let join = |target: &str, separator: &str, sources: &[&str]| join(&labels, target, separator, sources);
    assert_eq!(join("d", "-", &["c", "b", "a"]), set(&[("a", "1"), ("c", "3"), ("d", "3--1")]));
    assert_eq!(join("a", "", &["b"]), set(&[("c", "3")]));
    assert_eq!(join("a", "-", &[]), set(&[("c", "3")]));
    assert_eq!(join("a", ",", &["b", "b"]), set(&[("a", ","), ("c", "3")]));
}

#[test]
fn natural_order_takes_digits_as_numbers() {
    let ordered = [
        "",
        "0",
        "00",
        "1",
        "2",
        "2a",
        "10",
        "99999999999999999999999",
        "100000000000000000000000",
        "a",
        "a1b",
        "a02b",
        "a2c",
        "a10",
        "b",
        "\u{e9}",
    ];
    for pair in ordered.windows(2) {
        assert_eq!(natural(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        assert_eq!(natural(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
    }
}

#[test]
fn series_are_ordered_by_the_labels_named_and_then_by_all() {
    let a = set(&[("cpu", "cpu10"), ("instance", "a")]);
    let b = set(&[("cpu", "cpu9"), ("instance", "b")]);
    assert_eq!(compare_by(&a, &b, &["cpu"]), Ordering::Greater);
    assert_eq!(compare_by(&a, &b, &["instance", "cpu"]), Ordering::Less);
    assert_eq!(compare_by(&a, &b, &["absent"]), Ordering::Less);
    assert_eq!(compare_by(&a, &a, &["cpu"]), Ordering::Equal);
    assert_eq!(compare_by(&a, &b, &[""; 0]), Ordering::Less);
}

proptest! {
    #[test]
    fn natural_order_is_an_order(texts in prop::collection::vec("[0-2a-c]{0,5}", 3)) {
        let [a, b, c] = [&texts[0], &texts[1], &texts[2]];
        prop_assert_eq!(natural(a, b), natural(b, a).reverse());
        prop_assert_eq!(natural(a, b).is_eq(), a == b);
        if natural(a, b).is_le() && natural(b, c).is_le() {
            prop_assert!(natural(a, c).is_le());
        }
    }

    #[test]
    fn any_template_does(template in "[$a1{}]{0,8}") {
        let _ = replaced("x", "(x)(?P<a>y)?", &template);
    }
}
