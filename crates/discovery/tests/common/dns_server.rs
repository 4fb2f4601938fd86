//! A server that speaks DNS over UDP and TCP on one port of loopback, and says what a test has it say.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// What an answer over UDP holds where the question does not say more (RFC 1035, section 4.2.1).
const UDP_BYTES: usize = 512;

/// What a name has; a name that is not known does not exist.
#[derive(Clone)]
pub enum Answer {
    Records(Vec<RData>),
    Code(ResponseCode),
}

#[derive(Default)]
struct Zone {
    answers: Mutex<HashMap<(String, RecordType), Answer>>,
    over_tcp: AtomicUsize,
}

pub struct DnsServer {
    pub address: SocketAddr,
    zone: Arc<Zone>,
    tasks: [JoinHandle<()>; 2],
}

impl DnsServer {
    pub async fn start() -> Self {
        let zone = Arc::<Zone>::default();
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // The same port may be taken for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let tasks = [tokio::spawn(serve_udp(udp, zone.clone())), tokio::spawn(serve_tcp(tcp, zone.clone()))];
        Self { address, zone, tasks }
    }

    /// Has a name, with its final dot, have these records.
    pub fn set(&self, name: &str, kind: RecordType, answer: Answer) {
        self.zone.answers.lock().insert((name.to_owned(), kind), answer);
    }

    pub fn remove(&self, name: &str, kind: RecordType) {
        self.zone.answers.lock().remove(&(name.to_owned(), kind));
    }

    pub fn asked_over_tcp(&self) -> usize {
        self.zone.over_tcp.load(Ordering::Relaxed)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Zone {
    fn answer(&self, question: &[u8], room: usize) -> Vec<u8> {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_available = true;
        answer.queries.push(query.clone());
        let known =
            self.answers.lock().get(&(query.name.to_ascii().to_lowercase(), query.query_type)).cloned();
        match known.unwrap_or(Answer::Code(ResponseCode::NXDomain)) {
            Answer::Code(code) => answer.metadata.response_code = code,
            Answer::Records(records) => {
                let record = |data| Record::from_rdata(query.name.clone(), 60, data);
                answer.answers.extend(records.into_iter().map(record));
            }
        }
        let bytes = answer.to_vec().unwrap();
        if bytes.len() <= room {
            return bytes;
        }
        answer.answers.clear();
        answer.metadata.truncation = true;
        answer.to_vec().unwrap()
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = vec![0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let answer = zone.answer(&buffer[..length], UDP_BYTES);
        socket.send_to(&answer, from).await.unwrap();
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_stream(stream, zone.clone()));
    }
}

/// Each message after its length (RFC 1035, section 4.2.2).
async fn serve_stream(mut stream: TcpStream, zone: Arc<Zone>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        zone.over_tcp.fetch_add(1, Ordering::Relaxed);
        let answer = zone.answer(&question, usize::from(u16::MAX));
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

/// A name, with its final dot.
pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}
