//! Streams as clients see them.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::Service;

pub const STREAM: &str = "/api/v1/metrics/stream";

pub fn items(numbers: std::ops::RangeInclusive<u64>) -> String {
    let item = |number| json!({"name": "n", "labels": {"i": format!("{number}")}, "value": number});
    numbers.map(|number| item(number).to_string() + "\n").collect()
}

/// A body whose parts come when they are sent.
pub fn open_body() -> (futures::channel::mpsc::Sender<Result<Bytes, std::io::Error>>, Body) {
    let (sender, parts) = futures::channel::mpsc::channel(8);
    (sender, Body::from_stream(parts))
}

/// Lines of an answer, as they come.
pub struct Lines(pub axum::body::BodyDataStream, pub Vec<u8>);

impl Lines {
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.1.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await.expect("in time");
            self.1.extend_from_slice(&chunk?.unwrap());
        }
    }
}

pub async fn post(service: &Service, query: &str, media_type: &str, body: Body) -> (u16, Lines) {
    let request = Request::post(format!("{STREAM}{query}")).header("content-type", media_type).body(body);
    let response = service.router.clone().oneshot(request.unwrap()).await.unwrap();
    (response.status().as_u16(), Lines(response.into_body().into_data_stream(), Vec::new()))
}

/// A service on a socket.
pub async fn serve(service: &Service) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = service.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A WebSocket by hand: frames of less than 64 KiB, masked with zeros.
pub struct Socket(pub TcpStream, pub Vec<u8>);

impl Socket {
    pub async fn open(address: &str, path: &str) -> Self {
        let (socket, head) = Self::ask(address, path, "").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        socket
    }

    /// Asks for one with headers of its own, each a line; answers the head of the answer.
    pub async fn ask(address: &str, path: &str, headers: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut socket = Self(stream, Vec::new());
        let end = loop {
            if let Some(end) = socket.1.windows(4).position(|part| part == b"\r\n\r\n") {
                break end;
            }
            socket.fill().await;
        };
        let head: Vec<u8> = socket.1.drain(..end + 4).collect();
        (socket, String::from_utf8(head).unwrap())
    }

    async fn fill(&mut self) {
        let mut bytes = [0; 4_096];
        let read = tokio::time::timeout(Duration::from_secs(10), self.0.read(&mut bytes)).await;
        let count = read.expect("in time").unwrap();
        assert!(count > 0, "closed");
        self.1.extend_from_slice(&bytes[..count]);
    }

    pub async fn send(&mut self, kind: u8, payload: &[u8]) {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&[0x80 | kind, 0x80 | 126][..], &length, &[0; 4]].concat();
        self.0.write_all(&[&head, payload].concat()).await.unwrap();
    }

    /// Kind and payload of the next frame.
    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        while self.1.len() < 2 {
            self.fill().await;
        }
        let (head, length) = match self.1[1] {
            126 => {
                while self.1.len() < 4 {
                    self.fill().await;
                }
                (4, usize::from(u16::from_be_bytes([self.1[2], self.1[3]])))
            }
            length => (2, usize::from(length)),
        };
        while self.1.len() < head + length {
            self.fill().await;
        }
        let frame: Vec<u8> = self.1.drain(..head + length).collect();
        (frame[0] & 0x0f, frame[head..].to_vec())
    }

    pub async fn json(&mut self) -> Value {
        let (kind, payload) = self.next().await;
        assert_eq!(kind, 1, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }
}
