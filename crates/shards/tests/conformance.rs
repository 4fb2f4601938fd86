//! A store of several shards keeps the promises of the ports.

mod support;

use metricsd_ports::conformance::{catalog, samples};

use support::sharded;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn samples_of_three() {
    samples::check_all(async || sharded(3).store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn catalog_of_three() {
    catalog::check_all(async || sharded(3).store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_shard_is_a_store_too() {
    samples::check_all(async || sharded(1).store).await;
}
