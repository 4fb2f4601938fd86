//! Tells those who wait for changes of the catalogue that there may be some: one listening connection a process,
//! made when the first of them asks.

use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHANNEL: &str = "metricsd_catalogue";

/// Between two attempts to listen. Those who wait poll meanwhile, so nothing is missed.
const RETRY: Duration = Duration::from_secs(1);

/// The listener. Notifications only make waiting shorter; truth is in the tables.
pub(crate) struct Feed {
    connect: PgConnectOptions,
    changed: watch::Sender<u64>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    pub(crate) fn new(connect: PgConnectOptions) -> Self {
        Self { connect, changed: watch::Sender::new(0), task: Mutex::new(None) }
    }

    /// Starts listening where no one does yet; the receiver sees a change after each notification from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        let receiver = self.changed.subscribe();
        let mut task = self.task.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(listen(self.connect.clone(), self.changed.clone())));
        }
        receiver
    }

    pub(crate) fn close(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.close();
    }
}

async fn listen(connect: PgConnectOptions, changed: watch::Sender<u64>) {
    loop {
        if let Err(error) = follow(&connect, &changed).await {
            tracing::debug!(%error, "not listening for changes of the catalogue");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(connect: &PgConnectOptions, changed: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(connect.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // A change may have come before the listener was there, at the start as after a lost connection.
        changed.send_modify(|count| *count += 1);
        while listener.try_recv().await?.is_some() {
            changed.send_modify(|count| *count += 1);
        }
    }
}
