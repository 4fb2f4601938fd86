//! Brings a database to the schema of this binary: in order, once, under a lock, all or nothing.

use std::str::FromStr;

use metricsd_ports::{ErrorKind, PortError};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};

use crate::PostgresOptions;
use crate::error::{Fault, MAX_ATTEMPTS, back_off};
use crate::unused;

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

/// Never changed once released; a new version is a new file.
const MIGRATIONS: [Migration; 22] = [
    Migration {
        version: 1,
        name: "catalogue",
        sql: include_str!("../../../migrations/postgres/0001_catalogue.sql"),
    },
    Migration {
        version: 2,
        name: "samples",
        sql: include_str!("../../../migrations/postgres/0002_samples.sql"),
    },
    Migration {
        version: 3,
        name: "lookups",
        sql: include_str!("../../../migrations/postgres/0003_lookups.sql"),
    },
    Migration {
        version: 4,
        name: "segments",
        sql: include_str!("../../../migrations/postgres/0004_segments.sql"),
    },
    Migration {
        version: 5,
        name: "rollups",
        sql: include_str!("../../../migrations/postgres/0005_rollups.sql"),
    },
    Migration {
        version: 6,
        name: "removals",
        sql: include_str!("../../../migrations/postgres/0006_removals.sql"),
    },
    Migration {
        version: 7,
        name: "discovery",
        sql: include_str!("../../../migrations/postgres/0007_discovery.sql"),
    },
    Migration {
        version: 8,
        name: "labels",
        sql: include_str!("../../../migrations/postgres/0008_labels.sql"),
    },
    Migration { version: 9, name: "work", sql: include_str!("../../../migrations/postgres/0009_work.sql") },
    Migration {
        version: 10,
        name: "tokens",
        sql: include_str!("../../../migrations/postgres/0010_tokens.sql"),
    },
    Migration {
        version: 11,
        name: "pushed_groups",
        sql: include_str!("../../../migrations/postgres/0011_pushed_groups.sql"),
    },
    Migration {
        version: 12,
        name: "workers",
        sql: include_str!("../../../migrations/postgres/0012_workers.sql"),
    },
    Migration {
        version: 13,
        name: "durability",
        sql: include_str!("../../../migrations/postgres/0013_durability.sql"),
    },
    Migration {
        version: 14,
        name: "joined_pushes",
        sql: include_str!("../../../migrations/postgres/0014_joined_pushes.sql"),
    },
    Migration {
        version: 15,
        name: "whole_numbers",
        sql: include_str!("../../../migrations/postgres/0015_whole_numbers.sql"),
    },
    Migration {
        version: 17,
        name: "work_state",
        sql: include_str!("../../../migrations/postgres/0017_work_state.sql"),
    },
    Migration {
        version: 18,
        name: "shared_texts",
        sql: include_str!("../../../migrations/postgres/0018_shared_texts.sql"),
    },
    Migration {
        version: 19,
        name: "values_in_bytes",
        sql: include_str!("../../../migrations/postgres/0019_values_in_bytes.sql"),
    },
    Migration {
        version: 20,
        name: "list_keys",
        sql: include_str!("../../../migrations/postgres/0020_list_keys.sql"),
    },
    Migration {
        version: 21,
        name: "labels_of_owners",
        sql: include_str!("../../../migrations/postgres/0021_labels_of_owners.sql"),
    },
    Migration {
        version: 22,
        name: "constants",
        sql: include_str!("../../../migrations/postgres/0022_constants.sql"),
    },
    Migration {
        version: 23,
        name: "hash_of_owners",
        sql: include_str!("../../../migrations/postgres/0023_hash_of_owners.sql"),
    },
];

/// Key of the advisory lock ("metricsd" in ASCII): one process migrates a database at a time.
const LOCK: i64 = 0x6d65_7472_6963_7364;

/// Waiting for another process that migrates, and migrating, may take longer than any call of the service.
const MIGRATION_TIMEOUT: &str = "15min";

/// What [`migrate`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Schema version before; 0 for an empty database.
    pub from: i64,
    /// Schema version now.
    pub to: i64,
}

/// Brings the database at `url` to the schema of this binary. Any number of processes may call it at once.
pub async fn migrate(url: &str, options: &PostgresOptions) -> Result<Migrated, PortError> {
    options.check()?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(options.acquire_timeout)
        .connect_with(connect_options(url, options)?)
        .await
        .map_err(|error| Fault::Sql(error).into_port("connect to the database"))?;
    let migrated = migrate_pool(&pool, options).await;
    pool.close().await;
    migrated
}

/// How every connection of this crate is made. The message of a refused URL does not repeat it: it may hold a password.
pub(crate) fn connect_options(url: &str, options: &PostgresOptions) -> Result<PgConnectOptions, PortError> {
    let refuse = || {
        PortError::new(
            ErrorKind::Invalid,
            "the storage URL is not a PostgreSQL URL (postgres://user@host/db)",
        )
    };
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(refuse());
    }
    let parsed = PgConnectOptions::from_str(url).map_err(|_| refuse())?;
    let named = match parsed.get_application_name() {
        Some(_) => parsed,
        None => parsed.application_name("metricsd"),
    };
    let timeout = options.statement_timeout.as_millis().to_string();
    let settings = [
        ("statement_timeout", timeout.as_str()),
        ("idle_in_transaction_session_timeout", timeout.as_str()),
        // Plans made for the times that are asked for read their chunks only; a generic plan opens all of them.
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
        ("timezone", "UTC"),
    ];
    Ok(named.options(settings).disable_statement_logging())
}

pub(crate) async fn migrate_pool(pool: &PgPool, options: &PostgresOptions) -> Result<Migrated, PortError> {
    let mut connection =
        pool.acquire().await.map_err(|error| Fault::Sql(error).into_port("connect to the database"))?;
    let before =
        version(&mut connection).await.map_err(|fault| fault.into_port("read the schema version"))?;
    let migrated = if before == newest() {
        Migrated { from: before, to: before }
    } else {
        refuse_newer(before)?;
        upgraded(&mut connection, options).await.map_err(|fault| fault.into_port("migrate the database"))?
    };
    set_chunk_interval(&mut connection, options)
        .await
        .map_err(|fault| fault.into_port("set the chunk interval"))?;
    Ok(migrated)
}

fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

fn refuse_newer(found: i64) -> Result<(), PortError> {
    let newest = newest();
    if found <= newest {
        return Ok(());
    }
    let message = format!(
        "the database has schema version {found}, but this metricsd knows versions up to {newest}: start a newer metricsd"
    );
    Err(PortError::new(ErrorKind::Invalid, message))
}

/// 0 where nothing was migrated yet.
async fn version(connection: &mut PgConnection) -> Result<i64, Fault> {
    let table = sqlx::query("SELECT to_regclass('metricsd_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !table.try_get::<bool, _>(0)? {
        return Ok(0);
    }
    newest_applied(connection).await
}

async fn newest_applied(connection: &mut PgConnection) -> Result<i64, Fault> {
    let sql = "SELECT coalesce(max(version), 0) FROM metricsd_migrations";
    Ok(sqlx::query(sql).fetch_one(connection).await?.try_get(0)?)
}

/// Again where readers were in the way, whose locks are taken in an order of their own.
async fn upgraded(connection: &mut PgConnection, options: &PostgresOptions) -> Result<Migrated, Fault> {
    let mut attempt = 1;
    loop {
        match upgrade(connection, options).await {
            Err(fault) if fault.is_contention() && attempt < MAX_ATTEMPTS => back_off(attempt).await,
            done => return done,
        }
        attempt += 1;
    }
}

async fn upgrade(connection: &mut PgConnection, options: &PostgresOptions) -> Result<Migrated, Fault> {
    let mut tx = connection.begin().await?;
    settings(&mut tx, options).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    // Another process may have done it while this one waited. Its table is looked up by making it: to_regclass would
    // answer from what this session remembers.
    sqlx::raw_sql(include_str!("sql/migrations_table.sql")).execute(&mut *tx).await?;
    let from = newest_applied(&mut tx).await?;
    refuse_newer(from)?;
    extension(&mut tx).await?;
    // Appends that are under way end first, and hold no table that a migration waits for.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(unused::LOCK).execute(&mut *tx).await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        sqlx::raw_sql(migration.sql).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO metricsd_migrations (version, name) VALUES ($1, $2)")
            .bind(migration.version)
            .bind(migration.name)
            .execute(&mut *tx)
            .await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    tx.commit().await?;
    Ok(Migrated { from, to: newest() })
}

async fn settings(tx: &mut PgConnection, options: &PostgresOptions) -> Result<(), Fault> {
    let pairs = [
        ("statement_timeout", MIGRATION_TIMEOUT.to_owned()),
        ("client_min_messages", "error".to_owned()),
        ("metricsd.chunk_interval", interval(options)),
        ("metricsd.space_partitions", options.space_partitions.to_string()),
    ];
    for (name, value) in pairs {
        sqlx::query("SELECT set_config($1, $2, true)").bind(name).bind(value).execute(&mut *tx).await?;
    }
    Ok(())
}

fn interval(options: &PostgresOptions) -> String {
    format!("{} milliseconds", options.chunk_interval.as_millis())
}

/// Makes sure that TimescaleDB is there, or says in a sentence what is missing.
async fn extension(tx: &mut PgConnection) -> Result<(), Fault> {
    let row = sqlx::query(include_str!("sql/extension.sql")).fetch_one(&mut *tx).await?;
    if row.try_get::<bool, _>("installed")? {
        return Ok(());
    }
    if !row.try_get::<bool, _>("available")? {
        let message = "the database server has no TimescaleDB: install the extension timescaledb on it \
             (package postgresql-17-timescaledb, or the image timescale/timescaledb)";
        return Err(PortError::new(ErrorKind::Invalid, message).into());
    }
    let create = sqlx::query("CREATE EXTENSION IF NOT EXISTS timescaledb").execute(tx).await;
    create.map(drop).map_err(|error| {
        let message = "cannot create the extension timescaledb: it must be in shared_preload_libraries, and the role \
             must be allowed to create it, or an administrator creates it once in this database";
        PortError::new(ErrorKind::Invalid, message).caused_by(error).into()
    })
}

/// New chunks are as wide as configured, also where the tables were made under another setting.
async fn set_chunk_interval(connection: &mut PgConnection, options: &PostgresOptions) -> Result<(), Fault> {
    sqlx::query(include_str!("sql/chunk_interval.sql")).bind(interval(options)).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_ascend() {
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].version < pair[1].version));
        let files = std::fs::read_dir("../../migrations/postgres").expect("the folder").count();
        assert_eq!(MIGRATIONS.len(), files, "each file is applied");
        assert!(refuse_newer(newest()).is_ok());
        let refused = refuse_newer(newest() + 1).unwrap_err();
        assert!(refused.to_string().contains("start a newer metricsd"), "{refused}");
    }

    #[test]
    fn a_bad_url_is_refused_without_being_repeated() {
        for url in [
            "mysql://a:hunter2@b/c",
            "postgres://a:hunter2@b:port/c",
            "hunter2",
            "postgres://a@b/c?sslmode=hunter2",
        ] {
            let error = connect_options(url, &PostgresOptions::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        }
    }
}
