//! One request to a target, told in full and not stored: what was sent, what came back, and what became of its lines.

mod lines;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metricsd_client::{Exchange, HeaderMap};
use metricsd_codec::exposition::{Format, Parser};
use metricsd_codec::negotiation;
use metricsd_ingest::{Limits, SeriesLimits, SeriesTracker};
use metricsd_model::{FailureReason, MASK, Millis, Refusal, ScrapeOptions, TargetSpec};
use metricsd_ports::memory::MemoryStore;
use serde::Serialize;

use crate::client::{Page, PageClient, PageRequest, ScrapeError};
use crate::explain::Explanation;
use crate::naming::Namer;
use crate::scrape::LoopState;

/// Lines with errors that are told.
const MAX_ERRORS: usize = 10;

/// Lines that are followed step by step, at most.
pub const MAX_LINES: usize = 100;

/// The longest part of a line that is told.
const MAX_TEXT: usize = 500;

/// What happened.
#[derive(Debug, Serialize)]
pub struct DebugReport {
    /// Every request that was made: more than one where there were redirects.
    pub requests: Vec<DebugRequest>,
    /// From the beginning until the body was read and decompressed, in milliseconds.
    pub duration_ms: f64,
    /// Why a scrape would fail as a whole; absent where it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<DebugError>,
    /// The page, where one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<DebugPage>,
}

/// A failure.
#[derive(Debug, Serialize)]
pub struct DebugError {
    /// Out of a closed set.
    pub reason: FailureReason,
    /// A sentence.
    pub message: String,
}

impl From<ScrapeError> for DebugError {
    fn from(error: ScrapeError) -> Self {
        Self { reason: error.reason, message: error.message }
    }
}

/// A request and the head of its answer.
#[derive(Debug, Serialize)]
pub struct DebugRequest {
    /// The first line as HTTP/1.1 writes it.
    pub request_line: String,
    /// Where it went.
    pub url: String,
    /// Headers that were sent, secrets masked.
    pub request_headers: BTreeMap<String, Vec<String>>,
    /// The proxy in between, without its credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Address and port that were connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Version and cipher of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Status of the answer; absent where none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// HTTP version of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Headers of the answer.
    pub response_headers: BTreeMap<String, Vec<String>>,
    /// How long each phase took, in milliseconds: `dns`, `connect`, `tls`, and `first_byte`, which is all until the
    /// answer's head was there. A connection that was open already has none of the first three.
    pub phases_ms: BTreeMap<&'static str, f64>,
}

/// A page.
#[derive(Debug, Serialize)]
pub struct DebugPage {
    /// `Content-Type` of the answer.
    pub content_type: String,
    /// As what the page is read: `text`, `open_metrics` or `protobuf`; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
    /// Why.
    pub format_because: String,
    /// How it was compressed.
    pub encoding: &'static str,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes after decompression.
    pub bytes: usize,
    /// From the answer's head until the body was read and decompressed.
    pub body_ms: f64,
    /// Samples of the page, and what would become of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<DebugSamples>,
    /// The first lines with errors.
    pub errors: Vec<LineError>,
    /// What becomes of the first lines, step by step.
    pub lines: Vec<ExplainedLine>,
}

/// What would become of the samples.
#[derive(Debug, Serialize)]
pub struct DebugSamples {
    /// That the page holds.
    pub received: u64,
    /// That filters or relabelling drop.
    pub dropped: u64,
    /// That are refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// That are stored.
    pub stored: u64,
    /// Series that they make: what the target costs.
    pub series: usize,
    /// Some lines that are refused, each with its reason.
    pub offenders: Arc<[String]>,
}

/// A line that does not read.
#[derive(Debug, Serialize)]
pub struct LineError {
    /// From 1.
    pub line: usize,
    /// Its text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
}

/// A line and what becomes of it.
#[derive(Debug, Serialize)]
pub struct ExplainedLine {
    /// From 1.
    pub line: usize,
    /// Its text, shortened.
    pub text: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// Asks a target now and tells what happened; nothing is stored, and no scrape knows of it. At most `lines` lines, and not
/// more than [`MAX_LINES`], are followed step by step.
pub async fn debug(
    client: &PageClient,
    spec: &TargetSpec,
    limits: &Arc<Limits>,
    lines: usize,
    now: Millis,
) -> DebugReport {
    let fetched = match PageRequest::new(spec) {
        Ok(request) => client.debug(&request).await,
        Err(error) => {
            return DebugReport {
                requests: Vec::new(),
                duration_ms: 0.0,
                error: Some(error.into()),
                page: None,
            };
        }
    };
    let head: Duration = fetched.exchanges.iter().filter_map(|exchange| exchange.first_byte).sum();
    let body_ms = millis(fetched.elapsed.saturating_sub(head));
    let (page, error) = match fetched.page {
        Err(error) => (None, Some(error)),
        Ok(page) => {
            let (page, error) = study(&page, spec, limits, lines.min(MAX_LINES), now).await;
            (Some(DebugPage { body_ms, ..page }), error)
        }
    };
    DebugReport {
        requests: fetched.exchanges.into_iter().map(DebugRequest::from).collect(),
        duration_ms: millis(fetched.elapsed),
        error: error.map(DebugError::from),
        page,
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl From<Exchange> for DebugRequest {
    fn from(exchange: Exchange) -> Self {
        let path = url::Url::parse(&exchange.url).map_or_else(
            |_| String::new(),
            |url| {
                url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
            },
        );
        let phases = [
            ("dns", exchange.dns),
            ("connect", exchange.connect),
            ("tls", exchange.tls_handshake),
            ("first_byte", exchange.first_byte),
        ];
        Self {
            request_line: format!("GET {path} HTTP/1.1"),
            request_headers: shown(&exchange.request_headers),
            proxy: exchange.proxy,
            remote: exchange.remote.map(|remote| remote.to_string()),
            tls: exchange.tls,
            status: exchange.status.map(|status| status.as_u16()),
            version: exchange.version.map(|version| format!("{version:?}")),
            response_headers: shown(&exchange.response_headers),
            phases_ms: phases.into_iter().filter_map(|(name, time)| Some((name, millis(time?)))).collect(),
            url: exchange.url,
        }
    }
}

/// Headers by name; what is secret is masked, and cookies always are.
fn shown(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let hidden = value.is_sensitive() || name.as_str() == "set-cookie";
        let text = if hidden { MASK.into() } else { String::from_utf8_lossy(value.as_bytes()) };
        shown.entry(name.as_str().to_owned()).or_default().push(text.into_owned());
    }
    shown
}

async fn study(
    page: &Page,
    spec: &TargetSpec,
    limits: &Arc<Limits>,
    lines: usize,
    now: Millis,
) -> (DebugPage, Option<ScrapeError>) {
    let (format, format_because) = format(&page.content_type, &spec.scrape_config.options);
    let (samples, error) = count(page, spec, limits, now).await;
    let textual = format.filter(|format| *format != Format::Protobuf);
    let page = DebugPage {
        content_type: page.content_type.clone(),
        format: format.map(name),
        format_because,
        encoding: page.encoding,
        received_bytes: page.received,
        bytes: page.body.len(),
        body_ms: 0.0,
        samples,
        errors: textual.map_or_else(Vec::new, |format| errors(&page.body, format)),
        lines: textual.map_or_else(Vec::new, |format| {
            lines::explained(&page.body, format, &Namer::new(spec.clone(), limits.clone()), lines, now)
        }),
    };
    (page, error)
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Text => "text",
        Format::OpenMetrics => "open_metrics",
        Format::Protobuf => "protobuf",
    }
}

fn format(content_type: &str, options: &ScrapeOptions) -> (Option<Format>, String) {
    let fallback = negotiation::fallback(options);
    match (Format::negotiate(content_type, None), Format::negotiate(content_type, fallback)) {
        (Ok(format), _) => (Some(format), "the answer's Content-Type says so".to_owned()),
        (Err(error), Ok(format)) => (Some(format), format!("{error}; it is read by the fallback")),
        (Err(_), Err(error)) => (None, error.to_string()),
    }
}

/// Reads the page as a scrape would that has never seen the target, into nothing.
async fn count(
    page: &Page,
    spec: &TargetSpec,
    limits: &Arc<Limits>,
    now: Millis,
) -> (Option<DebugSamples>, Option<ScrapeError>) {
    let empty = Arc::new(MemoryStore::new());
    let tracker = SeriesTracker::new(SeriesLimits::default(), empty, Default::default());
    let mut state = LoopState::new(spec.clone(), limits.clone(), tracker);
    match state.read(page, now).await {
        Err(error) => (None, Some(error)),
        Ok(scraped) => {
            let samples = DebugSamples {
                received: scraped.ledger.received,
                dropped: scraped.ledger.dropped,
                series: scraped.values.len() + scraped.timed.len(),
                stored: scraped.ledger.stored,
                refused: scraped.ledger.refused,
                offenders: scraped.offenders,
            };
            (Some(samples), None)
        }
    }
}

/// Each line read alone: one that is wrong does not hide those after it.
fn errors(page: &[u8], format: Format) -> Vec<LineError> {
    let mut errors = Vec::new();
    for (index, line) in page.split(|byte| *byte == b'\n').enumerate() {
        if errors.len() == MAX_ERRORS {
            break;
        }
        if line.is_empty() {
            continue;
        }
        let line = [line, b"\n"].concat();
        // What a page as a whole must have, such as an end, is told by the error of the whole.
        if let Err(error) = Parser::new(&line, format).next_entry()
            && !String::from_utf8_lossy(&line).starts_with('#')
        {
            let message = error.to_string();
            errors.push(LineError { line: index + 1, text: text(&line), message });
        }
    }
    errors
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().chars().take(MAX_TEXT).collect()
}
