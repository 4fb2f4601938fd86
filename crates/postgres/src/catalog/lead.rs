//! One of many: an advisory lock, held for as long as a connection of its own lives.

use async_trait::async_trait;
use metricsd_ports::Leadership;
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tokio::time::{Duration, timeout};

use crate::PostgresStore;
use crate::error::Fault;

/// First half of the lock's key ("lead" in ASCII); the second is a hash of what is led.
const LOCK: i32 = 0x6c65_6164;

/// How long the server may take to say that the connection lives.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends with its connection.
struct Held(Option<PgConnection>);

#[async_trait]
impl Leadership for Held {
    async fn is_held(&mut self) -> bool {
        let Some(connection) = &mut self.0 else { return false };
        let lives = matches!(timeout(PATIENCE, connection.ping()).await, Ok(Ok(())));
        if !lives {
            self.0 = None;
        }
        lives
    }
}

pub(super) async fn try_lead(
    store: &PostgresStore,
    what: &str,
) -> Result<Option<Box<dyn Leadership>>, Fault> {
    let mut connection = store.pool.connect_options().connect().await?;
    let sql = "SELECT pg_try_advisory_lock($1, hashtext($2))";
    let row = sqlx::query(sql).bind(LOCK).bind(what).fetch_one(&mut connection).await?;
    if row.try_get(0)? {
        return Ok(Some(Box::new(Held(Some(connection)))));
    }
    connection.close().await?;
    Ok(None)
}
