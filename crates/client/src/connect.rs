//! Opens connections: to the host itself or through a proxy, plain or over TLS.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use metricsd_model::{FailureReason, TlsOptions};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::Url;

use crate::context::Context;
use crate::error::ClientError;
use crate::proxy::{Proxies, ProxyServer};
use crate::resolve::GuardedResolver;
use crate::tls::{self, TlsMaterial};
use crate::trace::{Phase, Trace};

/// The longest head of a proxy's answer.
const MAX_PROXY_HEAD: usize = 16 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections with one set of settings. Clones share them.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Shared>);

struct Shared {
    tcp: HttpConnector<GuardedResolver>,
    context: Context,
    options: TlsOptions,
    material: TlsMaterial,
    http2: bool,
    /// Made when it is first needed: most targets speak no TLS.
    tls: OnceLock<Result<TlsPair, ClientError>>,
    proxies: Proxies,
}

/// TLS towards targets, and towards proxies, which are always spoken to in HTTP/1.1.
#[derive(Clone)]
struct TlsPair {
    target: TlsConnector,
    proxy: TlsConnector,
}

impl Connector {
    pub(crate) fn new(
        options: &TlsOptions,
        material: TlsMaterial,
        http2: bool,
        proxies: Proxies,
        context: &Context,
    ) -> Self {
        let resolver = GuardedResolver { guard: context.guard.clone(), trace: context.trace.clone() };
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let (context, options) = (context.clone(), options.clone());
        let tls = OnceLock::new();
        Self(Arc::new(Shared { tcp, context, options, material, http2, tls, proxies }))
    }

    /// The proxy that a request goes through.
    pub(crate) fn proxy(&self, url: &Url) -> Option<&ProxyServer> {
        let host = url.host_str().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
        self.0.proxies.of(url.scheme() == "https", host, url.port_or_known_default().unwrap_or(80))
    }

    async fn connect(self, uri: Uri) -> Result<Conn, ClientError> {
        let this = &*self.0;
        let url = Url::parse(&uri.to_string())
            .map_err(|error| ClientError::new(FailureReason::Internal, format!("{uri}: {error}")))?;
        let https = url.scheme() == "https";
        let host = url.host_str().unwrap_or("").to_owned();
        let Some(proxy) = self.proxy(&url) else {
            let port = url.port_or_known_default().unwrap_or(80);
            let stream = this.tcp(&host, port).await?;
            return match https {
                true => this.secured(stream, &host).await,
                false => Ok(Conn::new(stream, Kind::Http1)),
            };
        };
        let stream = this.tcp(&proxy.host, proxy.port).await.map_err(|error| proxy.failed(&error))?;
        let mut stream: Box<dyn Stream> = match proxy.tls {
            true => {
                let name = tls::server_name(&TlsOptions::default(), &proxy.host)?;
                let connected = this.tls()?.proxy.connect(name, stream).await;
                Box::new(connected.map_err(|error| proxy.failed(&crate::error::classify(&error)))?)
            }
            false => Box::new(stream),
        };
        if https {
            tunnel(&mut *stream, &url, proxy).await.map_err(|error| proxy.failed(&error))?;
            return this.secured(stream, &host).await;
        }
        Ok(Conn::new(stream, Kind::Proxied))
    }
}

impl Shared {
    fn trace(&self) -> Option<&Trace> {
        self.context.trace.as_ref()
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, ClientError> {
        let address = format!("http://{host}:{port}/");
        let internal = |error: String| ClientError::new(FailureReason::Internal, error);
        let url = Url::parse(&address).map_err(|error| internal(format!("{address}: {error}")))?;
        self.context
            .guard
            .check_host(&url)
            .map_err(|error| ClientError::new(FailureReason::Forbidden, error))?;
        let uri: Uri = address.parse().map_err(|error| internal(format!("{address}: {error}")))?;
        let started = Instant::now();
        let stream = self.tcp.clone().call(uri).await.map_err(|error| crate::error::classify(&error))?;
        let stream = stream.into_inner();
        if let Some(trace) = self.trace() {
            trace.took(Phase::Connect, started.elapsed());
            trace.note(|exchange| exchange.remote = stream.peer_addr().ok());
        }
        Ok(stream)
    }

    fn tls(&self) -> Result<&TlsPair, ClientError> {
        let make = || {
            let plain = tls::config(&self.options, &self.material)?;
            let with = |protocols: &[&[u8]]| {
                let mut config: ClientConfig = plain.clone();
                config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
                TlsConnector::from(Arc::new(config))
            };
            let target = if self.http2 { with(&[b"h2", b"http/1.1"]) } else { with(&[b"http/1.1"]) };
            Ok(TlsPair { target, proxy: with(&[b"http/1.1"]) })
        };
        self.tls.get_or_init(make).as_ref().map_err(ClientError::clone)
    }

    async fn secured<S: Stream>(&self, stream: S, host: &str) -> Result<Conn, ClientError> {
        let name = tls::server_name(&self.options, host)?;
        let started = Instant::now();
        let connected = self.tls()?.target.connect(name, stream).await;
        let stream = connected.map_err(|error| crate::error::classify(&error))?;
        let (_, session) = stream.get_ref();
        if let Some(trace) = self.trace() {
            trace.took(Phase::Tls, started.elapsed());
            let version = session.protocol_version().and_then(|version| version.as_str());
            let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
            let said = [version, cipher].into_iter().flatten().collect::<Vec<_>>().join(" ");
            trace.note(|exchange| exchange.tls = Some(said));
        }
        let kind = if session.alpn_protocol() == Some(b"h2") { Kind::Http2 } else { Kind::Http1 };
        Ok(Conn::new(stream, kind))
    }
}

/// Asks a proxy for a way to the host (RFC 9110, section 9.3.6).
async fn tunnel(stream: &mut dyn Stream, url: &Url, proxy: &ProxyServer) -> Result<(), ClientError> {
    let failed = |message: String| ClientError::new(FailureReason::Connect, message);
    let broke = |error: std::io::Error| failed(format!("the connection broke: {error}"));
    let host = url.host_str().unwrap_or("");
    let port = url.port_or_known_default().unwrap_or(443);
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    let authorization = proxy.authorization.iter().map(|value| (&http::header::PROXY_AUTHORIZATION, value));
    for (name, value) in authorization.chain(&proxy.connect_headers) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head is the host's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_PROXY_HEAD {
            return Err(failed("its answer to CONNECT does not end".to_owned()));
        }
        answer.push(stream.read_u8().await.map_err(broke)?);
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    match line.split(' ').nth(1) {
        Some(status) if line.starts_with("HTTP/1.") && status.starts_with('2') => Ok(()),
        _ => Err(failed(format!(
            "it answered CONNECT {host}:{port} with {:?}",
            line.chars().take(100).collect::<String>()
        ))),
    }
}

impl Service<Uri> for Connector {
    type Response = Conn;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Conn, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async move { connecting.await.map_err(BoxError::from) })
    }
}

/// Whatever bytes go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// An open connection.
pub(crate) struct Conn {
    stream: TokioIo<Box<dyn Stream>>,
    kind: Kind,
}

/// What is spoken over a connection.
#[derive(Clone, Copy)]
enum Kind {
    Http1,
    Http2,
    /// HTTP/1.1 to a proxy, which is told whole addresses.
    Proxied,
}

impl Conn {
    fn new(stream: impl Stream, kind: Kind) -> Self {
        Self { stream: TokioIo::new(Box::new(stream)), kind }
    }
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        match self.kind {
            Kind::Http1 => Connected::new(),
            Kind::Http2 => Connected::new().negotiated_h2(),
            Kind::Proxied => Connected::new().proxy(true),
        }
    }
}

impl Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }
}
