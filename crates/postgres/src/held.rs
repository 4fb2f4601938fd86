//! Connections that go back to their pool only as they came from it.
//!
//! A call may be given up while the server's answer is on its way: its caller has gone, or waits no longer. A connection on which a
//! transaction was being begun stays inside of it then, and one on which a `COPY` was being begun counts one answer less
//! than the server gives, so that everything after is read as the answer to something else. The pool's own test notices
//! neither.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// A connection that is closed unless it was [released](Self::release).
pub(crate) struct Held {
    connection: PoolConnection<Postgres>,
    is_whole: bool,
}

impl Held {
    pub(crate) async fn acquire(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: pool.acquire().await?, is_whole: false })
    }

    /// All that was asked on it was answered, or said to have failed: others may have it.
    pub(crate) fn release(mut self) {
        self.is_whole = true;
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_whole {
            self.connection.close_on_drop();
        }
    }
}

/// Begins a transaction. Whoever stops waiting for it leaves none open.
pub(crate) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await });
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
