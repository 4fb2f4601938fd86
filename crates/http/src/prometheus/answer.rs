//! Writes answers piece by piece: the first bytes leave before the last are written, an answer is never in memory as
//! a whole beside its data, and a client that goes away ends the writing.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use super::json;

/// Something that is written in pieces.
pub(crate) trait Pieces: Send + 'static {
    /// Writes the next piece, which is small; answers whether there is more.
    fn write(&mut self, out: &mut Vec<u8>) -> bool;
}

/// A list whose items are written one by one.
pub(crate) struct List<I, F> {
    items: I,
    item: F,
    begun: bool,
}

impl<I, F> List<I, F> {
    /// A list of these items.
    pub(crate) fn new<V>(items: V, item: F) -> Self
    where
        V: IntoIterator<IntoIter = I>,
    {
        Self { items: items.into_iter(), item, begun: false }
    }
}

impl<I, F> Pieces for List<I, F>
where
    I: Iterator + Send + 'static,
    F: FnMut(&mut Vec<u8>, I::Item) + Send + 'static,
{
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let item = self.items.next();
        match (self.begun, item.is_some()) {
            (false, _) => out.push(b'['),
            (true, true) => out.push(b','),
            (true, false) => {}
        }
        self.begun = true;
        let Some(item) = item else {
            out.push(b']');
            return false;
        };
        (self.item)(out, item);
        true
    }
}

/// Something with text before and after it.
pub(crate) struct Framed<P> {
    /// Written first.
    pub(crate) head: Vec<u8>,
    /// Written between.
    pub(crate) inner: P,
    /// Written last.
    pub(crate) tail: Vec<u8>,
}

impl<P: Pieces> Pieces for Framed<P> {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.head);
        let more = self.inner.write(out);
        if !more {
            out.append(&mut self.tail);
        }
        more
    }
}

/// Bytes after which what is written is sent on.
const CHUNK: usize = 64 << 10;

/// Collects pieces; answers whether there are more.
fn fill(pieces: &mut impl Pieces, out: &mut Vec<u8>) -> bool {
    while pieces.write(out) {
        if out.len() >= CHUNK {
            return true;
        }
    }
    false
}

/// The response of an answer in JSON. A small one carries its length.
pub(crate) fn respond(mut pieces: impl Pieces) -> Response {
    let mut first = Vec::new();
    let body = if fill(&mut pieces, &mut first) {
        let mut first = Some(first);
        let mut more = true;
        let chunks = std::iter::from_fn(move || {
            if let Some(first) = first.take() {
                return Some(first);
            }
            if !more {
                return None;
            }
            let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
            more = fill(&mut pieces, &mut chunk);
            Some(chunk)
        });
        Body::from_stream(futures::stream::iter(chunks.map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)))))
    } else {
        Body::from(first)
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE));
    response
}

/// What is remarked beside an answer.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    /// What is probably wrong.
    pub(crate) warnings: Vec<String>,
    /// What may be wrong.
    pub(crate) infos: Vec<String>,
}

impl Remarks {
    /// Says that a limit cut the answer.
    pub(crate) fn truncated(&mut self) {
        self.warnings.push("results truncated due to limit".to_owned());
    }
}

/// `{"status":"success","data":…}`
pub(crate) fn success(data: impl Pieces, remarks: &Remarks) -> Response {
    let mut tail = Vec::new();
    for (name, texts) in [("warnings", &remarks.warnings), ("infos", &remarks.infos)] {
        if !texts.is_empty() {
            tail.push(b',');
            json::string(&mut tail, name);
            tail.push(b':');
            json::strings(&mut tail, texts);
        }
    }
    tail.push(b'}');
    respond(Framed { head: b"{\"status\":\"success\",\"data\":".to_vec(), inner: data, tail })
}

/// The same of data that is small.
pub(crate) fn success_value(data: &impl Serialize) -> Response {
    match serde_json::to_vec(data) {
        Ok(data) => success(Written(data), &Remarks::default()),
        Err(error) => {
            tracing::error!(%error, "an answer was not written");
            super::error::ApiError::new(super::error::ErrorType::Internal, "the answer could not be written")
                .into_response()
        }
    }
}

/// What is written already.
struct Written(Vec<u8>);

impl Pieces for Written {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.0);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lists_of_all_lengths_are_whole() {
        for length in [0_usize, 1, 2, 100_000] {
            let list = List::new(0..length, |out: &mut Vec<u8>, item: usize| {
                out.extend_from_slice(item.to_string().as_bytes());
            });
            let remarks = Remarks { warnings: vec!["w".into()], infos: vec!["i".into(), "j".into()] };
            let body = axum::body::to_bytes(success(list, &remarks).into_body(), usize::MAX).await.unwrap();
            let expected = serde_json::json!({
                "status": "success", "data": (0..length).collect::<Vec<_>>(), "warnings": ["w"], "infos": ["i", "j"]
            });
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), expected);
        }
    }
}
