//! Takes the samples of uploaded files: claims an upload, reads it part by part, and has each part stored like any other
//! push.
//!
//! A part is named by its job and its number, and a file has the same parts whenever it is read: what a worker stored
//! before it was killed is known by that name, and whoever takes over goes on behind the last part that was noted.

mod metrics;
mod progress;
mod read;
mod source;

use std::sync::Arc;
use std::time::Duration;

use metricsd_files::{Compression, FileError, FileFormat, Part, PartBounds};
use metricsd_model::{Millis, Refusal};
use metricsd_ports::{Hold, Outcome, PortError, Quota, Work, WorkKind, WorkQueue};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::remote_write::take_quotas;
use crate::{Access, Caller, Denied, Ingest, OwnedWrite, PreparedWrite, Protocol, WriteFailure, WriteOrigin};

pub use metrics::UploadMetrics;
pub use progress::{LineError, UploadProgress};
use read::Reading;

/// What a worker must know of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadSpec {
    /// Name of its format, see [`FileFormat`].
    pub format: String,
    /// How it is packed as a whole, see [`Compression`].
    pub compression: String,
    /// What samples without a time are taken for: when the upload began.
    pub received_at: Millis,
    /// The token that it came with, whose quotas hold for it. Its rights were looked at when the upload was accepted: from
    /// then on it is taken to its end, whatever becomes of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Uuid>,
    /// The quotas that the token had then, should it be removed.
    #[serde(default)]
    pub quota: Quota,
}

impl UploadSpec {
    fn read(&self) -> Option<(FileFormat, Compression)> {
        Some((FileFormat::from_name(&self.format)?, Compression::from_name(&self.compression)?))
    }
}

/// How a worker goes about it.
#[derive(Debug, Clone)]
pub struct UploadOptions {
    /// How long it holds an upload without a word.
    pub lease: Duration,
    /// How often it looks for work when nobody tells it of any.
    pub look_every: Duration,
    /// How large parts are. Uploads under way must not be gone on with under other bounds than they were begun with.
    pub parts: PartBounds,
    /// Bytes that a file may unfold to.
    pub max_unpacked_bytes: u64,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            look_every: Duration::from_secs(1),
            parts: PartBounds::default(),
            max_unpacked_bytes: 32 << 30,
        }
    }
}

/// Pause before a failed upload is tried again: this for the first time, then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Pause before a part is offered again that brings more new series than a source may within a minute, and how often.
const SERIES_PAUSE: Duration = Duration::from_secs(5);
const SERIES_PAUSES: u32 = 120;

/// A quota that leaves no room for a part in this time leaves none at all.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// One worker: takes one upload after the other.
pub struct UploadWorker {
    /// Who it is.
    pub id: Uuid,
    /// Where uploads wait.
    pub queue: Arc<dyn WorkQueue>,
    /// The door, with the bounds that hold for uploads.
    pub ingest: Ingest,
    /// How it goes about it.
    pub options: UploadOptions,
    /// Whose tokens have which quotas.
    pub access: Arc<Access>,
    /// What it counts.
    pub metrics: UploadMetrics,
    /// Told when an upload is complete.
    pub signal: Arc<Notify>,
}

/// Why a try ended before the file did.
enum Stopped {
    /// By one of these outcomes.
    Outcome(Outcome),
    /// Another worker has it.
    Lost,
}

impl From<PortError> for Stopped {
    fn from(error: PortError) -> Self {
        Self::Outcome(failed(error.chain()))
    }
}

/// The pause is filled in where the number of tries is known.
fn failed(message: impl Into<String>) -> Outcome {
    Outcome::Failed { message: message.into(), pause: Duration::ZERO }
}

impl UploadWorker {
    /// Works until told to stop; an upload under way is left to the next worker then, behind its last part.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.queue.claim(self.id, &[WorkKind::Upload], self.options.lease).await {
                Ok(Some(work)) => self.work(work, &stop).await,
                Ok(None) => self.rest(&stop).await,
                Err(error) => {
                    warn!(error = error.chain(), "uploads cannot be looked for");
                    self.rest(&stop).await;
                }
            }
        }
    }

    async fn rest(&self, stop: &CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep(self.options.look_every) => {}
            () = self.signal.notified() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Takes one upload to its end.
    async fn work(&self, work: Work, stop: &CancellationToken) {
        let mut progress = UploadProgress::of(&work.progress);
        progress.bytes_total = work.received;
        let ended = self.take(&work, &mut progress, stop).await;
        let outcome = match ended {
            Ok(()) => Outcome::Done,
            Err(Stopped::Outcome(Outcome::Failed { message, .. })) => {
                let doublings = work.tries.saturating_sub(1).min(16);
                let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
                Outcome::Failed { message: message.replace('\0', "\u{fffd}"), pause }
            }
            Err(Stopped::Outcome(outcome)) => outcome,
            Err(Stopped::Lost) => {
                warn!(job = %work.id, "another worker has taken this upload over");
                return;
            }
        };
        self.metrics.ended(&outcome);
        match &outcome {
            Outcome::Done => {
                info!(job = %work.id, rows = progress.rows, stored = progress.stored, errors = progress.errors_total, "upload done");
            }
            other => warn!(job = %work.id, outcome = ?other, "upload stopped"),
        }
        let note = progress.to_json();
        if let Err(error) = self.queue.finish(work.id, work.claim, &outcome, Some(&note)).await {
            // Its lease runs out, and another worker finds it as it was noted last.
            warn!(job = %work.id, error = error.chain(), "the end of an upload was not noted");
        }
    }

    async fn take(
        &self,
        work: &Work,
        progress: &mut UploadProgress,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let hopeless = |message: &str| Stopped::Outcome(Outcome::Hopeless { message: message.to_owned() });
        let spec: UploadSpec = serde_json::from_value(work.spec.clone())
            .map_err(|_| hopeless("the upload was asked for by another version of metricsd"))?;
        let (format, compression) = spec.read().ok_or_else(|| hopeless("the format is not known here"))?;
        let reading = Reading {
            queue: self.queue.clone(),
            id: work.id,
            size: work.received,
            format,
            compression,
            limit: self.options.max_unpacked_bytes,
            bounds: self.options.parts,
            received_at: spec.received_at,
            done: (progress.parts, progress.rows),
        };
        let (mut parts, source) = reading.start();
        let mut pulse = Pulse::new(self, work);
        loop {
            let next = tokio::select! {
                next = pulse.held(parts.recv()) => next?,
                () = stop.cancelled() => return Err(Stopped::Outcome(Outcome::Released)),
            };
            let part = match next {
                None => return Ok(()),
                Some(Ok(part)) => part,
                Some(Err(error)) => return Err(Stopped::Outcome(file_outcome(&error, &source))),
            };
            // A commit that is under way is waited for: that is as quick as giving it up.
            let before = progress.clone();
            let caller = spec.token.map(|token| self.access.caller_of(token, spec.quota)).unwrap_or_default();
            let stored = self.store(work, &part, &caller, progress, &mut pulse, stop).await;
            if let Err(stopped) = stored {
                *progress = before;
                return Err(stopped);
            }
            for (reason, rows) in progress.take(&part) {
                self.ingest.count_refused(Protocol::Upload, reason, rows);
            }
            self.metrics.read(&part);
            pulse.moved(progress).await?;
        }
    }

    async fn store(
        &self,
        work: &Work,
        part: &Part,
        caller: &Caller,
        progress: &mut UploadProgress,
        pulse: &mut Pulse<'_>,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        if part.body.is_empty() {
            return Ok(());
        }
        let mut origin = WriteOrigin::new(work.source_id.clone(), Protocol::Upload);
        origin.key = Some(format!("upload:{}:{}", work.id, part.number));
        let prepared = self.prepare(origin, part, pulse, stop).await?;
        let (received, mut pauses) = (prepared.outcome().received, 0);
        while let Err(denied) = take_quotas(caller, prepared.batch(), received) {
            pulse.pause(quota_pause(&denied, pauses)?, stop).await?;
            pauses += 1;
        }
        let written = pulse.until_done(self.ingest.store_write(prepared)).await?;
        let written = written.inspect_err(|_| caller.put_back_samples(received));
        progress.written(part, &written.map_err(|error| not_stored(error.into()))?);
        Ok(())
    }

    /// Reads a part. A file is history: its new series wait for their turn instead of being refused.
    async fn prepare(
        &self,
        origin: WriteOrigin,
        part: &Part,
        pulse: &mut Pulse<'_>,
        stop: &CancellationToken,
    ) -> Result<PreparedWrite, Stopped> {
        let mut pauses = 0;
        loop {
            let received_at = chrono::Utc::now().timestamp_millis();
            let write = OwnedWrite { origin: origin.clone(), body: part.body.clone(), received_at };
            let prepared = pulse.held(self.ingest.prepare_write(write)).await?.map_err(not_stored)?;
            if pauses >= SERIES_PAUSES || !brings_too_many_series(&prepared) {
                return Ok(prepared);
            }
            pulse.pause(SERIES_PAUSE, stop).await?;
            pauses += 1;
        }
    }
}

/// How long a part waits for the quotas of who uploaded it: an upload becomes slower rather than fail. Room for samples comes with
/// time; room for series need not.
fn quota_pause(denied: &Denied, pauses: u32) -> Result<Duration, Stopped> {
    let wait = denied.retry_after().unwrap_or(SERIES_PAUSE);
    let may_wait = match denied.is_of_samples() {
        true => wait < LONGEST_WAIT,
        false => pauses < SERIES_PAUSES,
    };
    if may_wait { Ok(wait.min(SERIES_PAUSE)) } else { Err(Stopped::Outcome(failed(denied.to_string()))) }
}

fn brings_too_many_series(prepared: &PreparedWrite) -> bool {
    let ledger = prepared.batch().map(|batch| &batch.collection.ledger);
    ledger.is_some_and(|ledger| ledger.refused.contains_key(&Refusal::SeriesRateLimit))
}

fn not_stored(failure: WriteFailure) -> Stopped {
    Stopped::Outcome(match failure {
        WriteFailure::Failed(error) if error.is_retryable() => failed(error.to_string()),
        failure => Outcome::Hopeless { message: failure.to_string() },
    })
}

/// A file that does not read never will; a store that is away comes back.
fn file_outcome(error: &FileError, source: &source::Trouble) -> Outcome {
    match source.message() {
        Some(message) => failed(message),
        None => Outcome::Hopeless { message: error.to_string().replace('\0', "\u{fffd}") },
    }
}

/// Holds on to a claim while something takes its time.
struct Pulse<'a> {
    worker: &'a UploadWorker,
    work: &'a Work,
    ticks: tokio::time::Interval,
}

impl<'a> Pulse<'a> {
    fn new(worker: &'a UploadWorker, work: &'a Work) -> Self {
        let period = (worker.options.lease / 4).max(Duration::from_millis(10));
        let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { worker, work, ticks }
    }

    /// Waits for something, and renews the lease meanwhile.
    async fn held<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = self.ticks.tick() => self.renew(None).await?,
            }
        }
    }

    /// The same for what is done when it ends, wished for or not: whoever has the upload cancelled is told of it all the
    /// same. The next word to the queue hears again that it is cancelled.
    async fn until_done<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            match self.held(&mut work).await {
                Err(Stopped::Outcome(Outcome::Cancelled)) => {}
                ended => return ended,
            }
        }
    }

    /// Waits for some time, or until told to stop.
    async fn pause(&mut self, time: Duration, stop: &CancellationToken) -> Result<(), Stopped> {
        tokio::select! {
            held = self.held(tokio::time::sleep(time)) => held,
            () = stop.cancelled() => Err(Stopped::Outcome(Outcome::Released)),
        }
    }

    /// Notes what was done.
    async fn moved(&mut self, progress: &UploadProgress) -> Result<(), Stopped> {
        self.renew(Some(&progress.to_json())).await
    }

    async fn renew(&self, progress: Option<&serde_json::Value>) -> Result<(), Stopped> {
        let (queue, lease) = (&self.worker.queue, self.worker.options.lease);
        match queue.renew(self.work.id, self.work.claim, lease, progress).await {
            Ok(Hold::Held) => Ok(()),
            Ok(Hold::Cancelling) => Err(Stopped::Outcome(Outcome::Cancelled)),
            Ok(Hold::Lost) => Err(Stopped::Lost),
            // The lease may hold until the store is back.
            Err(error) if error.is_retryable() && progress.is_none() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
