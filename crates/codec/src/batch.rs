//! A whole batch as bytes: `proto/batch.proto` behind a version, compressed. The spool and the sample log keep batches so.
//!
//! A list of series is compressed once for as long as it lives ([`BatchEncoder`]) and read once ([`BatchDecoder`]), since
//! the scrapes of a target share theirs. Damaged bytes are an error.

mod decode;
mod encode;
mod message;
#[cfg(test)]
mod tests;

pub use decode::BatchDecoder;
pub use encode::{BatchEncoder, EncodedBatch};

/// The form that is written.
pub const VERSION: u8 = 1;

/// The name of the form, as the records of a log name theirs.
pub const CONTENT_TYPE: &str = "application/x-protobuf; proto=metricsd.v1.SampleBatch";

/// Bytes of one record after decompression, and of one list of series.
pub const MAX_BYTES: usize = 512 << 20;

/// A list of series by the hash of its content, and whether it is stored once.
pub type ListId = (u128, bool);

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// Written by a newer metricsd, or not by metricsd.
    #[error("the batch is of version {0}, and this metricsd reads version {VERSION}")]
    Version(u8),
    /// Not one zstd frame of at most [`MAX_BYTES`].
    #[error("the batch is damaged: it does not decompress within {MAX_BYTES} bytes")]
    Compression,
    /// Not protobuf of this message.
    #[error("the batch is damaged: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A field holds what no batch says.
    #[error("the batch is damaged: {0} cannot be what it holds")]
    Field(&'static str),
    /// A list of series that was to stand in an earlier record.
    #[error("the batch refers to a list of series that no record before it holds")]
    UnknownList,
}
