//! The in-memory store keeps the promises of its ports.
#![cfg(feature = "conformance")]

use metricsd_ports::conformance::{catalog, durable, outbox, pushed, samples, work};
use metricsd_ports::memory::MemoryStore;

async fn store() -> MemoryStore {
    MemoryStore::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn samples() {
    Box::pin(samples::check_all(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compaction() {
    samples::check_compaction(store).await;
}

#[test]
fn interleavings() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    samples::check_interleavings(300, &runtime, store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn catalog() {
    Box::pin(catalog::check_all(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outbox() {
    outbox::check_all(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn work_is_claimed() {
    work::check_all(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushed_groups() {
    pushed::check_all(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn membership() {
    metricsd_ports::conformance::membership::check_all(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn durable() {
    durable::check_all(store).await;
}
