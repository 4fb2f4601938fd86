//! Decompresses pages without ever holding more than the limit allows.

use std::io::Read;

use metricsd_model::FailureReason;

use crate::client::ScrapeError;

/// `Content-Encoding` of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// How large a page may be, and which setting says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    pub(crate) setting: &'static str,
}

/// A page may unfold to this many times what arrived, beyond what is [`FREE`]: text full of zeros reaches 60 with gzip and 120
/// with zstd.
const MAX_RATIO: usize = 400;

/// Bytes that are no reason to look at the ratio.
const FREE: usize = 1 << 20;

impl Limit {
    /// The limit for a page of which so many bytes arrived.
    fn unfolded(self, packed: usize) -> Self {
        let by_ratio = packed.saturating_mul(MAX_RATIO).max(FREE);
        if by_ratio < self.bytes { Self { bytes: by_ratio, setting: "400 times what arrived" } } else { self }
    }

    /// The page is larger; `when` may say at which point of its way.
    pub(crate) fn passed(&self, when: &str) -> ScrapeError {
        let Self { bytes, setting } = self;
        let message = format!("the page is larger than {bytes} bytes{when} ({setting})");
        ScrapeError::new(FailureReason::TooLarge, message)
    }
}

impl Encoding {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn from_header(header: &str) -> Result<Self, ScrapeError> {
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => {
                let message = format!("the page is encoded as {other:?}; metricsd reads gzip and zstd");
                Err(ScrapeError::new(FailureReason::Parse, message))
            }
        }
    }
}

/// Writes the bytes that the target meant into an empty buffer; at most `limit` of them.
pub(crate) fn decompress(
    encoding: Encoding,
    body: &[u8],
    out: &mut Vec<u8>,
    limit: Limit,
) -> Result<(), ScrapeError> {
    let unfolded = limit.unfolded(body.len());
    match encoding {
        Encoding::Identity => read_bounded(body, out, limit),
        Encoding::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(body), out, unfolded),
        Encoding::Zstd => match zstd::stream::read::Decoder::new(body) {
            Ok(decoder) => read_bounded(decoder, out, unfolded),
            Err(error) => Err(damaged(&error)),
        },
    }
}

fn read_bounded(reader: impl Read, out: &mut Vec<u8>, limit: Limit) -> Result<(), ScrapeError> {
    reader.take((limit.bytes as u64).saturating_add(1)).read_to_end(out).map_err(|error| damaged(&error))?;
    if out.len() > limit.bytes {
        return Err(limit.passed(" once decompressed"));
    }
    Ok(())
}

fn damaged(error: &std::io::Error) -> ScrapeError {
    ScrapeError::new(FailureReason::Parse, format!("the page's compression is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn pages_are_decompressed_within_the_limit() {
        let page = vec![b'a'; 100_000];
        let zstd = zstd::encode_all(page.as_slice(), 3).unwrap();
        let decompress = |encoding, body: Vec<u8>, bytes| {
            let mut out = Vec::new();
            let limit = Limit { bytes, setting: "body_size_limit" };
            super::decompress(encoding, &body, &mut out, limit).map(|()| out)
        };
        for (encoding, body) in
            [(Encoding::Identity, page.clone()), (Encoding::Gzip, gzip(&page)), (Encoding::Zstd, zstd)]
        {
            assert_eq!(decompress(encoding, body.clone(), page.len()).unwrap(), page);
            assert_eq!(
                decompress(encoding, body.clone(), 99_999).unwrap_err().reason,
                FailureReason::TooLarge
            );
            if encoding == Encoding::Identity {
                continue;
            }
            let cut = body[..body.len() / 2].to_vec();
            assert_eq!(decompress(encoding, cut, page.len()).unwrap_err().reason, FailureReason::Parse);
        }
        assert_eq!(Encoding::from_header("br").unwrap_err().reason, FailureReason::Parse);
    }
}
