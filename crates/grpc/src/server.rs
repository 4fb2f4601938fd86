//! One port: connections are bounded, and so are their streams and what they may send before anyone looks at it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, stream};
use metricsd_ingest::arrival::RefusedBodies;
use metricsd_ingest::stream::Streams;
use metricsd_ingest::{Access, Door, OtlpDoor};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

use crate::entry::Entry;
use crate::export::MetricsService;
use crate::health::Health;
use crate::stream::MetricsStream;

/// Bounds of a port.
#[derive(Debug, Clone)]
pub struct GrpcOptions {
    /// Connections that may be open at once; more are closed as they come.
    pub max_connections: usize,
    /// Bytes of a message, as it arrives and unpacked.
    pub max_message_bytes: usize,
    /// Messages that may be in memory at once; more wait in their sockets.
    pub max_concurrent_pushes: usize,
    /// A message may unfold to this many times what arrived of it, beyond 1 MiB; 0: no bound.
    pub max_ratio: usize,
    /// How long a call may take, its arrival included.
    pub timeout: Duration,
}

impl Default for GrpcOptions {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_message_bytes: 16 << 20,
            max_concurrent_pushes: 32,
            max_ratio: 400,
            timeout: Duration::from_secs(40),
        }
    }
}

/// What is served.
#[derive(Clone)]
pub struct Services {
    /// Takes OTLP.
    pub otlp: OtlpDoor,
    /// Takes streams of items; to be shared with other protocols of the process.
    pub streams: Arc<Streams>,
    /// Who may call.
    pub access: Arc<Access>,
    /// Counts messages that are not read; to be shared with other protocols of the process.
    pub refused: RefusedBodies,
}

/// Calls that may be under way on one connection.
const MAX_STREAMS: u32 = 128;

/// Bytes that a client may send on one call, and on one connection, before anyone reads them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;

/// Bytes of a call's metadata.
const MAX_HEADERS: u32 = 16 << 10;

/// How often a silent client is asked whether it is there, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_PATIENCE: Duration = Duration::from_secs(20);

/// What a client says first (RFC 9113, 3.4); its own words are bounded from then on.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// How long a client may take to say that.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Pause after a failure to accept, such as no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then answers what is under way.
pub async fn serve(listener: TcpListener, services: Services, options: GrpcOptions, stop: CancellationToken) {
    let services_known = vec![MetricsService::NAME, MetricsStream::NAME];
    let health = Health { services: services_known, stop: stop.clone() };
    let door = listener.local_addr().map_or(Door::Elsewhere, Door::of);
    let Services { otlp, streams, access, refused } = services;
    let entry = Entry { access, door };
    let max_ratio = options.max_ratio;
    let streaming = MetricsStream {
        streams,
        entry: entry.clone(),
        max_ratio,
        refused: refused.clone(),
        stop: stop.clone(),
    };
    let incoming = accepted(listener, Arc::new(Semaphore::new(options.max_connections)), FIRST_WORD);
    let served = tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_PATIENCE))
        .add_service(MetricsService::new(otlp, entry, options, refused))
        .add_service(streaming)
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        warn!(%error, "serving gRPC ended");
    }
}

/// Connections as they come, as long as there is room for them.
fn accepted(
    listener: TcpListener,
    places: Arc<Semaphore>,
    first_word: Duration,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, places, first_word), async |(listener, places, first_word)| {
        loop {
            let (socket, place) = match listener.accept().await {
                Ok((socket, _)) => (socket, places.clone().try_acquire_owned()),
                Err(error) => {
                    warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = place else {
                warn!("a gRPC connection was closed: too many are open");
                continue;
            };
            let _ = socket.set_nodelay(true);
            let patience = Some(Box::pin(tokio::time::sleep(first_word)));
            let connection = Connection { socket, patience, said: 0, _place: place };
            return Some((Ok(connection), (listener, places, first_word)));
        }
    })
}

/// A connection that holds its place, and is given up when it never says what clients say first.
struct Connection {
    socket: TcpStream,
    /// Until the whole of that was said.
    patience: Option<Pin<Box<Sleep>>>,
    /// Bytes of it that were.
    said: usize,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, into);
        if read.is_ready() {
            self.said = self.said.saturating_add(into.filled().len() - before);
            if self.said >= PREFACE {
                self.patience = None;
            }
        } else if let Some(patience) = &mut self.patience
            && patience.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_does_not_say_all_of_the_first_word_loses_its_place() {
        let patience = Duration::from_millis(200);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Arc::new(Semaphore::new(2));
        let mut connections = Box::pin(accepted(listener, places.clone(), patience));
        let mut buffer = [0; 64];
        let mut short = TcpStream::connect(address).await.unwrap();
        short.write_all(b"PRI * ").await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        let rest = async {
            assert_eq!(connection.read(&mut buffer).await.unwrap(), 6);
            connection.read(&mut buffer).await
        };
        let given_up = tokio::time::timeout(20 * patience, rest).await.expect("it is given up");
        assert_eq!(given_up.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(connection);
        assert_eq!(places.available_permits(), 2);
        let mut whole = TcpStream::connect(address).await.unwrap();
        whole.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        connection.read_exact(&mut buffer[..PREFACE]).await.unwrap();
        assert!(tokio::time::timeout(2 * patience, connection.read(&mut buffer)).await.is_err());
    }
}
