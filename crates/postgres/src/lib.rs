//! metricsd's store in PostgreSQL with TimescaleDB: samples, catalogue and outbox in one database.
//!
//! Writing: `append` (one transaction a group of batches: `group` checks it, `intern` finds series and layouts,
//! `copy` encodes frames). Reading: `select` (`find` series, `frames` of them, `gather` into columns) and `latest`.
//! Beside them: `catalog`, `feed` (its changes), `outbox`, `retention`, `migrate`.

mod migrate;
mod options;
mod store;

mod append;
mod copy;

mod read;
mod retention;

mod catalog;
mod feed;
mod outbox;

mod binary;
mod error;

pub use migrate::{Migrated, migrate};
pub use options::PostgresOptions;
pub use store::PostgresStore;
