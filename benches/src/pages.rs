//! Targets that serve prepared pages: an address of its own for each, nothing computed while measuring.
//!
//! Every target has the same pages, since its labels come from whoever scrapes it, but begins at another one; counters
//! grow from page to page, and there are more pages than scrapes in most measurements.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::course::{Course, Source};

/// Pages of a target, served in turn.
const PAGES: usize = 96;

/// What a page's families are about; each has so many series with the labels that follow.
const FAMILIES: [(&str, &str, Course); 8] = [
    ("page_requests_total", "counter", Course::Counter(0, 300)),
    ("page_errors_total", "counter", Course::Idle(0, 3, 4)),
    ("page_bytes_total", "counter", Course::Counter(1000, 2_000_000)),
    ("page_duration_milliseconds_total", "counter", Course::Counter(0, 9000)),
    ("page_memory_bytes", "gauge", Course::Walk(2e8, 4_000_000)),
    ("page_queue_length", "gauge", Course::Gauge(1000)),
    ("page_limit_bytes", "gauge", Course::Constant(5e8)),
    ("page_up_to_date", "gauge", Course::Constant(1.0)),
];

/// Names of everything that the pages hold.
pub(crate) fn names() -> BTreeSet<String> {
    FAMILIES.iter().map(|(name, _, _)| (*name).to_owned()).collect()
}

/// A page, and its values added up.
struct Page {
    answer: Bytes,
    sum: f64,
}

/// Where the targets are, and what they have served.
pub(crate) struct Pages {
    addresses: Vec<SocketAddr>,
    pages: Arc<Vec<Page>>,
    served: Arc<Vec<AtomicU64>>,
    tasks: JoinSet<()>,
}

impl Pages {
    /// Starts serving pages of so many series each.
    pub(crate) async fn serve(targets: usize, series: usize) -> Result<Self> {
        anyhow::ensure!((1..=60_000).contains(&targets), "from 1 to 60 000 targets");
        let pages = Arc::new(prepare(series));
        let served: Arc<Vec<AtomicU64>> = Arc::new((0..targets).map(|_| AtomicU64::new(0)).collect());
        // One socket listens for all: with one each, ten thousand targets would be at the limit of open files.
        let listener =
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.context("no port for the pages")?;
        let port = listener.local_addr()?.port();
        let addresses = (0..targets).map(|target| SocketAddr::from((address(target), port))).collect();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, pages.clone(), served.clone()));
        Ok(Self { addresses, pages, served, tasks })
    }

    /// A target's address.
    pub(crate) fn url(&self, target: usize) -> String {
        self.addresses.get(target).map_or_else(String::new, |address| format!("http://{address}/metrics"))
    }

    /// A peer's configuration that scrapes them all.
    pub(crate) fn scrape_config(&self, interval: &str) -> String {
        let list: Vec<String> = self.addresses.iter().map(|address| format!("'{address}'")).collect();
        format!(
            "scrape_configs:\n  - job_name: pages\n    scrape_interval: {interval}\n    scrape_timeout: {interval}\n    \
             static_configs:\n      - targets: [{}]\n",
            list.join(", ")
        )
    }

    /// Pages that a target has served.
    pub(crate) fn served(&self, target: usize) -> u64 {
        self.served.get(target).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Pages that all have served.
    pub(crate) fn served_by_all(&self) -> u64 {
        self.served.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Values that a target has served, added up.
    pub(crate) fn sum(&self, target: usize) -> f64 {
        let page = |turn: u64| self.pages.get(place(target, turn)).map_or(0.0, |page| page.sum);
        (0..self.served(target)).map(page).sum()
    }

    /// Bytes of a page.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.first().map_or(0, |page| page.answer.len())
    }

    /// Serves no more: connections are closed and no new one is taken. What was served stays known.
    pub(crate) async fn close(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// Which page a target serves at its turn.
fn place(target: usize, turn: u64) -> usize {
    (target * 7 + turn as usize) % PAGES
}

fn prepare(series: usize) -> Vec<Page> {
    let each = series.div_ceil(FAMILIES.len());
    let mut sources: Vec<Source> =
        (0..series).map(|place| Source::new(FAMILIES[place / each].2, place)).collect();
    let mut page = || {
        let (mut text, mut sum) = (String::new(), 0.0);
        for (place, source) in sources.iter_mut().enumerate() {
            let (name, kind, _) = FAMILIES[place / each];
            if place % each == 0 {
                text.push_str(&format!("# HELP {name} Prepared for a benchmark.\n# TYPE {name} {kind}\n"));
            }
            let (line, value) = (place % each, source.next());
            sum += value;
            text.push_str(&format!(
                "{name}{{handler=\"/api/v1/h-{line:03}\",method=\"GET\",code=\"200\"}} {value}\n"
            ));
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        Page { answer: Bytes::from([head.into_bytes(), text.into_bytes()].concat()), sum }
    };
    (0..PAGES).map(|_| page()).collect()
}

/// Connections of all targets, which end with this task.
async fn listen(listener: TcpListener, pages: Arc<Vec<Page>>, served: Arc<Vec<AtomicU64>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if let Some(target) = socket.local_addr().ok().and_then(target) {
            connections.spawn(connection(socket, target, pages.clone(), served.clone()));
        }
    }
}

/// Targets that share the third byte of an address.
const A_ROW: usize = 250;

/// Where a target is: all of 127.0.0.0/8 is this machine, and an address each keeps connections and labels apart.
fn address(target: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, (target / A_ROW) as u8, (target % A_ROW + 1) as u8)
}

/// Which target an address is.
fn target(address: SocketAddr) -> Option<usize> {
    let std::net::IpAddr::V4(ip) = address.ip() else { return None };
    let [127, 77, row, place] = ip.octets() else { return None };
    Some(usize::from(row) * A_ROW + usize::from(place).checked_sub(1)?)
}

/// Answers one request after another; scrapes send no body, so a blank line ends each. A turn is taken when it begins to
/// be served: one target is asked by one scraper at a time.
async fn connection(
    mut socket: TcpStream,
    target: usize,
    pages: Arc<Vec<Page>>,
    served: Arc<Vec<AtomicU64>>,
) {
    let _ = socket.set_nodelay(true);
    let mut buffer = vec![0u8; 4 << 10];
    let mut filled = 0;
    loop {
        while !buffer.get(..filled).is_some_and(|bytes| bytes.ends_with(b"\r\n\r\n")) {
            match socket.read(&mut buffer[filled..]).await {
                Ok(0) | Err(_) => return,
                Ok(read) => filled += read,
            }
        }
        filled = 0;
        let Some(count) = served.get(target) else { return };
        let turn = count.fetch_add(1, Ordering::Relaxed);
        let Some(page) = pages.get(place(target, turn)) else { return };
        if socket.write_all(&page.answer).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[tokio::test]
    async fn pages_are_served_in_turn_and_added_up() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut pages = Pages::serve(2, 16).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let mut sum = 0.0;
        for _ in 0..3 {
            let page = client.get(pages.url(1)).send().await.unwrap().text().await.unwrap();
            let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(samples.len(), 16);
            sum += samples
                .iter()
                .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                .sum::<f64>();
        }
        assert_eq!((pages.served(0), pages.served(1), pages.served_by_all()), (0, 3, 3));
        assert!((pages.sum(1) - sum).abs() < 1e-9);
        pages.close().await;
        assert!(client.get(pages.url(1)).send().await.is_err());
    }
}
