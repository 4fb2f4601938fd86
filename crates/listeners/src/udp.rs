//! Lines over UDP: several datagrams are handed on together where they come faster than they are handled.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::lines::LineSink;
use crate::metrics::Counted;

/// The largest datagram that there can be.
const DATAGRAM: usize = 64 << 10;

/// Bytes that are handed on together.
const TOGETHER: usize = 64 << 10;

/// How often it is still looked what has arrived, once told to stop: more than a socket keeps.
const LAST: usize = 64;

/// Pause after a failure to receive.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until told to stop; what has arrived by then is handed on.
pub(crate) async fn serve<S: LineSink>(
    socket: UdpSocket,
    sink: Arc<S>,
    counted: Counted,
    stop: CancellationToken,
) {
    let mut datagram = vec![0; DATAGRAM];
    let mut lines = Vec::with_capacity(2 * TOGETHER);
    let mut left = LAST;
    loop {
        let stopping = tokio::select! {
            readable = socket.readable() => {
                if let Err(error) = readable {
                    warn!(%error, protocol = counted.protocol(), "no datagram could be received");
                    tokio::time::sleep(PAUSE).await;
                }
                false
            }
            () = stop.cancelled() => true,
        };
        lines.clear();
        while lines.len() < TOGETHER
            && let Ok(length) = socket.try_recv(&mut datagram)
        {
            counted.bytes(length);
            lines.extend_from_slice(datagram.get(..length).unwrap_or_default());
            lines.push(b'\n');
        }
        if !lines.is_empty() {
            sink.take(&lines, false).await;
        }
        if stopping {
            if lines.is_empty() || left == 0 {
                return;
            }
            left -= 1;
        }
        // Who sends without pause must not keep others from running.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::ListenerMetrics;

    /// Sends two lines for each that it is given.
    struct Echo {
        to: SocketAddr,
        taken: AtomicUsize,
    }

    impl LineSink for Echo {
        async fn take(&self, lines: &[u8], _: bool) {
            self.taken.fetch_add(lines.len(), Ordering::Relaxed);
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            for _ in 0..2 {
                socket.send_to(b"a", self.to).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn who_sends_without_pause_does_not_keep_it_from_stopping() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = socket.local_addr().unwrap();
        let sink = Arc::new(Echo { to, taken: AtomicUsize::new(0) });
        let counted = ListenerMetrics::register(&mut Registry::default()).of("test");
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(socket, sink.clone(), counted, stop.clone()));
        sink.take(b"", true).await;
        while sink.taken.load(Ordering::Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it stops").unwrap();
    }
}
