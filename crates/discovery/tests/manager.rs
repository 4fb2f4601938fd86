//! The manager with providers that say what a test has them say, in paused time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_discovery::config::{FileSd, JobConfig, ProviderConfig, StaticGroup};
use metricsd_discovery::manager::{Manager, ManagerHandle, ProviderFactory, Snapshots};
use metricsd_discovery::metrics::DiscoveryMetrics;
use metricsd_discovery::provider::{LIFECYCLE_LABEL, Lifecycle, Provider, TargetGroup, Update, Updates};
use metricsd_model::{PromDuration, ScrapeConfig};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Says what comes over its channel.
struct Puppet {
    strings: broadcast::Sender<Option<Update>>,
}

#[async_trait]
impl Provider for Puppet {
    fn kind(&self) -> &'static str {
        "file"
    }

    async fn run(&self, updates: Updates, stop: CancellationToken) {
        let mut strings = self.strings.subscribe();
        loop {
            tokio::select! {
                Ok(said) = strings.recv() => match said {
                    Some(update) => updates.send(update).await.unwrap(),
                    None => panic!("it was told to"),
                },
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Makes puppets, one for each first path of a file provider, and keeps their strings.
#[derive(Default)]
struct Puppets {
    made: Mutex<Vec<(String, broadcast::Sender<Option<Update>>)>>,
}

impl ProviderFactory for Puppets {
    fn provider(&self, config: &ProviderConfig) -> Result<Box<dyn Provider>, String> {
        let ProviderConfig::File(file) = config else { return Err("only files can be had here".to_owned()) };
        let (strings, _) = broadcast::channel(64);
        self.made.lock().push((file.files[0].clone(), strings.clone()));
        Ok(Box::new(Puppet { strings }))
    }
}

struct Stage {
    puppets: Arc<Puppets>,
    handle: ManagerHandle,
    snapshots: watch::Receiver<Arc<Snapshots>>,
    registry: Registry,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Stage {
    fn new() -> Self {
        let puppets = Arc::<Puppets>::default();
        let mut registry = Registry::default();
        let metrics = DiscoveryMetrics::register(&mut registry);
        let (manager, handle) = Manager::new(puppets.clone(), metrics);
        let stop = CancellationToken::new();
        let task = tokio::spawn(manager.run(stop.clone()));
        Self { puppets, snapshots: handle.follow(), handle, registry, stop, task }
    }

    async fn apply(&mut self, jobs: Vec<JobConfig>) {
        assert!(self.handle.apply(jobs).await);
        settle().await;
    }

    /// Has the last puppet made for a path say something.
    async fn say(&self, path: &str, update: Update) {
        let strings = self.strings(path);
        strings.send(Some(update)).expect("it listens");
        settle().await;
    }

    fn strings(&self, path: &str) -> broadcast::Sender<Option<Update>> {
        self.puppets.made.lock().iter().rfind(|(made, _)| made == path).expect("it was made").1.clone()
    }

    /// The next snapshots, and how long they took.
    async fn told(&mut self) -> (Duration, Arc<Snapshots>) {
        let start = Instant::now();
        self.snapshots.changed().await.unwrap();
        (start.elapsed(), self.snapshots.borrow_and_update().clone())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        assert!(self.puppets.made.lock().iter().all(|(_, strings)| strings.receiver_count() == 0));
    }
}

/// Lets every task run that can, without time going on.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn file(path: &str) -> ProviderConfig {
    ProviderConfig::File(FileSd {
        files: vec![path.into()],
        refresh_interval: PromDuration(Duration::from_secs(300)),
    })
}

fn job(name: &str, providers: &[ProviderConfig]) -> JobConfig {
    JobConfig {
        name: name.into(),
        scrape: ScrapeConfig {
            target_url: String::new(),
            scrape_interval: PromDuration(Duration::from_secs(15)),
            scrape_timeout: PromDuration(Duration::from_secs(10)),
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: Arc::default(),
        },
        relabel_configs: Vec::new(),
        target_limit: 0,
        keep_dropped_targets: 0,
        providers: providers.to_vec(),
    }
}

fn group(source: &str, addresses: &[&str]) -> TargetGroup {
    let target = |address: &&str| BTreeMap::from([("__address__".to_owned(), (*address).to_owned())]);
    TargetGroup {
        source: source.into(),
        labels: BTreeMap::from([("g".to_owned(), source.to_owned())]),
        targets: addresses.iter().map(target).collect(),
    }
}

fn addresses(snapshots: &Snapshots, job: &str) -> Vec<String> {
    let targets = snapshots[job].groups.iter().flat_map(|group| &group.targets);
    targets.map(|target| target.labels["__address__"].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_is_told_at_once_and_later_ones_every_second() {
    let mut stage = Stage::new();
    stage.apply(vec![job("j", &[file("a")])]).await;
    let (waited, snapshots) = stage.told().await;
    assert_eq!((waited, snapshots["j"].complete), (Duration::ZERO, false));

    stage.say("a", Update::All(vec![group("0", &["a:1"]), group("1", &["a:2"])])).await;
    let (waited, first) = stage.told().await;
    assert!(waited <= Duration::from_secs(1) && first["j"].complete);
    assert_eq!(addresses(&first, "j"), ["a:1", "a:2"]);
    assert_eq!(first["j"].groups[0].targets[0].labels["g"], "0");

    let start = Instant::now();
    for step in 3..8 {
        stage.say("a", Update::Some(vec![group("1", &[&format!("a:{step}")])])).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, second) = stage.told().await;
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(900) && waited <= Duration::from_millis(1001), "{waited:?}");
    assert_eq!(addresses(&second, "j"), ["a:1", "a:7"]);
    assert!(
        Arc::ptr_eq(&first["j"].groups[0], &second["j"].groups[0]),
        "a group that is as before is the same"
    );
    assert!(second["j"].revision > first["j"].revision);

    stage.say("a", Update::Some(vec![group("1", &["a:7"])])).await;
    stage.say("a", Update::Some(vec![])).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!stage.snapshots.has_changed().unwrap(), "nothing has changed");

    stage.say("a", Update::Some(vec![group("0", &[])])).await;
    assert_eq!(addresses(&stage.told().await.1, "j"), ["a:7"]);
    stage.say("a", Update::All(vec![])).await;
    assert_eq!(addresses(&stage.told().await.1, "j"), [""; 0]);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_becomes_ready_or_ends_is_told_within_a_tenth_of_a_second() {
    let mut stage = Stage::new();
    stage.apply(vec![job("j", &[file("a")])]).await;
    let alive = |lifecycle: Lifecycle| {
        let mut group = group("pod", &["a:1"]);
        group.labels.insert(LIFECYCLE_LABEL.into(), lifecycle.as_str().into());
        Update::Some(vec![group])
    };
    stage.say("a", Update::All(vec![])).await;
    stage.told().await;
    stage.say("a", alive(Lifecycle::Starting)).await;
    stage.told().await;
    for lifecycle in [Lifecycle::Ready, Lifecycle::Ending] {
        stage.say("a", alive(lifecycle)).await;
        let (waited, snapshots) = stage.told().await;
        assert!(waited <= Duration::from_millis(100), "{waited:?}");
        let target = &snapshots["j"].groups[0].targets[0];
        assert_eq!(target.lifecycle, lifecycle);
        assert!(!target.labels.contains_key(LIFECYCLE_LABEL));
    }
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_the_last_good_answer_and_shows() {
    let mut stage = Stage::new();
    stage.apply(vec![job("j", &[file("a")])]).await;
    stage.say("a", Update::Failed("nobody is there".into())).await;
    assert!(!stage.told().await.1["j"].complete);
    stage.say("a", Update::All(vec![group("0", &["a:1"])])).await;
    stage.told().await;
    stage.say("a", Update::Failed("nobody is there".into())).await;
    stage.say("a", Update::Failed("still nobody".into())).await;
    let status = stage.handle.statuses().remove(0);
    assert_eq!(status.last_error.as_deref(), Some("still nobody"));
    assert_eq!((status.failures_in_a_row, status.failures, status.refreshes), (2, 3, 1));
    assert_eq!((status.targets, status.groups, status.complete), (1, 1, true));
    assert!(
        status.last_success_ms >= Some(status.started_ms) && status.last_failure_ms >= status.last_success_ms
    );
    assert_eq!(status.age_ms(status.last_success_ms.unwrap() + 7), Some(7));
    assert_eq!((status.kind, status.settings.as_str(), status.jobs), ("file", "a", vec!["j".to_owned()]));
    assert_eq!(addresses(&stage.handle.snapshots(), "j"), ["a:1"]);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &stage.registry).unwrap();
    for line in [
        r#"discovery_refreshes_total{provider="file",result="failed"} 3"#,
        r#"discovery_providers_failing{provider="file"} 1"#,
        r#"discovery_targets{provider="file"} 1"#,
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    stage.say("a", Update::Some(vec![])).await;
    assert_eq!(stage.handle.statuses()[0].last_error, None);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_keeps_what_it_has_in_common() {
    let mut stage = Stage::new();
    stage.apply(vec![job("one", &[file("a"), file("b")]), job("two", &[file("a")])]).await;
    assert_eq!(stage.puppets.made.lock().len(), 2, "a and b, each once");
    stage.say("a", Update::All(vec![group("0", &["a:1"])])).await;
    stage.say("b", Update::All(vec![group("0", &["b:1"])])).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = stage.handle.snapshots();
    assert_eq!(addresses(&before, "one"), ["a:1", "b:1"]);
    stage.snapshots.borrow_and_update();

    // Job one loses b and gets c; job two stays; job three shares a.
    let mut limited = job("one", &[file("a"), file("c")]);
    limited.target_limit = 5;
    let b = stage.strings("b");
    stage.apply(vec![limited, job("two", &[file("a")]), job("three", &[file("a")])]).await;
    assert_eq!(b.receiver_count(), 0, "b has ended");
    assert_eq!(stage.puppets.made.lock().len(), 3, "only c is new");
    let (_, after) = stage.told().await;
    assert!(Arc::ptr_eq(&before["two"], &after["two"]), "job two is as it was");
    assert_eq!((addresses(&after, "one"), after["one"].complete), (vec!["a:1".to_owned()], false));
    assert_eq!((after["one"].job.target_limit, addresses(&after, "three")), (5, vec!["a:1".to_owned()]));
    assert_eq!(stage.handle.statuses()[0].jobs, ["one", "three", "two"]);

    stage.apply(vec![job("two", &[file("a")])]).await;
    let (_, last) = stage.told().await;
    assert_eq!(last.keys().collect::<Vec<_>>(), ["two"]);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_or_cannot_be_made_shows_and_the_others_go_on() {
    let mut stage = Stage::new();
    let made_up = ProviderConfig::Static(vec![StaticGroup::default()]);
    stage.apply(vec![job("j", &[file("a"), made_up])]).await;
    let status = stage.handle.statuses();
    assert_eq!(status[1].last_error.as_deref(), Some("only files can be had here"));
    stage.say("a", Update::All(vec![group("0", &["a:1"])])).await;
    stage.strings("a").send(None).unwrap();
    settle().await;
    let error = stage.handle.statuses()[0].last_error.clone().unwrap();
    assert!(error.contains("ended unexpectedly"), "{error}");
    // It is started again, and what it had found stands until then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(addresses(&stage.handle.snapshots(), "j"), ["a:1"]);
    stage.say("a", Update::All(vec![group("0", &["a:2"])])).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(addresses(&stage.handle.snapshots(), "j"), ["a:2"]);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_targets_are_refused_as_a_whole() {
    let mut stage = Stage::new();
    stage.apply(vec![job("j", &[file("a")])]).await;
    stage.say("a", Update::All(vec![group("0", &["a:1"])])).await;
    let many = vec!["a:2"; metricsd_discovery::groups::MAX_TARGETS];
    stage.say("a", Update::Some(vec![group("1", &many)])).await;
    let status = stage.handle.statuses().remove(0);
    assert_eq!(status.targets, 1);
    assert!(status.last_error.is_some_and(|error| error.contains("200001 targets")));
    stage.stop().await;
}
