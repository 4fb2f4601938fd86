//! What every adapter of [`EventBus`] must do.
//!
//! Every check uses sources of its own and ignores the events of others, so the checks may share a bus.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use metricsd_model::{
    CollectionMethod, HealthStatus, MetricsCollected, MetricsCollectedData, TypeCounts, event::rfc3339,
};
use uuid::Uuid;

use crate::EventBus;

/// How long a check waits for an event that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a check listens for an event that must not come.
const SILENCE: Duration = Duration::from_millis(500);

/// Runs all checks. The bus must hold 5,000 events for a reader that does not read yet.
pub async fn all(bus: &dyn EventBus) {
    bus.ping().await.expect("a bus that is there answers a ping");
    events_arrive_unchanged(bus).await;
    a_subscriber_sees_later_events_only(bus).await;
    every_subscriber_sees_every_event(bus).await;
    order_is_kept_per_source(bus).await;
    a_repeat_keeps_the_order(bus).await;
    thousands_of_events_arrive(bus).await;
}

/// Field for field, extremes included; publishing nothing is no error.
pub async fn events_arrive_unchanged(bus: &dyn EventBus) {
    let source = random_source();
    let mut events = bus.subscribe().await.expect("subscribe");
    bus.publish(&[]).await.expect("publishing nothing");
    let mut odd = event(&source, 1);
    odd.metrics_collected.metrics_count = u64::MAX;
    odd.metrics_collected.samples_per_second = u64::MAX;
    odd.metrics_collected.metrics_summary.summaries = u64::MAX;
    odd.metrics_collected.target_health = HealthStatus::Unhealthy;
    odd.metrics_collected.collection_method = CollectionMethod::BatchUpload;
    odd.metrics_collected.collection_batch_id = "batch_20250621_\"ü\"".to_owned();
    let sent = [event(&source, 0), odd];
    bus.publish(&sent).await.expect("publish");
    assert_eq!(first_of(&mut events, &source, 2).await, sent);
}

/// From the moment that `subscribe` has answered: nothing before it, everything after it.
pub async fn a_subscriber_sees_later_events_only(bus: &dyn EventBus) {
    for round in 0..3 {
        let source = random_source();
        bus.publish(&[event(&source, 0), event(&source, 1)]).await.expect("publish");
        let mut events = bus.subscribe().await.expect("subscribe");
        bus.publish(&[event(&source, 2)]).await.expect("publish");
        let seen = first_of(&mut events, &source, 1).await;
        assert_eq!(seen, [event(&source, 2)], "round {round}: only what was published after subscribing");
    }
}

/// Each reader gets all of them, and one that leaves disturbs nobody.
pub async fn every_subscriber_sees_every_event(bus: &dyn EventBus) {
    let source = random_source();
    let mut first = bus.subscribe().await.expect("subscribe");
    let mut second = bus.subscribe().await.expect("subscribe");
    let sent: Vec<_> = (0..20).map(|n| event(&source, n)).collect();
    bus.publish(&sent).await.expect("publish");
    assert_eq!(first_of(&mut first, &source, 20).await, sent);
    assert_eq!(first_of(&mut second, &source, 20).await, sent);
    drop(first);
    bus.publish(&[event(&source, 20)]).await.expect("publish");
    assert_eq!(first_of(&mut second, &source, 1).await, [event(&source, 20)]);
    let more = tokio::time::timeout(SILENCE, next_of(&mut second, &source)).await;
    assert!(more.is_err(), "an event came that nobody published: {more:?}");
}

/// Events of one source come in the order of publishing, whatever other sources do, within and across calls.
pub async fn order_is_kept_per_source(bus: &dyn EventBus) {
    let run = random_source();
    let name = |n: usize| format!("{run}-{n}");
    let mut events = bus.subscribe().await.expect("subscribe");
    for call in 0..10 {
        let batch: Vec<_> = (0..200).map(|n| event(&name(n % 17), call * 200 + n)).collect();
        bus.publish(&batch).await.expect("publish");
    }
    let mut last: HashMap<String, u64> = HashMap::new();
    for _ in 0..2_000 {
        let event = next_of(&mut events, &run).await;
        let number = event.metrics_collected.metrics_count;
        let before = last.insert(event.metrics_collected.source_id.clone(), number);
        assert!(before < Some(number), "{before:?} came before {number}");
    }
    assert_eq!(last.len(), 17, "sources seen");
}

/// After an error the caller publishes all again: with repeats left out, readers still see the order of publishing.
pub async fn a_repeat_keeps_the_order(bus: &dyn EventBus) {
    let source = random_source();
    let mut events = bus.subscribe().await.expect("subscribe");
    let sent: Vec<_> = (0..50).map(|n| event(&source, n)).collect();
    bus.publish(&sent[..30]).await.expect("publish");
    bus.publish(&sent).await.expect("publish all again");
    let mut seen = HashSet::new();
    let mut order = Vec::new();
    while order.len() < sent.len() {
        let event = next_of(&mut events, &source).await;
        if seen.insert(event.event_id) {
            order.push(event);
        }
    }
    assert_eq!(order, sent);
}

/// 5,000 in one call: each at least once.
pub async fn thousands_of_events_arrive(bus: &dyn EventBus) {
    let run = random_source();
    let mut events = bus.subscribe().await.expect("subscribe");
    let sent: Vec<_> = (0..5_000).map(|n| event(&format!("{run}-{}", n % 100), n)).collect();
    bus.publish(&sent).await.expect("publish");
    let mut missing: HashSet<Uuid> = sent.iter().map(|event| event.event_id).collect();
    assert_eq!(missing.len(), 5_000, "ids are distinct");
    while !missing.is_empty() {
        missing.remove(&next_of(&mut events, &run).await.event_id);
    }
}

/// Event number `n` of a source; the same arguments give the same event.
pub fn event(source_id: &str, n: usize) -> MetricsCollected {
    let number = n as u64;
    MetricsCollected {
        event_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{source_id}/{n}").as_bytes()),
        timestamp: rfc3339(1_750_500_000_000 + i64::try_from(n).unwrap_or_default()),
        metrics_collected: MetricsCollectedData {
            collection_batch_id: format!("batch_20250621_{n}"),
            source_id: source_id.to_owned(),
            metrics_count: number,
            collection_duration_ms: 85,
            collection_method: CollectionMethod::PullScraping,
            target_health: HealthStatus::Healthy,
            metrics_summary: TypeCounts { counters: number, gauges: 0, histograms: 0, summaries: 0 },
            error_count: 0,
            samples_per_second: number * 1_000 / 85,
            ledger: None,
        },
    }
}

/// A source id that nobody else uses.
pub fn random_source() -> String {
    format!("conformance-{}", Uuid::new_v4())
}

/// The next event whose source id starts with `source`.
pub async fn next_of(events: &mut BoxStream<'static, MetricsCollected>, source: &str) -> MetricsCollected {
    let wanted = async {
        loop {
            let event = events.next().await.expect("a stream of events does not end");
            if event.metrics_collected.source_id.starts_with(source) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wanted).await.expect("an event that was published arrives")
}

/// The next `count` events of a source.
pub async fn first_of(
    events: &mut BoxStream<'static, MetricsCollected>,
    source: &str,
    count: usize,
) -> Vec<MetricsCollected> {
    let mut seen = Vec::with_capacity(count);
    while seen.len() < count {
        seen.push(next_of(events, source).await);
    }
    seen
}
