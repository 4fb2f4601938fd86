//! A local log of batches that the store does not take now.
//!
//! In reading order: [`SpoolOptions`] says what can be set; `segment` is a file of records, `log` a queue of such files,
//! `folder` the place where they lie; [`SpooledSink`] stands before a store and decides which batch goes where,
//! `replay` brings them to the store when it is back; [`SpoolStatus`] tells others how full it is.

mod folder;
mod log;
mod options;
mod replay;
mod segment;
mod sink;
mod status;

pub use folder::{Folder, FolderError};
pub use log::{Chunk, Full, SpoolLog};
pub use options::{Order, SpoolOptions};
pub use sink::{Between, Pressure, Replayed, SpooledSink};
pub use status::{SpoolMetrics, SpoolStatus};
