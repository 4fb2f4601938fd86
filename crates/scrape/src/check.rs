//! What is wrong with a target's settings, before it is scraped for the first time.

use metricsd_client::SecretAccess;
use metricsd_client::check;
pub use metricsd_client::is_reserved_header;
use metricsd_model::ScrapeOptions;
use metricsd_relabel::Relabeler;

/// Everything that is wrong: the setting, and a sentence that goes on from it. `access` says what secrets may be
/// references to.
pub fn faults(options: &ScrapeOptions, access: &SecretAccess) -> Vec<(&'static str, String)> {
    let http = check::faults(&options.http).into_iter().chain(check::forbidden(&options.http, access));
    let mut found: Vec<(&'static str, String)> =
        http.map(|fault| ("http", format!("{} {}", fault.field, fault.message))).collect();
    let names = options.metric_name_validation_scheme;
    if let Err(error) = Relabeler::compile_for(&options.metric_relabel_configs, names) {
        found.push(("metric_relabel_configs", error.to_string()));
    }
    let factor = options.native_histogram_min_bucket_factor;
    if !factor.is_finite() || factor < 0.0 {
        found.push(("native_histogram_min_bucket_factor", "is no number from 0 on".to_owned()));
    }
    let mut known = std::collections::HashSet::new();
    if let Some(twice) = options.scrape_protocols.iter().find(|protocol| !known.insert(**protocol)) {
        found.push(("scrape_protocols", format!("name {twice} twice")));
    }
    found
}
