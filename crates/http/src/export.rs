//! `GET /api/v1/metrics/export`: samples as a file, written while they are read.
//!
//! Series by series, some at a time (`plan`), on a thread of its own (`work`): what is in memory is one selection and some
//! pieces of the file that the client has not taken yet. A client that goes away ends the work.

mod pack;
mod plan;
mod work;

use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use metricsd_files::{Compression, FileFormat};
use metricsd_model::{Matcher, Millis};

use crate::Problem;
use crate::api::{AppState, now};
use crate::compress::accepts;
use crate::params::Params;

/// The address.
pub(crate) const PATH: &str = "/api/v1/metrics/export";

/// Most selectors of one request.
const MAX_SELECTORS: usize = 100;

/// How long a client may leave a piece where it is: one that does not read would keep others out for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says what the format has no form for.
static LEFT_OUT: HeaderName = HeaderName::from_static("x-left-out");

/// What is asked for.
struct Asked {
    selectors: Vec<Vec<Matcher>>,
    start: Millis,
    end: Millis,
    format: FileFormat,
    /// The file itself is packed.
    compression: Option<Compression>,
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Self, Problem> {
        let mut params = Params::new(query);
        let mut selectors = Vec::new();
        let texts = params.all("match[]");
        if texts.is_empty() {
            params.error("match[]", "is required: a selector such as {job=\"node\"}, or several");
        } else if texts.len() > MAX_SELECTORS {
            params.error("match[]", format!("more than {MAX_SELECTORS} selectors"));
        } else {
            for text in &texts {
                match metricsd_promql::parse_selector(text) {
                    Ok(matchers) if matchers.iter().all(Matcher::matches_empty) => {
                        params.error("match[]", "must contain at least one non-empty matcher");
                    }
                    Ok(matchers) => selectors.push(matchers),
                    Err(error) => params.error("match[]", error.to_string()),
                }
            }
        }
        let end = params.time("end").unwrap_or_else(now);
        let start = params.time("start").unwrap_or(0);
        let format = params.parsed("format", |text| {
            let expected = || "is not one of csv, ndjson, openmetrics, parquet".to_owned();
            FileFormat::from_name(text)
                .filter(|format| *format != FileFormat::Prometheus)
                .ok_or_else(expected)
        });
        let compression = params.parsed("compression", |text| {
            Compression::from_name(text).ok_or_else(|| "is not one of identity, gzip, zstd".to_owned())
        });
        let format = format.unwrap_or(FileFormat::Ndjson);
        if format == FileFormat::Parquet && !matches!(compression, None | Some(Compression::None)) {
            params.error("compression", "is for the other formats: a Parquet file is packed inside");
        }
        if start > end {
            params.error("start", "is after end");
        }
        params.finish()?;
        Ok(Self { selectors, start, end, format, compression })
    }
}

/// The handler.
pub(crate) async fn export(
    State(shared): AppState,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::read(query.as_deref())?;
    let slot = shared.exports.clone().try_acquire_owned().map_err(|_| {
        Problem::unavailable("as many exports are at work as may be; try again").retry_after(5)
    })?;
    let encoding = match (asked.compression, asked.format) {
        (Some(_), _) | (None, FileFormat::Parquet) => Compression::None,
        (None, _) => accepted(&headers),
    };
    let packed = asked.compression.unwrap_or(encoding);
    let pieces = work::start(
        work::Export {
            source: shared.api.source.clone(),
            selectors: asked.selectors,
            start: asked.start,
            end: asked.end,
            format: asked.format,
            compression: packed,
            max_series: shared.api.limits.max_query_series,
            patience: PATIENCE,
        },
        slot,
    )
    .await?;
    let mut response = Body::from_stream(pieces).into_response();
    describe(response.headers_mut(), asked.format, asked.compression.unwrap_or(Compression::None), encoding);
    Ok(response)
}

fn describe(headers: &mut HeaderMap, format: FileFormat, packed: Compression, encoding: Compression) {
    let (media_type, end) = match packed {
        Compression::None => (format.media_type(), ""),
        Compression::Gzip => ("application/gzip", ".gz"),
        Compression::Zstd => ("application/zstd", ".zst"),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let name = format!("attachment; filename=\"metrics.{}{end}\"", format.extension());
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if encoding != Compression::None {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
    }
    if format == FileFormat::OpenMetrics {
        headers.insert(LEFT_OUT.clone(), HeaderValue::from_static("native histograms, staleness markers"));
    }
}

/// How the client wants it on the way: zstd before gzip, since it costs less.
fn accepted(headers: &HeaderMap) -> Compression {
    [Compression::Zstd, Compression::Gzip]
        .into_iter()
        .find(|compression| accepts(headers, compression.as_str()))
        .unwrap_or(Compression::None)
}
