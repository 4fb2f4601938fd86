//! From what a provider found to what is scraped, as Prometheus 3 does it.
//!
//! 1. The labels found (a target's own win over its group's) get what the job says where they do not have it: `job`,
//!    `__scheme__`, `__metrics_path__`, `__scrape_interval__`, `__scrape_timeout__` and `__param_<name>`, the first value of
//!    each parameter. These are the *discovered labels*.
//! 2. The job's rules keep, drop and rewrite them.
//! 3. `__address__`, interval and timeout are checked; no port is added. `instance` is `__address__` unless it is there.
//! 4. Labels that begin with `__` go. Address, path and parameters become the URL.
//! 5. Of the targets of a job that have the same labels and URL, one is left.
//!
//! A target is called `<job>@<instance>-<12 hex digits>`, at most 100 characters: the job's name as configured and the
//! label `instance`, cut and with `-` for what an address cannot hold, and a hash of the job's name, the labels and the URL
//! (XXH3, so that it is the same in every process and version). Its source is the label `job`; one of more than 100
//! characters is cut and ends in `~` and a hash, while the label itself stays whole.

mod address;
mod id;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use metricsd_model::{
    CollectionMethod, MetricSource, PromDuration, RelabelConfig, ScrapeConfig, ScrapeOptions, TargetSpec,
    parse_duration,
};
use metricsd_relabel::{RelabelError, Relabeler};

use crate::config::JobConfig;
use crate::manager::FoundGroup;
use crate::provider::{FoundLabels, Lifecycle};

/// Dropped targets of a job that are kept at most, whatever `keep_dropped_targets` says.
pub const MAX_DROPPED: usize = 10_000;
/// Targets that cannot be scraped that are kept with their reasons; more are counted.
pub const MAX_ERRORS: usize = 1_000;
/// Characters of a target's address that the catalogue keeps.
const MAX_URL: usize = 500;
/// The shortest time between two scrapes.
const MIN_INTERVAL: PromDuration = PromDuration(std::time::Duration::from_millis(100));

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";

/// What a found target becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolved {
    /// It is scraped; with its discovered labels.
    Active(Box<TargetSpec>, FoundLabels),
    /// A rule dropped it; its discovered labels.
    Dropped(FoundLabels),
}

/// Why a found target cannot be scraped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    /// Its labels before relabelling.
    pub discovered: FoundLabels,
    /// A sentence for the user.
    pub message: String,
}

/// More targets than the job's `target_limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} targets are more than target_limit, {limit}: none of the job is scraped")]
pub struct OverLimit {
    /// Targets after relabelling, each once.
    pub found: u64,
    /// The limit.
    pub limit: u64,
}

/// A target that is scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveTarget {
    /// How.
    pub spec: TargetSpec,
    /// Its labels before relabelling.
    pub discovered: FoundLabels,
    /// Kind of the provider that found it.
    pub provider: &'static str,
    /// Where in its life it is.
    pub lifecycle: Lifecycle,
}

/// All targets of a job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobTargets {
    /// What is scraped; empty with more targets than `target_limit`.
    pub active: Vec<ActiveTarget>,
    /// Discovered labels of targets that rules dropped, as many as `keep_dropped_targets` allows and [`MAX_DROPPED`].
    pub dropped: Vec<FoundLabels>,
    /// How many more were dropped.
    pub dropped_beyond_limit: u64,
    /// What cannot be scraped, at most [`MAX_ERRORS`].
    pub errors: Vec<TargetError>,
    /// How many more cannot.
    pub errors_beyond_limit: u64,
    /// Set where nothing is scraped because there are too many targets.
    pub over_limit: Option<OverLimit>,
}

/// Resolves all that the providers of a job have found (`JobSnapshot::groups`). Targets come in the order of the groups.
///
/// # Errors
/// Where a rule of the job does not compile; a loaded configuration has been checked for that.
pub fn resolve_job<G: AsRef<FoundGroup>>(
    job: &JobConfig,
    groups: impl IntoIterator<Item = G>,
) -> Result<JobTargets, RelabelError> {
    let resolver = JobResolver::new(job)?;
    let mut targets = JobTargets::default();
    let mut seen = HashSet::new();
    for group in groups {
        let group = group.as_ref();
        for target in &group.targets {
            match resolver.resolve(&target.labels) {
                // The id stands for the labels and the URL.
                Ok(Resolved::Active(spec, discovered)) if seen.insert(spec.target_id.clone()) => {
                    let (provider, lifecycle) = (group.provider, target.lifecycle);
                    targets.active.push(ActiveTarget { spec: *spec, discovered, provider, lifecycle });
                }
                Ok(Resolved::Active(..)) => {}
                Ok(Resolved::Dropped(discovered)) => targets.drop_one(job, discovered),
                Err(error) => targets.fail_one(error),
            }
        }
    }
    let found = targets.active.len() as u64;
    if job.target_limit > 0 && found > job.target_limit {
        targets.over_limit = Some(OverLimit { found, limit: job.target_limit });
        targets.active = Vec::new();
    }
    Ok(targets)
}

impl JobTargets {
    fn drop_one(&mut self, job: &JobConfig, discovered: FoundLabels) {
        let limit = usize::try_from(job.keep_dropped_targets).unwrap_or(MAX_DROPPED);
        let limit = if limit == 0 { MAX_DROPPED } else { limit.min(MAX_DROPPED) };
        if self.dropped.len() < limit {
            self.dropped.push(discovered);
        } else {
            self.dropped_beyond_limit += 1;
        }
    }

    fn fail_one(&mut self, error: TargetError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.errors_beyond_limit += 1;
        }
    }
}

/// A job with its rules compiled.
#[derive(Debug)]
pub struct JobResolver<'j> {
    job: &'j JobConfig,
    rules: Relabeler,
    /// What the targets of the job share. Parameters are in their URLs. Who may write the file may name any file in it.
    options: Arc<ScrapeOptions>,
    interval: String,
    timeout: String,
}

impl<'j> JobResolver<'j> {
    /// Compiles a job's rules.
    ///
    /// # Errors
    /// Where one does not compile.
    pub fn new(job: &'j JobConfig) -> Result<Self, RelabelError> {
        let options = &job.scrape.options;
        let rules = compile(&job.relabel_configs, options)?;
        let shared = ScrapeOptions {
            params: BTreeMap::new(),
            exact_labels: true,
            unconfined_secrets: true,
            ..ScrapeOptions::clone(options)
        };
        Ok(Self {
            job,
            rules,
            options: Arc::new(shared),
            interval: job.scrape.scrape_interval.to_string(),
            timeout: job.scrape.scrape_timeout.to_string(),
        })
    }

    /// Resolves one target by the labels found for it, those of its group included.
    ///
    /// # Errors
    /// Where it cannot be scraped: no address or a wrong one, or labels that say something impossible.
    pub fn resolve(&self, found: &FoundLabels) -> Result<Resolved, TargetError> {
        let discovered = self.discovered(found);
        let mut labels: Vec<(String, String)> =
            discovered.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if !self.rules.apply(&mut labels) {
            return Ok(Resolved::Dropped(discovered));
        }
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        match self.spec(labels) {
            Ok(spec) => Ok(Resolved::Active(Box::new(spec), discovered)),
            Err(message) => Err(TargetError { discovered, message }),
        }
    }

    /// What was found, and what the job says where that says nothing.
    pub fn discovered(&self, found: &FoundLabels) -> FoundLabels {
        let mut labels = found.clone();
        let scrape = &self.job.scrape;
        let of_job = [
            ("job", self.job.name.as_str()),
            (SCRAPE_INTERVAL, &self.interval),
            (SCRAPE_TIMEOUT, &self.timeout),
            (METRICS_PATH, &scrape.metrics_path),
            (SCHEME, &scrape.scheme),
        ];
        for (name, value) in of_job {
            set_if_empty(&mut labels, name.to_owned(), value);
        }
        for (name, values) in &scrape.options.params {
            if let Some(first) = values.first() {
                set_if_empty(&mut labels, format!("{PARAM}{name}"), first);
            }
        }
        labels.retain(|_, value| !value.is_empty());
        labels
    }

    fn spec(&self, labels: BTreeMap<String, String>) -> Result<TargetSpec, String> {
        let get = |name: &str| labels.get(name).map_or("", String::as_str);
        let address = get(ADDRESS);
        address::check(address)?;
        let scheme = get(SCHEME);
        if !matches!(scheme, "http" | "https") {
            return Err(format!("{SCHEME} is {scheme:?}; it must be http or https"));
        }
        let (scrape_interval, scrape_timeout) = times(get(SCRAPE_INTERVAL), get(SCRAPE_TIMEOUT))?;
        let metrics_path = address::path(get(METRICS_PATH));
        let params = self.params(&labels);
        let base = format!("{scheme}://{address}{metrics_path}");
        let url = address::with_query(&base, &params);
        let source_type = source_type(&labels);
        let (address, scheme) = (address.to_owned(), scheme.to_owned());
        let public = public(labels, address);
        let target_id = id::target_id(&self.job.name, &public, &url);
        let source_id = id::source_id(public.get("job").map_or(self.job.name.as_str(), String::as_str));
        let (target_url, options) = self.placed(base, url, params)?;
        let scrape = &self.job.scrape;
        Ok(TargetSpec {
            target_id,
            source_id,
            source_type,
            collection_method: CollectionMethod::PullScraping,
            scrape_config: ScrapeConfig {
                target_url,
                scrape_interval,
                scrape_timeout,
                metrics_path,
                scheme,
                authentication: scrape.authentication.clone(),
                honor_labels: scrape.honor_labels,
                honor_timestamps: scrape.honor_timestamps,
                options,
            },
            labels: public,
            filters: Vec::new(),
            retention_policy: None,
            enabled: true,
        })
    }

    /// The job's parameters, the first value of each as the labels say.
    fn params(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
        let mut params = self.job.scrape.options.params.clone();
        let of_params = labels.range(PARAM.to_owned()..).map_while(|(name, value)| {
            let name = name.strip_prefix(PARAM)?;
            Some((name, value))
        });
        for (name, value) in of_params {
            let values = params.entry(name.to_owned()).or_default();
            match values.first_mut() {
                Some(first) => first.clone_from(value),
                None => values.push(value.clone()),
            }
        }
        params
    }

    /// Parameters stand in the URL; those for which there is no room in the catalogue's column stay with the options.
    fn placed(
        &self,
        base: String,
        url: String,
        params: BTreeMap<String, Vec<String>>,
    ) -> Result<(String, Arc<ScrapeOptions>), String> {
        if url.chars().count() <= MAX_URL {
            return Ok((url, Arc::clone(&self.options)));
        }
        if base.chars().count() > MAX_URL {
            return Err(format!("the address is longer than {MAX_URL} characters"));
        }
        Ok((base, Arc::new(ScrapeOptions { params, ..ScrapeOptions::clone(&self.options) })))
    }
}

/// Compiles rules of a job, whose names must be valid as the job says.
///
/// # Errors
/// Where one does not compile.
pub(crate) fn compile(rules: &[RelabelConfig], options: &ScrapeOptions) -> Result<Relabeler, RelabelError> {
    Relabeler::compile_for(rules, options.metric_name_validation_scheme)
}

fn set_if_empty(labels: &mut FoundLabels, name: String, value: &str) {
    let label = labels.entry(name).or_default();
    if label.is_empty() {
        value.clone_into(label);
    }
}

/// Interval and timeout from their labels.
fn times(interval: &str, timeout: &str) -> Result<(PromDuration, PromDuration), String> {
    let read = |label: &str, text: &str| match parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err(format!("{label} cannot be 0")),
        Ok(duration) => Ok(PromDuration(duration)),
        Err(error) => Err(format!("{label}: {error}")),
    };
    let (interval, timeout) = (read(SCRAPE_INTERVAL, interval)?, read(SCRAPE_TIMEOUT, timeout)?);
    if interval < MIN_INTERVAL {
        return Err(format!("{SCRAPE_INTERVAL} is {interval}; the shortest interval is {MIN_INTERVAL}"));
    }
    if timeout > interval {
        return Err(format!("{SCRAPE_TIMEOUT}, {timeout}, is longer than {SCRAPE_INTERVAL}, {interval}"));
    }
    Ok((interval, timeout))
}

/// The labels that series get.
fn public(mut labels: BTreeMap<String, String>, address: String) -> BTreeMap<String, String> {
    labels.retain(|name, _| !name.starts_with("__"));
    labels.entry("instance".to_owned()).or_insert(address);
    labels
}

fn source_type(labels: &BTreeMap<String, String>) -> MetricSource {
    if labels.keys().any(|name| name.starts_with("__meta_kubernetes_")) {
        MetricSource::Kubernetes
    } else {
        MetricSource::Application
    }
}
