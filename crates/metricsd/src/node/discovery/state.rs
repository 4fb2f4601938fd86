//! How the discovery of a job goes, as it is shown.

use metricsd_discovery::manager::ProviderStatus;
use metricsd_ports::ProviderState;

/// The providers of a job.
pub(super) fn providers(job: &str, statuses: &[ProviderStatus]) -> Vec<ProviderState> {
    let of_job = statuses.iter().filter(|status| status.jobs.iter().any(|name| name == job));
    of_job
        .map(|status| ProviderState {
            provider: status.kind.to_owned(),
            settings: status.settings.clone(),
            targets: status.targets as u64,
            complete: status.complete,
            last_success: status.last_success_ms,
            last_failure: status.last_failure_ms,
            failures_in_a_row: status.failures_in_a_row,
            error: status.last_error.clone(),
        })
        .collect()
}
