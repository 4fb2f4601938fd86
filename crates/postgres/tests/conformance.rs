//! The suites that every adapter passes, each check on a database of its own.

mod support;

use std::sync::Mutex;

use metricsd_ports::conformance;
use metricsd_postgres::PostgresStore;
use support::Database;

/// Databases that live as long as the suite.
#[derive(Default)]
struct Databases(Mutex<Vec<Database>>);

impl Databases {
    async fn store(&self) -> PostgresStore {
        let database = Database::create().await;
        let store = database.store().await;
        self.0.lock().expect("no check holds it").push(database);
        store
    }
}

impl Drop for Databases {
    /// All at once: the server takes its time for each.
    fn drop(&mut self) {
        let databases = self.0.get_mut().map(std::mem::take).unwrap_or_default();
        std::thread::scope(|scope| {
            databases.into_iter().for_each(|database| drop(scope.spawn(|| drop(database))))
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn samples() {
    let databases = Databases::default();
    Box::pin(conformance::samples::check_all(async || databases.store().await)).await;
    conformance::samples::check_absent_descriptions(&databases.store().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compaction() {
    let databases = Databases::default();
    Box::pin(conformance::samples::check_compaction(async || databases.store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rollups() {
    let databases = Databases::default();
    Box::pin(conformance::rollups::check_all(async || databases.store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn catalog() {
    let databases = Databases::default();
    Box::pin(conformance::catalog::check_all(async || databases.store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outbox() {
    let databases = Databases::default();
    Box::pin(conformance::outbox::check_all(async || databases.store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn work() {
    let databases = Databases::default();
    Box::pin(conformance::work::check_all(async || databases.store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushed_groups() {
    let databases = Databases::default();
    conformance::pushed::check_all(async || databases.store().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn membership() {
    let databases = Databases::default();
    Box::pin(conformance::membership::check_all(async || databases.store().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn durable() {
    let databases = Databases::default();
    Box::pin(conformance::durable::check_all(async || databases.store().await)).await;
}
