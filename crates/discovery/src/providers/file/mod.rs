//! `file_sd_configs`: lists of groups in files.
//!
//! Files are watched by looking at them each second, which also works on network file systems and where a whole folder
//! is swapped by a link, as Kubernetes does for mounted configuration. At the refresh interval they are read in any case.

mod read;

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::FileSd;
use crate::pace::jittered;
use crate::provider::{Provider, Update, Updates};
use read::Files;

/// How often files are looked at for changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Reads lists of groups from files and follows their changes.
#[derive(Debug)]
pub struct FileProvider {
    config: FileSd,
}

impl FileProvider {
    /// For these files.
    pub fn new(config: FileSd) -> Self {
        Self { config }
    }

    /// Looks until nobody listens.
    async fn follow(&self, updates: &Updates) -> Option<()> {
        let mut files = Files::new(self.config.files.clone());
        let interval = self.config.refresh_interval.0.max(LOOK_INTERVAL);
        let mut read_all_at = Instant::now();
        loop {
            let all = Instant::now() >= read_all_at;
            if all {
                read_all_at = Instant::now() + jittered(interval);
            }
            // Files may be on a slow network; nothing else waits for them.
            let looked = tokio::task::spawn_blocking(move || {
                let outcome = files.look(all);
                (files, outcome)
            });
            let Ok((looked, outcome)) = looked.await else {
                files = Files::new(self.config.files.clone());
                let sentence = "reading the files ended unexpectedly; they are read again".to_owned();
                updates.send(Update::Failed(sentence)).await.ok()?;
                tokio::time::sleep(LOOK_INTERVAL).await;
                continue;
            };
            files = looked;
            if all || outcome.changed {
                updates.send(files.told()).await.ok()?;
            }
            if let Some(problem) = outcome.problem {
                updates.send(Update::Failed(problem)).await.ok()?;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

#[async_trait]
impl Provider for FileProvider {
    fn kind(&self) -> &'static str {
        "file"
    }

    async fn run(&self, updates: Updates, stop: CancellationToken) {
        tokio::select! {
            _ = self.follow(&updates) => {}
            () = stop.cancelled() => {}
        }
    }
}
