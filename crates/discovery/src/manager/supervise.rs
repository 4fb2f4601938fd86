//! Keeps one provider running.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::state::Event;
use crate::pace::Pace;
use crate::provider::{Provider, Update};

/// Updates of one provider that wait to be taken in; it waits when there are more.
const UPDATES: usize = 8;
/// A provider that ends on its own is started again, sooner or later.
const RESTART_INTERVAL: Duration = Duration::from_secs(30);

/// Runs a provider until `stop` and passes on what it tells, under its id.
pub(super) async fn supervise(
    id: u64,
    provider: Arc<dyn Provider>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let mut pace = Pace::new(RESTART_INTERVAL);
    while !stop.is_cancelled() {
        let (updates, mut told) = mpsc::channel(UPDATES);
        let running = {
            let (provider, stop) = (Arc::clone(&provider), stop.clone());
            tokio::spawn(async move { provider.run(updates, stop).await })
        };
        while let Some(update) = told.recv().await {
            if events.send(Event { id, update }).await.is_err() {
                break;
            }
        }
        drop(told);
        let ended = running.await;
        if stop.is_cancelled() {
            return;
        }
        if let Err(error) = ended {
            tracing::error!(kind = provider.kind(), %error, "a provider of targets has ended unexpectedly");
        }
        let sentence = "the provider has ended unexpectedly and is started again soon".to_owned();
        if events.send(Event { id, update: Update::Failed(sentence) }).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pace.failed()) => {}
            () = stop.cancelled() => {}
        }
    }
}
