//! A cluster of TimescaleDB that belongs to one test, so that nobody else minds when it is killed.

use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use super::free_port;
use super::services::address;

/// Runs until dropped.
pub struct Cluster {
    name: String,
    port: u16,
}

impl Cluster {
    pub async fn start() -> Self {
        let name = format!("test-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let cluster = Self { name, port: free_port() };
        cluster.bring_up().await;
        cluster
    }

    /// The database, under the name and password that `make services` gives to all.
    pub fn url(&self) -> String {
        format!("postgres://metricsd:metricsd@127.0.0.1:{}/postgres", self.port)
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// kill -9 of all its processes.
    pub async fn kill(&self) {
        self.control(&["kill-one", "postgres"]).await;
    }

    /// Starts it, again too; it answers then.
    pub async fn bring_up(&self) {
        self.control(&["start-one", "postgres"]).await;
    }

    async fn control(&self, arguments: &[&str]) {
        let mut command = Command::from(self.command());
        let output = command.args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(address("METRICSD_TEST_SERVICES_CTL"));
        command.env("METRICSD_POSTGRES_CLUSTER", &self.name);
        command.env("METRICSD_POSTGRES_PORT", self.port.to_string());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let removed = self.command().arg("remove-cluster").output();
        if !removed.is_ok_and(|output| output.status.success()) {
            eprintln!("the cluster {} was not removed", self.name);
        }
    }
}
