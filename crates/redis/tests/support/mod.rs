//! A TCP forwarder that can be switched off, on, and to silence, so that no test stops the shared server.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Stands before a server at a port of its own.
pub(crate) struct Forwarder {
    server: String,
    address: SocketAddr,
    silent: watch::Sender<bool>,
    running: Option<AbortHandle>,
}

impl Forwarder {
    /// Starts switched off, at a port that is free.
    pub(crate) async fn new(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        Self { server: server.to_owned(), address, silent: watch::Sender::new(false), running: None }
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections and passes bytes on.
    pub(crate) async fn on(&mut self) {
        self.off().await;
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        let (server, silent) = (self.server.clone(), self.silent.subscribe());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&server).await.expect("the real server");
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), upstream.into_split());
                let silent = silent.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = pump(from_client, to_server, silent.clone()) => {}
                        () = pump(from_server, to_client, silent) => {}
                    }
                });
            }
        });
        self.running = Some(task.abort_handle());
    }

    /// Breaks all connections and closes the port.
    pub(crate) async fn off(&mut self) {
        if let Some(task) = self.running.take() {
            task.abort();
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// While silent, connections stand but no byte passes.
    pub(crate) fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut silent: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
