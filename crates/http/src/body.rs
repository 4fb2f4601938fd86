//! Reads bodies: bounded as they arrive and again as they unfold, whatever a header claims.

mod incoming;

use std::io::{self, Read};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use metricsd_ingest::arrival::{AT_NO_PACE, RefusedBodies};

use crate::api::Api;
use crate::{Problem, ProblemKind};
pub(crate) use incoming::Incoming;

/// Bounds on a body in bytes.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimits {
    /// As it arrives.
    pub(crate) received: usize,
    /// After decompression.
    pub(crate) unpacked: usize,
    /// After decompression, in times of the bytes that arrived, for what is larger than [`FREE`]; 0: no bound.
    ratio: usize,
    /// How long it may take to arrive.
    pub(crate) patience: Duration,
    /// Counts what is refused.
    refused: RefusedBodies,
}

impl BodyLimits {
    /// Those of the configuration.
    pub(crate) fn of(api: &Api) -> Self {
        Self {
            received: api.limits.max_body_bytes,
            unpacked: api.limits.max_decompressed_bytes,
            ratio: api.limits.max_decompression_ratio,
            patience: patience(api.settings.request_timeout),
            refused: api.metrics.refused_bodies.clone(),
        }
    }

    /// Those of the configuration, for bodies that have no reason to be larger than this.
    pub(crate) fn small(api: &Api, most: usize) -> Self {
        let limits = Self::of(api);
        Self { received: limits.received.min(most), unpacked: limits.unpacked.min(most), ..limits }
    }

    /// Bytes that a packed body of this size may unfold to, and what it is told where it does not end there.
    fn unfolded(&self, packed: usize) -> (usize, Refused) {
        let by_ratio = match self.ratio {
            0 => usize::MAX,
            ratio => packed.saturating_mul(ratio).max(FREE),
        };
        if by_ratio < self.unpacked {
            (by_ratio, Refused::Ratio(self.ratio))
        } else {
            (self.unpacked, Refused::TooLargeUnpacked(self.unpacked))
        }
    }

    /// Counts a body that its handler refuses.
    pub(crate) fn count(&self, reason: &'static str) {
        self.refused.count(reason);
    }

    /// Counts a body that is not read, and says why.
    pub(crate) fn told(&self, refused: Refused) -> Problem {
        self.count(refused.reason());
        refused.into()
    }
}

/// Bodies that unfold to this much are no reason to look at the ratio.
const FREE: usize = 1 << 20;

/// Why a body is not read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    TooLarge(usize),
    TooLargeUnpacked(usize),
    Ratio(usize),
    Damaged(&'static str),
    BrokeOff,
    TooSlow(Duration),
    NoPace,
}

impl Refused {
    fn reason(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::TooLargeUnpacked(_) => "too_large_unpacked",
            Self::Ratio(_) => "decompression_ratio",
            Self::Damaged(_) => "damaged",
            Self::BrokeOff => "broke_off",
            Self::TooSlow(_) | Self::NoPace => "too_slow",
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge(limit) => Self::too_large(format!("the body is larger than {limit} bytes")),
            Refused::TooLargeUnpacked(limit) => {
                Self::too_large(format!("the body is larger than {limit} bytes once it is unpacked"))
            }
            Refused::Ratio(ratio) => Self::too_large(format!(
                "the body unfolds to more than {ratio} times the bytes that arrived (limits.max_decompression_ratio); send \
                 it less packed, or in parts"
            )),
            Refused::Damaged(name) => Self::malformed(format!("the body is not whole {name}")),
            Refused::BrokeOff => Self::malformed("the body broke off"),
            Refused::TooSlow(patience) => {
                let patience = metricsd_model::format_duration(patience);
                let detail = format!("the body did not arrive within {patience}");
                Self::new(StatusCode::REQUEST_TIMEOUT, ProblemKind::Timeout, detail)
            }
            Refused::NoPace => {
                let detail = format!("the body {AT_NO_PACE}");
                Self::new(StatusCode::REQUEST_TIMEOUT, ProblemKind::Timeout, detail)
            }
        }
    }
}

/// The part of a request's time that its body may take to arrive, so that there is time left to say so.
fn patience(request_timeout: Duration) -> Duration {
    request_timeout.mul_f64(0.75)
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Bodies above this are unpacked and read on a thread of their own, so that they do not hold up other requests.
pub(crate) const LARGE: usize = 128 << 10;

/// A zstd frame may ask for a window of at most 2^26 bytes: the largest body that is accepted by default.
const MAX_ZSTD_WINDOW_LOG: u32 = 26;

/// Refuses a body that is not one of `types`; the first of them is the one to name.
pub(crate) fn require_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("");
    let essence = text.split(';').next().unwrap_or("").trim();
    if types.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let shown: String = essence.chars().take(60).collect();
    Err(Problem::unsupported_media_type(format!(
        "Content-Type is {shown:?}; send Content-Type: {}",
        types.first().copied().unwrap_or_default()
    )))
}

/// Reads a whole body, unpacked.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, Problem> {
    encoding_of(headers)?;
    let received = read_packed(headers, body, &limits).await?;
    unpacked(headers, received, &limits).await
}

/// Unpacks a body that has arrived.
pub(crate) async fn unpacked(
    headers: &HeaderMap,
    received: Bytes,
    limits: &BodyLimits,
) -> Result<Bytes, Problem> {
    match encoding_of(headers)? {
        Encoding::Identity if received.len() > limits.unpacked => {
            Err(limits.told(Refused::TooLargeUnpacked(limits.unpacked)))
        }
        Encoding::Identity => Ok(received),
        encoding => {
            let (limit, passed) = limits.unfolded(received.len());
            let unpack = move || unpack(encoding, &received, limit, passed);
            let unpacked = tokio::task::spawn_blocking(unpack).await.map_err(|_| Problem::internal())?;
            unpacked.map_err(|refused| limits.told(refused))
        }
    }
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let refused = |name: &str| {
        let shown: String = name.chars().take(60).collect();
        Problem::unsupported_media_type(format!("Content-Encoding is {shown:?}; supported are gzip and zstd"))
    };
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else {
        return Ok(Encoding::Identity);
    };
    let name = value.to_str().unwrap_or("").trim().to_ascii_lowercase();
    match name.as_str() {
        _ if values.next().is_some() => Err(refused("more than one")),
        "" | "identity" => Ok(Encoding::Identity),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        other => Err(refused(other)),
    }
}

/// Reads a whole body as it arrives, whatever it is packed with.
pub(crate) async fn read_packed(
    headers: &HeaderMap,
    body: Body,
    limits: &BodyLimits,
) -> Result<Bytes, Problem> {
    let declared = declared(headers, limits)?;
    let received = async {
        let mut incoming = Incoming::new(body);
        incoming.expect(declared);
        while incoming.more(limits).await? {}
        Ok(incoming.into_bytes())
    };
    let received = tokio::time::timeout(limits.patience, received).await;
    received.unwrap_or_else(|_| Err(limits.told(Refused::TooSlow(limits.patience))))
}

/// How large a body says that it is; refused where that is more than may be.
pub(crate) fn declared(headers: &HeaderMap, limits: &BodyLimits) -> Result<Option<usize>, Problem> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match length {
        Some(length) if length > limits.received => Err(limits.told(Refused::TooLarge(limits.received))),
        length => Ok(length),
    }
}

/// Unpacks a body to at most `limit` bytes; what is longer is told that it has `passed` a bound.
fn unpack(encoding: Encoding, packed: &[u8], limit: usize, passed: Refused) -> Result<Bytes, Refused> {
    let unpacked = match encoding {
        Encoding::Identity => Some(packed.to_vec()),
        Encoding::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(packed), limit)
            .map_err(|_| Refused::Damaged("gzip"))?,
        Encoding::Zstd => zstd_decoder(packed)
            .and_then(|decoder| read_bounded(decoder, limit))
            .map_err(|_| Refused::Damaged("zstd"))?,
    };
    unpacked.map(Bytes::from).ok_or(passed)
}

fn zstd_decoder(packed: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Reads to the end; `None` once there is more than `limit`, without reading on.
fn read_bounded(mut reader: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}
