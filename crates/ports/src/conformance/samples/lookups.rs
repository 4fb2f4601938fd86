//! Names and values of labels, and what the index holds.

use std::collections::HashSet;
use std::sync::Arc;

use metricsd_model::{Layout, Matcher, Series, SeriesId};

use crate::IndexStatistics;
use crate::conformance::fixtures::*;

async fn append(store: &impl Store, key: &str, all: &[Arc<Series>]) {
    let layout = Layout::inline(all.to_vec());
    let frames = vec![frame(&layout, NOON, &vec![1.0; all.len()])];
    store.append(&[batch("lookups", key, frames)]).await.expect("an append");
}

async fn append_some(store: &impl Store) {
    let own: [(&str, &[(&str, &str)]); 6] = [
        ("look_a", &[]),
        ("look_a", &[("env", "dev"), ("zone", "1")]),
        ("look_a", &[("env", "prod"), ("zone", "1")]),
        ("look_b", &[("env", "prod"), ("zone", "2"), ("http.method", "GET")]),
        ("look_b", &[("env", "Prod"), ("rack", "7")]),
        ("look_c", &[("env", "é"), ("Env", "x")]),
    ];
    let all: Vec<_> = own.iter().map(|(name, pairs)| series(name, pairs)).collect();
    append(store, "1", &all).await;
}

fn matchers(all: &[(&str, &str, &str)]) -> Vec<Matcher> {
    all.iter().map(|(name, op, value)| matcher(name, op, value)).collect()
}

/// Names of labels, of all series or of those that match, sorted and cut.
pub async fn check_label_names(store: &impl Store) {
    assert!(store.label_names(&[], 10).await.expect("names").is_empty(), "nothing is known yet");
    append_some(store).await;
    let check = async |all: &[(&str, &str, &str)], limit: usize, expected: &[&str]| {
        let names = store.label_names(&matchers(all), limit).await.expect("names");
        assert_eq!(names, expected, "of {all:?}, at most {limit}");
    };
    check(&[], 100, &["Env", "__name__", "env", "http.method", "rack", "zone"]).await;
    check(&[], 2, &["Env", "__name__"]).await;
    check(&[], 0, &[]).await;
    check(&[("__name__", "=", "look_a")], 100, &["__name__", "env", "zone"]).await;
    check(&[("__name__", "=", "look_a"), ("env", "=", "")], 100, &["__name__"]).await;
    check(&[("__name__", "!=", "look_a"), ("zone", "=", "")], 100, &["Env", "__name__", "env", "rack"]).await;
    check(&[("env", "=~", "prod|Prod")], 100, &["__name__", "env", "http.method", "rack", "zone"]).await;
    check(&[("env", "!~", "prod|dev|")], 100, &["Env", "__name__", "env", "rack"]).await;
    check(&[("env", "!~", ".+")], usize::MAX, &["__name__"]).await;
    check(&[("env", "=", "absent")], 100, &[]).await;
}

/// Label sets of the series that match, in order and cut; a series that is new is among them at once.
pub async fn check_label_sets(store: &impl Store) {
    let all = || [matcher("__name__", "=~", "look_.*")];
    assert!(store.label_sets(&all(), 10).await.expect("sets").is_empty(), "nothing is known yet");
    append_some(store).await;
    let sets = store.label_sets(&all(), usize::MAX).await.expect("sets");
    let of_series = store.series(&all(), usize::MAX).await.expect("series");
    assert!(sets.len() > 3 && sets.is_sorted());
    assert_eq!(sets, of_series.iter().map(|series| series.labels.clone()).collect::<Vec<_>>());
    assert_eq!(store.label_sets(&all(), 2).await.expect("sets"), sets[..2]);
    append(store, "2", &[series("look_0", &[("env", "brand-new")])]).await;
    let now = store.label_sets(&all(), usize::MAX).await.expect("sets");
    let (new, known): (Vec<_>, Vec<_>) = now.into_iter().partition(|set| set.get("env") == Some("brand-new"));
    assert_eq!((new.len(), known), (1, sets));
}

/// Values of a label, of all series or of those that match, sorted and cut.
pub async fn check_label_values(store: &impl Store) {
    assert!(store.label_values("env", &[], 10).await.expect("values").is_empty(), "nothing is known yet");
    append_some(store).await;
    let check = async |name: &str, all: &[(&str, &str, &str)], limit: usize, expected: &[&str]| {
        let values = store.label_values(name, &matchers(all), limit).await.expect("values");
        assert_eq!(values, expected, "{name} of {all:?}, at most {limit}");
    };
    check("env", &[], 100, &["Prod", "dev", "prod", "é"]).await;
    check("env", &[], 2, &["Prod", "dev"]).await;
    check("env", &[], 0, &[]).await;
    check("__name__", &[], usize::MAX, &["look_a", "look_b", "look_c"]).await;
    check("absent", &[], 100, &[]).await;
    check("http.method", &[], 100, &["GET"]).await;
    check("env", &[("__name__", "=", "look_a")], 100, &["dev", "prod"]).await;
    check("__name__", &[("env", "=", "prod")], 100, &["look_a", "look_b"]).await;
    check("env", &[("env", "!=", "prod")], 100, &["Prod", "dev", "é"]).await;
    check("zone", &[("env", "=~", "(?i)PROD")], 100, &["1", "2"]).await;
    check("env", &[("zone", "!~", "1|2")], 100, &["Prod", "é"]).await;
    check("env", &[("zone", "=", ""), ("env", "!=", "")], 1, &["Prod"]).await;
    check("env", &[("zone", "=", "1"), ("zone", "=", "2")], 100, &[]).await;
    append(store, "2", &[series("look_d", &[("env", "brand-new")])]).await;
    check("env", &[], 100, &["Prod", "brand-new", "dev", "prod", "é"]).await;
    check("env", &[("__name__", "=", "look_d")], 100, &["brand-new"]).await;
}

/// Counts of series, pairs and values, most first, cut.
pub async fn check_statistics(store: &impl Store) {
    assert_eq!(store.index_statistics(10).await.expect("statistics"), IndexStatistics::default());
    let all: Vec<_> = [("wide_metric", "a"), ("wide_metric", "b"), ("wide_metric", "c"), ("narrow", "a")]
        .map(|(name, value)| series(name, &[("label", value), ("job", "stats")]))
        .to_vec();
    append(store, "1", &all).await;
    let owned = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let found = store.index_statistics(2).await.expect("statistics");
    assert_eq!((found.series, found.label_pairs), (4, 6));
    assert_eq!(found.series_by_metric, owned(&[("wide_metric", 3), ("narrow", 1)]));
    assert_eq!(found.values_by_label, owned(&[("label", 3), ("__name__", 2)]));
    assert_eq!(found.series_by_pair, owned(&[("job=stats", 4), ("__name__=wide_metric", 3)]));
    assert_eq!(found.bytes_by_label.len(), 2);
    assert_eq!(found.bytes_by_label[0].0, "__name__", "the longest texts");
    let source = all[0].source.clone();
    assert_eq!(found.series_by_source, owned(&[(&source, 4)]));
    assert_eq!(store.source_statistics(&source, 2).await.expect("statistics"), found);
    let nothing = store.source_statistics("nobody", 2).await.expect("statistics");
    assert_eq!(nothing, IndexStatistics::default());
    let other =
        Arc::new(Series { source: "another".into(), ..Series::clone(&series("narrow", &[("label", "d")])) });
    append(store, "3", std::slice::from_ref(&other)).await;
    let alone = store.source_statistics("another", 9).await.expect("statistics");
    assert_eq!((alone.series, alone.label_pairs), (1, 2));
    assert_eq!(alone.values_by_label, owned(&[("__name__", 1), ("label", 1)]));
    assert_eq!(alone.series_by_pair, owned(&[("__name__=narrow", 1), ("label=d", 1)]));
    assert_eq!(
        store.index_statistics(9).await.expect("statistics").series_by_source,
        owned(&[(&source, 4), ("another", 1)])
    );
    let ids = [all[0].id, other.id, SeriesId(7)];
    let stored = store.stored_series(&ids).await.expect("stored series");
    assert_eq!(stored, HashSet::from([all[0].id, other.id]));
    let none = store.index_statistics(0).await.expect("statistics");
    assert_eq!((none.series, none.series_by_metric.len(), none.series_by_pair.len()), (5, 0, 0));
    // The same series again, in another batch, are the same.
    append(store, "2", &all).await;
    assert_eq!(store.source_statistics(&source, 2).await.expect("statistics"), found);
}

/// Look-ups see what was committed before they were asked, also where many ask and append at once.
pub async fn check_lookups_while_appending(store: &Arc<impl Store>) {
    let tasks = (0..4).map(|task: usize| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for n in 0..10 {
                let value = format!("{task}-{n}");
                let new = series("look_at_once", &[("n", &value)]);
                append(&*store, &value, std::slice::from_ref(&new)).await;
                let ours = [Matcher::equal("__name__", "look_at_once"), Matcher::equal("n", &value)];
                let values = store.label_values("n", &ours, 10).await.expect("values");
                assert_eq!(values, [value], "what was committed is seen");
                assert_eq!(store.series(&ours, 10).await.expect("series").len(), 1);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a task");
    }
    assert_eq!(store.label_values("n", &[], 100).await.expect("values").len(), 40);
}
