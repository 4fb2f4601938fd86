//! The real servers, as `make services` started them, and what belongs to one test on each.

use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

/// The address of one server.
pub fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `make test`, or `make services` and then `source .services.env`")
    })
}

/// A database of the test's own; dropped at the end where the test calls [`Database::remove`].
pub struct Database {
    admin: String,
    name: String,
}

impl Database {
    pub async fn create() -> Self {
        let admin = address("METRICSD_TEST_POSTGRES_URL");
        let name = format!("metricsd_e2e_{}", uuid::Uuid::new_v4().simple());
        execute(&admin, &format!("CREATE DATABASE {name}")).await;
        Self { admin, name }
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.admin.rsplit_once('/').unwrap().0, self.name)
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    pub async fn remove(self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // TimescaleDB's scheduler can hold the drop up; the server ends it without us.
        let _ = tokio::time::timeout(Duration::from_secs(5), execute(&self.admin, &drop)).await;
    }
}

async fn execute(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
}

/// An ordinary consumer of a topic, from its beginning.
pub struct Events {
    consumer: StreamConsumer,
}

impl Events {
    pub fn of(topic: &str) -> Self {
        Self::at(&address("METRICSD_TEST_KAFKA_BROKERS"), topic)
    }

    /// The same at a broker of the test's own.
    pub fn at(brokers: &str, topic: &str) -> Self {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", format!("e2e-{}", uuid::Uuid::new_v4()))
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "true")
            .set("topic.metadata.refresh.interval.ms", "500")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        Self { consumer }
    }

    /// Key and value of what comes until nothing has come for `quiet`, or for at most ten times as long.
    pub async fn read(&self, quiet: Duration) -> Vec<(String, Value)> {
        let deadline = tokio::time::Instant::now() + quiet * 10;
        let mut events = Vec::new();
        while tokio::time::Instant::now() < deadline {
            let Ok(message) = tokio::time::timeout(quiet, self.consumer.recv()).await else { break };
            // A topic that is not there yet is no reason to stop.
            let Ok(message) = message else { continue };
            let key = String::from_utf8(message.key().unwrap_or_default().to_vec()).unwrap();
            events.push((key, serde_json::from_slice(message.payload().unwrap_or_default()).unwrap()));
        }
        events
    }
}

/// `scripts/services.sh VERB SERVER`: only for tests that run alone, because everybody shares the servers.
pub async fn control(verb: &str, server: &str) {
    let script = address("METRICSD_TEST_SERVICES_CTL");
    let output = Command::new(script).args([verb, server]).output().await.unwrap();
    assert!(output.status.success(), "{verb} {server}: {}", String::from_utf8_lossy(&output.stderr));
}
