//! Sockets, and what serves them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::lines::LineSink;
use crate::metrics::Counted;
use crate::{ListenLimits, tcp, udp};

/// A listener that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// As it was asked for.
    pub address: String,
    source: io::Error,
}

/// A listener at work.
#[derive(Debug)]
pub struct Listening {
    /// Where, for TCP and UDP alike.
    pub address: SocketAddr,
    /// Ends when it was told to stop and all that it heard is stored.
    pub task: JoinHandle<()>,
}

pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    tcp: TcpListener,
    udp: UdpSocket,
}

/// How often a port that the system chooses for TCP may be another's for UDP.
const ATTEMPTS: usize = 8;

/// Both sockets of one address; port 0 lets the system choose.
pub(crate) async fn bind(address: &str) -> Result<Sockets, ListenError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match bind_both(address).await {
            Ok(sockets) => return Ok(sockets),
            Err(_) if address.ends_with(":0") && attempt < ATTEMPTS => {}
            Err(source) => return Err(ListenError { address: address.to_owned(), source }),
        }
    }
}

async fn bind_both(address: &str) -> io::Result<Sockets> {
    let tcp = TcpListener::bind(address).await?;
    let address = tcp.local_addr()?;
    let udp = UdpSocket::bind(address).await?;
    Ok(Sockets { address, tcp, udp })
}

/// Serves both until told to stop.
pub(crate) async fn serve<S: LineSink>(
    sockets: Sockets,
    sink: Arc<S>,
    limits: ListenLimits,
    counted: Counted,
    stop: CancellationToken,
) {
    let datagrams = udp::serve(sockets.udp, sink.clone(), counted.clone(), stop.clone());
    // A task of its own: datagrams are lost while nobody receives them.
    let datagrams = tokio::spawn(datagrams);
    tcp::serve(sockets.tcp, sink, limits, counted, stop).await;
    let _ = datagrams.await;
}
