//! Group commit: batches of many targets share a transaction.
//!
//! One task a store takes what has arrived, waits a little for more, and appends it all at once. It waits as long
//! as the commit before took, so that half of its time goes into commits however fast the store is, and never longer than
//! configured. It does not wait at all when a caller waits for its answer and what has arrived is worth a commit: others
//! that come meanwhile share the next one. Nothing is answered before it is committed. While the store is away batches
//! wait in memory, bounded in bytes; when that is full, new ones are turned away.
//!
//! Several commits may be under way at once: one is written while another waits for the disk. What one target is asked for
//! is committed in the order in which it came all the same; callers that wait for their answers make their own order.

mod reserved;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metricsd_model::{Batch, Millis};
use metricsd_ports::{Backlog, PortError, Receipt, SampleSink};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use self::reserved::Reserved;
use crate::tap::Taps;
use crate::{AfterCommit, IngestError, IngestMetrics, SeriesLimits, SeriesTracker};

/// How batches are grouped.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// The longest that the first batch of a group waits for others.
    pub max_delay: Duration,
    /// A group that has reached this many bytes is committed at once.
    pub max_bytes: usize,
    /// Bytes of batches that may wait for the store.
    pub max_queue_bytes: usize,
    /// How long a caller waits for its commit before it is told to come back.
    pub patience: Duration,
    /// Commits of one store that may be under way at once; at least one.
    pub writers: usize,
    /// Limits on the series of each source; none by default.
    pub series: SeriesLimits,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            max_delay: Duration::from_millis(20),
            max_bytes: 4 << 20,
            max_queue_bytes: 256 << 20,
            patience: Duration::from_secs(10),
            writers: 1,
            series: SeriesLimits::default(),
        }
    }
}

/// More batches than this never wait at once, however small they are.
const MAX_QUEUE_BATCHES: usize = 200_000;

/// A group of more batches than this is committed at once.
const MAX_GROUP_BATCHES: usize = 2_000;

/// The least that the first batch of a group waits: scrapes that are due together arrive together.
const MIN_DELAY: Duration = Duration::from_millis(5);

/// A group of so many samples in which someone waits for the answer is committed at once: waiting would cost the one more
/// than it saves the other.
const WORTHWHILE_SAMPLES: usize = 1_000;

/// When to come again where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// From this much of a backlog on there is no room for more.
const FULL: f64 = 0.99;

/// From so much of a backlog on, only every so many scrapes are done.
const STRETCHES: [(f64, i64); 3] = [(0.95, 8), (0.85, 4), (0.7, 2)];

/// How often a store that answers may refuse the same batches for a reason that passes.
const MAX_REFUSALS: usize = 5;

/// Pauses between attempts while the store is away.
const RETRY_PAUSE: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

type Answer = Result<Receipt, IngestError>;

struct Waiting {
    batch: Arc<Batch>,
    size: usize,
    /// Somebody waits for the answer before sending more.
    awaited: bool,
    answer: oneshot::Sender<Answer>,
}

/// Which of several stores takes what was collected: from the target's id and the source's id to a place in a list.
pub type Route = Arc<dyn Fn(&str, &str) -> usize + Send + Sync>;

/// Several stores, each with a writer and a queue of its own, so that one that is away holds up nothing of the others.
#[derive(Clone)]
pub struct Stores {
    /// All of them as one: asked which series are stored.
    pub whole: Arc<dyn SampleSink>,
    /// Each of them, at least one.
    pub each: Vec<Arc<dyn SampleSink>>,
    /// Which of them a batch goes to.
    pub route: Route,
    /// What waits durably before each of them; empty where nothing does.
    pub backlogs: Vec<Arc<dyn Backlog>>,
}

/// What waits for one store.
struct Lane {
    queue: mpsc::Sender<Waiting>,
    queued: Arc<AtomicUsize>,
    backlog: Option<Arc<dyn Backlog>>,
}

impl Lane {
    /// How much of what may wait before the store on disk does.
    fn fill(&self) -> f64 {
        self.backlog.as_ref().map_or(0.0, |backlog| backlog.fill())
    }

    /// When somebody who was turned away may come again.
    fn retry_after(&self) -> Duration {
        self.backlog.as_ref().map_or(RETRY_AFTER, |backlog| backlog.retry_after().max(RETRY_AFTER / 5))
    }
}

/// A cheap handle on the writers.
#[derive(Clone)]
pub struct GroupCommit {
    lanes: Arc<[Lane]>,
    route: Route,
    /// Bytes that wait for all stores.
    total: Arc<AtomicUsize>,
    options: Arc<CommitOptions>,
    metrics: IngestMetrics,
    series: Arc<SeriesTracker>,
    taps: Taps,
}

impl GroupCommit {
    /// Starts the writer. It ends when all that was queued is committed and either every handle is gone or `stop` is
    /// cancelled; from then on whatever the store does not take at once is answered as not stored.
    pub fn start(
        sink: Arc<dyn SampleSink>,
        options: CommitOptions,
        metrics: IngestMetrics,
        after: AfterCommit,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let stores =
            Stores { whole: sink.clone(), each: vec![sink], route: Arc::new(|_, _| 0), backlogs: Vec::new() };
        Self::start_over(stores, options, metrics, after, stop)
    }

    /// The same over several stores, between which the bytes that may wait are divided evenly. The task ends when all
    /// writers have.
    pub fn start_over(
        stores: Stores,
        options: CommitOptions,
        metrics: IngestMetrics,
        after: AfterCommit,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let Stores { whole, each, route, backlogs } = stores;
        let backlogs = backlogs.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let max_queue_bytes = options.max_queue_bytes / each.len().max(1);
        let options: Arc<_> = CommitOptions { max_queue_bytes, ..options }.into();
        let total: Arc<AtomicUsize> = Arc::default();
        let series = SeriesTracker::new(options.series, whole, metrics.active_series.clone());
        let taps = after.taps().clone();
        let (lanes, gatherers): (Vec<Lane>, Vec<Gatherer>) = each
            .into_iter()
            .zip(backlogs)
            .map(|(sink, backlog)| {
                let (queue, receiver) = mpsc::channel(MAX_QUEUE_BATCHES);
                let queued: Arc<AtomicUsize> = Arc::default();
                let writer = Writer {
                    sink,
                    queued: queued.clone(),
                    total: total.clone(),
                    options: options.clone(),
                    metrics: metrics.clone(),
                    after: after.clone(),
                    stop: stop.clone(),
                };
                (Lane { queue, queued, backlog }, Gatherer::new(writer, receiver))
            })
            .unzip();
        let handle = Self { lanes: lanes.into(), route, total, options, metrics, series, taps };
        let mut tasks: JoinSet<()> = gatherers.into_iter().map(Gatherer::run).collect();
        let all = tokio::spawn(async move { while tasks.join_next().await.is_some() {} });
        (handle, all)
    }

    /// Those who listen to what is committed.
    pub fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Appends one batch; on `Ok` it is committed. A caller that is told to come back may send the same batch again:
    /// it is stored once, even if the first attempt succeeds in the meantime.
    pub async fn append(&self, batch: Batch) -> Answer {
        let lane = self.lane(&batch.collection.target_id, &batch.collection.source_id);
        let retry_after = lane.map_or(RETRY_AFTER, Lane::retry_after);
        let committed = self.enqueue(batch, true)?;
        match tokio::time::timeout(self.options.patience, committed).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(IngestError::Closed),
            Err(_) => Err(IngestError::Overloaded { retry_after }),
        }
    }

    /// Queues one batch; the answer comes when it is committed, however long the store is away.
    pub fn submit(&self, batch: Batch) -> Result<oneshot::Receiver<Answer>, IngestError> {
        self.enqueue(batch, false)
    }

    fn enqueue(&self, batch: Batch, awaited: bool) -> Result<oneshot::Receiver<Answer>, IngestError> {
        let size = batch.size();
        let Some(lane) = self.lane(&batch.collection.target_id, &batch.collection.source_id) else {
            return Err(IngestError::Closed);
        };
        // Who can come again is told so at once: what is there already has to be stored first.
        if awaited && lane.fill() >= FULL {
            return Err(self.turned_away(lane));
        }
        let before = lane.queued.fetch_add(size, Ordering::AcqRel);
        // A batch larger than the whole queue may pass when nothing else waits.
        if before > 0 && before + size > self.options.max_queue_bytes {
            lane.queued.fetch_sub(size, Ordering::AcqRel);
            return Err(self.turned_away(lane));
        }
        let total = self.total.fetch_add(size, Ordering::AcqRel) + size;
        let (answer, committed) = oneshot::channel();
        match lane.queue.try_send(Waiting { batch: Arc::new(batch), size, awaited, answer }) {
            Ok(()) => {
                self.metrics.queue_bytes.set(total as i64);
                Ok(committed)
            }
            Err(error) => {
                lane.queued.fetch_sub(size, Ordering::AcqRel);
                self.total.fetch_sub(size, Ordering::AcqRel);
                Err(match error {
                    mpsc::error::TrySendError::Full(_) => self.turned_away(lane),
                    mpsc::error::TrySendError::Closed(_) => IngestError::Closed,
                })
            }
        }
    }

    /// Whether the queue of what is collected of a target has no room worth speaking of: its scrapes are skipped then.
    pub fn is_full(&self, target_id: &str, source_id: &str) -> bool {
        self.lane(target_id, source_id).is_none_or(|lane| {
            lane.queued.load(Ordering::Acquire) >= self.options.max_queue_bytes / 10 * 9
                || lane.fill() >= FULL
                || lane.queue.capacity() < MAX_QUEUE_BATCHES / 100
        })
    }

    /// Only every so many scrapes of a target are to be done, because what waits before the store has little room left; 1
    /// as a rule.
    pub fn stretch(&self, target_id: &str, source_id: &str) -> i64 {
        let fill = self.lane(target_id, source_id).map_or(0.0, Lane::fill);
        STRETCHES.iter().find(|(from, _)| fill >= *from).map_or(1, |(_, every)| *every)
    }

    fn lane(&self, target_id: &str, source_id: &str) -> Option<&Lane> {
        self.lanes.get((self.route)(target_id, source_id))
    }

    /// Which series may come; whoever names new ones asks here first.
    pub fn series(&self) -> &Arc<SeriesTracker> {
        &self.series
    }

    fn turned_away(&self, lane: &Lane) -> IngestError {
        self.metrics.overloaded.inc();
        IngestError::Overloaded { retry_after: lane.retry_after() }
    }
}

/// Gathers what has arrived into groups, and has them committed.
struct Gatherer {
    writer: Arc<Writer>,
    receiver: mpsc::Receiver<Waiting>,
    /// Commits under way; each says how long it took.
    commits: JoinSet<Duration>,
    /// Whose they are, where nobody waits for the answer.
    busy: Vec<(task::Id, HashSet<Arc<str>>)>,
    /// How long the next group is gathered.
    delay: Duration,
}

impl Gatherer {
    fn new(writer: Writer, receiver: mpsc::Receiver<Waiting>) -> Self {
        let writer = Arc::new(writer);
        Self { writer, receiver, commits: JoinSet::new(), busy: Vec::new(), delay: MIN_DELAY }
    }

    async fn run(mut self) {
        while let Some(group) = self.next_group().await {
            let targets = targets_of(&group);
            while self.busy.iter().any(|(_, busy)| !busy.is_disjoint(&targets)) {
                self.one_done().await;
            }
            let writer = self.writer.clone();
            let commit = self.commits.spawn(async move { writer.write(group).await });
            self.busy.push((commit.id(), targets));
            while self.commits.len() >= self.writer.options.writers.max(1) {
                self.one_done().await;
            }
        }
        while !self.commits.is_empty() {
            self.one_done().await;
        }
    }

    async fn one_done(&mut self) {
        let id = match self.commits.join_next_with_id().await {
            Some(Ok((id, took))) => {
                self.delay = took.max(MIN_DELAY).min(self.writer.options.max_delay);
                id
            }
            // What it held is answered as not stored.
            Some(Err(error)) => {
                warn!(%error, "a commit ended too early");
                error.id()
            }
            None => return self.busy.clear(),
        };
        self.busy.retain(|(busy, _)| *busy != id);
    }

    /// What has arrived by the time that the first of it has waited long enough; `None` at the end.
    async fn next_group(&mut self) -> Option<Vec<Waiting>> {
        let first = tokio::select! {
            biased;
            waiting = self.receiver.recv() => waiting?,
            () = self.writer.stop.cancelled() => self.receiver.try_recv().ok()?,
        };
        let deadline = tokio::time::Instant::now() + self.delay;
        let (mut bytes, mut samples, mut awaited) = (first.size, first.batch.samples(), first.awaited);
        let mut group = vec![first];
        while bytes < self.writer.options.max_bytes && group.len() < MAX_GROUP_BATCHES {
            let waiting = match self.receiver.try_recv() {
                Ok(waiting) => waiting,
                Err(_) if awaited && samples >= WORTHWHILE_SAMPLES => break,
                Err(_) => match tokio::time::timeout_at(deadline, self.receiver.recv()).await {
                    Ok(Some(waiting)) => waiting,
                    Ok(None) | Err(_) => break,
                },
            };
            bytes += waiting.size;
            samples += waiting.batch.samples();
            awaited |= waiting.awaited;
            group.push(waiting);
        }
        Some(group)
    }
}

/// The targets of batches for which nobody waits: those have to be committed in the order in which they came.
fn targets_of(group: &[Waiting]) -> HashSet<Arc<str>> {
    let unawaited = group.iter().filter(|waiting| !waiting.awaited);
    unawaited.map(|waiting| waiting.batch.collection.target_id.as_str().into()).collect()
}

/// Commits groups to one store.
struct Writer {
    sink: Arc<dyn SampleSink>,
    queued: Arc<AtomicUsize>,
    /// Those of all writers.
    total: Arc<AtomicUsize>,
    options: Arc<CommitOptions>,
    metrics: IngestMetrics,
    after: AfterCommit,
    stop: CancellationToken,
}

impl Writer {
    /// Commits a group; answers how long that took.
    async fn write(&self, group: Vec<Waiting>) -> Duration {
        let (bytes, started) = (group.iter().map(|waiting| waiting.size).sum(), Instant::now());
        let _given_back = self.taken(bytes);
        self.commit(group).await;
        started.elapsed()
    }

    async fn commit(&self, group: Vec<Waiting>) {
        let batches: Vec<Arc<Batch>> = group.iter().map(|waiting| waiting.batch.clone()).collect();
        match self.append_until_taken(&batches).await {
            Ok(receipts) => {
                for (waiting, receipt) in group.into_iter().zip(receipts) {
                    self.committed(waiting, receipt);
                }
            }
            Err(error) if group.len() > 1 && !self.stop.is_cancelled() => {
                // One of them cannot be stored; its neighbours must not suffer for it.
                warn!(error = error.chain(), batches = group.len(), "a group is stored batch by batch");
                for waiting in group {
                    let batch = [waiting.batch.clone()];
                    match self.append_until_taken(&batch).await {
                        Ok(receipts) => {
                            self.committed(waiting, receipts.first().copied().unwrap_or(Receipt::Stored))
                        }
                        Err(error) => self.failed(waiting, &error),
                    }
                }
            }
            Err(error) => {
                for waiting in group {
                    self.failed(waiting, &error);
                }
            }
        }
    }

    /// Appends, again and again while the store is away and nobody has asked to stop. A store that answers and yet will
    /// not take these batches is not away: after some attempts they are given up.
    async fn append_until_taken(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        let (mut attempt, mut refused) = (0, 0);
        loop {
            let started = Instant::now();
            match self.sink.append(batches).await {
                Ok(receipts) => {
                    self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                    if attempt > 0 {
                        info!(attempts = attempt + 1, "the store takes batches again");
                    }
                    return Ok(receipts);
                }
                Err(error) if error.is_retryable() && refused < MAX_REFUSALS && !self.stop.is_cancelled() => {
                    refused += usize::from(self.sink.ping().await.is_ok());
                    if attempt == 0 {
                        warn!(error = error.chain(), "the store is away; batches wait in memory");
                    }
                    self.metrics.retries.inc();
                    let pause = RETRY_PAUSE[attempt.min(RETRY_PAUSE.len() - 1)];
                    attempt += 1;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn committed(&self, waiting: Waiting, receipt: Receipt) {
        match receipt {
            Receipt::Stored => {
                self.metrics.committed(&waiting.batch, now(), false);
                self.after.committed(&waiting.batch);
            }
            Receipt::Duplicate => {
                self.metrics.duplicates.inc();
            }
            // Whoever made it is told.
            Receipt::Fenced => {}
            Receipt::Kept => {
                self.metrics.kept.inc();
                self.after.kept(&waiting.batch);
            }
        }
        // The caller may have gone; what it sent is committed all the same.
        let _ = waiting.answer.send(Ok(receipt));
    }

    fn failed(&self, waiting: Waiting, error: &PortError) {
        warn!(
            error = error.chain(),
            source_id = waiting.batch.collection.source_id,
            "a batch was not stored"
        );
        self.metrics.failed.inc();
        let _ = waiting.answer.send(Err(IngestError::from(error)));
    }
}

fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}
