//! What happened during a request, for whoever debugs a target.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Version};
use parking_lot::Mutex;

/// A request and its answer's head; of a request with redirects there are several.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// Where it went.
    pub url: String,
    /// What was sent; secrets are marked as sensitive.
    pub request_headers: HeaderMap,
    /// The proxy in between, without its credentials.
    pub proxy: Option<String>,
    /// Who was connected.
    pub remote: Option<SocketAddr>,
    /// Version and cipher of TLS.
    pub tls: Option<String>,
    /// How long the name took to resolve; absent for an address.
    pub dns: Option<Duration>,
    /// How long the connection took to open, the name's resolution left out.
    pub connect: Option<Duration>,
    /// How long the handshake took.
    pub tls_handshake: Option<Duration>,
    /// From the start of the exchange until the answer's head was there.
    pub first_byte: Option<Duration>,
    /// The answer's status.
    pub status: Option<StatusCode>,
    /// The answer's version.
    pub version: Option<Version>,
    /// The answer's headers.
    pub response_headers: HeaderMap,
}

/// Parts of an exchange that take time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    Dns,
    Connect,
    Tls,
}

/// Notes exchanges in their order. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<Exchange>>>);

impl Trace {
    /// What was noted so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.lock().clone()
    }

    pub(crate) fn begin(&self, exchange: Exchange) {
        self.0.lock().push(exchange);
    }

    pub(crate) fn note(&self, note: impl FnOnce(&mut Exchange)) {
        if let Some(last) = self.0.lock().last_mut() {
            note(last);
        }
    }

    pub(crate) fn took(&self, phase: Phase, time: Duration) {
        self.note(|exchange| match phase {
            Phase::Dns => exchange.dns = Some(time),
            Phase::Connect => exchange.connect = Some(time.saturating_sub(exchange.dns.unwrap_or_default())),
            Phase::Tls => exchange.tls_handshake = Some(time),
        });
    }
}
