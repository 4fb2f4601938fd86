//! What upload workers count.

use metricsd_files::Part;
use metricsd_ports::Outcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How an upload ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
}

/// What was taken from files since this process started. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct UploadMetrics {
    rows: Counter,
    unreadable: Counter,
    ended: Family<Ended, Counter>,
}

impl UploadMetrics {
    /// Creates and registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("upload");
        registry.register("rows", "Rows read of uploaded files", metrics.rows.clone());
        registry.register("unreadable_rows", "Rows that could not be read", metrics.unreadable.clone());
        registry.register("tries", "Tries at uploads, by how they ended", metrics.ended.clone());
        metrics
    }

    pub(super) fn read(&self, part: &Part) {
        self.rows.inc_by(part.samples + part.bad);
        self.unreadable.inc_by(part.bad);
    }

    pub(super) fn ended(&self, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Failed { .. } => "failed",
            Outcome::Hopeless { .. } => "hopeless",
            Outcome::Cancelled => "cancelled",
            Outcome::Released => "released",
        };
        self.ended.get_or_create(&Ended { outcome }).inc();
    }
}
