//! Lines over TCP, within limits: connections, bytes of a line, and time without a whole line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::connections::{Place, Places};
use crate::limits::ListenLimits;
use crate::lines::LineSink;
use crate::metrics::{Closed, Counted, Dropped};

/// Bytes read at once.
const READ: usize = 64 << 10;

/// Pause after a failure to accept, such as no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of a listener share.
struct Shared<S> {
    sink: Arc<S>,
    limits: ListenLimits,
    counted: Counted,
    stop: CancellationToken,
}

/// Serves until told to stop; what was read by then is handed on.
pub(crate) async fn serve<S: LineSink>(
    listener: TcpListener,
    sink: Arc<S>,
    limits: ListenLimits,
    counted: Counted,
    stop: CancellationToken,
) {
    let places = Places::new(limits.max_connections);
    let shared = Arc::new(Shared { sink, limits, counted, stop });
    let connections = TaskTracker::new();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    warn!(%error, protocol = shared.counted.protocol(), "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = shared.stop.cancelled() => break,
        };
        let Some((place, displaced)) = places.take() else {
            shared.counted.closed(Closed::Refused);
            continue;
        };
        if displaced {
            shared.counted.closed(Closed::Displaced);
        }
        shared.counted.connections(places.len());
        let (shared, places) = (shared.clone(), places.clone());
        connections.spawn(async move {
            Connection::new(socket, &shared).run(&place).await;
            drop(place);
            shared.counted.connections(places.len());
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

struct Connection<'s, S> {
    socket: TcpStream,
    shared: &'s Shared<S>,
    /// The beginning of a line; nothing is held while nothing comes.
    held: Vec<u8>,
    /// The rest of the line is passed over: it is too long.
    skipping: bool,
}

impl<'s, S: LineSink> Connection<'s, S> {
    fn new(socket: TcpStream, shared: &'s Shared<S>) -> Self {
        Self { socket, shared, held: Vec::new(), skipping: false }
    }

    async fn run(&mut self, place: &Place) {
        let idle = self.shared.limits.idle_timeout;
        let mut deadline = Instant::now() + idle;
        loop {
            tokio::select! {
                readable = self.socket.readable() => if readable.is_err() { break },
                () = tokio::time::sleep_until(deadline) => {
                    self.shared.counted.closed(Closed::Idle);
                    return;
                }
                () = place.displaced() => return,
                () = self.shared.stop.cancelled() => break,
            }
            self.held.reserve(READ);
            match self.socket.try_read_buf(&mut self.held) {
                Ok(0) => break,
                Ok(length) => {
                    self.shared.counted.bytes(length);
                    if self.pass_lines().await {
                        place.heard();
                        deadline = Instant::now() + idle;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            if self.held.is_empty() {
                self.held = Vec::new();
            }
        }
        // A last line may lack its line feed.
        if !self.skipping && !self.held.is_empty() {
            self.shared.sink.take(&self.held, true).await;
        }
    }

    /// Hands on whole lines; answers whether there was any.
    async fn pass_lines(&mut self) -> bool {
        let Some(end) = memchr::memrchr(b'\n', &self.held) else {
            if self.skipping || self.held.len() > self.shared.limits.max_line_bytes {
                if !self.skipping {
                    self.shared.counted.lines(1);
                    self.shared.counted.dropped(Dropped::TooLong, 1);
                }
                self.skipping = true;
                self.held.clear();
            }
            return false;
        };
        let (mut lines, _) = self.held.split_at(end + 1);
        if self.skipping {
            let first = memchr::memchr(b'\n', lines).unwrap_or(end);
            (_, lines) = lines.split_at(first + 1);
            self.skipping = false;
        }
        self.shared.sink.take(lines, true).await;
        self.held.drain(..=end);
        true
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::metrics::ListenerMetrics;

    /// Never has room for a line.
    struct Full;

    impl LineSink for Full {
        async fn take(&self, _: &[u8], _: bool) {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn connections_are_bounded_though_no_line_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ListenLimits { max_connections: 2, ..ListenLimits::default() };
        let counted = ListenerMetrics::register(&mut Registry::default()).of("test");
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Arc::new(Full), limits, counted, stop));
        let connect = async || {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"a 1 1\n").await.unwrap();
            socket
        };
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(connect().await);
            open.push(connect().await);
            // Who spoke just now is not displaced.
            tokio::time::sleep(Duration::from_millis(1_200)).await;
        }
        let mut one_more = connect().await;
        let closed = tokio::time::timeout(Duration::from_secs(5), one_more.read(&mut [0; 8])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
        let still = tokio::time::timeout(Duration::from_millis(50), open[3].read(&mut [0; 8])).await;
        assert!(still.is_err(), "{still:?}");
        serving.abort();
    }
}
