//! metricsd's store in PostgreSQL with TimescaleDB: samples, catalogue and outbox in one database.
//!
//! Writing: `append` (one transaction a group of batches: `intern` finds series and layouts, `beside` writes exemplars
//! and families, `copy` encodes frames). Reading: `read` (`find` follows series into an index, `frames` of them become
//! columns) and `latest`. Compacting: `compact`
//! turns frames into segments, `rollup` rolls days of them up and reads what was rolled up. What needs no connection is in `metricsd-store`.
//! Beside them: `catalog`, `feed` (its changes), `outbox`, `retention`, `migrate`.

mod migrate;
mod options;
mod store;

mod append;
mod copy;

mod read;

mod compact;
mod retention;
mod rollup;
mod unused;
mod values;

mod catalog;
mod feed;
mod held;
mod integrity;
mod list_keys;
mod log;
mod outbox;
mod work;

mod binary;
mod error;

pub use migrate::{Migrated, migrate};
pub use options::PostgresOptions;
pub use store::PostgresStore;
