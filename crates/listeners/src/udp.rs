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
        } else if stopping {
            return;
        }
        // Who sends without pause must not keep others from running.
        tokio::task::yield_now().await;
    }
}
