//! A provider that runs, and what it tells.
#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs")]

pub mod consul_server;
pub mod dns_server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metricsd_client::{AddressPolicy, Context};
use metricsd_discovery::provider::{FoundLabels, Provider, TargetGroup, Update};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A provider that runs; what it has told is kept as the manager would.
pub struct Run {
    told: mpsc::Receiver<Update>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    pub groups: BTreeMap<String, TargetGroup>,
    pub error: Option<String>,
}

impl Run {
    pub fn start(provider: impl Provider + 'static) -> Self {
        let (updates, told) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { provider.run(updates, token).await });
        Self { told, stop, task, groups: BTreeMap::new(), error: None }
    }

    /// Takes in the next thing that it tells.
    pub async fn next(&mut self) -> Update {
        let update = tokio::time::timeout(PATIENCE, self.told.recv())
            .await
            .expect("it tells something")
            .expect("it runs");
        match &update {
            Update::All(groups) => {
                self.groups = groups.iter().map(|group| (group.source.clone(), group.clone())).collect();
                self.error = None;
            }
            Update::Some(groups) => {
                let named = groups.iter().map(|group| (group.source.clone(), group.clone()));
                self.groups.extend(named);
                self.groups.retain(|_, group| !group.targets.is_empty());
                self.error = None;
            }
            Update::Failed(sentence) => self.error = Some(sentence.clone()),
        }
        update
    }

    /// Takes in what it tells until that is so.
    pub async fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let reached = async {
            while !so(self) {
                self.next().await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("never {what}; it told {:?} and {:?}", self.addresses(), self.error);
        }
    }

    /// The addresses of all targets.
    pub fn addresses(&self) -> BTreeSet<String> {
        self.targets().into_iter().map(|target| target["__address__"].clone()).collect()
    }

    /// All targets with the labels of their groups.
    pub fn targets(&self) -> Vec<FoundLabels> {
        let joined = |group: &TargetGroup| {
            let labels = group.labels.clone();
            group.targets.clone().into_iter().map(move |own| labels.clone().into_iter().chain(own).collect())
        };
        self.groups.values().flat_map(joined).collect()
    }

    /// It ends when it is told to.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.told.close();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").expect("without a panic");
    }
}

/// Requests that may go everywhere and read no environment.
pub fn context() -> Context {
    Context::operator("/", Arc::new(AddressPolicy::default()), Arc::new(|_| None))
}

/// Serves routes on a port of loopback until the test ends; the address.
pub async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A set of texts.
pub fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A folder of the test's own, gone with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("metricsd-discovery-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
