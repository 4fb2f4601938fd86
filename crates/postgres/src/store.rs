//! The store itself: its connections, its caches, and the bounds on every call.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metricsd_ports::{ErrorKind, PortError};
use metricsd_store::Recent;
use metricsd_store::frames::FrameCache;
use metricsd_store::owners::Known;
use metricsd_store::targets::{Creating, SharedOptions};
use parking_lot::Mutex;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::append::KnownTexts;
use crate::compact::Compactor;
use crate::error::{Fault, MAX_ATTEMPTS, back_off};
use crate::feed::Feed;
use crate::migrate::{connect_options, migrate_pool};
use crate::read::Index;
use crate::rollup::Roller;
use crate::unused::Sweep;
use crate::{Migrated, PostgresOptions};

/// Layouts that are remembered as asked for.
const ASKED_LAYOUTS: usize = 100_000;

/// Samples and catalogue in PostgreSQL with TimescaleDB.
pub struct PostgresStore {
    /// For what must not wait for slow queries: outbox, catalogue.
    pub(crate) pool: PgPool,
    /// For appends: few connections, so that what the server keeps for each is at hand, and plans made once.
    pub(crate) appenders: PgPool,
    /// For samples and series that are asked for.
    pub(crate) readers: PgPool,
    pub(crate) options: PostgresOptions,
    /// What is known to be committed.
    pub(crate) known: Mutex<Known>,
    /// The same of what series share.
    pub(crate) texts: Mutex<KnownTexts>,
    /// Columns of layouts, for readers.
    pub(crate) layouts: Mutex<Recent<i64, Arc<[i64]>>>,
    /// Timestamps that segments share, for readers.
    pub(crate) timelines: Mutex<Recent<i64, Arc<[i32]>>>,
    /// Frames that were read lately.
    pub(crate) frames: FrameCache,
    /// Layouts of which few series were asked for lately; without a layout, frames that carry their own ids.
    pub(crate) asked: Mutex<Recent<Option<i64>, ()>>,
    /// Which series there are.
    pub(crate) index: Index,
    pub(crate) feed: Feed,
    /// Options of targets that were read.
    pub(crate) options_of_targets: SharedOptions,
    /// Targets that are being created.
    pub(crate) creating: Creating,
    pub(crate) compactor: tokio::sync::Mutex<Compactor>,
    pub(crate) roller: tokio::sync::Mutex<Roller>,
    pub(crate) sweep: tokio::sync::Mutex<Sweep>,
}

impl PostgresStore {
    /// Connects, and migrates the database where it is older than this binary.
    ///
    /// Refuses a database whose schema is newer and a server without TimescaleDB. A connection that is lost later is
    /// made again by the call that needs it.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, PortError> {
        options.check()?;
        let connect = connect_options(url, &options)?;
        let sized =
            |size| PgPoolOptions::new().max_connections(size).acquire_timeout(options.acquire_timeout);
        let (appenders, own, readers) = options.split();
        let pool = sized(own)
            .connect_with(connect.clone())
            .await
            .map_err(|error| Fault::Sql(error).into_port("connect to the database"))?;
        // What appends ask for is the same whatever the times are: a plan once made is as good as a new one. They ask by
        // id only; a plan made while a table is small would go on to read all of it when it has grown.
        let planned_once = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];
        let appenders = sized(appenders).connect_lazy_with(connect.clone().options(planned_once));
        let readers = sized(readers).connect_lazy_with(connect.clone());
        migrate_pool(&pool, &options).await?;
        Ok(Self {
            known: Mutex::new(Known::new(options.cached_series, options.cached_columns)),
            texts: Mutex::default(),
            layouts: Mutex::new(Recent::new(options.cached_columns)),
            timelines: Mutex::new(Recent::new(options.cached_columns)),
            frames: FrameCache::new(options.frame_cache_bytes),
            asked: Mutex::new(Recent::new(ASKED_LAYOUTS)),
            index: Index::default(),
            feed: Feed::new(connect),
            options_of_targets: SharedOptions::default(),
            creating: Creating::default(),
            compactor: tokio::sync::Mutex::default(),
            roller: tokio::sync::Mutex::default(),
            sweep: tokio::sync::Mutex::default(),
            pool,
            appenders,
            readers,
            options,
        })
    }

    /// Brings the database to the schema of this binary; [`Self::connect`] has done so already, see also
    /// [`crate::migrate`].
    pub async fn migrate(&self) -> Result<Migrated, PortError> {
        migrate_pool(&self.pool, &self.options).await
    }

    /// Waits for calls that are under way and closes all connections. Later calls fail as unavailable.
    pub async fn close(&self) {
        self.feed.close();
        self.readers.close().await;
        self.appenders.close().await;
        self.pool.close().await;
    }

    /// Runs `call` within the bounds of every call; `what` it does stands in the error.
    pub(crate) async fn bounded<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, PortError> {
        bounded(what, self.options.call_timeout(), call).await
    }

    /// The same, again where the server gave up the transaction for the sake of another.
    pub(crate) async fn retried<T, C, F>(&self, what: &'static str, mut call: C) -> Result<T, PortError>
    where
        C: FnMut() -> F,
        F: Future<Output = Result<T, Fault>>,
    {
        let attempts = async {
            let mut attempt = 1;
            loop {
                match call().await {
                    Err(fault) if fault.is_contention() && attempt < MAX_ATTEMPTS => back_off(attempt).await,
                    result => return result,
                }
                attempt += 1;
            }
        };
        self.bounded(what, attempts).await
    }
}

/// The server's own timeouts do not help where it no longer answers at all.
pub(crate) async fn bounded<T>(
    what: &'static str,
    within: Duration,
    call: impl Future<Output = Result<T, Fault>>,
) -> Result<T, PortError> {
    match tokio::time::timeout(within, call).await {
        Ok(result) => result.map_err(|fault| fault.into_port(what)),
        Err(_) => {
            Err(PortError::new(ErrorKind::Timeout, format!("cannot {what}: no answer within {within:?}")))
        }
    }
}
