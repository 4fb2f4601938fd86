//! Those who push: each body again and again until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::chance::mix;
use crate::support;

/// Series of one push.
pub(crate) const SERIES: u64 = 10;

/// What is pushed, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    /// The metric's name, and the source's.
    pub(crate) name: &'static str,
    /// Samples of each series in one body.
    pub(crate) points: u64,
    /// Whether bodies have keys; otherwise their content tells that they come again.
    pub(crate) keyed: bool,
    /// Between two bodies.
    pub(crate) pause: Duration,
    /// Where the first sample stands, in milliseconds; the next ones follow a millisecond after each other.
    pub(crate) begun: i64,
}

impl Pushed {
    /// The value of a series' sample of a number.
    pub(crate) fn value(&self, series: u64, number: u64) -> u64 {
        mix(number << 8 ^ series ^ (self.name.len() as u64) << 60) % 1_000_003
    }

    fn body(&self, number: u64) -> Vec<Value> {
        let item = |series: u64, number: u64| {
            json!({"name": self.name, "metric_type": "GAUGE", "value": self.value(series, number),
                "labels": {"s": format!("{series:02}")}, "timestamp": self.begun + number as i64,
                "source": "APPLICATION"})
        };
        let numbers = number * self.points..(number + 1) * self.points;
        numbers
            .flat_map(|number| (0..SERIES).map(move |series| (series, number)))
            .map(|(series, number)| item(series, number))
            .collect()
    }

    async fn push(&self, client: &reqwest::Client, base: &str, number: u64) -> Answer {
        let mut request =
            client.post(format!("{base}/api/v1/metrics/custom")).header("x-source-id", self.name);
        if self.keyed {
            request = request.header("idempotency-key", format!("{}-{number}", self.name));
        }
        match request.timeout(Duration::from_secs(20)).json(&self.body(number)).send().await {
            Ok(answer) if answer.status().is_success() => {
                let text = answer.text().await.unwrap_or_default();
                let body: Value = serde_json::from_str(&text).unwrap_or_default();
                // An answer that did not arrive as a whole acknowledges nothing.
                match body["accepted"].as_u64() {
                    Some(accepted) => {
                        assert_eq!(accepted, self.points * SERIES, "{body}");
                        Answer::Acknowledged
                    }
                    None => Answer::Failed,
                }
            }
            Ok(answer) => {
                let status = answer.status().as_u16();
                assert!(matches!(status, 429 | 503), "{answer:?}");
                assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
                Answer::Refused
            }
            Err(_) => Answer::Failed,
        }
    }

    /// Pushes once; answers whether that was acknowledged.
    async fn deliver(&self, client: &reqwest::Client, base: &str, number: u64, counts: &Counts) -> bool {
        let (count, pause) = match self.push(client, base, number).await {
            Answer::Acknowledged => return true,
            Answer::Refused => (&counts.refused, Duration::from_millis(200)),
            Answer::Failed => (&counts.failed, Duration::from_millis(100)),
        };
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
        false
    }
}

enum Answer {
    Acknowledged,
    Refused,
    Failed,
}

/// Counts of one who pushes.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: AtomicU64,
    /// Answered 503 or 429.
    pub(crate) refused: AtomicU64,
    /// Not answered.
    pub(crate) failed: AtomicU64,
}

pub(crate) struct Pusher {
    pub(crate) pushed: Pushed,
    pub(crate) counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    resting: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Pusher {
    /// Pushes to `base`; at first only when told to, where it is `resting`.
    pub(crate) fn start(base: String, pushed: Pushed, resting: bool) -> Self {
        let (counts, stop): (Arc<Counts>, Arc<AtomicBool>) = Default::default();
        let resting = Arc::new(AtomicBool::new(resting));
        let (told, count, end, rest) = (pushed.clone(), counts.clone(), stop.clone(), resting.clone());
        let task = tokio::spawn(async move {
            let client = support::client();
            let mut number = 0;
            while !end.load(Ordering::Relaxed) {
                if rest.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                while !told.deliver(&client, &base, number, &count).await {}
                number += 1;
                count.acknowledged.store(number, Ordering::Relaxed);
                tokio::time::sleep(told.pause).await;
            }
        });
        Self { pushed, counts, stop, resting, task }
    }

    pub(crate) fn rest(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// Waits until so many more are acknowledged.
    pub(crate) async fn goes_on(&self, more: u64) {
        let wanted = self.counts.acknowledged.load(Ordering::Relaxed) + more;
        let what = format!("{more} more pushes of {} are acknowledged", self.pushed.name);
        let enough = async || (self.counts.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(());
        support::eventually(&what, 60, enough).await;
    }

    /// Ends when the push that is under way is acknowledged.
    pub(crate) async fn finish(self) -> (Pushed, Arc<Counts>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        (self.pushed, self.counts)
    }
}
