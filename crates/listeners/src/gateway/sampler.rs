//! Brings the samples of all groups again and again, in the one process that leads, and removes groups whose time has come.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use metricsd_codec::pushgateway::Families;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_ingest::Caller;
use metricsd_ports::{Catalog, Leadership, PortError, PushedGroup};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Gateway, families_of, write_of, write_times};
use crate::now;

/// What is led.
const WHAT: &str = "pushgateway";

/// How often a process that does not lead asks whether it may.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// How often it is looked, at least, which groups there are and whose time has come.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Bytes of one collection.
const ENOUGH: usize = 4 << 20;

impl Gateway {
    /// Samples all groups whenever no other process does, until told to stop.
    pub async fn run(self, catalog: Arc<dyn Catalog>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match catalog.try_lead(WHAT).await {
                Ok(Some(lead)) => {
                    self.0.shown.leading.set(1);
                    Sampler { gateway: &self, known: HashMap::new(), sampled: None }.serve(lead, &stop).await;
                    self.0.shown.leading.set(0);
                }
                Ok(None) => {}
                Err(error) => warn!(error = error.chain(), "it cannot be asked who samples pushed groups"),
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

struct Sampler<'g> {
    gateway: &'g Gateway,
    /// Groups as they were last read.
    known: HashMap<Uuid, (PushedGroup, Families)>,
    /// When all were last sampled.
    sampled: Option<Instant>,
}

impl Sampler<'_> {
    async fn serve(mut self, mut lead: Box<dyn Leadership>, stop: &CancellationToken) {
        let interval = self.gateway.0.options.interval;
        let mut tick = tokio::time::interval(interval.min(LOOK_EVERY));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            if !lead.is_held().await {
                return;
            }
            match self.look(interval).await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    warn!(error = error.chain(), "pushed groups cannot be read");
                }
                Err(_) => {}
            }
        }
    }

    async fn look(&mut self, interval: Duration) -> Result<(), PortError> {
        // Before it is looked which groups there are: what is changed after that has a later time.
        let at = now();
        self.refresh().await?;
        self.expire(at).await;
        let due = self.sampled.is_none_or(|sampled| sampled.elapsed() >= interval);
        if due {
            self.sampled = Some(Instant::now());
            self.sample(at).await;
        }
        Ok(())
    }

    /// Reads what has changed.
    async fn refresh(&mut self) -> Result<(), PortError> {
        let gateway = &self.gateway.0;
        let versions = gateway.groups.group_versions().await?;
        let there: HashSet<Uuid> = versions.iter().map(|(id, _)| *id).collect();
        self.known.retain(|id, _| there.contains(id));
        for (id, version) in versions {
            if self.known.get(&id).is_some_and(|(group, _)| group.version == version) {
                continue;
            }
            match gateway.groups.group(id).await? {
                Some(group) => drop(self.known.insert(id, (group.clone(), families_of(&group)))),
                None => drop(self.known.remove(&id)),
            }
        }
        gateway.shown.groups.set(self.known.len() as i64);
        gateway.shown.series.set(self.known.values().map(|(group, _)| group.series as i64).sum());
        Ok(())
    }

    async fn expire(&mut self, at: i64) {
        let gateway = &self.gateway.0;
        let due = |group: &PushedGroup| gateway.expires_at(group).is_some_and(|time| time <= at);
        let lapsed: Vec<_> = self
            .known
            .values()
            .filter(|(group, _)| due(group))
            .map(|(group, _)| (group.id, group.version))
            .collect();
        for (id, version) in lapsed {
            let _turn = self.gateway.turn(id).await;
            match gateway.remove(id, Some(version)).await {
                Ok(removed) => {
                    if removed {
                        info!(group = %id, "a pushed group has lapsed");
                    }
                    self.known.remove(&id);
                }
                Err(error) => warn!(%error, "a pushed group that has lapsed stays for now"),
            }
        }
    }

    async fn sample(&self, at: i64) {
        let mut by_source: BTreeMap<&str, Vec<&(PushedGroup, Families)>> = BTreeMap::new();
        for known in self.known.values() {
            by_source.entry(&known.0.source_id).or_default().push(known);
        }
        for (source_id, mut groups) in by_source {
            // One list of series every time is known by heart further on.
            groups.sort_by_key(|(group, _)| group.id);
            let mut body = BodyWriter::new();
            for (group, families) in groups {
                if families.write(at, &mut body).is_err() {
                    warn!(group = %group.id, "a pushed group does not read");
                }
                write_times(group, at, &mut body);
                if body.len() > ENOUGH {
                    self.bring(source_id, std::mem::take(&mut body), at).await;
                }
            }
            if !body.is_empty() {
                self.bring(source_id, body, at).await;
            }
        }
    }

    async fn bring(&self, source_id: &str, body: BodyWriter, at: i64) {
        if let Err(error) =
            self.gateway.0.ingest.write(write_of(source_id, body, at, Caller::anonymous())).await
        {
            warn!(%error, "samples of pushed groups were not stored; they are brought again");
        }
    }
}
