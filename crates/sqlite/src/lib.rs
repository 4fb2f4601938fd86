//! metricsd's store in one SQLite file: samples, catalogue and outbox, for a deployment without a database server.
//!
//! Writing: `append` (one transaction a group of batches: `group` checks it, `intern` finds series and layouts).
//! Reading: `read` (`find` series, `frames` of them, `gather` into columns) and `latest`.
//! Beside them: `catalog`, `outbox`, `retention`, `migrate`.
//!
//! Several processes may open the same file. Each has one connection that writes and some that read; the file's
//! write lock makes all writers come one after another, and readers are never in their way.

mod migrate;
mod store;

mod append;
mod read;
mod retention;

mod catalog;
mod outbox;

mod columns;
mod error;

pub use migrate::{Migrated, migrate};
pub use store::SqliteStore;
