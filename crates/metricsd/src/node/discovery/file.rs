//! Reads the file with the jobs: at start, when it changes, on SIGHUP and when asked. A bad one changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use metricsd_discovery::prometheus_config::{self, PrometheusConfig};
use metricsd_http::{NotReloaded, Reload, Reloaded};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Loaded, Shared, now};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often files that appear under a pattern are looked for.
const MATCH_EVERY: Duration = Duration::from_secs(10);

/// How long an answer waits until the jobs run.
const APPLY_PATIENCE: Duration = Duration::from_secs(20);

/// Requests to read the file that may wait.
const REQUESTS: usize = 8;

/// What an answer shows of what is not done.
const MAX_WARNINGS: usize = 100;

type Answer = Result<Reloaded, NotReloaded>;

/// Asks for the file to be read again.
#[derive(Debug, Clone)]
pub(in crate::node) struct Reloader(mpsc::Sender<oneshot::Sender<Answer>>);

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self) -> Answer {
        let stopping = || NotReloaded::Refused(vec!["this process is stopping".to_owned()]);
        let (sender, answer) = oneshot::channel();
        self.0.send(sender).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// Starts to read.
pub(super) fn start(shared: Shared) -> (Reloader, JoinHandle<()>) {
    let (sender, requests) = mpsc::channel(REQUESTS);
    let reader = Reader { shared, current: None, seen: BTreeMap::new(), matched: Instant::now() };
    (Reloader(sender), tokio::spawn(reader.run(requests)))
}

/// What tells one state of a file from another.
type Seen = Option<(SystemTime, u64, u64)>;

struct Reader {
    shared: Shared,
    /// The last good one.
    current: Option<PrometheusConfig>,
    /// Files, as they were when they were read.
    seen: BTreeMap<PathBuf, Seen>,
    matched: Instant,
}

impl Reader {
    async fn run(mut self, mut requests: mpsc::Receiver<oneshot::Sender<Answer>>) {
        let mut hang_up = signal(SignalKind::hangup()).ok();
        // Its errors stand in the log and in the state.
        let _ = self.read("start").await;
        loop {
            let signalled = async {
                match &mut hang_up {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                Some(request) = requests.recv() => {
                    let answer = self.reload().await;
                    // Who asked may have gone.
                    let _ = request.send(answer);
                }
                _ = signalled => drop(self.read("SIGHUP").await),
                () = tokio::time::sleep(LOOK_EVERY) => self.look().await,
            }
        }
    }

    /// Reads the file and waits until its jobs run, where they run in this process.
    async fn reload(&mut self) -> Answer {
        let reloaded = self.read("request").await?;
        let generation = self.shared.loaded.borrow().generation;
        let mut applied = self.shared.applied.subscribe();
        let taken_up = applied.wait_for(|applied| applied.is_none_or(|applied| applied >= generation));
        match tokio::time::timeout(APPLY_PATIENCE, taken_up).await {
            Ok(Ok(_)) => Ok(reloaded),
            _ => Err(NotReloaded::NotYet),
        }
    }

    /// Reads the file again where it, or a file that it names, is not as it was.
    async fn look(&mut self) {
        let changed = self.seen.iter().any(|(path, seen)| look_at(path) != *seen);
        if changed {
            drop(self.read("change").await);
            return;
        }
        let patterns = self.current.as_ref().is_some_and(|config| !config.patterns.is_empty());
        if patterns && self.matched.elapsed() >= MATCH_EVERY {
            self.matched = Instant::now();
            let found = load(self.shared.settings.file.clone()).await;
            if found.is_ok_and(|found| self.current.as_ref().is_some_and(|now| now.files != found.files)) {
                drop(self.read("change").await);
            }
        }
    }

    async fn read(&mut self, cause: &'static str) -> Answer {
        let file = &self.shared.settings.file;
        // Before it is read, so that a change meanwhile is seen.
        let mut seen = BTreeMap::from([(file.clone(), look_at(file))]);
        seen.extend(self.seen.keys().map(|path| (path.clone(), look_at(path))));
        let loaded = load(file.clone()).await;
        if let Ok(config) = &loaded {
            let files = config.files.iter().map(|path| (path.clone(), look_at(path)));
            let kept = seen.remove(file).unwrap_or_default();
            seen = files.chain([(file.clone(), kept)]).collect();
        }
        self.seen = seen;
        match loaded {
            Ok(config) => Ok(self.take_up(config, cause)),
            Err(errors) => {
                let file = file.display();
                warn!(%file, cause, errors = errors.join("; "), "the file with the jobs is bad; nothing changes");
                self.tell(None, &errors);
                Err(NotReloaded::Refused(errors))
            }
        }
    }

    fn take_up(&mut self, config: PrometheusConfig, cause: &'static str) -> Reloaded {
        let file = self.shared.settings.file.display().to_string();
        let unsupported: Vec<String> =
            config.unsupported.iter().take(MAX_WARNINGS).map(ToString::to_string).collect();
        for line in &unsupported {
            warn!("written in the file with the jobs, but not done: {line}");
        }
        info!(file, cause, jobs = config.jobs.len(), "the file with the jobs was read");
        let reloaded = Reloaded { file, jobs: config.jobs.len(), warnings: unsupported };
        self.tell(Some(&config), &[]);
        self.current = Some(config);
        reloaded
    }

    fn tell(&self, config: Option<&PrometheusConfig>, errors: &[String]) {
        let metrics = &self.shared.metrics;
        metrics.successful.set(i64::from(config.is_some()));
        if config.is_some() {
            metrics.success_time.set(now() / 1_000);
        }
        let settings = &self.shared.settings;
        self.shared.loaded.send_modify(|loaded: &mut Loaded| {
            loaded.generation += 1;
            loaded.state.file = settings.file.display().to_string();
            loaded.state.process.clone_from(&settings.process);
            loaded.state.last_read = Some(now());
            loaded.state.errors = errors.to_vec();
            if let Some(config) = config {
                loaded.state.last_success = loaded.state.last_read;
                loaded.jobs = Some(Arc::new(config.jobs.clone()));
            }
        });
    }
}

fn look_at(path: &Path) -> Seen {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// Away from the threads that answer: files may be large, or on a slow disk.
async fn load(path: PathBuf) -> Result<PrometheusConfig, Vec<String>> {
    match tokio::task::spawn_blocking(move || prometheus_config::load(&path)).await {
        Ok(Ok(config)) => Ok(config),
        Ok(Err(error)) => Err(error.problems.iter().map(ToString::to_string).collect()),
        Err(_) => Err(vec!["the file could not be read: reading it failed unexpectedly".to_owned()]),
    }
}
