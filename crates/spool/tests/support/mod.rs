//! Processes with a spool before a store of changing moods.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HealthStatus, JobStatus, LabelSet, Layout, Ledger,
    MetricSource, MetricType, Series, SeriesId, TypeCounts,
};
use metricsd_ports::{ErrorKind, PortError, Receipt, SampleSink};
use metricsd_spool::{Between, SpoolLog, SpoolMetrics, SpoolOptions, SpooledSink};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A folder that goes with its test.
pub(crate) struct Temp(pub(crate) PathBuf);

impl Temp {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("metricsd-spool-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the store does with what it is given.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Takes,
    Away,
    Hangs,
    /// Takes all, after a while.
    Slow,
    /// Answers, and takes nothing for a reason that passes: its disk is full.
    Full,
    /// Refuses one batch for good.
    Refuses(u128),
    /// Refuses whatever holds a value for good.
    RefusesValue(f64),
    /// Refuses one batch for good, and takes none from another on now.
    RefusesAndFull(u128, u128),
}

/// Keeps the order in which batches are stored, each once.
pub(crate) struct Store {
    mood: Mutex<Mood>,
    pub(crate) stored: Mutex<Vec<Arc<Batch>>>,
    pub(crate) asked: AtomicU64,
}

impl Store {
    pub(crate) fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(mood), stored: Mutex::default(), asked: AtomicU64::new(0) })
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    pub(crate) fn ids(&self) -> Vec<u128> {
        self.stored.lock().iter().map(|batch| batch.id.0).collect()
    }
}

#[async_trait]
impl SampleSink for Store {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock();
        match mood {
            Mood::Away => return Err(PortError::new(ErrorKind::Unavailable, "away")),
            Mood::Hangs => std::future::pending::<()>().await,
            Mood::Full => return Err(PortError::new(ErrorKind::Unavailable, "the disk is full")),
            Mood::Refuses(id) | Mood::RefusesAndFull(id, _)
                if batches.iter().any(|batch| batch.id.0 == id) =>
            {
                return Err(PortError::new(ErrorKind::Invalid, "no"));
            }
            Mood::RefusesValue(value)
                if batches
                    .iter()
                    .any(|batch| batch.frames.iter().any(|frame| frame.values.contains(&value))) =>
            {
                return Err(PortError::new(ErrorKind::Invalid, "a value"));
            }
            Mood::RefusesAndFull(_, from) if batches.iter().any(|batch| batch.id.0 >= from) => {
                return Err(PortError::new(ErrorKind::Unavailable, "the disk is full"));
            }
            Mood::Slow => tokio::time::sleep(Duration::from_millis(50)).await,
            Mood::Refuses(_) | Mood::RefusesValue(_) | Mood::RefusesAndFull(..) | Mood::Takes => {}
        }
        let mut stored = self.stored.lock();
        let mut known: HashSet<u128> = stored.iter().map(|batch| batch.id.0).collect();
        let mut receipts = Vec::new();
        for batch in batches {
            let new = known.insert(batch.id.0);
            receipts.push(if new { Receipt::Stored } else { Receipt::Duplicate });
            if new {
                stored.push(batch.clone());
            }
        }
        Ok(receipts)
    }

    async fn ping(&self) -> Result<(), PortError> {
        let away = matches!(*self.mood.lock(), Mood::Away | Mood::Hangs);
        if away { Err(PortError::new(ErrorKind::Unavailable, "away")) } else { Ok(()) }
    }
}

pub(crate) fn layout(series: usize) -> Arc<Layout> {
    let one = |number: usize| {
        let labels = LabelSet::new([("__name__", "m".to_owned()), ("n", format!("{number:0>200}"))]).unwrap();
        Arc::new(Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type: MetricType::Gauge,
            source_type: MetricSource::Application,
            source: "s".into(),
            target_id: "t".into(),
            help: None,
            unit: None,
        })
    };
    Layout::shared((0..series).map(one).collect())
}

pub(crate) fn batch(id: u128, layout: &Arc<Layout>) -> Arc<Batch> {
    let count = layout.ids.len();
    let frame = Frame {
        layout: layout.clone(),
        time: id as i64,
        offsets: None,
        values: (0..count).map(|column| id as f64 * 1.37 + column as f64).collect(),
        histograms: Vec::new(),
    };
    let collection = Collection {
        source_id: "s".into(),
        target_id: "t".into(),
        method: CollectionMethod::PullScraping,
        started: id as i64,
        duration_ms: 1.0,
        status: JobStatus::Completed,
        health: HealthStatus::Healthy,
        reason: None,
        error: None,
        ledger: Ledger { received: count as u64, stored: count as u64, ..Ledger::default() },
        types: TypeCounts::default(),
    };
    Arc::new(Batch::new(BatchId(id), collection, vec![frame]))
}

/// How many batches are parked.
pub(crate) fn parked(folder: &Path) -> u64 {
    parked_log(folder).0.batches()
}

/// What is parked: it is read as a file of a queue, as which a person brings it back.
pub(crate) fn parked_log(folder: &Path) -> (SpoolLog, Temp) {
    let other = Temp::new();
    std::fs::create_dir_all(&other.0).unwrap();
    std::fs::copy(folder.join("parked"), other.0.join(format!("{:020}.spool", 0))).unwrap();
    (SpoolLog::open(&other.0, SpoolOptions::default()).unwrap(), other)
}

/// One process: a spool and its replay.
pub(crate) struct Process {
    pub(crate) sink: Arc<SpooledSink>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Process {
    pub(crate) fn start(store: &Arc<Store>, folder: &Path, options: SpoolOptions) -> Self {
        let stop = CancellationToken::new();
        let between = Between {
            store: store.clone(),
            whole: store.clone(),
            pressure: Arc::new(|| false),
            replayed: Arc::new(|_, _| {}),
        };
        let metrics = SpoolMetrics::register(&mut Registry::default());
        let log = SpoolLog::open(folder, options).unwrap();
        let (sink, task) = SpooledSink::start(between, log, metrics, stop.clone());
        Self { sink, task, stop }
    }

    pub(crate) async fn append(
        &self,
        ids: impl IntoIterator<Item = u128>,
        layout: &Arc<Layout>,
    ) -> Vec<Receipt> {
        let batches: Vec<_> = ids.into_iter().map(|id| batch(id, layout)).collect();
        self.sink.append(&batches).await.expect("taken")
    }

    /// As a kill would leave it: nothing is said, nothing is closed.
    pub(crate) async fn die(self) {
        self.stop.cancel();
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn drained(&self) {
        for _ in 0..600 {
            if self.sink.status().batches() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} batches still wait", self.sink.status().batches());
    }
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "spool")).collect();
    files.sort();
    files
}
