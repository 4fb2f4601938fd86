//! A line between one process and Postgres that can be cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Nothing arrives, in both directions, and nobody is told. What was sent arrives when the line is open again.
    Silent,
    /// Everything arrives so much later.
    Slow(Duration),
    /// What the process sends ends; what the server sends arrives.
    HalfClosed,
    /// Connections end, and new ones too.
    Refused,
}

/// Ends with its owner.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    line: Arc<watch::Sender<Line>>,
}

impl Proxy {
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Arc::new(watch::Sender::new(Line::Open));
        let watched = line.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream, watched.clone()));
            }
        });
        Self { port, line }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn carry(client: TcpStream, upstream: u16, mut line: watch::Receiver<Line>) {
    // Whoever connects while nothing arrives waits.
    if line.wait_for(|line| *line != Line::Silent).await.is_err() || *line.borrow() == Line::Refused {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = pump(from_client, to_server, line.clone(), true);
    let down = pump(from_server, to_client, line.clone(), false);
    let refused = async move {
        // An error means that the test is over.
        let _ = line.wait_for(|line| *line == Line::Refused).await;
    };
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        () = refused => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    is_up: bool,
) -> Option<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let half_closed = async {
            let _ = line.clone().wait_for(|line| is_up && *line == Line::HalfClosed).await;
        };
        let read = tokio::select! {
            read = from.read(&mut bytes) => read.ok()?,
            () = half_closed => 0,
        };
        line.wait_for(|line| *line != Line::Silent).await.ok()?;
        let now = *line.borrow();
        if let Line::Slow(by) = now {
            tokio::time::sleep(by).await;
        }
        if read == 0 {
            to.shutdown().await.ok()?;
            // The process's own end stays open as long as the other direction is.
            return Some(());
        }
        to.write_all(bytes.get(..read)?).await.ok()?;
    }
}
