//! Listing targets.

use metricsd_model::{Health, HealthStatus};

use super::targets::{create, ids};
use crate::TargetFilter;
use crate::conformance::fixtures::*;

/// Ids in the order of their bytes.
const SORTED: [&str; 11] = ["10", "9", "A", "B", "_", "a", "a-b", "a.b", "ab", "b", "é"];

/// Creates them last first, in two sources, three groups, one of them disabled, two healthy, one being deleted.
async fn create_listed(store: &impl Store) {
    for (n, id) in SORTED.iter().enumerate().rev() {
        let mut spec = target(id);
        spec.source_id = if n % 2 == 0 { "even" } else { "odd" }.to_owned();
        spec.labels.insert("third".to_owned(), (n % 3).to_string());
        spec.enabled = n != 4;
        create(store, &spec).await;
    }
    let healthy = Health { status: HealthStatus::Healthy, last_scrape: Some(NOON), ..Health::default() };
    store
        .record_health(&[("A".to_owned(), healthy.clone()), ("9".to_owned(), healthy)])
        .await
        .expect("recorded");
    store.request_deletion("b").await.expect("an answer");
}

/// Order is by the bytes of ids, pages join without gap or overlap.
pub async fn check_pages(store: &impl Store) {
    let none = store.targets(&TargetFilter::default(), 10).await;
    assert_eq!(none.expect("targets"), []);
    create_listed(store).await;
    let all = store.targets(&TargetFilter::default(), 100).await.expect("targets");
    assert_eq!(ids(&all), SORTED, "in order of id, those being deleted included");
    for size in [1, 3, 4, 11] {
        let (mut filter, mut found) = (TargetFilter::default(), Vec::new());
        loop {
            let page = store.targets(&filter, size).await.expect("targets");
            assert!(page.len() <= size, "at most as many as asked for");
            let Some(last) = page.last() else { break };
            filter.after = Some(last.spec.target_id.clone());
            found.extend(page);
        }
        assert_eq!(found, all, "pages of {size}");
    }
}

/// Each filter narrows, and several do together.
pub async fn check_filters(store: &impl Store) {
    create_listed(store).await;
    let check = async |filter: TargetFilter, expected: &[&str]| {
        let found = store.targets(&filter, 100).await.expect("targets");
        assert_eq!(ids(&found), expected, "{filter:?}");
    };
    let of = |source: &str| TargetFilter { source_id: Some(source.to_owned()), ..TargetFilter::default() };
    let with = |labels: &[(&str, &str)]| TargetFilter {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..TargetFilter::default()
    };
    let in_health = |health| TargetFilter { health: Some(health), ..TargetFilter::default() };
    let enabled = |enabled| TargetFilter { enabled: Some(enabled), ..TargetFilter::default() };
    check(of("odd"), &["9", "B", "a", "a.b", "b"]).await;
    check(of("Odd"), &[]).await;
    check(in_health(HealthStatus::Healthy), &["9", "A"]).await;
    check(in_health(HealthStatus::Disabled), &["_"]).await;
    check(in_health(HealthStatus::Unhealthy), &[]).await;
    check(enabled(false), &["_"]).await;
    let on: Vec<&str> = SORTED.into_iter().filter(|id| *id != "_").collect();
    check(enabled(true), &on).await;
    let (team, second) = (("team", "observability"), ("third", "1"));
    check(with(&[team]), &SORTED).await;
    check(with(&[second]), &["9", "_", "a.b", "é"]).await;
    check(with(&[second, ("third", "2")]), &[]).await;
    check(with(&[("team", "Observability")]), &[]).await;
    check(with(&[("nobody-has-it", "1")]), &[]).await;
    let several = TargetFilter { enabled: Some(true), ..with(&[team, second]) };
    check(several, &["9", "a.b", "é"]).await;
    let several =
        TargetFilter { source_id: Some("even".to_owned()), after: Some("a".to_owned()), ..with(&[team]) };
    check(several, &["a-b", "ab", "é"]).await;
}
