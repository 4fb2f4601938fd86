//! A folder of its own for every test, removed when the test ends.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};

use metricsd_sqlite::SqliteStore;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor};

/// A folder that goes when this does.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("metricsd-sqlite-{}", uuid::Uuid::new_v4().simple())))
    }

    /// A file in a folder that is not there yet.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("data").join("metricsd.db")
    }

    /// A store in a file of its own.
    pub(crate) async fn fresh_store(&self) -> SqliteStore {
        let file = self.0.join(uuid::Uuid::new_v4().simple().to_string());
        SqliteStore::open(&file).await.expect("open the store")
    }

    pub(crate) async fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.file()).await.expect("open the store")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Another program's connection to the file.
pub(crate) async fn connection(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.connect().await.expect("connect to the file")
}

/// Runs a statement as another program.
pub(crate) async fn execute(path: &Path, sql: &'static str) {
    connection(path).await.execute(sql).await.expect("a statement");
}
