//! Opens what the configuration names: the one place that knows adapters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metricsd_ingest::Stores;
use metricsd_kafka::{KafkaBus, KafkaOptions};
use metricsd_ports::memory::{MemoryBus, MemoryCache};
use metricsd_ports::{
    Cache, Catalog, EventBus, Integrity, LogSink, Membership, Outbox, PortError, PushedGroups, Retention,
    SampleSink, SampleSource, Upkeep, WorkQueue,
};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use metricsd_redis::RedisCache;
use metricsd_shards::{Opened, Shard, ShardedStore};
use metricsd_sqlite::SqliteStore;
use tracing::warn;

use crate::config::{CacheConfig, Config, EventFormat, EventsConfig, StorageBackend};
use crate::sealing::{KeyOrigin, SealedCatalog, Sealer, SealingKey};

/// How long a starting process waits for its database.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of cache entries that one process keeps for itself.
const MEMORY_CACHE_BYTES: u64 = 64 << 20;

/// Everything that a process talks to.
pub(super) struct Adapters {
    /// All databases as one.
    pub(super) source: Arc<dyn SampleSource>,
    pub(super) catalog: Arc<dyn Catalog>,
    /// Groups that were pushed.
    pub(super) groups: Arc<dyn PushedGroups>,
    /// Who scrapes what, in the home database.
    pub(super) membership: Arc<dyn Membership>,
    /// The databases themselves and which of them a batch goes to.
    pub(super) stores: Stores,
    pub(super) members: Vec<Member>,
    /// What became of all collections.
    pub(super) integrity: Arc<dyn Integrity>,
    pub(super) cache: Arc<dyn Cache>,
    pub(super) bus: Arc<dyn EventBus>,
    /// Work that waits: in the home database.
    pub(super) work: Arc<dyn WorkQueue>,
}

/// One database: what is done for each on its own, so that none waits for another.
pub(super) struct Member {
    /// Counted from 1.
    pub(super) number: usize,
    /// As readiness and the log name it.
    pub(super) name: String,
    /// Whether nothing works without it: it keeps the targets.
    pub(super) is_home: bool,
    pub(super) sink: Arc<dyn SampleSink>,
    pub(super) log: Arc<dyn LogSink>,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) retention: Arc<dyn Retention>,
    pub(super) upkeep: Option<Arc<dyn Upkeep>>,
    /// What is still to be opened.
    pub(super) late: Option<(Arc<Shard>, Opener)>,
}

impl Adapters {
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let key = match &config.sealing_key {
            Some(key) => key.clone(),
            None => own_key(config)?,
        };
        let sealer = Sealer::new(&key)?;
        let (cache, bus) = (open_cache(config)?, open_bus(config)?);
        let patient = Patience { until: Instant::now() + STORE_PATIENCE };
        let opener = Opener::new(config, &config.storage.backend);
        let home = patient.open(async || opener.open().await).await?;
        let (work, membership) = (home.work.clone(), home.membership.clone());
        let catalog = |catalog| Arc::new(SealedCatalog::new(catalog, sealer));
        if config.storage.shards.is_empty() {
            let Opened { sink, source, retention, outbox, jobs, groups, integrity, log, upkeep, .. } = home;
            let stores = Stores {
                whole: sink.clone(),
                each: vec![sink.clone()],
                route: Arc::new(|_, _| 0),
                backlogs: Vec::new(),
            };
            let name = "storage".to_owned();
            let only =
                Member { number: 1, name, is_home: true, sink, log, outbox, retention, upkeep, late: None };
            return Ok(Self {
                source,
                catalog: catalog(jobs),
                groups,
                membership,
                stores,
                members: vec![only],
                integrity,
                cache,
                bus,
                work,
            });
        }
        let members = open_shards(config, &home).await?;
        let shards: Vec<Arc<Shard>> = members.iter().map(|(shard, _)| shard.clone()).collect();
        let store = Arc::new(ShardedStore::new(home.jobs.clone(), shards.clone()).map_err(reported)?);
        let placement = store.placement().clone();
        let stores = Stores {
            whole: store.clone(),
            each: shards.iter().map(|shard| shard.clone() as Arc<dyn SampleSink>).collect(),
            route: Arc::new(move |target_id, source_id| placement.of(target_id, source_id)),
            backlogs: Vec::new(),
        };
        let members = members.into_iter().zip(&config.storage.shards);
        let members = members.map(|((shard, late), backend)| Member {
            number: shard.number(),
            name: format!("storage {}", shard.name()),
            is_home: *backend == config.storage.backend,
            sink: shard.clone(),
            log: shard.clone(),
            outbox: shard.clone(),
            retention: shard.clone(),
            upkeep: Some(shard.clone()),
            late: late.map(|opener| (shard, opener)),
        });
        let members = members.collect();
        let groups = home.groups.clone();
        let (source, integrity, catalog) = (store.clone(), store.clone(), catalog(store));
        Ok(Self { source, catalog, groups, membership, stores, members, integrity, cache, bus, work })
    }
}

/// Opens every shard but the home, which is open. One that does not answer now is opened later: a process must be able to
/// start while a shard is away.
async fn open_shards(config: &Config, home: &Opened) -> Result<Vec<(Arc<Shard>, Option<Opener>)>> {
    let opens = config.storage.shards.iter().enumerate().map(async |(place, backend)| {
        let shard = Arc::new(Shard::new(place + 1, backend.place()));
        if *backend == config.storage.backend {
            shard.opened(home.clone());
            return Ok((shard, None));
        }
        let opener = Opener::new(config, backend);
        match opener.open().await {
            Ok(opened) => {
                shard.opened(opened);
                Ok((shard, None))
            }
            Err(error) if error.is_retryable() => {
                warn!(shard = shard.name(), error = error.chain(), "a shard does not answer yet");
                Ok((shard, Some(opener)))
            }
            Err(error) => {
                let what = format!("{} cannot be opened (storage.shards)", shard.name());
                Err(anyhow::Error::new(error).context(what))
            }
        }
    });
    futures::future::try_join_all(opens).await
}

/// Opens one database.
#[derive(Clone)]
pub(super) struct Opener {
    backend: StorageBackend,
    options: PostgresOptions,
}

impl Opener {
    fn new(config: &Config, backend: &StorageBackend) -> Self {
        Self { backend: backend.clone(), options: postgres_options(config) }
    }

    /// Connects, and migrates where that is needed.
    pub(super) async fn open(&self) -> Result<Opened, PortError> {
        Ok(match &self.backend {
            StorageBackend::Sqlite(path) => {
                let store = SqliteStore::open(path).await?;
                let store = Arc::new(store.with_frame_cache(self.options.frame_cache_bytes));
                Opened::of(store.clone()).kept_up_by(store)
            }
            StorageBackend::Postgres(url) => {
                let store = Arc::new(PostgresStore::connect(url.expose(), self.options.clone()).await?);
                Opened::of(store.clone()).kept_up_by(store)
            }
        })
    }
}

/// The key of the data folder. Processes that share a database must share their key, and a folder is not shared.
fn own_key(config: &Config) -> Result<SealingKey> {
    let (key, origin) =
        SealingKey::load_or_create(&config.data_dir).context("the sealing key cannot be read or made")?;
    if origin == KeyOrigin::Made && matches!(config.storage.backend, StorageBackend::Postgres(_)) {
        warn!(
            "a sealing key was made for this process alone; give all processes one by secrets.key or secrets.key_file"
        );
    }
    Ok(key)
}

/// Brings the configured databases to the schema of this binary; answers what was done, a line each.
pub(super) async fn migrate(config: &Config) -> Result<Vec<String>> {
    let storage = &config.storage;
    let one = std::slice::from_ref(&storage.backend);
    let all = if storage.shards.is_empty() { one } else { &storage.shards };
    let mut lines = Vec::new();
    for backend in all {
        let (what, from, to) = match backend {
            StorageBackend::Sqlite(path) => {
                let done = metricsd_sqlite::migrate(path).await.map_err(reported)?;
                (path.display().to_string(), done.from, done.to)
            }
            StorageBackend::Postgres(url) => {
                let options = postgres_options(config);
                let done = metricsd_postgres::migrate(url.expose(), &options).await;
                let done = done.map_err(reported).with_context(|| backend.place())?;
                let what = if all.len() > 1 { backend.place() } else { "the database".to_owned() };
                (what, done.from, done.to)
            }
        };
        lines.push(match (from, to) {
            (from, to) if from == to => format!("{what} is up to date at schema version {to}"),
            (from, to) => format!("{what} was migrated from schema version {from} to {to}"),
        });
    }
    Ok(lines)
}

fn postgres_options(config: &Config) -> PostgresOptions {
    PostgresOptions {
        max_connections: config.storage.max_connections,
        chunk_interval: config.storage.chunk_interval,
        space_partitions: u16::try_from(config.storage.space_partitions).unwrap_or(u16::MAX),
        // Every database has its own.
        frame_cache_bytes: config.storage.frame_cache_bytes / config.storage.shards.len().max(1),
        ..PostgresOptions::default()
    }
}

/// Waits for a database that is still starting, not for one that says no.
struct Patience {
    until: Instant,
}

impl Patience {
    async fn open<S>(&self, open: impl AsyncFn() -> Result<S, PortError>) -> Result<S> {
        loop {
            match open().await {
                Ok(store) => return Ok(store),
                Err(error) if error.is_retryable() && Instant::now() < self.until => {
                    warn!(error = error.chain(), "the database does not answer yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(reported(error)),
            }
        }
    }
}

fn reported(error: PortError) -> anyhow::Error {
    anyhow::Error::new(error).context("the storage cannot be opened (storage.url)")
}

fn open_cache(config: &Config) -> Result<Arc<dyn Cache>> {
    Ok(match &config.cache {
        CacheConfig::InProcess => Arc::new(MemoryCache::new(MEMORY_CACHE_BYTES)),
        CacheConfig::Redis(url) => {
            Arc::new(RedisCache::connect(url.expose()).context("the cache cannot be used (cache.url)")?)
        }
    })
}

fn open_bus(config: &Config) -> Result<Arc<dyn EventBus>> {
    let EventsConfig::Kafka(kafka) = &config.events else {
        return Ok(Arc::new(MemoryBus::default()));
    };
    let format = match kafka.format {
        EventFormat::Json => metricsd_kafka::EventFormat::Json,
        EventFormat::Protobuf => metricsd_kafka::EventFormat::Protobuf,
    };
    let extra =
        kafka.settings.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let options = KafkaOptions { format, extra, ..KafkaOptions::new(kafka.brokers.join(","), &kafka.topic) };
    Ok(Arc::new(KafkaBus::connect(options).context("the event bus cannot be used (events)")?))
}
