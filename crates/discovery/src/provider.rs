//! What a provider of targets is.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Labels of a target that was found, before relabelling: `__address__`, `__meta_…` and the group's own.
pub type FoundLabels = BTreeMap<String, String>;

/// Label by which a provider says where in its life a target is: one of [`Lifecycle`]'s names. It is taken off before
/// anyone sees the labels, so that it cannot become a part of a target's identity.
pub const LIFECYCLE_LABEL: &str = "__lifecycle__";

/// Where in its life a target is, as far as its provider can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lifecycle {
    /// The provider cannot tell.
    #[default]
    Unknown,
    /// It does not take requests yet.
    Starting,
    /// It takes requests; a target that becomes ready is worth a first scrape at once.
    Ready,
    /// It is being shut down; a target of which this is said is worth a last scrape at once.
    Ending,
}

impl Lifecycle {
    /// As [`LIFECYCLE_LABEL`] has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Ending => "ending",
        }
    }

    /// Reads [`LIFECYCLE_LABEL`]; anything else than a name is `Unknown`.
    pub fn from_label(value: Option<&str>) -> Self {
        let all = [Self::Starting, Self::Ready, Self::Ending];
        all.into_iter().find(|lifecycle| value == Some(lifecycle.as_str())).unwrap_or_default()
    }
}

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
    /// All groups that there are; groups not among them are gone. From its first one on, a provider is known to have
    /// told of everything.
    All(Vec<TargetGroup>),
    /// These groups are new or have changed; the others are as before. None at all says that nothing has changed.
    Some(Vec<TargetGroup>),
    /// Nothing, or not everything, could be learnt; the last good answer stands. A sentence for the user, without secrets.
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
