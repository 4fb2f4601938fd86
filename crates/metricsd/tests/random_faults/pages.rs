//! Targets whose every value follows from the target, the series and when the page was served.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;

use crate::chance::mix;

/// Series of a page beside the one that says when it was served.
pub(crate) const SERIES: u64 = 5;

/// The value of a series on the page that a target served at a millisecond.
pub(crate) fn value(target: usize, series: u64, served: i64) -> u64 {
    mix(served.unsigned_abs() ^ (target as u64) << 44 ^ series << 56) % 1_000_003
}

pub(crate) struct Pages {
    pub(crate) base: String,
    served: Arc<Served>,
}

struct Served {
    /// When each target served its last page.
    last: Vec<AtomicI64>,
    count: AtomicU64,
}

impl Pages {
    pub(crate) async fn start(targets: usize) -> Self {
        let last = (0..targets).map(|_| AtomicI64::new(0)).collect();
        let served = Arc::new(Served { last, count: AtomicU64::new(0) });
        let router = Router::new().route("/t/{target}", get(page)).with_state(served.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/t", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, served }
    }

    /// Pages of all targets so far.
    pub(crate) fn count(&self) -> u64 {
        self.served.count.load(Ordering::Relaxed)
    }
}

async fn page(State(served): State<Arc<Served>>, Path(target): Path<usize>) -> String {
    let now = chrono::Utc::now().timestamp_millis();
    // No two pages of a target are the same.
    let before =
        served.last[target].fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(now.max(last + 1)));
    let at = now.max(before.unwrap() + 1);
    served.count.fetch_add(1, Ordering::Relaxed);
    let load: String =
        (0..SERIES).map(|series| format!("load{{n=\"{series}\"}} {}\n", value(target, series, at))).collect();
    format!("# TYPE served gauge\nserved {at}\n# TYPE load gauge\n{load}")
}
