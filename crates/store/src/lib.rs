//! What a store in a database does whichever database it is: everything about batches, series and selections that
//! needs no connection.
//!
//! Writing: `group` checks the batches of one append, `joined` lists pushes that share a batch, `owners` gives label sets their ids, `families` and `exemplars`
//! pick out what is said beside samples. Reading: `follow` keeps a label index up to date, `gather` makes columns of
//! samples, `labels` reads what a row says of them. Compacting: `compact` turns frames into segments.
//! `targets` compares what was found with what stands in the catalogue, `together` makes one call of many.
//! `recent` is the bounded memory of all of them.

pub mod chosen;
pub mod column;
pub mod compact;
pub mod exemplars;
pub mod families;
pub mod follow;
pub mod frames;
pub mod gather;
pub mod group;
pub mod ids;
pub mod joined;
pub mod labels;
pub mod owners;
mod recent;
pub mod rollup;
pub mod targets;
pub mod together;

pub use recent::Recent;

use metricsd_ports::{ErrorKind, PortError};

/// Stored data that does not read: someone else wrote it, or it is damaged.
pub fn damaged(what: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Internal, what)
}
