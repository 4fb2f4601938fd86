//! `consul_sd_configs`: services in Consul's catalogue.
//!
//! One question waits for changes of the list of services, and one for each service's instances (Consul's documentation,
//! "Blocking Queries"): the server answers when something has changed, or after [`WAIT`].

mod api;
mod labels;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_client::Context;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::ConsulSd;
use crate::pace::Pace;
use crate::provider::{Provider, TargetGroup, Update, Updates};
use api::Api;

/// How long a server may hold a question.
const WAIT: Duration = Duration::from_secs(120);
/// Services that are watched at once: each holds a request open.
const MAX_SERVICES: usize = 5_000;
/// Answers that wait to be told; those who have more wait.
const NEWS: usize = 16;

/// Follows the catalogue and the health of services.
pub struct ConsulProvider {
    config: Arc<ConsulSd>,
    api: Arc<Api>,
}

/// What one of the questions has brought.
enum News {
    /// Nothing new.
    Same,
    /// The services there are.
    Services(Result<BTreeSet<String>, String>),
    /// The instances of one.
    Instances(String, Result<TargetGroup, String>),
}

impl ConsulProvider {
    /// For this server.
    ///
    /// # Errors
    /// The address is none, or the settings of the requests can never work.
    pub fn new(config: &ConsulSd, context: &Context) -> Result<Self, String> {
        let api = Api::new(config, context)?;
        Ok(Self { config: Arc::new(config.clone()), api: Arc::new(api) })
    }

    /// Follows until nobody listens.
    async fn follow(&self, updates: &Updates) -> Option<()> {
        let (sender, mut news) = mpsc::channel(NEWS);
        // Every question ends with this function.
        let mut tasks = JoinSet::new();
        let mut known = Known::default();
        if self.config.services.is_empty() || !self.config.tags.is_empty() || self.config.filter.is_some() {
            tasks.spawn(watch_services(Arc::clone(&self.api), Arc::clone(&self.config), sender.clone()));
        } else {
            known.listed = true;
            let services = self.config.services.iter().cloned().collect();
            self.set_services(services, &mut known, &mut tasks, &sender);
        }
        while let Some(news) = news.recv().await {
            let told = match news {
                News::Same => Some(Vec::new()),
                News::Services(Err(problem)) => {
                    known.problem = Some(problem);
                    None
                }
                News::Services(Ok(services)) => {
                    (known.problem, known.listed) = (None, true);
                    self.set_services(services, &mut known, &mut tasks, &sender)
                }
                News::Instances(service, answer) => known.instances(service, answer),
            };
            for update in known.told(told) {
                updates.send(update).await.ok()?;
            }
            while tasks.try_join_next().is_some() {}
        }
        None
    }

    /// Watches these services and no others; the groups of those that are gone.
    fn set_services(
        &self,
        services: BTreeSet<String>,
        known: &mut Known,
        tasks: &mut JoinSet<()>,
        sender: &mpsc::Sender<News>,
    ) -> Option<Vec<TargetGroup>> {
        let count = services.len();
        if count > MAX_SERVICES {
            known.problem =
                Some(format!("there are {count} services, more than the {MAX_SERVICES} that are watched"));
        }
        let services: BTreeSet<String> = services.into_iter().take(MAX_SERVICES).collect();
        for service in &services {
            if known.services.contains_key(service) {
                continue;
            }
            let (api, config) = (Arc::clone(&self.api), Arc::clone(&self.config));
            let stop = CancellationToken::new();
            known.services.insert(service.clone(), Service::new(stop.clone()));
            let watch = watch_instances(api, config, service.clone(), sender.clone());
            tasks.spawn(async move { stop.run_until_cancelled(watch).await.unwrap_or_default() });
        }
        let mut gone = Vec::new();
        known.services.retain(|name, service| {
            let stays = services.contains(name);
            if !stays {
                service.stop.cancel();
                gone.push(TargetGroup { source: name.clone(), ..TargetGroup::default() });
            }
            stays
        });
        Some(gone)
    }
}

#[async_trait]
impl Provider for ConsulProvider {
    fn kind(&self) -> &'static str {
        "consul"
    }

    async fn run(&self, updates: Updates, stop: CancellationToken) {
        tokio::select! {
            _ = self.follow(&updates) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What is known of the services.
#[derive(Default)]
struct Known {
    services: BTreeMap<String, Service>,
    /// The list of services is known.
    listed: bool,
    /// Everything was told at once.
    complete: bool,
    /// What is wrong with the list of services.
    problem: Option<String>,
}

struct Service {
    stop: CancellationToken,
    /// Only until everything is told at once.
    first: Option<TargetGroup>,
    answered: bool,
    problem: Option<String>,
}

impl Service {
    fn new(stop: CancellationToken) -> Self {
        Self { stop, first: None, answered: false, problem: None }
    }
}

impl Known {
    /// Takes in an answer; the group to tell.
    fn instances(&mut self, name: String, answer: Result<TargetGroup, String>) -> Option<Vec<TargetGroup>> {
        // One that is no longer wanted may have answered before it was stopped.
        let service = self.services.get_mut(&name)?;
        match answer {
            Ok(group) => {
                (service.answered, service.problem) = (true, None);
                if self.complete {
                    return Some(vec![group]);
                }
                service.first = Some(group);
                Some(Vec::new())
            }
            Err(problem) => {
                service.problem = Some(problem);
                None
            }
        }
    }

    /// What is to be told: everything at once when each service has answered for the first time, changes afterwards, and
    /// then what is wrong, as long as it is.
    fn told(&mut self, groups: Option<Vec<TargetGroup>>) -> Vec<Update> {
        let mut updates = Vec::new();
        if !self.complete && self.listed && self.services.values().all(|service| service.answered) {
            self.complete = true;
            let all = self.services.values_mut().filter_map(|service| service.first.take()).collect();
            updates.push(Update::All(all));
        } else if self.complete {
            updates.extend(groups.map(Update::Some));
        }
        let problem = self.services.values().find_map(|service| service.problem.clone());
        updates.extend(self.problem.clone().or(problem).map(Update::Failed));
        updates
    }
}

/// Follows the list of services until nobody listens.
async fn watch_services(api: Arc<Api>, config: Arc<ConsulSd>, news: mpsc::Sender<News>) {
    let mut watch = Watch::new(&config);
    loop {
        let asked = Instant::now();
        let answer = api.services(watch.index).await;
        let answer = watch.taken(answer);
        let told = answer.transpose().map(|found| found.map(|services| wanted(services, &config)));
        if news.send(told.map_or(News::Same, News::Services)).await.is_err() {
            return;
        }
        watch.wait(asked).await;
    }
}

/// Follows one service until nobody listens.
async fn watch_instances(api: Arc<Api>, config: Arc<ConsulSd>, service: String, news: mpsc::Sender<News>) {
    let mut watch = Watch::new(&config);
    loop {
        let asked = Instant::now();
        let answer = api.instances(&service, watch.index).await;
        let answer = watch.taken(answer);
        let told = answer.transpose().map(|found| found.map(|found| labels::group(&service, found, &config)));
        let told = told.map_or(News::Same, |told| News::Instances(service.clone(), told));
        if news.send(told).await.is_err() {
            return;
        }
        watch.wait(asked).await;
    }
}

/// The services that settings ask for: named, where names are given, and with all of the tags.
fn wanted(services: BTreeMap<String, Vec<String>>, config: &ConsulSd) -> BTreeSet<String> {
    let named = |name: &String| config.services.is_empty() || config.services.contains(name);
    let tagged = |tags: &[String]| config.tags.iter().all(|tag| tags.contains(tag));
    services.into_iter().filter(|(name, tags)| named(name) && tagged(tags)).map(|(name, _)| name).collect()
}

/// Where one question stands.
struct Watch {
    /// What the last answer was about; 0 asks for an answer at once.
    index: u64,
    pace: Pace,
    wait: Duration,
}

impl Watch {
    fn new(config: &ConsulSd) -> Self {
        let pace = Pace::new(config.refresh_interval.0);
        Self { index: 0, pace, wait: Duration::ZERO }
    }

    /// Notes the index of an answer; `Ok(None)` where nothing has changed.
    fn taken<T>(&mut self, answer: Result<api::Answer<T>, String>) -> Result<Option<T>, String> {
        match answer {
            Ok(answer) => {
                self.wait = self.pace.succeeded();
                let same = self.index != 0 && answer.index == self.index;
                // An index that goes back says that the server was restored: everything is asked for anew.
                self.index = if answer.index < self.index { 0 } else { answer.index };
                Ok((!same).then_some(answer.found))
            }
            Err(problem) => {
                self.wait = self.pace.failed();
                // The server may be another one when it comes back.
                self.index = 0;
                Err(problem)
            }
        }
    }

    /// Two questions are at least an interval apart, however much changes.
    async fn wait(&self, asked: Instant) {
        if self.index == 0 {
            tokio::time::sleep(self.wait).await;
        } else {
            tokio::time::sleep_until(asked + self.wait).await;
        }
    }
}
