//! Loading a server with requests made beforehand, at next to no cost: one write a request, and of the answer no more
//! is read than its status and its length.

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request of remote write as it goes over the wire.
pub(crate) fn remote_write(packed: &[u8]) -> Bytes {
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
         X-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    Bytes::from([head.as_bytes(), packed].concat())
}

/// One connection, one request at a time.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a whole request and reads the whole answer, which must be one of success.
    async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let end = loop {
            anyhow::ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "the server closed the connection"
            );
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).into_owned();
        let status: u16 =
            head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("not an answer of HTTP")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        while self.buffer.len() < end + length.unwrap_or(0) {
            anyhow::ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the answer ends too early");
        }
        let body = self.buffer.get(end..).unwrap_or_default();
        anyhow::ensure!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(body));
        Ok(())
    }
}

/// Sends several lists of requests, each in its order over a connection of its own, and waits for every answer.
pub(crate) async fn send_all(address: &str, lists: Vec<Vec<Bytes>>) -> Result<()> {
    let mut senders = Vec::new();
    for list in lists {
        let mut connection = Connection::open(address).await?;
        senders.push(tokio::spawn(async move {
            for request in list {
                connection.send(&request).await?;
            }
            anyhow::Ok(())
        }));
    }
    for sender in senders {
        sender.await??;
    }
    Ok(())
}
