//! The connections of the HTTP port: bounded in number, the silent ones make room for others, and who never begins to speak
//! is not waited for.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A connection over which something went within this is not displaced by another.
const BUSY: Duration = Duration::from_secs(1);

/// What HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Answers a connection for which there is no place.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Length: 70\r\n\r\n\
    as many connections are open and at work as may (http.max_connections)";

/// Between two lines of the log about too many connections.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What becomes of connections.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionMetrics {
    open: Gauge,
    closed: Family<ReasonLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl ConnectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let http = registry.sub_registry_with_prefix("http");
        http.register("connections", "Connections that are open", metrics.open.clone());
        let help = "Connections that were refused, or closed on a client, by reason";
        http.register("closed_connections", help, metrics.closed.clone());
        metrics
    }

    fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// The places of the port.
pub(super) struct Places {
    most: usize,
    /// How long a head may take, and the first bytes from which the version of HTTP is known.
    patience: Duration,
    started: Instant,
    taken: Mutex<Taken>,
    metrics: ConnectionMetrics,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by_id: HashMap<u64, Arc<Guest>>,
    told: Option<Instant>,
}

/// One connection.
pub(super) struct Guest {
    /// When something went over it, in milliseconds since the start.
    heard: AtomicU64,
    /// Requests that are at work.
    at_work: AtomicUsize,
    leave: CancellationToken,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    id: u64,
    guest: Arc<Guest>,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(most: usize, patience: Duration, metrics: ConnectionMetrics) -> Arc<Self> {
        let (started, taken) = (Instant::now(), Mutex::default());
        Arc::new(Self { most: most.max(1), patience, started, taken, metrics })
    }

    /// How long the head of a request may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// A place; where there is none the connection that has been silent for longest leaves. `None` where all are at work.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let now = self.millis();
        let mut taken = self.taken.lock();
        if taken.by_id.len() >= self.most {
            self.tell(&mut taken);
            let Some((id, guest)) = silent(&taken.by_id, now) else {
                self.metrics.closed("refused");
                return None;
            };
            guest.leave.cancel();
            taken.by_id.remove(&id);
            self.metrics.closed("displaced");
        }
        let (heard, at_work) = (AtomicU64::new(now), AtomicUsize::new(0));
        let guest = Arc::new(Guest { heard, at_work, leave: CancellationToken::new() });
        taken.next += 1;
        let id = taken.next;
        taken.by_id.insert(id, guest.clone());
        self.metrics.open.set(taken.by_id.len() as i64);
        Some(Place { id, guest, places: self.clone() })
    }

    fn tell(&self, taken: &mut Taken) {
        if taken.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            taken.told = Some(Instant::now());
            warn!(
                limit = self.most,
                "as many connections are open as may (http.max_connections); silent ones are closed for new ones"
            );
        }
    }

    fn millis(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// Who has been silent for longest of those that are not at work.
fn silent(guests: &HashMap<u64, Arc<Guest>>, now: u64) -> Option<(u64, Arc<Guest>)> {
    let idle = guests.iter().filter(|(_, guest)| guest.at_work.load(Ordering::Relaxed) == 0);
    let (id, guest) = idle.min_by_key(|(_, guest)| guest.heard.load(Ordering::Relaxed))?;
    let silent = now.saturating_sub(guest.heard.load(Ordering::Relaxed));
    (silent >= BUSY.as_millis() as u64).then(|| (*id, guest.clone()))
}

impl Place {
    /// Ends when another needs the place more.
    pub(super) async fn displaced(&self) {
        self.guest.leave.cancelled().await;
    }

    /// The connection that has this place.
    pub(super) fn guest(&self) -> Arc<Guest> {
        self.guest.clone()
    }

    /// The socket of this place.
    pub(super) fn watch(&self, socket: TcpStream) -> Socket {
        let patience = Some(Box::pin(tokio::time::sleep(self.places.patience)));
        Socket { socket, guest: self.guest.clone(), places: self.places.clone(), seen: 0, patience }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.by_id.remove(&self.id);
        self.places.metrics.open.set(taken.by_id.len() as i64);
    }
}

impl Guest {
    /// Counts a request as at work until what is answered is dropped: its head is about to be sent. A client that does not read what
    /// follows must not keep a place that others need.
    pub(super) fn work(self: &Arc<Self>) -> AtWork {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(self.clone())
    }
}

/// A request that is at work.
pub(super) struct AtWork(Arc<Guest>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says that there is no place; who does not read it at once is not waited for.
pub(super) fn refuse(socket: &TcpStream) {
    let _ = socket.try_write(REFUSAL);
}

/// A socket that notes when something goes over it, and gives up where the version of HTTP is not told in time: the server
/// looks at the clock only after that.
pub(super) struct Socket {
    socket: TcpStream,
    guest: Arc<Guest>,
    places: Arc<Places>,
    /// Bytes so far of what may be the preface of HTTP/2.
    seen: usize,
    /// Until the version is known.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    fn heard(&self) {
        self.guest.heard.store(self.places.millis(), Ordering::Relaxed);
    }

    /// Follows the first bytes until the version is known by them.
    fn follow(&mut self, read: &[u8]) {
        if self.patience.is_none() {
            return;
        }
        let rest = PREFACE.get(self.seen..).unwrap_or_default();
        let common = rest.iter().zip(read).take_while(|(expected, found)| expected == found).count();
        self.seen += common;
        if common < read.len() || self.seen >= PREFACE.len() {
            self.patience = None;
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, into);
        if read.is_ready() {
            self.heard();
            self.follow(into.filled().get(before..).unwrap_or_default());
        } else if let Some(patience) = &mut self.patience
            && patience.as_mut().poll(context).is_ready()
        {
            self.places.metrics.closed("silent");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        if written.is_ready() {
            self.heard();
        }
        written
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
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        if written.is_ready() {
            self.heard();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Allows this process as many open files as it may have, and answers how many connections of at most `wanted` leave room
/// for files and for connections to databases.
pub(super) fn room(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let mut raised = limit;
        raised.current = limit.maximum.map_or(Some(MOST_FILES), |most| Some(most.min(MOST_FILES)));
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let files = limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    wanted.min(files / 4 * 3)
}

/// More open files than this are not asked for.
const MOST_FILES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_silent_make_room_and_those_at_work_stay() {
        let places = Places::new(2, BUSY, ConnectionMetrics::default());
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none(), "both have just come");
        let long_ago = |place: &Place| place.guest.heard.store(0, Ordering::Relaxed);
        tokio::time::sleep(BUSY + Duration::from_millis(50)).await;
        long_ago(&first);
        let at_work = first.guest().work();
        let third = places.take().unwrap();
        second.displaced().await;
        assert!(!first.guest.leave.is_cancelled(), "it is silent, and waits for its answer");
        assert!(places.take().is_none());
        drop(at_work);
        drop(second);
        let fourth = places.take().unwrap();
        first.displaced().await;
        drop((first, third, fourth));
        assert_eq!(places.taken.lock().by_id.len(), 0);
        assert_eq!(places.metrics.closed.get_or_create(&ReasonLabel { reason: "displaced" }).get(), 2);
    }

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
