//! Lines over UDP. Datagrams are lost while nobody receives them: a thread does nothing else, and what it has heard waits for
//! whoever handles it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::drops::Drops;
use crate::lines::LineSink;
use crate::metrics::Counted;

/// The largest datagram that there can be.
const DATAGRAM: usize = 64 << 10;

/// Bytes that are handed on together.
const TOGETHER: usize = 64 << 10;

/// How many of those may wait, 32 MiB of them at most; then nothing is received until there is room, and what the system cannot keep is
/// lost and counted.
const WAITING: usize = 256;

/// How often it is still looked what has arrived, once told to stop: more than a socket keeps.
const LAST: usize = 256;

/// Pause after a failure to receive.
const PAUSE: Duration = Duration::from_millis(100);

/// How often it is asked what the system had no room for.
const LOOK: Duration = Duration::from_secs(5);

/// Serves until told to stop; what has arrived by then is handed on.
pub(crate) async fn serve<S: LineSink>(
    socket: std::net::UdpSocket,
    sink: Arc<S>,
    counted: Counted,
    stop: CancellationToken,
) {
    let (heard, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let protocol = counted.protocol();
    // Tasks would wait for each other, and for a flush that holds a thread.
    let receiving = tokio::task::spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        runtime.block_on(receive(socket, heard, counted, stop))
    });
    while let Some(lines) = waiting.recv().await {
        sink.take(&lines, false).await;
        // Who sends without pause must not keep others from running.
        tokio::task::yield_now().await;
    }
    if let Ok(Err(error)) = receiving.await {
        error!(%error, protocol, "no datagrams are received any more");
    }
}

async fn receive(
    socket: std::net::UdpSocket,
    heard: mpsc::Sender<Vec<u8>>,
    counted: Counted,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut drops = Drops::of(&socket);
    let socket = UdpSocket::from_std(socket)?;
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut datagram = vec![0; DATAGRAM];
    let mut lines = Vec::with_capacity(2 * TOGETHER);
    let mut left = LAST;
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            // Who would have handled it was dropped.
            () = heard.closed() => return Ok(()),
            _ = look.tick() => {
                counted.lost(drops.more());
                false
            }
            readable = socket.readable() => {
                if let Err(error) = readable {
                    warn!(%error, protocol = counted.protocol(), "no datagram could be received");
                    tokio::time::sleep(PAUSE).await;
                }
                false
            }
        };
        lines.clear();
        while lines.len() < TOGETHER
            && let Ok(length) = socket.try_recv(&mut datagram)
        {
            counted.bytes(length);
            lines.extend_from_slice(datagram.get(..length).unwrap_or_default());
            lines.push(b'\n');
        }
        if !lines.is_empty() && heard.send(lines.clone()).await.is_err() {
            return Ok(());
        }
        if stopping {
            if lines.is_empty() || left == 0 {
                counted.lost(drops.more());
                return Ok(());
            }
            left -= 1;
        }
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
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
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

    /// Takes its time over the first lines.
    struct Slow(AtomicUsize);

    impl LineSink for Slow {
        async fn take(&self, lines: &[u8], _: bool) {
            if self.0.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let taken = lines.iter().filter(|byte| **byte == b'\n').count();
            self.0.fetch_add(taken, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_comes_while_the_last_is_handled_waits() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        // Room for some forty of the datagrams below.
        socket2::SockRef::from(&socket).set_recv_buffer_size(64 << 10).unwrap();
        let to = socket.local_addr().unwrap();
        let sink = Arc::new(Slow(AtomicUsize::new(0)));
        let counted = ListenerMetrics::register(&mut Registry::default()).of("test");
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(socket, sink.clone(), counted, stop.clone()));
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..30 {
            for _ in 0..10 {
                sender.send_to(&[b'x'; 1_000], to).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        serving.await.unwrap();
        assert_eq!(sink.0.load(Ordering::Relaxed), 300, "none is lost");
    }

    #[test]
    fn a_runtime_that_ends_is_not_held_up() {
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            let counted = ListenerMetrics::register(&mut Registry::default()).of("test");
            runtime.spawn(serve(
                socket,
                Arc::new(Slow(AtomicUsize::new(0))),
                counted,
                CancellationToken::new(),
            ));
            std::thread::sleep(Duration::from_millis(100));
            drop(runtime);
            done.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(20)).expect("it ends");
    }
}
