//! What every [`crate::PushedGroups`] must do.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{GroupTotals, PushedGroup, PushedGroups};

/// Runs every check of this suite, each on a store of its own that `new` makes: fresh and empty.
pub async fn check_all<S: PushedGroups>(new: impl AsyncFn() -> S) {
    check_versions(&new().await).await;
    check_lists(&new().await).await;
    check_kinds(&new().await).await;
    check_race(new().await).await;
}

fn group(number: u128) -> PushedGroup {
    PushedGroup {
        id: Uuid::from_u128(number),
        version: Uuid::new_v4(),
        labels: BTreeMap::from([
            ("job".to_owned(), "größe \"x\"".to_owned()),
            ("empty".to_owned(), String::new()),
        ]),
        source_id: "pushgateway".to_owned(),
        families: vec![0, 255, 1, 2],
        kinds: BTreeMap::from([("a".to_owned(), "counter".to_owned()), ("b".to_owned(), "gauge".to_owned())]),
        series: 3,
        pushed_at: Some(1_750_000_000_123),
        failed_at: None,
        expire_after: Some(60_000),
    }
}

async fn check_versions<S: PushedGroups>(store: &S) {
    let first = group(1);
    assert_eq!(store.group(first.id).await.expect("group"), None);
    assert!(!store.put_group(&first, Some(first.version)).await.expect("put"), "it is not there yet");
    assert!(store.put_group(&first, None).await.expect("put"), "it is new");
    assert_eq!(store.group(first.id).await.expect("group"), Some(first.clone()));
    assert!(!store.put_group(&group(1), None).await.expect("put"), "it is there");
    let second = PushedGroup {
        families: Vec::new(),
        kinds: BTreeMap::new(),
        series: 0,
        pushed_at: None,
        failed_at: Some(5),
        expire_after: None,
        ..group(1)
    };
    assert!(!store.put_group(&second, Some(Uuid::new_v4())).await.expect("put"), "another version");
    assert_eq!(store.group(first.id).await.expect("group"), Some(first.clone()), "nothing was changed");
    assert!(store.put_group(&second, Some(first.version)).await.expect("put"));
    assert_eq!(store.group(first.id).await.expect("group"), Some(second.clone()));
    assert_eq!(store.remove_group(first.id, Some(first.version)).await.expect("remove"), None);
    assert_eq!(store.remove_group(first.id, Some(second.version)).await.expect("remove"), Some(second));
    assert_eq!(store.remove_group(first.id, None).await.expect("remove"), None);
    assert!(store.put_group(&first, None).await.expect("put"), "it may come back");
    assert_eq!(store.remove_group(first.id, None).await.expect("remove"), Some(first));
}

async fn check_lists<S: PushedGroups>(store: &S) {
    let nobody = Uuid::from_u128(99);
    assert_eq!(store.group_totals(nobody).await.expect("totals"), GroupTotals::default());
    let mut groups = Vec::new();
    for number in [3, 1, 2] {
        let group = group(number);
        assert!(store.put_group(&group, None).await.expect("put"));
        groups.push(group);
    }
    groups.sort_by_key(|group| group.id);
    assert_eq!(store.groups(None, 10).await.expect("groups"), groups);
    assert_eq!(store.groups(None, 2).await.expect("groups"), groups[..2]);
    assert_eq!(store.groups(Some(groups[1].id), 10).await.expect("groups"), groups[2..]);
    let mut versions = store.group_versions().await.expect("versions");
    versions.sort_unstable();
    let expected: Vec<_> = groups.iter().map(|group| (group.id, group.version)).collect();
    assert_eq!(versions, expected);
    let totals = |groups| GroupTotals { groups, series: groups * 3, bytes: groups * 4 };
    assert_eq!(store.group_totals(nobody).await.expect("totals"), totals(3));
    assert_eq!(store.group_totals(groups[0].id).await.expect("totals"), totals(2));
}

async fn check_kinds<S: PushedGroups>(store: &S) {
    let names = ["a", "b", "c"].map(str::to_owned);
    assert!(store.put_group(&group(1), None).await.expect("put"));
    let ask = async |id: u128| store.other_kinds(Uuid::from_u128(id), &names).await.expect("kinds");
    assert_eq!(ask(1).await, BTreeMap::new(), "a group is not at odds with itself");
    assert_eq!(ask(2).await, group(1).kinds);
    let changed = PushedGroup { kinds: BTreeMap::from([("c".to_owned(), "summary".to_owned())]), ..group(1) };
    let version = store.group(changed.id).await.expect("group").map(|group| group.version);
    assert!(store.put_group(&changed, version).await.expect("put"));
    assert_eq!(ask(2).await, changed.kinds);
    store.remove_group(changed.id, None).await.expect("remove");
    assert_eq!(ask(2).await, BTreeMap::new());
}

async fn check_race<S: PushedGroups>(store: S) {
    let store = std::sync::Arc::new(store);
    let calls = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.put_group(&group(1), None).await.expect("put") })
    });
    let mut written = 0;
    for call in calls.collect::<Vec<_>>() {
        written += usize::from(call.await.expect("a task"));
    }
    assert_eq!(written, 1, "of several who write at once one does");
}
