//! Servers that belong to one test, so that nobody else minds when they are killed.

use tokio::process::Command;

use super::free_port;
use super::services::address;

/// A server of `scripts/services.sh` beside the common one. Runs until dropped.
pub struct Own {
    server: &'static str,
    name: String,
    pub port: u16,
    /// Kafka's controller listens too.
    second: u16,
}

impl Own {
    pub async fn start(server: &'static str) -> Self {
        let name = format!("test-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let own = Self { server, name, port: free_port(), second: free_port() };
        own.bring_up().await;
        own
    }

    /// kill -9 of all its processes.
    pub async fn kill(&self) {
        self.control("kill-one").await;
    }

    /// Stops it in good order.
    pub async fn stop(&self) {
        self.control("stop-one").await;
    }

    /// Starts it, again too; it answers then.
    pub async fn bring_up(&self) {
        self.control("start-one").await;
    }

    async fn control(&self, verb: &str) {
        let mut command = Command::from(self.command());
        let output = command.args([verb, self.server]).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {}: {said}", self.server);
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(address("METRICSD_TEST_SERVICES_CTL"));
        let server = self.server.to_uppercase();
        command.env(format!("METRICSD_{server}_CLUSTER"), &self.name);
        command.env(format!("METRICSD_{server}_PORT"), self.port.to_string());
        command.env(format!("METRICSD_{server}_CONTROLLER_PORT"), self.second.to_string());
        command
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let removed = self.command().arg("remove-cluster").output();
        if !removed.is_ok_and(|output| output.status.success()) {
            eprintln!("{} {} was not removed", self.server, self.name);
        }
    }
}
