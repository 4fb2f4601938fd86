//! The snappy block format.

/// Why bytes are not a snappy block that may be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It unfolds to more than is allowed.
    #[error("the body unpacks to {declared} bytes, more than the limit of {limit}")]
    TooLarge {
        /// As its header declares.
        declared: usize,
        /// What is allowed.
        limit: usize,
    },
    /// It is not a whole snappy block.
    #[error("the body is not a snappy block: {0}")]
    Damaged(String),
}

/// No element of a block unfolds to more: three bytes may copy 64.
const MAX_RATIO: usize = 22;

/// Unpacks a block of at most `limit` bytes. Its header declares its length; what cannot be true, and what is more than
/// the limit, is refused before memory is set aside for it.
pub fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, BlockError> {
    let damaged = |error: snap::Error| BlockError::Damaged(error.to_string());
    let declared = snap::raw::decompress_len(packed).map_err(damaged)?;
    if declared > limit {
        return Err(BlockError::TooLarge { declared, limit });
    }
    if declared > packed.len().saturating_mul(MAX_RATIO) {
        return Err(BlockError::Damaged(format!(
            "{} bytes cannot unpack to {declared}, as its header says",
            packed.len()
        )));
    }
    snap::raw::Decoder::new().decompress_vec(packed).map_err(damaged)
}

/// Packs a block; fails for more than 4 GiB.
pub fn pack(bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
    snap::raw::Encoder::new().compress_vec(bytes).map_err(|error| BlockError::Damaged(error.to_string()))
}
