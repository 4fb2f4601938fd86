//! Exemplars and descriptions of families.

use std::sync::Arc;

use metricsd_model::{
    Batch, Exemplar, FamilyMetadata, FamilyType, LabelSet, Layout, Matcher, MetricType, Millis, Series,
    SeriesExemplar,
};

use crate::conformance::fixtures::*;
use crate::{ErrorKind, Receipt, SeriesExemplars};

fn exemplar(trace: &str, timestamp: Millis, value: f64) -> Exemplar {
    Exemplar { labels: LabelSet::new([("trace_id", trace)]).expect("labels"), value, timestamp }
}

fn with_exemplars(
    target_id: &str,
    key: &str,
    frames: Vec<metricsd_model::Frame>,
    own: &[(&Arc<Series>, Exemplar)],
) -> Arc<Batch> {
    let carried = |(series, exemplar): &(&Arc<Series>, Exemplar)| SeriesExemplar {
        series: Arc::clone(series),
        exemplar: exemplar.clone(),
    };
    let batch = batch(target_id, key, frames);
    Arc::new(Batch { exemplars: own.iter().map(carried).collect(), ..Batch::clone(&batch) })
}

async fn found(store: &impl Store, name: &str, start: Millis, end: Millis) -> Vec<SeriesExemplars> {
    store.exemplars(&selection(name, start, end)).await.expect("exemplars")
}

fn of(series: &Series, exemplars: &[Exemplar]) -> SeriesExemplars {
    SeriesExemplars { labels: series.labels.clone(), exemplars: exemplars.to_vec() }
}

/// Each (series, timestamp, labels) once, in order, within the range, of the series that match.
pub async fn check_exemplars(store: &impl Store) {
    let (a, b) = (series("exemplary", &[("s", "a")]), series("exemplary", &[("s", "b")]));
    let own = [
        (&b, exemplar("late", NOON + 20, 2.5)),
        (&a, exemplar("z", NOON, 1.0)),
        (&a, exemplar("y", NOON, -1.0)),
        (&a, exemplar("z", NOON, 99.0)),
        (&a, exemplar("early", NOON - 1, f64::NEG_INFINITY)),
        (&b, exemplar("é \"quoted\"", NOON + 10, 0.5)),
    ];
    let layout = Layout::shared(vec![a.clone()]);
    let first = with_exemplars("exemplars", "1", vec![frame(&layout, NOON, &[1.0])], &own);
    assert_eq!(store.append(std::slice::from_ref(&first)).await.expect("an append"), [Receipt::Stored]);
    assert_eq!(store.append(std::slice::from_ref(&first)).await.expect("an append"), [Receipt::Duplicate]);
    // Another batch may bring the same again, with another value.
    let again = [(&a, exemplar("y", NOON, 7.0)), (&a, exemplar("x", NOON, 3.0))];
    store.append(&[with_exemplars("exemplars", "2", Vec::new(), &again)]).await.expect("an append");

    let of_a = [
        exemplar("early", NOON - 1, f64::NEG_INFINITY),
        exemplar("x", NOON, 3.0),
        exemplar("y", NOON, -1.0),
        exemplar("z", NOON, 1.0),
    ];
    let of_b = [exemplar("é \"quoted\"", NOON + 10, 0.5), exemplar("late", NOON + 20, 2.5)];
    let all = [of(&a, &of_a), of(&b, &of_b)];
    assert_eq!(found(store, "exemplary", NOON - HOUR, NOON + HOUR).await, all);
    assert_eq!(found(store, "exemplary", i64::MIN, i64::MAX).await, all);
    assert_eq!(found(store, "exemplary", NOON, NOON + 10).await, [of(&a, &of_a[1..]), of(&b, &of_b[..1])]);
    assert_eq!(found(store, "exemplary", NOON + 11, NOON + 19).await, []);
    assert_eq!(found(store, "exemplary", NOON + 10, NOON).await, []);
    assert_eq!(found(store, "another", i64::MIN, i64::MAX).await, []);
    let mut one = selection("exemplary", NOON - HOUR, NOON + HOUR);
    one.matchers.push(matcher("s", "!=", "a"));
    assert_eq!(store.exemplars(&one).await.expect("exemplars"), all[1..]);

    one.matchers.truncate(1);
    one.limits.max_samples = 6;
    assert_eq!(store.exemplars(&one).await.expect("at the limit"), all);
    one.limits.max_samples = 5;
    let error = store.exemplars(&one).await.expect_err("past the limit");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert!(error.to_string().contains("max_samples"), "{error}");
}

/// Series that have exemplars alone are known; ids that collide keep theirs apart; a NaN is kept; labels may be long
/// or absent.
pub async fn check_exemplars_of_new_series(store: &impl Store) {
    let one = series_with_id(0x0c01_11e0, "exemplary_new", &[("s", "1")]);
    let two = series_with_id(0x0c01_11e0, "exemplary_new", &[("s", "2")]);
    let plain = Exemplar { labels: LabelSet::default(), value: f64::NAN, timestamp: NOON };
    let long = exemplar(&"x".repeat(20_000), NOON, 2.0);
    let batch = with_exemplars("exemplars", "new", Vec::new(), &[(&one, plain), (&two, long.clone())]);
    store.append(&[batch]).await.expect("an append");
    let all = found(store, "exemplary_new", NOON, NOON).await;
    assert_eq!((all.len(), &all[0].labels, all[0].exemplars.len()), (2, &one.labels, 1));
    assert!(all[0].exemplars[0].value.is_nan() && all[0].exemplars[0].labels.is_empty());
    assert_eq!(all[1], of(&two, &[long]));
    let known = store.series(&[Matcher::equal("__name__", "exemplary_new")], 10).await.expect("series");
    assert_eq!(known.len(), 2);
    assert_eq!(all_of(store, "exemplary_new").await, [], "no samples");
}

/// Exemplars go with the samples of their target, and beyond their number.
pub async fn check_exemplar_retention(store: &impl Store) {
    let a = series("exemplary_old", &[]);
    let own: Vec<_> = (0..8).map(|n| (&a, exemplar(&n.to_string(), NOON + n, n as f64))).collect();
    store.append(&[with_exemplars("one", "1", Vec::new(), &own[..4])]).await.expect("an append");
    store.append(&[with_exemplars("two", "1", Vec::new(), &own[4..])]).await.expect("an append");
    let left = async || {
        let found = found(store, "exemplary_old", NOON, NOON + HOUR).await;
        found
            .iter()
            .flat_map(|series| &series.exemplars)
            .map(|exemplar| exemplar.value as i64)
            .collect::<Vec<_>>()
    };
    assert_eq!(store.remove_before("one", NOON + 2).await.expect("a removal"), 2);
    assert_eq!(left().await, [2, 3, 4, 5, 6, 7]);
    let spared = ["one".to_owned()];
    assert_eq!(store.remove_others_before(&spared, NOON + 5).await.expect("a removal"), 1);
    assert_eq!(left().await, [2, 3, 5, 6, 7]);
    assert_eq!(store.bound_exemplars(5).await.expect("a removal"), 0);
    assert_eq!(store.bound_exemplars(3).await.expect("a removal"), 2);
    assert_eq!(left().await, [5, 6, 7]);
    assert_eq!(store.bound_exemplars(0).await.expect("a removal"), 3);
    assert_eq!(left().await, [0_i64; 0]);
}

fn said(family: &str, metric_type: impl Into<FamilyType>, help: &str, unit: &str) -> FamilyMetadata {
    FamilyMetadata {
        family: family.to_owned(),
        metric_type: metric_type.into(),
        help: help.to_owned(),
        unit: unit.to_owned(),
    }
}

fn with_families(key: &str, families: &[FamilyMetadata]) -> Arc<Batch> {
    Arc::new(Batch { families: families.to_vec(), ..Batch::clone(&batch("families", key, Vec::new())) })
}

/// What senders say, each different statement once, ordered; one family or some.
pub async fn check_families(store: &impl Store) {
    use MetricType::{Counter, Custom, Gauge, Histogram};
    let all = [
        said("B_upper", Gauge, "", ""),
        said("a_family", Counter, "Counts.", ""),
        said("a_family", Gauge, "Counts.", ""),
        said("a_family", Gauge, "Other help.\nOn \"two\" lines.", ""),
        said("a_family", Gauge, "Other help.\nOn \"two\" lines.", "bytes"),
        said("b_family", Custom, "", ""),
        said("c_family", Histogram, &"long help ".repeat(2_000), "seconds"),
        said("d_family", FamilyType::GaugeHistogram, "", ""),
        said("d_family", FamilyType::Info, "", ""),
        said("d_family", FamilyType::StateSet, "", ""),
    ];
    let mut mixed = all.to_vec();
    mixed.reverse();
    mixed.extend_from_slice(&all[..3]);
    let batch = with_families("1", &mixed);
    assert_eq!(store.append(std::slice::from_ref(&batch)).await.expect("an append"), [Receipt::Stored]);
    assert_eq!(store.append(&[batch]).await.expect("an append"), [Receipt::Duplicate]);
    store.append(&[with_families("2", &all[2..5])]).await.expect("an append");
    assert_eq!(store.families(None, 100).await.expect("families"), all);
    assert_eq!(store.families(Some("a_family"), 100).await.expect("families"), all[1..5]);
    assert_eq!(store.families(Some("a_family"), 1).await.expect("families"), all[1..5]);
    assert_eq!(store.families(Some("absent"), 100).await.expect("families"), []);
    assert_eq!(store.families(None, 2).await.expect("two families"), all[..5]);
    assert_eq!(store.families(None, 0).await.expect("none"), []);
    assert_eq!(store.families(None, usize::MAX).await.expect("families"), all);
}

/// What series say in passing counts as well, under the name of their family.
pub async fn check_families_of_series(store: &impl Store) {
    use MetricType::{Counter, Custom, Gauge, Histogram, Summary};
    let told = |name: &str, metric_type, help: Option<&str>| {
        let (help, plain) = (help.map(Into::into), series(name, &[]));
        Arc::new(Series { metric_type, help, ..Series::clone(&plain) })
    };
    let all = vec![
        told("said_h_bucket", Histogram, Some("Times.")),
        told("said_h_sum", Histogram, Some("Times.")),
        told("said_h_count", Histogram, Some("Times.")),
        told("said_q_sum", Summary, None),
        told("said_q_bucket", Summary, None),
        told("said_total", Counter, Some("Counts.")),
        told("said_count", Gauge, None),
        told("said_nothing", Custom, None),
        told("said_help", Custom, Some("Helps.")),
    ];
    let values = vec![1.0; all.len()];
    let frames = vec![frame(&Layout::shared(all.clone()), NOON, &values)];
    let pushed = said("said_h", Histogram, "Times.", "");
    let first = batch("families", "series", frames);
    store
        .append(&[Arc::new(Batch { families: vec![pushed.clone()], ..Batch::clone(&first) })])
        .await
        .expect("an append");
    let mut expected = vec![
        said("said_count", Gauge, "", ""),
        pushed,
        said("said_help", Custom, "Helps.", ""),
        said("said_q", Summary, "", ""),
        said("said_q_bucket", Summary, "", ""),
        said("said_total", Counter, "Counts.", ""),
    ];
    assert_eq!(store.families(None, 100).await.expect("families"), expected);
    // Described anew.
    let better = told("said_total", Counter, Some("Counts better."));
    store
        .append(&[batch("families", "better", vec![frame(&Layout::inline(vec![better]), NOON, &[2.0])])])
        .await
        .expect("an append");
    // Sorts before the old statement, which may still be there or not.
    let at = expected.len() - 1;
    expected.insert(at, said("said_total", Counter, "Counts better.", ""));
    let now = store.families(None, 100).await.expect("families");
    assert!(now == expected || now == expected[..=at], "{now:?}");
}

/// A sender that says something else every time does not fill the store.
pub async fn check_many_statements(store: &impl Store) {
    const MOST: usize = 1_000;
    for n in 0..2 * MOST / 100 {
        let statements: Vec<_> =
            (0..100).map(|m| said("restless", MetricType::Gauge, &format!("{}", n * 100 + m), "")).collect();
        store.append(&[with_families(&n.to_string(), &statements)]).await.expect("an append");
    }
    let known = store.families(Some("restless"), 10).await.expect("families").len();
    assert!((1..=MOST).contains(&known), "{known} statements of one family");
}
