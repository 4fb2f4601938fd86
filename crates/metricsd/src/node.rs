//! One process of metricsd: built from its configuration, run until told to stop, drained.

mod access;
mod adapters;
mod chores;
mod compaction;
mod connections;
mod discovery;
mod lines;
mod membership;
mod otlp;
mod rollups;
mod sample_log;
mod serving;
mod sinks;
mod spool;
mod uploads;
mod watch;
mod welcome;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use metricsd_client::SecretAccess;
use metricsd_http::Cardinality;
use metricsd_ingest::relay::Relay;
use metricsd_ingest::{AfterCommit, GroupCommit, Ingest, IngestMetrics};
use metricsd_ports::Process;
use metricsd_scrape::{AddressPolicy, Ownership, PageClient, PoolOptions, ScrapeMetrics, ScrapePool};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::{Config, Effective, Role, SECRET_PREFIX};
use adapters::{Adapters, Member};
use serving::Shown;
use spool::Spools;

/// Brings the configured databases to the schema of this binary, a file only while nobody runs on it: what a process of before
/// goes on writing may be unreadable to this one. Answers what was done, a line each.
pub(crate) async fn migrate(config: &Config) -> Result<Vec<String>> {
    if config.is_standalone() {
        make_folder(config)?;
    }
    let _alone = lock_folder(config)?;
    adapters::migrate(config).await
}

/// Runs one process until SIGTERM or SIGINT; `Ok` when it has ended in order.
pub(crate) async fn run(config: Config, effective: &Effective) -> Result<()> {
    make_folder(&config)?;
    let _alone = lock_folder(&config)?;
    let listener = TcpListener::bind(&config.listen)
        .await
        .with_context(|| format!("cannot listen on {} (listen, --listen)", config.listen))?;
    let address = listener.local_addr()?;
    let grpc = otlp::listen(&config).await?;
    let mut signals = Signals::new()?;
    let adapters = tokio::select! {
        adapters = Adapters::open(&config) => adapters?,
        () = signals.recv() => return Ok(()),
    };
    let node = Node::start(&config, Shown::from(effective), adapters, listener, grpc).await?;
    if config.is_standalone() {
        welcome::first_targets(&config, address, &*node.adapters.catalog).await;
    }
    greet(&config, address);
    access::tell(&config, address);
    signals.recv().await;
    info!("stopping: what was accepted is stored first");
    let drained = tokio::select! {
        drained = tokio::time::timeout(config.shutdown_timeout, node.drain(config.shutdown_timeout)) => drained.is_ok(),
        () = signals.recv() => false,
    };
    if !drained {
        warn!("stopped before everything was drained; nothing that was acknowledged is lost");
    }
    Ok(())
}

fn make_folder(config: &Config) -> Result<()> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("the data folder {} cannot be made", config.data_dir.display()))
}

/// Keeps a second standalone process out of the data folder for as long as the file is held: each would have its own
/// idea of what is scraped and when.
fn lock_folder(config: &Config) -> Result<Option<std::fs::File>> {
    if !config.is_standalone() {
        return Ok(None);
    }
    let path = config.data_dir.join("lock");
    let file = std::fs::File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
            "another metricsd runs on the data folder {}; stop it, or give this one its own by --data-dir",
            config.data_dir.display()
        ),
        // A file system without locks is no reason not to start.
        Err(std::fs::TryLockError::Error(error)) => {
            warn!(%error, "the data folder cannot be locked");
            Ok(None)
        }
    }
}

/// SIGTERM and SIGINT. SIGHUP asks for files to be read again, and ends no process that has none.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                // Who has a file to read hears it too.
                _ = self.hang_up.recv() => info!("SIGHUP: the file with the jobs is read again, where there is one"),
            }
        }
    }
}

fn greet(config: &Config, address: SocketAddr) {
    use std::io::Write;
    // Nobody may be reading, which is no reason to stop.
    let _ = std::io::stdout().write_all(welcome::greeting(config, address).as_bytes());
    info!(%address, roles = config.roles.names().join(","), "ready");
}

/// What the parts of a process stand on.
struct Ground<'a> {
    config: &'a Config,
    adapters: &'a Adapters,
    /// Cancelled when nothing new is to begin.
    stop: &'a CancellationToken,
}

impl Ground<'_> {
    /// Scrapes, where this process does, and shares the targets with others, where there are any.
    fn start_scraping(
        &self,
        pages: &PageClient,
        process: Uuid,
        group: &GroupCommit,
        notices: &AfterCommit,
        registry: &mut Registry,
    ) -> (Option<JoinHandle<()>>, Option<membership::Handle>) {
        let Self { config, adapters, stop } = self;
        if !config.roles.has(Role::Worker) {
            return (None, None);
        }
        let metrics = ScrapeMetrics::register(registry);
        let mut options = scrape_pool(config, adapters, pages.clone(), metrics, group, notices);
        let membership = config.shares_targets().then(|| {
            options.ownership = Ownership::shared(Uuid::new_v4(), config.cluster.lease);
            let (leases, ownership) = (adapters.membership.clone(), options.ownership.clone());
            membership::start(leases, ownership, process, config.cluster, registry)
        });
        let pool = tokio::spawn(ScrapePool::new(options, (*stop).clone()).run());
        (Some(pool), membership)
    }
}

/// The tasks of a process, in the order in which they are to stop.
struct Node {
    adapters: Adapters,
    /// Their folder stays ours until the end.
    _spools: Option<Spools>,
    /// No new requests, no new scrapes.
    accept: CancellationToken,
    server: JoinHandle<()>,
    lines: lines::Lines,
    grpc: Option<JoinHandle<()>>,
    pool: Option<JoinHandle<()>>,
    /// Where there are other workers.
    membership: Option<membership::Handle>,
    /// No more waiting for a store that is away.
    commit: CancellationToken,
    committer: JoinHandle<()>,
    /// Last health, last cache entries.
    after: CancellationToken,
    teller: JoinHandle<()>,
    /// Last events, goodbye.
    rest: CancellationToken,
    chores: Vec<JoinHandle<()>>,
}

impl Node {
    async fn start(
        config: &Config,
        shown: Shown,
        adapters: Adapters,
        listener: TcpListener,
        grpc: Option<TcpListener>,
    ) -> Result<Self> {
        let mut registry = Registry::with_prefix("metricsd");
        let metrics = IngestMetrics::register(&mut registry);
        let policy = address_policy(config);
        let pages = page_client(config, &policy);
        let [accept, commit, after, rest] = std::array::from_fn(|_| CancellationToken::new());
        let (catalog, cache) = (adapters.catalog.clone(), adapters.cache.clone());
        let (notices, teller) = AfterCommit::start(catalog, cache, metrics.clone(), after.clone());
        let mut way = sinks::lay(config, &adapters, &metrics, &notices, &mut registry, &rest)?;
        let (group, committer) = sinks::commit(config, way.stores.clone(), &metrics, &notices, &commit);
        let process = Uuid::new_v4();
        let ground = Ground { config, adapters: &adapters, stop: &accept };
        let (pool, membership) = ground.start_scraping(&pages, process, &group, &notices, &mut registry);
        let cardinality = cardinality(config, &adapters, &group);
        let process = this_process(config, process, listener.local_addr()?);
        let mut chores = start_chores(config, &adapters, metrics, &notices, process, &rest);
        chores.append(&mut way.tasks);
        chores.extend(keep_storage(config, &adapters, &mut registry, &rest));
        let (access, task) = access::start(config, &adapters, &mut registry, &rest);
        chores.push(task);
        let (files, workers) =
            uploads::start(config, adapters.work.clone(), &access, &group, &mut registry, &accept);
        chores.extend(workers);
        let ingest = config.roles.has(Role::Ingest).then(|| door(config, group));
        let mut reload = None;
        if config.roles.has(Role::Api) {
            chores.push(tokio::spawn(cardinality.clone().watch(rest.clone())));
            chores.push(tokio::spawn(discovery::expire(adapters.catalog.clone(), rest.clone())));
            let (reloader, tasks) =
                start_discovery(config, &adapters, &policy, &mut registry, &listener, &accept)?;
            reload = reloader;
            chores.extend(tasks);
        }
        let shared = otlp::start(config, &adapters, ingest.as_ref(), &access, grpc, &accept);
        let ground = lines::Ground::new(ingest.as_ref(), &adapters);
        let (lines, protocols) = lines::start(&config.lines, ground, &mut registry, &accept).await?;
        let parts = serving::Parts {
            access,
            shown,
            ingest,
            streams: shared.streams,
            uploads: Some(files),
            otlp: shared.otlp,
            refused: shared.refused,
            cardinality,
            policy,
            pages,
            registry,
            reload,
            protocols,
            way: &way,
        };
        let server = serving::start(config, &adapters, parts, listener, accept.clone());
        Ok(Self {
            adapters,
            _spools: way.spools,
            accept,
            server,
            grpc: shared.grpc,
            lines,
            pool,
            membership,
            commit,
            committer,
            after,
            teller,
            rest,
            chores,
        })
    }

    /// Stops in the order of the flow: nothing comes in, what came in is stored, what was stored is told.
    async fn drain(self, timeout: Duration) {
        let share = |tenths: u32| timeout * tenths / 10;
        // Scraping goes on until others do it.
        if let Some(membership) = self.membership {
            membership.leave(share(DRAIN_HAND_OVER)).await;
        }
        self.accept.cancel();
        if let Some(pool) = self.pool {
            finish("scraping", pool, share(DRAIN_SCRAPES)).await;
        }
        let calls = async {
            if let Some(grpc) = self.grpc {
                finish("gRPC calls", grpc, share(DRAIN_REQUESTS)).await;
            }
        };
        tokio::join!(
            finish("requests", self.server, share(DRAIN_REQUESTS)),
            self.lines.finish(share(DRAIN_REQUESTS)),
            calls,
        );
        self.commit.cancel();
        finish("commits", self.committer, share(DRAIN_COMMITS)).await;
        self.after.cancel();
        finish("caches", self.teller, share(DRAIN_REST)).await;
        self.rest.cancel();
        futures::future::join_all(
            self.chores.into_iter().map(|chore| finish("events", chore, share(DRAIN_REST))),
        )
        .await;
    }
}

/// Counts series; where nothing comes in, only those in the store.
fn cardinality(config: &Config, adapters: &Adapters, group: &GroupCommit) -> Arc<Cardinality> {
    let takes = config.roles.has(Role::Ingest) || config.roles.has(Role::Worker);
    Arc::new(Cardinality::new(adapters.source.clone(), takes.then(|| group.series().clone())))
}

/// Addresses that may be scraped.
fn address_policy(config: &Config) -> Arc<AddressPolicy> {
    let (allow, close_private) = (config.scrape.allow_cidrs.clone(), config.scrape.close_private);
    Arc::new(AddressPolicy { allow, close_private })
}

/// The tasks that watch the stores, compact and roll up what is in them, and tidy the table of work.
fn keep_storage(
    config: &Config,
    adapters: &Adapters,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let mut tasks: Vec<_> = watch::start(adapters, registry, stop).into_iter().collect();
    tasks.extend(start_compaction(config, adapters, registry, stop));
    tasks.extend(start_rollups(config, adapters, stop));
    let counted = chores::work_gauge(registry);
    tasks.push(tokio::spawn(chores::keep_work(adapters.work.clone(), counted, stop.clone())));
    tasks
}

/// What fetches pages: for scraping, and for those who want to see what a target says.
fn page_client(config: &Config, policy: &Arc<AddressPolicy>) -> PageClient {
    let environment = Arc::new(|name: &str| std::env::var(name).ok());
    let context = metricsd_client::Context::operator(".", policy.clone(), environment);
    let confined = SecretAccess::Confined {
        directory: config.scrape.secrets_dir.clone(),
        env_prefix: SECRET_PREFIX.to_owned(),
    };
    PageClient::new(context, confined, config.limits.max_page_bytes)
}

fn scrape_pool(
    config: &Config,
    adapters: &Adapters,
    client: PageClient,
    metrics: ScrapeMetrics,
    commit: &GroupCommit,
    after: &AfterCommit,
) -> PoolOptions {
    PoolOptions {
        catalog: adapters.catalog.clone(),
        source: adapters.source.clone(),
        client,
        commit: commit.clone(),
        after: after.clone(),
        limits: Arc::new(config.limits.clone()),
        concurrency: config.scrape.concurrency,
        resync_every: RESYNC_EVERY,
        metrics,
        ownership: Ownership::all(),
    }
}

/// How often a worker reads all targets, so that it notices one that is gone.
const RESYNC_EVERY: Duration = Duration::from_secs(30);

/// Tenths of `shutdown.timeout` that each step of draining may take.
const DRAIN_HAND_OVER: u32 = 5;
const DRAIN_SCRAPES: u32 = 2;
const DRAIN_REQUESTS: u32 = 1;
const DRAIN_COMMITS: u32 = 1;
const DRAIN_REST: u32 = 1;

async fn finish(what: &str, mut task: JoinHandle<()>, limit: Duration) {
    if tokio::time::timeout(limit, &mut task).await.is_err() {
        warn!(what, "did not end in time");
        task.abort();
    }
}

/// The door for pushes.
fn door(config: &Config, group: GroupCommit) -> Ingest {
    Ingest::new(group, Arc::new(config.limits.clone())).joining(config.join_within)
}

/// One task a database.
fn start_compaction(
    config: &Config,
    adapters: &Adapters,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let Some(settings) = config.storage.compaction.filter(|_| config.roles.has(Role::Writer)) else {
        return Vec::new();
    };
    let metrics = compaction::CompactionMetrics::register(registry);
    let start = |member: &Member| {
        let metrics = metrics.of(member.number);
        let store = member.upkeep.clone();
        Some(tokio::spawn(compaction::run(store?, settings, metrics, stop.clone())))
    };
    adapters.members.iter().filter_map(start).collect()
}

/// One task a database.
fn start_rollups(config: &Config, adapters: &Adapters, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let Some(settings) = config.retention.rollups.filter(|_| config.roles.has(Role::Writer)) else {
        return Vec::new();
    };
    let start =
        |member: &Member| Some(tokio::spawn(rollups::run(member.upkeep.clone()?, settings, stop.clone())));
    adapters.members.iter().filter_map(start).collect()
}

/// Runs discovery in this process, where it is told to. Without a file, and where nobody else can have one, the targets of
/// jobs that there were go.
fn start_discovery(
    config: &Config,
    adapters: &Adapters,
    policy: &Arc<AddressPolicy>,
    registry: &mut Registry,
    listener: &TcpListener,
    stop: &CancellationToken,
) -> Result<(Option<discovery::Reloader>, Vec<JoinHandle<()>>)> {
    let settings = &config.discovery;
    let Some(file) = settings.file.clone().filter(|_| settings.enabled) else {
        let forget = config.is_standalone() && settings.enabled;
        let forget = forget.then(|| tokio::spawn(discovery::forget(adapters.catalog.clone(), stop.clone())));
        return Ok((None, forget.into_iter().collect()));
    };
    let settings = discovery::Settings {
        file,
        max_targets: settings.max_targets,
        kept_dropped: settings.kept_dropped,
        process: listener.local_addr()?.to_string(),
    };
    let environment = Arc::new(|name: &str| std::env::var(name).ok());
    let context = metricsd_client::Context::operator(".", policy.clone(), environment);
    let factory = Arc::new(discovery::Factory { context });
    let (reloader, tasks) =
        discovery::start(settings, adapters.catalog.clone(), factory, registry, stop.clone());
    Ok((Some(reloader), tasks))
}

fn this_process(config: &Config, id: Uuid, address: SocketAddr) -> Process {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Process { id, roles: config.roles.names(), listen: address.to_string(), version }
}

fn start_chores(
    config: &Config,
    adapters: &Adapters,
    metrics: IngestMetrics,
    notices: &AfterCommit,
    process: Process,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let relays = adapters.members.iter().map(|member| Relay {
        outbox: member.outbox.clone(),
        bus: adapters.bus.clone(),
        signal: notices.relay_signal(),
        metrics: metrics.clone(),
    });
    let mut chores: Vec<JoinHandle<()>> = relays.map(|relay| tokio::spawn(relay.run(stop.clone()))).collect();
    chores.push(tokio::spawn(chores::heartbeat(adapters.catalog.clone(), process, stop.clone())));
    if config.roles.has(Role::Api) {
        chores.push(tokio::spawn(chores::follow_series(adapters.source.clone(), stop.clone())));
    }
    if config.roles.has(Role::Writer) {
        // One task a database, so that one that is away keeps nothing of the others.
        chores.extend(adapters.members.iter().map(|member| {
            let (catalog, retention) = (adapters.catalog.clone(), member.retention.clone());
            // What is never compacted is never rolled up either.
            let is_rolled = config.retention.rollups.is_some() && config.storage.compaction.is_some();
            let rolled = member.upkeep.clone().filter(|_| is_rolled);
            let kept = chores::Kept { catalog, retention, config: config.retention, rolled };
            tokio::spawn(chores::remove_old_samples(kept, stop.clone()))
        }));
        let retention = config.job_retention;
        chores.push(tokio::spawn(chores::purge_jobs(adapters.catalog.clone(), retention, stop.clone())));
        let (integrity, retention) = (adapters.integrity.clone(), config.ledger_retention);
        chores.push(tokio::spawn(chores::purge_ledger(integrity, retention, stop.clone())));
    }
    chores
}
