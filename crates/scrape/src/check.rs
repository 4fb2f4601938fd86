//! What is wrong with a target's settings, before it is scraped for the first time.

use metricsd_client::SecretAccess;
use metricsd_client::check;
pub use metricsd_client::is_reserved_header;
use metricsd_model::{PromDuration, ScrapeOptions};
use metricsd_relabel::Relabeler;

/// The longest that an adaptive interval may become, in milliseconds: the longest interval there is.
pub const MAX_ADAPTIVE_MILLIS: u64 = 24 * 3_600_000;

/// What is wrong with `adaptive_interval_max_ms` beside an interval; a sentence that goes on from the setting's name.
pub fn adaptive_fault(longest: Option<u64>, interval: PromDuration) -> Option<String> {
    let longest = longest?;
    let base = u64::try_from(interval.millis()).unwrap_or_default();
    let shown = PromDuration(std::time::Duration::from_millis(longest));
    if longest < base {
        return Some(format!("is {shown}, shorter than the interval of {interval} that it is to stretch"));
    }
    (longest > MAX_ADAPTIVE_MILLIS).then(|| format!("is {shown}, longer than 1d"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adaptive_interval_is_neither_shorter_than_the_interval_nor_longer_than_a_day() {
        let fault = |longest| adaptive_fault(longest, PromDuration::from_secs(15));
        for good in [None, Some(15_000), Some(300_000), Some(MAX_ADAPTIVE_MILLIS)] {
            assert_eq!(fault(good), None, "{good:?}");
        }
        let short = fault(Some(14_999)).unwrap();
        assert!(short.contains("shorter than the interval of 15s"), "{short}");
        assert_eq!(fault(Some(0)).unwrap(), "is 0s, shorter than the interval of 15s that it is to stretch");
        for long in [MAX_ADAPTIVE_MILLIS + 1, u64::MAX] {
            assert!(fault(Some(long)).unwrap().ends_with("longer than 1d"), "{long}");
        }
    }
}
