//! Answers in gzip for those who accept it. What is compressed is compressed as it is sent, so that a large answer is
//! never held as a whole and a client that goes away ends the work.

use std::io::Write;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt};

/// Answers below this stay as they are: the frame of gzip alone is some twenty bytes.
const LEAST: u64 = 1_024;

/// Bytes that are compressed at once: small enough not to hold up other requests of the thread.
const PIECE: usize = 64 << 10;

/// The layer.
pub(crate) async fn gzip(request: Request, next: Next) -> Response {
    let accepted = accepts(request.headers(), "gzip");
    let mut response = next.run(request).await;
    let small = response.body().size_hint().upper().is_some_and(|size| size < LEAST);
    if small || !is_text(response.headers()) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !accepted {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from_stream(compressed(body)))
}

/// What is worth it. Not event streams: compressed events would wait for one another.
const TYPES: [&str; 3] = ["application/json", "text/plain", "application/openmetrics-text"];

fn is_text(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    TYPES.iter().any(|known| content_type.starts_with(known))
}

/// Whether a content coding is among those that the client accepts.
pub(crate) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = parts
            .filter_map(|part| part.split_once('='))
            .any(|(name, weight)| name.trim() == "q" && weight.trim().parse() == Ok(0.0_f32));
        named && !refused
    })
}

struct State {
    body: axum::body::BodyDataStream,
    /// What arrived and is not compressed yet.
    rest: Bytes,
    /// `None` when all is written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

fn compressed(body: Body) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let state = State { body: body.into_data_stream(), rest: Bytes::new(), encoder };
    futures::stream::try_unfold(state, |mut state| async move {
        loop {
            let Some(encoder) = &mut state.encoder else { return Ok(None) };
            if state.rest.is_empty() {
                let Some(chunk) = state.body.next().await.transpose()? else {
                    let last = state.encoder.take().map_or(Ok(Vec::new()), GzEncoder::finish);
                    return Ok(Some((Bytes::from(last.map_err(axum::Error::new)?), state)));
                };
                state.rest = chunk;
            }
            let piece = state.rest.split_to(state.rest.len().min(PIECE));
            encoder.write_all(&piece).map_err(axum::Error::new)?;
            let out = std::mem::take(encoder.get_mut());
            if !out.is_empty() {
                return Ok(Some((Bytes::from(out), state)));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn only_who_accepts_it_gets_it() {
        let check = |value: &'static str, expected: bool| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(accepts(&headers, "gzip"), expected, "{value}");
        };
        check("gzip", true);
        check("deflate, GZIP;q=0.5", true);
        check("gzip;q=0", false);
        check("gzip; q=0.0, br", false);
        check("identity", false);
        check("", false);
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }

    #[tokio::test]
    async fn what_is_compressed_reads_back() {
        for length in [1, PIECE - 1, PIECE, 5 * PIECE + 7] {
            let text: Vec<u8> = (0..length).map(|at| (at * at / 7) as u8).collect();
            let body = Body::from_stream(compressed(Body::from(text.clone())));
            let packed = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(packed.as_ref()).read_to_end(&mut back).unwrap();
            assert!(back == text, "{length}");
        }
    }
}
