//! A cluster of TimescaleDB that belongs to one test.

use sqlx::{Connection, PgConnection};

use super::own::Own;

/// Runs until dropped.
pub struct Cluster(Own);

impl Cluster {
    pub async fn start() -> Self {
        Self(Own::start("postgres").await)
    }

    /// The database, under the name and password that `make services` gives to all.
    pub fn url(&self) -> String {
        self.url_at(self.0.port)
    }

    /// The same through whatever listens on another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://metricsd:metricsd@127.0.0.1:{port}/postgres")
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// kill -9 of all its processes.
    pub async fn kill(&self) {
        self.0.kill().await;
    }

    /// Stops it in good order.
    pub async fn stop(&self) {
        self.0.stop().await;
    }

    /// Starts it, again too; it answers then.
    pub async fn bring_up(&self) {
        self.0.bring_up().await;
    }
}
