//! Checks where samples and targets are kept.

use std::time::Duration;

use metricsd_model::Secret;
use metricsd_shards::MAX_SHARDS;

use super::Check;
use crate::config::error::Origin;
use crate::config::secrets::{self, mask_url};
use crate::config::settings::{Compaction, Settings, Storage};
use crate::config::{CompactionConfig, StorageBackend, StorageConfig};

/// Frames never cross an hour, so chunks that are dropped as a whole hold whole hours.
const CHUNK_UNIT: Duration = Duration::from_secs(3_600);
/// One to read while one writes.
const MIN_CONNECTIONS: u32 = 2;
/// A few series' hours; with less every hour would be read again and again.
const MIN_COMPACTED_SAMPLES: usize = 100_000;
/// TimescaleDB takes more, but every chunk is then as many tables.
const MAX_SPACE_PARTITIONS: u32 = 128;

impl Check<'_> {
    pub(super) fn storage(&mut self, settings: &Settings) -> Option<StorageConfig> {
        let storage = &settings.storage;
        if storage.max_connections < MIN_CONNECTIONS {
            let message = format!("expected at least {MIN_CONNECTIONS}, not {}", storage.max_connections);
            self.refuse("storage.max_connections", message);
        }
        let interval = storage.chunk_interval;
        if interval.0 < CHUNK_UNIT || !interval.0.as_millis().is_multiple_of(CHUNK_UNIT.as_millis()) {
            self.refuse(
                "storage.chunk_interval",
                format!("expected whole hours such as 1h or 1d, not {interval}"),
            );
        }
        if !(1..=MAX_SPACE_PARTITIONS).contains(&storage.space_partitions) {
            let message = format!("expected 1 to {MAX_SPACE_PARTITIONS}, not {}", storage.space_partitions);
            self.refuse("storage.space_partitions", message);
        }
        let compaction = self.compaction(&storage.compaction);
        let shards = self.shards(storage)?;
        let backend = self.home(storage, &shards)?;
        Some(StorageConfig {
            backend,
            // A list of one is no list.
            shards: if shards.len() > 1 { shards } else { Vec::new() },
            max_connections: storage.max_connections,
            chunk_interval: interval.0,
            space_partitions: storage.space_partitions,
            frame_cache_bytes: storage.frame_cache_bytes.0,
            compaction,
        })
    }

    fn compaction(&mut self, compaction: &Compaction) -> Option<CompactionConfig> {
        if compaction.max_samples < MIN_COMPACTED_SAMPLES {
            let message =
                format!("expected at least {MIN_COMPACTED_SAMPLES}, not {}", compaction.max_samples);
            self.refuse("storage.compaction.max_samples", message);
        }
        let pack_after = (!compaction.pack_after.0.is_zero()).then_some(compaction.pack_after.0);
        compaction.enabled.then_some(CompactionConfig {
            delay: compaction.delay.0,
            pack_after,
            max_samples: compaction.max_samples,
        })
    }

    /// The databases that samples are spread over; `None` where there is something wrong with them.
    fn shards(&mut self, storage: &Storage) -> Option<Vec<StorageBackend>> {
        let (key, urls) = self.shard_urls(storage)?;
        let mut shards: Vec<StorageBackend> = Vec::with_capacity(urls.len());
        for url in &urls {
            match storage_backend(url) {
                Ok(shard) if shards.contains(&shard) => {
                    let message = format!("{:?} stands in the list twice", mask_url(url));
                    self.refuse(key, message);
                    return None;
                }
                Ok(shard) => shards.push(shard),
                Err(message) => {
                    self.refuse(key, message);
                    return None;
                }
            }
        }
        let files = shards.iter().filter(|shard| matches!(shard, StorageBackend::Sqlite(_))).count();
        if files > 0 && files < shards.len() {
            self.refuse(key, "expected databases of one kind, not SQLite and PostgreSQL");
            return None;
        }
        if shards.len() > MAX_SHARDS {
            self.refuse(key, format!("expected at most {MAX_SHARDS} databases, not {}", shards.len()));
            return None;
        }
        Some(shards)
    }

    /// The URLs of the list or of its file, whichever comes from the higher layer, and the key that they come from.
    fn shard_urls(&mut self, storage: &Storage) -> Option<(&'static str, Vec<String>)> {
        let (key, file_key) = ("storage.shards", "storage.shards_file");
        let rank = |key: &str| self.origins.get(key).map_or(0, Origin::rank);
        let file = match &storage.shards_file {
            Some(_) if !storage.shards.is_empty() && rank(key) == rank(file_key) => {
                self.refuse(file_key, format!("expected either this or {key}, not both"));
                return None;
            }
            Some(file) if storage.shards.is_empty() || rank(key) < rank(file_key) => file,
            _ => return Some((key, storage.shards.clone())),
        };
        let text = secrets::read(file).map_err(|message| self.refuse(file_key, message)).ok()?;
        let urls = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
        Some((file_key, urls.collect()))
    }

    /// The database of targets and processes: `storage.url`, or the first shard.
    fn home(&mut self, storage: &Storage, shards: &[StorageBackend]) -> Option<StorageBackend> {
        if let (None, None, Some(first)) = (&storage.url, &storage.url_file, shards.first()) {
            return Some(first.clone());
        }
        let url = self.secret("storage.url", storage.url.as_ref(), storage.url_file.as_ref())?;
        let home = storage_backend(&url).map_err(|message| self.refuse("storage.url", message)).ok()?;
        if !shards.is_empty() && !shards.contains(&home) {
            let message =
                "expected one of storage.shards, or nothing: samples in any other database are not read";
            self.refuse("storage.url", message);
            return None;
        }
        Some(home)
    }
}

fn storage_backend(url: &str) -> Result<StorageBackend, String> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(StorageBackend::Postgres(Secret::new(url)));
    }
    let expected = || format!("expected sqlite:PATH or postgres://…, not {:?}", mask_url(url));
    let path = url.strip_prefix("sqlite:").ok_or_else(expected)?;
    let path = path.strip_prefix("//").unwrap_or(path);
    match path {
        "" => Err("expected the path of a file behind sqlite:".to_owned()),
        ":memory:" => Err("expected a file: metricsd acknowledges only what is durable".to_owned()),
        path if path.contains('?') => {
            Err("expected a plain path behind sqlite:, without parameters".to_owned())
        }
        path => Ok(StorageBackend::Sqlite(path.into())),
    }
}
