//! Opens what the configuration names: the one place that knows adapters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metricsd_kafka::{KafkaBus, KafkaOptions};
use metricsd_ports::memory::{MemoryBus, MemoryCache};
use metricsd_ports::{Cache, Catalog, EventBus, Outbox, PortError, Retention, SampleSink, SampleSource};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use metricsd_redis::RedisCache;
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
    pub(super) sink: Arc<dyn SampleSink>,
    pub(super) source: Arc<dyn SampleSource>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) retention: Arc<dyn Retention>,
    pub(super) cache: Arc<dyn Cache>,
    pub(super) bus: Arc<dyn EventBus>,
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
        match &config.storage.backend {
            StorageBackend::Sqlite(path) => {
                let store = Arc::new(patient.open(async || SqliteStore::open(path).await).await?);
                Ok(Self::over(store, sealer, cache, bus))
            }
            StorageBackend::Postgres(url) => {
                let options = postgres_options(config);
                let open = async || PostgresStore::connect(url.expose(), options.clone()).await;
                let store = Arc::new(patient.open(open).await?);
                Ok(Self::over(store, sealer, cache, bus))
            }
        }
    }

    fn over<S>(store: Arc<S>, sealer: Sealer, cache: Arc<dyn Cache>, bus: Arc<dyn EventBus>) -> Self
    where
        S: SampleSink + SampleSource + Catalog + Outbox + Retention,
    {
        let catalog = Arc::new(SealedCatalog::new(store.clone(), sealer));
        Self {
            sink: store.clone(),
            source: store.clone(),
            catalog,
            outbox: store.clone(),
            retention: store,
            cache,
            bus,
        }
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

/// Brings the configured database to the schema of this binary; answers what was done, a line each.
pub(crate) async fn migrate(config: &Config) -> Result<Vec<String>> {
    let done = match &config.storage.backend {
        StorageBackend::Sqlite(path) => {
            let done = metricsd_sqlite::migrate(path).await.map_err(reported)?;
            (path.display().to_string(), done.from, done.to)
        }
        StorageBackend::Postgres(url) => {
            let options = postgres_options(config);
            let done = metricsd_postgres::migrate(url.expose(), &options).await.map_err(reported)?;
            ("the database".to_owned(), done.from, done.to)
        }
    };
    Ok(vec![match done {
        (what, from, to) if from == to => format!("{what} is up to date at schema version {to}"),
        (what, from, to) => format!("{what} was migrated from schema version {from} to {to}"),
    }])
}

fn postgres_options(config: &Config) -> PostgresOptions {
    PostgresOptions {
        max_connections: config.storage.max_connections,
        chunk_interval: config.storage.chunk_interval,
        space_partitions: u16::try_from(config.storage.space_partitions).unwrap_or(u16::MAX),
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
