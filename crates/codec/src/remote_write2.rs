//! Prometheus remote write 2.0: a snappy block that holds a protobuf `io.prometheus.write.v2.Request`.
//!
//! The message says each text once, in a table of symbols; series, metadata and exemplars refer to it by number.
//! [`transcode`] walks the message where it lies and writes a body of remote write 1.0, which is what everything that is
//! pushed becomes ([`crate::remote_write::BodyWriter`]). Messages of native histograms are the same in both and are copied
//! as they are. [`message`] has the messages as values, for whoever writes them.
//!
//! When a series began is said by each sample (`start_timestamp`), or by the series, as drafts of the protocol had it
//! (`created_timestamp`). Either becomes a sample of nothing at that time, where that is asked for.

pub mod message;
mod starts;
mod symbols;
mod transcode;

pub use starts::{Start, Starts};
pub use transcode::{Bounds, TranscodeError, Transcoded, transcode};

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
