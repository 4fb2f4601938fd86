//! Targets that serve prepared pages: one socket for all, a path each, nothing computed while measuring.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Variants of a page, served in turn, so that values change from scrape to scrape.
const VARIANTS: usize = 4;

/// Where the targets are.
pub(crate) struct Targets {
    address: std::net::SocketAddr,
}

impl Targets {
    /// A target's address.
    pub(crate) fn url(&self, target: usize) -> String {
        format!("http://{}/{target}", self.address)
    }
}

/// Starts serving; every target has the same page, since its labels come from metricsd.
pub(crate) async fn serve(targets: usize, series: usize) -> Result<Targets> {
    let pages: Arc<Vec<Bytes>> = Arc::new((0..VARIANTS).map(|variant| answer(series, variant)).collect());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(connection(socket, pages.clone()));
        }
    });
    anyhow::ensure!(targets > 0, "at least one target is needed");
    Ok(Targets { address })
}

fn answer(series: usize, variant: usize) -> Bytes {
    let mut page = String::from("# TYPE bench_requests_total counter\n");
    for line in 0..series {
        let value = (line * 37 + variant * 11) as f64 / 4.0;
        page.push_str(&format!(
            "bench_requests_total{{handler=\"/api/{line}\",code=\"200\",method=\"GET\"}} {value}\n"
        ));
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    Bytes::from([head.into_bytes(), page.into_bytes()].concat())
}

/// Answers one request after another; scrapes send no body, so a blank line ends each.
async fn connection(mut socket: TcpStream, pages: Arc<Vec<Bytes>>) {
    let _ = socket.set_nodelay(true);
    let mut buffer = vec![0u8; 8 << 10];
    let mut filled = 0;
    for turn in 0.. {
        while !buffer[..filled].ends_with(b"\r\n\r\n") {
            match socket.read(&mut buffer[filled..]).await {
                Ok(0) | Err(_) => return,
                Ok(read) => filled += read,
            }
        }
        filled = 0;
        if socket.write_all(&pages[turn % pages.len()]).await.is_err() {
            return;
        }
    }
}
