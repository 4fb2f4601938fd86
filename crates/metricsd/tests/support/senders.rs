//! Senders that push until they are told to stop, each batch again and again until it is acknowledged, and what was
//! acknowledged to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metricsd_codec::remote_write::message::{Label, Sample, TimeSeries, WriteRequest};
use metricsd_codec::remote_write::pack;
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub const METRIC: &str = "killed";
const HOUR: i64 = 3_600_000;

/// Hours, all over, that samples are pushed into.
pub const HOURS: i64 = 48;

/// Lists of series; two of them share some.
const LISTS: [std::ops::Range<usize>; 4] = [0..6, 4..12, 12..20, 20..24];

/// Timestamps of an hour: no two batches have the same one.
const SLOTS: i64 = 180_000;

/// Shares no factor with [`SLOTS`]: batch after batch lies before or after others of its hour, in no order.
const STRIDE: i64 = 7_919;

/// Without an answer of success for so long nothing will come any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Number and sum of the samples of each series, by its label `s`.
pub type Sums = BTreeMap<String, (u64, u64)>;

/// A generator whose numbers its seed decides (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The hour after the last of [`HOURS`].
pub fn end_of_hours() -> i64 {
    (chrono::Utc::now().timestamp_millis() / HOUR - 1) * HOUR
}

/// How a batch travels.
#[derive(Debug, Clone, Copy)]
enum Way {
    Custom,
    RemoteWrite,
}

/// A request and what it says.
struct Batch {
    key: String,
    body: Vec<u8>,
    samples: Vec<(usize, i64, u64)>,
}

/// One of those who push.
struct Sender {
    way: Way,
    place: usize,
    base: String,
    client: reqwest::Client,
    random: Random,
    begin: i64,
    acknowledged: Vec<Batch>,
    repeated: u64,
}

impl Sender {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let known = self.acknowledged.len() as u64;
            if known > 0 && self.random.below(5) == 0 {
                let batch = &self.acknowledged[self.random.below(known) as usize];
                let answer = self.push(batch).await;
                assert!(matches!(self.way, Way::RemoteWrite) || answer["duplicate"] == true, "{answer}");
                self.repeated += 1;
            } else {
                let batch = self.batch();
                let answer = self.push(&batch).await;
                assert!(matches!(self.way, Way::RemoteWrite) || answer["rejected"] == 0, "{answer}");
                self.acknowledged.push(batch);
            }
        }
        self
    }

    /// A new batch: a list of series in some of the hours, a sample each.
    fn batch(&mut self) -> Batch {
        let number = self.acknowledged.len() * SENDERS.len() + self.place;
        let slot = number as i64;
        assert!(slot < SLOTS, "no timestamps are left");
        let offset = slot * STRIDE % SLOTS * (HOUR / SLOTS);
        let list = LISTS[self.random.below(LISTS.len() as u64) as usize].clone();
        let first = self.random.below(HOURS as u64) as i64;
        let hours = (first..HOURS).step_by(1 + self.random.below(4) as usize);
        let mut samples = Vec::new();
        for hour in hours {
            let time = self.begin + hour * HOUR + offset;
            samples.extend(list.clone().map(|series| (series, time, 1 + self.random.below(9))));
        }
        let body = match self.way {
            Way::Custom => custom(&samples),
            Way::RemoteWrite => remote_write(list, &samples),
        };
        Batch { key: format!("batch-{number}"), body, samples }
    }

    /// Sends until it is acknowledged.
    async fn push(&self, batch: &Batch) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.request(batch).send().await {
                Ok(answer) if answer.status().is_success() => {
                    if let Ok(body) = answer.bytes().await {
                        return serde_json::from_slice(&body).unwrap_or_default();
                    }
                    last = "an answer that ends too early".into();
                }
                Ok(answer) if answer.status() == 503 => last = answer.text().await.unwrap_or_default(),
                Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        panic!("not acknowledged in {PATIENCE:?}; at last: {last}");
    }

    fn request(&self, batch: &Batch) -> reqwest::RequestBuilder {
        let source = format!("sender-{}", self.place);
        let request = match self.way {
            Way::Custom => {
                let request = self.client.post(format!("{}/api/v1/metrics/custom", self.base));
                request.header("content-type", "application/json").header("idempotency-key", &batch.key)
            }
            Way::RemoteWrite => {
                let request = self.client.post(format!("{}/api/v1/write", self.base));
                request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy")
            }
        };
        request.header("x-source-id", source).body(batch.body.clone())
    }
}

fn label(series: usize) -> String {
    format!("{series:02}")
}

fn custom(samples: &[(usize, i64, u64)]) -> Vec<u8> {
    let item = |(series, time, value): &(usize, i64, u64)| {
        json!({"name": METRIC, "metric_type": "GAUGE", "value": value, "labels": {"s": label(*series)},
            "timestamp": time, "source": "APPLICATION"})
    };
    let items: Vec<Value> = samples.iter().map(item).collect();
    serde_json::to_vec(&items).unwrap()
}

fn remote_write(list: std::ops::Range<usize>, samples: &[(usize, i64, u64)]) -> Vec<u8> {
    let timeseries = list.map(|series| TimeSeries {
        labels: Label::list([("__name__", METRIC), ("s", &label(series))]),
        samples: samples
            .iter()
            .filter(|(of, ..)| *of == series)
            .map(|(_, timestamp, value)| Sample { value: *value as f64, timestamp: *timestamp })
            .collect(),
        ..TimeSeries::default()
    });
    let body = WriteRequest { timeseries: timeseries.collect(), metadata: Vec::new() };
    pack(&body.to_bytes()).unwrap()
}

const SENDERS: [Way; 3] = [Way::Custom, Way::RemoteWrite, Way::Custom];

/// All who push to one process.
pub struct Senders {
    resting: Vec<Sender>,
    running: JoinSet<Sender>,
    stop: Arc<AtomicBool>,
}

impl Senders {
    /// They push to `base` and into the hours before `end`.
    pub fn new(base: &str, end: i64, random: &mut Random) -> Self {
        let sender = |(place, way): (usize, &Way)| Sender {
            way: *way,
            place,
            base: base.to_owned(),
            client: super::client(),
            random: Random(random.below(u64::MAX)),
            begin: end - HOURS * HOUR,
            acknowledged: Vec::new(),
            repeated: 0,
        };
        let resting = SENDERS.iter().enumerate().map(sender).collect();
        Self { resting, running: JoinSet::new(), stop: Arc::default() }
    }

    /// They begin, or go on.
    pub fn go(&mut self) {
        self.stop = Arc::default();
        for sender in self.resting.drain(..) {
            self.running.spawn(sender.run(Arc::clone(&self.stop)));
        }
    }

    /// Each brings what it has begun to its end, and stops.
    pub async fn rest(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(sender) = self.running.join_next().await {
            self.resting.push(sender.unwrap());
        }
        self.resting.sort_by_key(|sender| sender.place);
    }

    /// What was acknowledged to those who rest.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        for batch in self.resting.iter().flat_map(|sender| &sender.acknowledged) {
            for (series, _, value) in &batch.samples {
                let (count, sum) = sums.entry(label(*series)).or_default();
                *count += 1;
                *sum += value;
            }
        }
        sums
    }

    /// Batches that were acknowledged, and those that were sent once more.
    pub fn batches(&self) -> (usize, u64) {
        let acknowledged = self.resting.iter().map(|sender| sender.acknowledged.len()).sum();
        (acknowledged, self.resting.iter().map(|sender| sender.repeated).sum())
    }
}
