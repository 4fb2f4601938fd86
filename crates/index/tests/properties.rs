//! The index against a list of series that is searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use metricsd_index::{Found, LabelIndex, Statistics, TooMany};
use metricsd_model::{LabelSet, MatchOp, Matcher, MetricType};
use proptest::prelude::*;

const NAMES: [&str; 5] = ["__name__", "job", "pod", "zone", "é"];

/// Values that are beginnings of each other, hold signs of expressions, line breaks and letters of two bytes.
const VALUES: [&str; 16] = [
    "", "a", "ab", "abc", "b", "ba", "web-1", "web-2", "web-10", "a.b", "a|b", "a\nb", "A", "K", "\u{212a}",
    "éa",
];

const PATTERNS: [&str; 36] = [
    "",
    "a",
    "a|b",
    "a|",
    "(a|b)c?",
    ".*",
    ".+",
    "a.*",
    "a.+",
    "web-.*",
    "web-[12]",
    "web-\\d+",
    ".*b",
    "a.*b|ba",
    "[^a]*",
    "(?i)k",
    "(?i)AB?",
    "a?",
    "a*",
    "(|a)b",
    "a$",
    "^a",
    "\\ba.*",
    "a)|(b",
    "a)|(.*b",
    "é.*",
    "\\x{e9}a",
    "(?-s:a.b)",
    "(?-s:a.*)",
    "a\\|b",
    "a\\.b|web-(1|2)",
    "(web-.*|a)",
    "(.*)",
    "(a|ab|b).*",
    "((((a))))(b|(.+))",
    "(?x)a b # c",
];

type Model = BTreeMap<i64, (LabelSet, MetricType)>;

#[derive(Debug, Clone)]
enum Step {
    Insert(i64, LabelSet, MetricType),
    Retype(i64, MetricType),
    Remove(i64),
}

fn labels() -> impl Strategy<Value = LabelSet> {
    proptest::collection::vec((0..NAMES.len(), 0..VALUES.len()), 0..6).prop_map(|pairs| {
        let pairs: BTreeMap<&str, &str> = pairs.into_iter().map(|(n, v)| (NAMES[n], VALUES[v])).collect();
        LabelSet::new(pairs).unwrap()
    })
}

fn metric_type() -> impl Strategy<Value = MetricType> {
    prop_oneof![Just(MetricType::Counter), Just(MetricType::Gauge), Just(MetricType::Custom)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (-20i64..200, labels(), metric_type()).prop_map(|(key, labels, kind)| Step::Insert(key, labels, kind)),
        1 => (-20i64..200, metric_type()).prop_map(|(key, kind)| Step::Retype(key, kind)),
        3 => (-20i64..200).prop_map(Step::Remove),
    ]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let names = prop_oneof![9 => (0..NAMES.len()).prop_map(|n| NAMES[n]), 1 => Just("absent")];
    (names, 0..4usize, 0..VALUES.len(), 0..PATTERNS.len()).prop_filter_map(
        "compiles",
        |(name, op, value, pattern)| match op {
            0 => Some(Matcher::equal(name, VALUES[value])),
            1 => Matcher::new(name, MatchOp::NotEqual, VALUES[value]).ok(),
            2 => Matcher::new(name, MatchOp::Regex, PATTERNS[pattern]).ok(),
            _ => Matcher::new(name, MatchOp::NotRegex, PATTERNS[pattern]).ok(),
        },
    )
}

fn apply(index: &mut LabelIndex, model: &mut Model, step: Step) {
    match step {
        Step::Insert(key, labels, kind) => {
            assert_eq!(index.insert(key, &labels, kind), !model.contains_key(&key));
            model.entry(key).or_insert((labels, kind));
            assert!(index.set_source(key, &source_of(key)));
        }
        Step::Retype(key, kind) => {
            assert_eq!(index.update_type(key, kind), model.contains_key(&key));
            model.entry(key).and_modify(|entry| entry.1 = kind);
        }
        Step::Remove(key) => assert_eq!(index.remove(key), model.remove(&key).is_some()),
    }
}

fn search(model: &Model, matchers: &[Matcher]) -> Vec<Found> {
    let all = model.iter().map(|(key, (labels, metric_type))| Found {
        key: *key,
        labels: labels.clone(),
        metric_type: *metric_type,
    });
    let mut found: Vec<Found> =
        all.filter(|series| matchers.iter().all(|matcher| matcher.matches_labels(&series.labels))).collect();
    found.sort_by(|a, b| (&a.labels, a.key).cmp(&(&b.labels, b.key)));
    found
}

/// Asks both the same questions.
fn compare(index: &LabelIndex, model: &Model, matchers: &[Matcher], limit: usize) {
    let found = search(model, matchers);
    assert_eq!(index.select(matchers, usize::MAX).unwrap(), found, "{matchers:?}");
    let mut keys = index.select_keys(matchers, found.len()).unwrap();
    keys.sort_unstable();
    let expected: BTreeSet<i64> = found.iter().map(|series| series.key).collect();
    assert!(keys.into_iter().eq(expected));
    if let Some(less) = found.len().checked_sub(1) {
        assert_eq!(index.select(matchers, less), Err(TooMany { found: found.len(), limit: less }));
    }
    let names: BTreeSet<String> =
        found.iter().flat_map(|series| series.labels.iter().map(|(name, _)| name.to_owned())).collect();
    assert!(index.label_names(matchers, limit).into_iter().eq(names.into_iter().take(limit)), "{matchers:?}");
    for name in NAMES.into_iter().chain(["absent"]) {
        let values: BTreeSet<String> =
            found.iter().filter_map(|series| series.labels.get(name).map(str::to_owned)).collect();
        let answer = index.label_values(name, matchers, limit);
        assert!(answer.into_iter().eq(values.into_iter().take(limit)), "{name} of {matchers:?}");
    }
}

fn count(items: impl Iterator<Item = (String, usize)>, top: usize) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    items.for_each(|(item, by)| *counts.entry(item).or_insert(0) += by);
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(top);
    counts
}

/// Every series has one, which its key tells.
fn source_of(key: i64) -> String {
    key.rem_euclid(3).to_string()
}

fn statistics(model: &Model, top: usize) -> Statistics {
    let all = || model.values().flat_map(|(labels, _)| labels.iter());
    let pairs: BTreeSet<(&str, &str)> = all().collect();
    Statistics {
        series: model.len(),
        label_pairs: pairs.len(),
        series_by_metric: count(
            all().filter(|pair| pair.0 == "__name__").map(|pair| (pair.1.to_owned(), 1)),
            top,
        ),
        values_by_label: count(pairs.iter().map(|pair| (pair.0.to_owned(), 1)), top),
        bytes_by_label: count(all().map(|pair| (pair.0.to_owned(), pair.1.len())), top),
        series_by_pair: count(all().map(|pair| (format!("{}={}", pair.0, pair.1), 1)), top),
        series_by_source: count(model.keys().map(|key| (source_of(*key), 1)), top),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_finds_what_a_search_finds(
        rounds in proptest::collection::vec(
            (
                proptest::collection::vec(step(), 0..150),
                proptest::collection::vec(proptest::collection::vec(matcher(), 0..4), 1..6),
                0usize..12,
            ),
            1..4,
        ),
    ) {
        let (mut index, mut model) = (LabelIndex::default(), Model::new());
        for (steps, questions, limit) in rounds {
            steps.into_iter().for_each(|step| apply(&mut index, &mut model, step));
            prop_assert_eq!(index.len(), model.len());
            for (key, (labels, kind)) in &model {
                prop_assert!(index.contains(*key));
                let found = Found { key: *key, labels: labels.clone(), metric_type: *kind };
                prop_assert_eq!(index.get(*key), Some(found));
            }
            questions.iter().for_each(|matchers| compare(&index, &model, matchers, limit));
            prop_assert_eq!(index.statistics(limit), statistics(&model, limit));
            for source in ["0", "2", "nobody"] {
                let mut of_source = model.clone();
                of_source.retain(|key, _| source_of(*key) == source);
                prop_assert_eq!(index.statistics_of(source, limit), statistics(&of_source, limit));
            }
        }
        model.keys().for_each(|key| assert!(index.remove(*key)));
        prop_assert!(index.is_empty() && index.label_names(&[], 9).is_empty());
        prop_assert_eq!(index.statistics(9), Statistics::default());
    }
}

/// Some thousand series, so that bitmaps, walks over values and trials of single series all come into play.
#[test]
fn each_expression_finds_the_same_among_many_series() {
    let (mut index, mut model) = (LabelIndex::default(), Model::new());
    for number in 0..4000i64 {
        let zone = VALUES[number as usize % VALUES.len()];
        let (job, pod) =
            (format!("job-{}", number % 7), format!("web-{}", number * 2_654_435_761 % 4000 / 2));
        let pairs = [("__name__", "up"), ("job", &job), ("pod", &pod), ("zone", zone)];
        apply(&mut index, &mut model, Step::Insert(number, LabelSet::new(pairs).unwrap(), MetricType::Gauge));
    }
    (0..4000).step_by(3).for_each(|key| apply(&mut index, &mut model, Step::Remove(key)));
    let other: [&[Matcher]; 4] = [
        &[],
        &[Matcher::equal("job", "job-3")],
        &[Matcher::equal("pod", "web-77")],
        &[Matcher::new("pod", MatchOp::Regex, "web-1.*7").unwrap()],
    ];
    for (name, pattern) in PATTERNS.iter().flat_map(|pattern| [("zone", pattern), ("pod", pattern)]) {
        for op in [MatchOp::Regex, MatchOp::NotRegex] {
            let Ok(matcher) = Matcher::new(name, op, *pattern) else { continue };
            for rest in other {
                let matchers: Vec<Matcher> = rest.iter().cloned().chain([matcher.clone()]).collect();
                compare(&index, &model, &matchers, 10_000);
            }
        }
    }
}

#[test]
fn many_at_once_are_what_they_are_one_by_one() {
    let series: Vec<(i64, LabelSet, MetricType)> = (0..3000i64)
        .map(|number| {
            let (pod, zone) =
                (format!("web-{}", number * 7919 % 2000), VALUES[number as usize % VALUES.len()]);
            // The last hundred keys come twice.
            (
                number % 2900,
                LabelSet::new([("pod", pod.as_str()), ("zone", zone)]).unwrap(),
                MetricType::Gauge,
            )
        })
        .collect();
    let (mut all, mut single) = (LabelIndex::default(), LabelIndex::default());
    assert_eq!(all.insert_all(series.iter().take(1000).cloned()), 1000);
    assert_eq!(all.insert_all(series.iter().skip(1000).cloned()), 1900);
    series.iter().for_each(|(key, labels, kind)| _ = single.insert(*key, labels, *kind));
    for matchers in [vec![], vec![Matcher::new("pod", MatchOp::Regex, "web-1.*").unwrap()]] {
        assert_eq!(all.select(&matchers, 5000), single.select(&matchers, 5000));
        assert_eq!(all.label_values("pod", &matchers, 5000), single.label_values("pod", &matchers, 5000));
    }
    assert_eq!(all.statistics(10), single.statistics(10));
}

#[test]
fn ordinals_are_given_out_again() {
    let mut index = LabelIndex::default();
    let labels = LabelSet::new([("__name__", "up"), ("pod", "a")]).unwrap();
    assert!(index.insert(1, &labels, MetricType::Gauge) && index.insert(2, &labels, MetricType::Counter));
    assert!(!index.insert(1, &LabelSet::default(), MetricType::Custom));
    let ordinal = index.ordinal_of(1).unwrap();
    assert!(index.remove(1) && !index.remove(1));
    assert_eq!((index.key_of(ordinal), index.labels_of(ordinal)), (None, None));
    assert!(index.insert(i64::MIN, &LabelSet::default(), MetricType::Custom));
    assert_eq!(index.ordinal_of(i64::MIN), Some(ordinal));
    assert_eq!(index.labels_of(ordinal), Some(LabelSet::default()));
    // A series without any label passes what the empty value passes.
    let matchers = [Matcher::equal("pod", "")];
    assert_eq!(index.select_keys(&matchers, 9).unwrap(), [i64::MIN]);
    assert_eq!(index.select(&[], 1).unwrap_err().to_string(), "2 series match, more than the limit of 1");
}
