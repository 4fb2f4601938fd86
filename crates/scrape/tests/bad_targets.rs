//! Targets that misbehave, each over a real socket: every one ends with its reason, in time and within its bytes.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_client::{Context, SecretAccess};
use metricsd_model::{
    AuthConfig, CollectionMethod, FailureReason, MetricSource, PromDuration, ScrapeConfig, ScrapeOptions,
    Secret, TargetSpec,
};
use metricsd_scrape::client::{Page, PageRequest, ScrapeError};
use metricsd_scrape::{AddressPolicy, PageClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

const MAX_PAGE: usize = 1 << 20;

/// Serves every connection with `answer`, after the request's head was read; gives the address and the requests' heads.
async fn serve<F, R>(answer: F) -> (String, Arc<parking_lot::Mutex<Vec<String>>>)
where
    F: Fn(TcpStream, usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match socket.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let count = {
                let mut seen = seen.lock();
                seen.push(String::from_utf8_lossy(&head).into_owned());
                seen.len()
            };
            tokio::spawn(answer(socket, count));
        }
    });
    (format!("http://{address}/metrics"), heads)
}

async fn fixed(answer: impl Into<Vec<u8>>) -> String {
    let answer: Vec<u8> = answer.into();
    let serving = serve(move |mut socket, _| {
        let answer = answer.clone();
        async move {
            let _ = socket.write_all(&answer).await;
        }
    });
    serving.await.0
}

fn spec(url: &str, authentication: Option<AuthConfig>, options: ScrapeOptions) -> TargetSpec {
    let whole = Url::parse(url).unwrap();
    TargetSpec {
        target_id: "t".into(),
        source_id: "s".into(),
        source_type: MetricSource::Application,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: url.to_owned(),
            scrape_interval: PromDuration::from_secs(15),
            scrape_timeout: PromDuration(Duration::from_millis(1_500)),
            metrics_path: whole.path().to_owned(),
            scheme: whole.scheme().to_owned(),
            authentication,
            honor_labels: false,
            honor_timestamps: true,
            options: Arc::new(options),
        },
        labels: BTreeMap::new(),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}

fn client(policy: AddressPolicy) -> PageClient {
    let context = Context::operator("/", Arc::new(policy), Arc::new(|_| None));
    let confined = SecretAccess::Confined { directory: None, env_prefix: "METRICSD_SECRET_".to_owned() };
    PageClient::new(context, confined, MAX_PAGE)
}

async fn fetch(url: &str) -> Result<Page, ScrapeError> {
    fetch_with(url, AddressPolicy::default(), None).await
}

async fn fetch_with(url: &str, policy: AddressPolicy, auth: Option<AuthConfig>) -> Result<Page, ScrapeError> {
    fetch_as(policy, &spec(url, auth, ScrapeOptions::default())).await
}

async fn fetch_as(policy: AddressPolicy, spec: &TargetSpec) -> Result<Page, ScrapeError> {
    let started = Instant::now();
    let result = client(policy).fetch(&PageRequest::new(spec)?).await;
    assert!(started.elapsed() < Duration::from_secs(3), "a scrape ends soon after its timeout");
    result
}

async fn check(url: &str, reason: FailureReason, part: &str) {
    let error = fetch(url).await.unwrap_err();
    assert_eq!(error.reason, reason, "{error}");
    assert!(error.message.contains(part), "{:?} does not say {part:?}", error.message);
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_good_target_is_read_plain_and_compressed() {
    let page = b"a 1\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(page).unwrap();
    let zstd = zstd::encode_all(page.as_slice(), 0).unwrap();
    let bodies = [("", page.to_vec()), ("gzip", gzip.finish().unwrap()), ("zstd", zstd)];
    for (encoding, body) in bodies {
        let encoding =
            if encoding.is_empty() { String::new() } else { format!("Content-Encoding: {encoding}\r\n") };
        let url = fixed(ok(&format!("{encoding}Content-Type: text/plain; version=0.0.4\r\n"), &body)).await;
        let read = fetch(&url).await.unwrap();
        assert_eq!((&*read.body, read.content_type.as_str()), (page.as_slice(), "text/plain; version=0.0.4"));
    }
}

#[tokio::test]
async fn a_target_that_hangs_or_drips_times_out() {
    let (silent, _) = serve(|socket, _| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(socket);
    })
    .await;
    check(&silent, FailureReason::Timeout, "1s500ms").await;
    let (drip, _) = serve(|mut socket, _| async move {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while socket.write_all(b"a 1\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    check(&drip, FailureReason::Timeout, "1s500ms").await;
}

#[tokio::test]
async fn a_target_that_sends_a_gigabyte_is_cut_off() {
    let declared = fixed("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await;
    check(&declared, FailureReason::TooLarge, "limits.max_page_bytes").await;
    let (endless, _) = serve(|mut socket, _| async move {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let chunk = vec![b'a'; 64 << 10];
        for _ in 0..(1 << 30) / chunk.len() {
            if socket.write_all(&chunk).await.is_err() {
                break;
            }
        }
    })
    .await;
    check(&endless, FailureReason::TooLarge, "limits.max_page_bytes").await;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b'a'; 64 << 20]).unwrap();
    let bomb = fixed(ok("Content-Encoding: gzip\r\n", &bomb.finish().unwrap())).await;
    check(&bomb, FailureReason::TooLarge, "once decompressed").await;
}

#[tokio::test]
async fn a_target_that_breaks_off_or_talks_nonsense_fails_with_its_reason() {
    check(&fixed("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n").await, FailureReason::Connect, "")
        .await;
    check(&fixed("").await, FailureReason::Connect, "").await;
    check(&fixed("\u{1}\u{2}\u{3} no http\r\n\r\n").await, FailureReason::Connect, "").await;
    check(&fixed("HTTP/1.1 503 Oh No\r\nContent-Length: 0\r\n\r\n").await, FailureReason::Status, "503")
        .await;
    check(&fixed(ok("Content-Encoding: br\r\n", b"x")).await, FailureReason::Parse, "gzip and zstd").await;
    check(&fixed(ok("Content-Encoding: gzip\r\n", b"no gzip")).await, FailureReason::Parse, "damaged").await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/metrics", plain.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = plain.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    check(&url, FailureReason::Tls, "").await;
}

#[tokio::test]
async fn a_target_that_is_not_there_fails_with_its_reason() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(&format!("http://{unused}/"), FailureReason::Connect, "refused").await;
    check("http://no-such-host.invalid:9100/metrics", FailureReason::Dns, "no-such-host.invalid").await;
}

#[tokio::test]
async fn redirects_lead_no_further_than_targets_may() {
    let to =
        |location: &str| format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let metadata = fixed(to("http://169.254.169.254/latest/meta-data/")).await;
    check(&metadata, FailureReason::Forbidden, "169.254.169.254").await;
    let mapped = fixed(to("http://[::ffff:169.254.169.254]/")).await;
    check(&mapped, FailureReason::Forbidden, "metadata").await;
    check(&fixed(to("file:///etc/passwd")).await, FailureReason::Redirect, "http or https").await;
    check(&fixed(to("/metrics")).await, FailureReason::Redirect, "more than 10 redirects").await;
    check(
        &fixed("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await,
        FailureReason::Redirect,
        "Location",
    )
    .await;
    let good = fixed(ok("", b"a 1\n")).await;
    assert_eq!(&*fetch(&fixed(to(&good)).await).await.unwrap().body, b"a 1\n");
}

#[tokio::test]
async fn addresses_are_checked_after_names_are_resolved() {
    let closed = AddressPolicy { close_private: true, ..AddressPolicy::default() };
    let url = fixed(ok("", b"a 1\n")).await;
    for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
        let error = fetch_with(&url, closed.clone(), None).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Forbidden, "{url}: {error}");
    }
    check("http://169.254.169.254/", FailureReason::Forbidden, "scrape.allow_cidrs").await;
}

#[tokio::test]
async fn credentials_reach_their_host_and_no_other() {
    let (elsewhere, seen_elsewhere) = serve(|mut socket, _| async move {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let target = elsewhere.clone();
    let (url, seen) = serve(move |mut socket, count| {
        let target = target.clone();
        async move {
            let location = if count == 1 { "/again".to_owned() } else { target };
            let answer = format!(
                "HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let auth = AuthConfig::Header { name: "X-Key".into(), value: Secret::new("hunter2") };
    fetch_with(&url, AddressPolicy::default(), Some(auth)).await.unwrap();
    assert!(seen.lock().len() == 2 && seen.lock().iter().all(|head| head.contains("x-key: hunter2")));
    assert!(!seen_elsewhere.lock()[0].contains("hunter2"));
    let sealed = AuthConfig::Sealed { sealed: "v1:x".into() };
    let error = fetch_with(&url, AddressPolicy::default(), Some(sealed)).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Credentials);
}
