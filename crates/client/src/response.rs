//! An answer whose body is still to be read.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use metricsd_model::FailureReason;
use tokio::time::Instant;
use url::Url;

use crate::error::{ClientError, classify};

/// An answer. Its body must be there within the request's timeout.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Version of HTTP.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
    /// Where it came from, redirects followed.
    pub url: Url,
    pub(crate) body: Incoming,
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
}

impl Response {
    /// A header as text; empty where it is absent or does not read.
    pub fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// How many bytes the body has, where the server says it.
    pub fn content_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next part of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let next = tokio::time::timeout_at(self.deadline, self.body.frame()).await;
            match next.map_err(|_| late(self.timeout))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(classify(&error)),
                Some(Ok(frame)) => {
                    // Trailers say nothing that we need.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, at most `limit` bytes.
    pub async fn bytes(&mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                let message = format!("the answer is larger than {limit} bytes");
                return Err(ClientError::new(FailureReason::TooLarge, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The timeout is over.
pub(crate) fn late(timeout: Duration) -> ClientError {
    let timeout = metricsd_model::format_duration(timeout);
    ClientError::new(FailureReason::Timeout, format!("no complete answer within {timeout}"))
}
