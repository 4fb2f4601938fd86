//! The suites that every store passes.

mod support;

use metricsd_ports::conformance;
use support::Folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples() {
    let folder = Folder::new();
    Box::pin(conformance::samples::check_all(async || folder.fresh_store().await)).await;
    conformance::samples::check_absent_descriptions(&folder.fresh_store().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction() {
    let folder = Folder::new();
    Box::pin(conformance::samples::check_compaction(async || folder.fresh_store().await)).await;
}

#[test]
fn interleavings() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = Folder::new();
    conformance::samples::check_interleavings(40, &runtime, async || folder.fresh_store().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollups() {
    let folder = Folder::new();
    Box::pin(conformance::rollups::check_all(async || folder.fresh_store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catalog() {
    let folder = Folder::new();
    Box::pin(conformance::catalog::check_all(async || folder.fresh_store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbox() {
    let folder = Folder::new();
    Box::pin(conformance::outbox::check_all(async || folder.fresh_store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work() {
    let folder = Folder::new();
    Box::pin(conformance::work::check_all(async || folder.fresh_store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_groups() {
    let folder = Folder::new();
    conformance::pushed::check_all(async || folder.fresh_store().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn membership() {
    let folder = Folder::new();
    Box::pin(conformance::membership::check_all(async || folder.fresh_store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn durable() {
    let folder = Folder::new();
    Box::pin(conformance::durable::check_all(async || folder.fresh_store().await)).await;
}
