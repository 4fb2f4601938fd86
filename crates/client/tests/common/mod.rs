//! Small real servers on loopback.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod certificates;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use metricsd_client::{AddressPolicy, ClientError, Context, HeaderMap, HttpClient, Response};
use metricsd_model::{HttpOptions, Secret, SecretSource};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// A server that keeps what it was asked.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The head and body of the last request.
    pub(crate) fn last(&self) -> String {
        self.seen.lock().last().cloned().unwrap_or_default()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

/// Serves `answer`, which gets the head and body of each request.
pub(crate) async fn serve<A>(tls: Option<ServerConfig>, answer: A) -> Server
where
    A: Fn(&str) -> String + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (kept, answer) = (seen.clone(), Arc::new(answer));
    let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (kept, answer, acceptor) = (kept.clone(), answer.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => talk(socket, &kept, &*answer).await,
                    Some(acceptor) => {
                        if let Ok(socket) = acceptor.accept(socket).await {
                            talk(socket, &kept, &*answer).await;
                        }
                    }
                }
            });
        }
    });
    Server { address, seen }
}

async fn talk<S>(mut socket: S, seen: &Mutex<Vec<String>>, answer: &(dyn Fn(&str) -> String + Send + Sync))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(request) = read_request(&mut socket).await {
        seen.lock().push(request.clone());
        if socket.write_all(answer(&request).as_bytes()).await.is_err() {
            break;
        }
        let _ = socket.flush().await;
    }
}

pub(crate) async fn read_request<S: AsyncRead + Unpin>(socket: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).unwrap();
    let length = header(&text, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(text + &String::from_utf8(body).unwrap())
}

/// A header out of a request's head.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn status(line: &str, headers: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n{headers}\r\n")
}

/// A proxy that lets everybody through to `upstream`, whatever host was asked for, and answers plain requests itself.
pub(crate) async fn proxy(upstream: SocketAddr, tls: Option<ServerConfig>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (kept, acceptor) = (kept.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => relay(socket, &kept, upstream).await,
                    Some(acceptor) => relay(acceptor.accept(socket).await.unwrap(), &kept, upstream).await,
                }
            });
        }
    });
    Server { address, seen }
}

async fn relay<S>(mut socket: S, seen: &Mutex<Vec<String>>, upstream: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(request) = read_request(&mut socket).await {
        let tunnel = request.starts_with("CONNECT ");
        let refused = request.contains("forbidden.example");
        seen.lock().push(request);
        if refused {
            let _ = socket.write_all(b"HTTP/1.1 403 Not For You\r\nContent-Length: 0\r\n\r\n").await;
        } else if tunnel {
            let mut upstream = TcpStream::connect(upstream).await.unwrap();
            socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut socket, &mut upstream).await;
            return;
        } else {
            socket.write_all(ok("by the proxy").as_bytes()).await.unwrap();
        }
    }
}

/// A folder that goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("metricsd-client-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> SecretSource {
        std::fs::write(self.0.join(name), text).unwrap();
        SecretSource::File(name.to_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text))
}

/// A context whose relative paths start in `folder`, and whose environment is `environment`.
pub(crate) fn context(folder: &Path, environment: &[(&str, &str)]) -> Context {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let read = Arc::new(move |name: &str| environment.get(name).cloned());
    Context::operator(folder, Arc::new(AddressPolicy::default()), read)
}

pub(crate) fn client(options: &HttpOptions) -> HttpClient {
    HttpClient::new(options, &context(Path::new("/"), &[])).unwrap()
}

pub(crate) async fn get(client: &HttpClient, url: &str) -> Result<Response, ClientError> {
    client.get(&Url::parse(url).unwrap(), HeaderMap::new(), Duration::from_secs(5)).await
}

/// The status and the whole body.
pub(crate) async fn fetch(client: &HttpClient, url: &str) -> Result<(u16, String), ClientError> {
    let mut response = get(client, url).await?;
    let body = response.bytes(1 << 20).await?;
    Ok((response.status.as_u16(), String::from_utf8(body).unwrap()))
}
