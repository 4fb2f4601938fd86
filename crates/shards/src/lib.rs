//! One store over several databases: each batch on one of them, questions to all of them.
//!
//! In reading order: [`placement`] says which shard a batch goes to, [`shard`] is one database and whether it answers,
//! [`store`] is all of them together; then a file a port, each of which asks all shards (`gather`) and merges what they
//! say (`merge`).
//!
//! Generic over the ports: nothing here knows what database a shard is, and shards need not know of one another.

pub mod placement;
pub mod shard;

mod gather;
mod merge;
mod rolled;
pub mod store;
mod tokens;

mod catalog;
mod discovery;
mod durable;
mod sink;
mod source;
mod statistics;

pub use placement::{MAX_SHARDS, Placement};
pub use shard::{Opened, Shard};
pub use store::ShardedStore;
