//! metricsd's store in one SQLite file: samples, catalogue and outbox, for a deployment without a database server.
//!
//! Writing: `append` (one transaction a group of batches: `intern` finds series and layouts, `beside` writes exemplars
//! and families). Reading: `read` (`find` follows series into an index, `frames` of them become columns) and `latest`.
//! Compacting: `compact` turns frames into segments, which `read::segments` reads; `rollup` rolls days of them up and
//! reads what was rolled up.
//! Every table names series and layouts by the numbers that `numbers` gives them; only what comes from outside has ids.
//! What needs no connection is in `metricsd-store`.
//! Beside them: `catalog`, `outbox`, `retention`, `migrate` (and `lists`, what of it SQL cannot do).
//!
//! Several processes may open the same file. Each has one connection that writes and some that read; the file's
//! write lock makes all writers come one after another, and readers are never in their way.

mod lists;
mod migrate;
mod store;

mod append;
mod compact;
mod numbers;
mod read;
mod retention;
mod rollup;
mod segments;
mod unused;

mod catalog;
mod integrity;
mod log;
mod outbox;
mod work;

mod columns;
mod error;

pub use migrate::{Migrated, migrate};
pub use store::SqliteStore;
