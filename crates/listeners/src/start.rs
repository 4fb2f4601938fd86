//! Sockets, and what serves them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

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
    udp: std::net::UdpSocket,
}

/// Bytes of datagrams that the system keeps until they are received. With its usual bound it keeps 208 KiB.
const RECEIVE_BUFFER: usize = 8 << 20;

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
    // As much as there may be: what is larger than the system allows becomes that.
    if let Err(error) = SockRef::from(&udp).set_recv_buffer_size(RECEIVE_BUFFER) {
        debug!(%error, "the receive buffer stays as large as it is");
    }
    Ok(Sockets { address, tcp, udp: udp.into_std()? })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_keeps_as_much_as_it_may() {
        let sockets = bind("127.0.0.1:0").await.unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        let most: usize = most.trim().parse().unwrap();
        // Linux takes twice as much, for what it keeps beside the bytes.
        let kept = SockRef::from(&sockets.udp).recv_buffer_size().unwrap();
        assert_eq!(kept, 2 * most.min(RECEIVE_BUFFER));
    }
}
