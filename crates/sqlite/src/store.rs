//! The store itself: the file, its connections, and what is remembered about it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metricsd_model::Millis;
use metricsd_ports::{ErrorKind, LocalMembership, PortError};
use metricsd_store::Recent;
use metricsd_store::frames::{FRAME_CACHE_BYTES, FrameCache};
use metricsd_store::owners::Known;
use metricsd_store::targets::{Creating, SharedOptions};
use parking_lot::Mutex;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous,
    SqliteTransaction,
};
use sqlx::{ConnectOptions, Connection, Sqlite};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::compact::Compactor;
use crate::error::{Fault, invalid};
use crate::migrate::migrate_pool;
use crate::numbers::Numbers;
use crate::read::Index;
use crate::rollup::Roller;
use crate::unused::Sweep;

/// Connections that read; more would only wait for the same disk.
const READERS: u32 = 4;

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// How long a call waits for its turn among the calls of this process.
const TURN: Duration = Duration::from_secs(30);

/// Series that are remembered as written, so that they are not looked up again.
const KNOWN_SERIES: usize = 3_000_000;

/// Columns of layouts that are remembered, as written and again as read.
const KNOWN_COLUMNS: usize = 8_000_000;

/// Offsets of timelines that are remembered: some 8 MB.
const KNOWN_OFFSETS: usize = 2_000_000;

/// Samples, catalogue and outbox in one SQLite file.
pub struct SqliteStore {
    /// One connection; who waits for it is served in turn.
    writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    /// What is known to be committed.
    pub(crate) known: Arc<Mutex<Known>>,
    /// The numbers of what is known.
    pub(crate) numbers: Mutex<Numbers>,
    /// The series of layouts, for readers.
    pub(crate) layouts: Mutex<Recent<i64, Arc<[i64]>>>,
    /// Timestamps that segments share, by the beginning of their span and their id.
    pub(crate) timelines: Mutex<Recent<(Millis, i64), Arc<[i32]>>>,
    /// What compaction remembers; held by the call that compacts.
    pub(crate) compactor: tokio::sync::Mutex<Compactor>,
    pub(crate) roller: tokio::sync::Mutex<Roller>,
    /// Frames that were read lately.
    pub(crate) frames: FrameCache,
    pub(crate) sweep: tokio::sync::Mutex<Sweep>,
    /// Which series there are.
    pub(crate) index: Index,
    /// Options of targets that were read.
    pub(crate) options_of_targets: SharedOptions,
    /// Targets that are being created.
    pub(crate) creating: Creating,
    /// Counts the changes of the catalogue that this process made.
    pub(crate) changed: watch::Sender<u64>,
    /// Who scrapes what: one process has the file to itself, so this need not outlive it.
    pub(crate) members: LocalMembership,
}

impl SqliteStore {
    /// Opens the file at `path`, creates it (and its folder) where there is none, and migrates it where it is older
    /// than this binary. Refuses a file whose schema is newer.
    pub async fn open(path: &Path) -> Result<Self, PortError> {
        create_file(path).await?;
        let writer = open_writer(path).await?;
        if let Err(error) = migrate_pool(&writer).await {
            writer.close().await;
            return Err(error);
        }
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(READERS)
            .acquire_timeout(TURN)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_release(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_lazy_with(options(path).pragma("query_only", "ON").pragma("cache_size", "-16384"));
        Ok(Self {
            writer,
            readers,
            known: Arc::new(Mutex::new(Known::new(KNOWN_SERIES, KNOWN_COLUMNS))),
            numbers: Mutex::new(Numbers::new(KNOWN_SERIES)),
            layouts: Mutex::new(Recent::new(KNOWN_COLUMNS)),
            timelines: Mutex::new(Recent::new(KNOWN_OFFSETS)),
            compactor: tokio::sync::Mutex::default(),
            roller: tokio::sync::Mutex::default(),
            frames: FrameCache::new(FRAME_CACHE_BYTES),
            sweep: tokio::sync::Mutex::default(),
            index: Index::default(),
            options_of_targets: SharedOptions::default(),
            creating: Creating::default(),
            changed: watch::Sender::new(0),
            members: LocalMembership::default(),
        })
    }

    /// The same store with so many bytes for frames that were read lately, instead of [`FRAME_CACHE_BYTES`].
    #[must_use]
    pub fn with_frame_cache(mut self, bytes: usize) -> Self {
        self.frames = FrameCache::new(bytes);
        self
    }

    /// Waits for calls that are under way and closes the file. Later calls fail as unavailable.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a transaction that holds the file's write lock from its first moment, so that nothing that it has read
    /// can change before it writes. Dropped before its commit, it is rolled back.
    pub(crate) async fn write(&self) -> Result<SqliteTransaction<'static>, Fault> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Begins a transaction whose statements all see one state of the file.
    pub(crate) async fn snapshot(&self) -> Result<SqliteTransaction<'static>, Fault> {
        Ok(self.readers.begin().await?)
    }
}

/// Now, by the machine's clock, which all processes at one file share.
pub(crate) fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

/// When something ends that lasts so long from now.
pub(crate) fn later(lasting: Duration) -> Millis {
    now().saturating_add(i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX))
}

/// What every connection has in common.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .disable_statement_logging()
}

pub(crate) async fn open_writer(path: &Path) -> Result<SqlitePool, PortError> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        // Of a file that exists already this changes nothing.
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .pragma("cache_size", "-65536")
        // What a burst made of the log goes back to the file system.
        .pragma("journal_size_limit", "67108864");
    let deadline = Instant::now() + 2 * BUSY;
    loop {
        let opened = PoolOptions::<Sqlite>::new()
            .max_connections(1)
            .acquire_timeout(TURN)
            .idle_timeout(None)
            .max_lifetime(None)
            // SQLite undoes a transaction by itself when the disk is full; sqlx does not learn of it, and would take
            // the next one on this connection for a part of it.
            .after_release(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone())
            .await
            .map_err(Fault::Sql);
        match opened {
            Ok(pool) => return Ok(pool),
            // Switching a new file to its journal does not wait for the lock as other statements do.
            Err(fault) if fault.is_busy() && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(fault) => return Err(fault.into_port(&format!("open the database {}", path.display()))),
        }
    }
}

/// Makes the file and its folder where there are none, readable by no one else: SQLite would leave that to the umask.
/// SQLite gives the files beside it (`-wal`, `-shm`) the mode of the file itself.
pub(crate) async fn create_file(path: &Path) -> Result<(), PortError> {
    if path.file_name().is_none() {
        return Err(invalid(format!("{:?} does not name a database file", path.display())));
    }
    let failed = |error: std::io::Error| {
        PortError::new(ErrorKind::Unavailable, format!("cannot create the database {}", path.display()))
            .caused_by(error)
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(folder).await.map_err(failed)?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
