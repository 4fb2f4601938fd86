//! Brings a file to the schema of this binary: in order, once, under the file's write lock, all or nothing.

use std::path::Path;

use metricsd_ports::PortError;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row, SqliteConnection};

use crate::error::{Fault, invalid};
use crate::lists::{number_lists, share_labels};
use crate::store::{create_file, open_writer};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

/// Never changed once released; a new version is a new file.
const MIGRATIONS: [Migration; 18] = [
    Migration {
        version: 1,
        name: "catalogue",
        sql: include_str!("../../../migrations/sqlite/0001_catalogue.sql"),
    },
    Migration {
        version: 2,
        name: "samples",
        sql: include_str!("../../../migrations/sqlite/0002_samples.sql"),
    },
    Migration {
        version: 3,
        name: "lookups",
        sql: include_str!("../../../migrations/sqlite/0003_lookups.sql"),
    },
    Migration {
        version: 4,
        name: "segments",
        sql: include_str!("../../../migrations/sqlite/0004_segments.sql"),
    },
    Migration {
        version: 5,
        name: "rollups",
        sql: include_str!("../../../migrations/sqlite/0005_rollups.sql"),
    },
    Migration {
        version: 6,
        name: "removals",
        sql: include_str!("../../../migrations/sqlite/0006_removals.sql"),
    },
    Migration {
        version: 7,
        name: "discovery",
        sql: include_str!("../../../migrations/sqlite/0007_discovery.sql"),
    },
    Migration { version: 8, name: "series", sql: include_str!("../../../migrations/sqlite/0008_series.sql") },
    Migration { version: 9, name: "work", sql: include_str!("../../../migrations/sqlite/0009_work.sql") },
    Migration {
        version: 10,
        name: "tokens",
        sql: include_str!("../../../migrations/sqlite/0010_tokens.sql"),
    },
    Migration {
        version: 11,
        name: "pushed_groups",
        sql: include_str!("../../../migrations/sqlite/0011_pushed_groups.sql"),
    },
    Migration {
        version: 13,
        name: "durability",
        sql: include_str!("../../../migrations/sqlite/0013_durability.sql"),
    },
    Migration {
        version: 14,
        name: "joined_pushes",
        sql: include_str!("../../../migrations/sqlite/0014_joined_pushes.sql"),
    },
    Migration {
        version: 15,
        name: "shared_texts",
        sql: include_str!("../../../migrations/sqlite/0015_shared_texts.sql"),
    },
    Migration {
        version: 17,
        name: "work_state",
        sql: include_str!("../../../migrations/sqlite/0017_work_state.sql"),
    },
    Migration {
        version: 18,
        name: "numbers",
        sql: include_str!("../../../migrations/sqlite/0018_numbers.sql"),
    },
    Migration {
        version: NUMBERED,
        name: "numbered",
        sql: include_str!("../../../migrations/sqlite/0019_numbered.sql"),
    },
    Migration {
        version: 20,
        name: "frames_by_number",
        sql: include_str!("../../../migrations/sqlite/0020_frames_by_number.sql"),
    },
];

/// Before this one lists of series are rewritten and labels hashed, which SQL cannot do.
const NUMBERED: i64 = 19;

const MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS metricsd_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
)";

/// What [`migrate`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Schema version before; 0 for a new file.
    pub from: i64,
    /// Schema version now.
    pub to: i64,
}

/// Brings the file at `path` to the schema of this binary, creating it where there is none. Any number of processes
/// may call it at once.
pub async fn migrate(path: &Path) -> Result<Migrated, PortError> {
    create_file(path).await?;
    let pool = open_writer(path).await?;
    let migrated = migrate_pool(&pool).await;
    pool.close().await;
    migrated
}

pub(crate) async fn migrate_pool(pool: &SqlitePool) -> Result<Migrated, PortError> {
    upgrade(pool).await.map_err(|fault| fault.into_port("migrate the database"))
}

async fn upgrade(pool: &SqlitePool) -> Result<Migrated, Fault> {
    let mut connection = pool.acquire().await?;
    let found = version(&mut connection).await?;
    refuse_newer(found)?;
    drop(connection);
    if found == newest() {
        return Ok(Migrated { from: found, to: found });
    }
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    // Another process may have done it while this one waited for the lock.
    let from = version(&mut tx).await?;
    refuse_newer(from)?;
    sqlx::raw_sql(MIGRATIONS_TABLE).execute(&mut *tx).await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        if migration.version == NUMBERED {
            number_lists(&mut tx).await?;
            share_labels(&mut tx).await?;
        }
        sqlx::raw_sql(migration.sql).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO metricsd_migrations (version, name) VALUES (?1, ?2)")
            .bind(migration.version)
            .bind(migration.name)
            .execute(&mut *tx)
            .await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    tx.commit().await?;
    Ok(Migrated { from, to: newest() })
}

fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

fn refuse_newer(found: i64) -> Result<(), PortError> {
    let newest = newest();
    if found <= newest {
        return Ok(());
    }
    Err(invalid(format!(
        "the database has schema version {found}, but this metricsd knows versions up to {newest}: start a newer metricsd"
    )))
}

/// 0 where nothing was migrated yet.
async fn version(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    let table =
        sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'metricsd_migrations'")
            .fetch_optional(&mut *connection)
            .await?;
    if table.is_none() {
        return Ok(0);
    }
    let newest = sqlx::query("SELECT coalesce(max(version), 0) FROM metricsd_migrations")
        .fetch_one(connection)
        .await?;
    Ok(newest.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_ascend() {
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].version < pair[1].version));
        let files = std::fs::read_dir("../../migrations/sqlite").expect("the folder").count();
        assert_eq!(MIGRATIONS.len(), files, "each file is applied");
    }
}
