//! What a provider of targets is.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Labels of a target that was found, before relabelling: `__address__`, `__meta_…` and the group's own.
pub type FoundLabels = BTreeMap<String, String>;

/// Targets with something in common. A group replaces what the same provider said before under the same `source`;
/// one without targets says that they are gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetGroup {
    /// Which of the provider's groups this is: a file and its place in it, a service, a pod.
    pub source: String,
    /// Labels of all targets.
    pub labels: FoundLabels,
    /// Labels of each; they win over the group's.
    pub targets: Vec<FoundLabels>,
}

/// What a provider tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// All groups that there are; groups not among them are gone.
    All(Vec<TargetGroup>),
    /// These groups are new or have changed; the others are as before.
    Some(Vec<TargetGroup>),
    /// Nothing could be learnt; the last good answer stands. A sentence for the user, without secrets.
    Failed(String),
}

/// Where a provider tells what it finds.
pub type Updates = mpsc::Sender<Update>;

/// One source of targets.
///
/// A provider never gives up: it tells of each failure, backs off, and goes on until told to stop.
#[async_trait]
pub trait Provider: Send + Sync {
    /// `static`, `file`, `http`, `dns`, `consul`, `kubernetes`.
    fn kind(&self) -> &'static str;

    /// Finds targets until `stop`, or until nobody listens any more.
    async fn run(&self, updates: Updates, stop: CancellationToken);
}
