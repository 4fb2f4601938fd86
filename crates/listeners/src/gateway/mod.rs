//! What a Pushgateway does: groups of metrics are pushed and stand until somebody removes them.
//!
//! A group is a row of the catalogue, which any process may change, one at a time ([`PushedGroups`]). Whoever changes it
//! brings its samples to the door at once, with staleness markers for what it no longer has; `sampler` brings those of all
//! groups again and again, in one process of all, as scraping a gateway would.

mod sampler;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metricsd_codec::exposition::Format;
use metricsd_codec::pushgateway::{self, Exemplars, Families, PushBounds, PushError, Pushed};
use metricsd_codec::remote_write::{BodyWriter, MAX_BODY_BYTES, WireError};
use metricsd_ingest::{
    Caller, Ingest, IngestError, OwnedWrite, Protocol, WriteFailure, WriteFault, WriteOrigin,
};
use metricsd_model::Millis;
use metricsd_ports::{PortError, PushedGroup, PushedGroups};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tracing::warn;
use uuid::Uuid;

use crate::now;

/// How groups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Time between two samples of a group.
    pub interval: Duration,
    /// A group goes so long after its last push, unless it says otherwise; `None`: never.
    pub expire_after: Option<Duration>,
    /// Groups, at most.
    pub max_groups: u64,
    /// Series of all groups, at most.
    pub max_series: u64,
    /// Bytes of all groups, at most.
    pub max_bytes: u64,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            expire_after: None,
            max_groups: 10_000,
            max_series: 1_000_000,
            max_bytes: 256 << 20,
        }
    }
}

/// Whose metrics, and under which labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    id: Uuid,
    labels: BTreeMap<String, String>,
    source_id: String,
}

impl GroupKey {
    /// The group of a source with these labels, `job` among them.
    pub fn new(labels: BTreeMap<String, String>, source_id: impl Into<String>) -> Self {
        let source_id = source_id.into();
        let mut text = String::new();
        for part in std::iter::once(&source_id).chain(labels.iter().flat_map(|(name, value)| [name, value])) {
            text.push_str(&format!("{}:{part}", part.len()));
        }
        // Whoever makes it, the same text makes the same id.
        Self { id: Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()), labels, source_id }
    }
}

/// What a push does to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The group becomes what is pushed.
    Replace,
    /// Families of the same names are replaced.
    Merge,
}

/// One push.
#[derive(Debug, Clone)]
pub struct PagePush {
    /// To which group.
    pub key: GroupKey,
    /// What becomes of what stands there.
    pub change: Change,
    /// What is pushed.
    pub page: Bytes,
    /// Its format.
    pub format: Format,
    /// How long after this push the group goes: zero for never; absent: as configured, or as a group that is merged has it.
    pub expire_after: Option<Duration>,
    /// Who pushes, whose quotas hold.
    pub caller: Caller,
}

/// Why nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// It is at fault itself, and sending it again cannot help.
    #[error("{0}")]
    Refused(String),
    /// Others changed the group again and again at the same time.
    #[error("the group is being changed by others; try again")]
    Busy,
    /// The catalogue does not answer.
    #[error(transparent)]
    Catalog(#[from] PortError),
    /// The store does not take samples.
    #[error(transparent)]
    Store(#[from] IngestError),
}

impl From<PushError> for GatewayError {
    fn from(error: PushError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<WireError> for GatewayError {
    fn from(error: WireError) -> Self {
        Self::Refused(format!("the group does not read: {error}"))
    }
}

impl From<WriteFailure> for GatewayError {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Refused(error) => Self::Refused(error.to_string()),
            WriteFailure::Failed(error) => Self::Store(error),
        }
    }
}

/// Pages above this are read on a thread of their own.
const LARGE: usize = 128 << 10;

/// How often a push is tried while others change its group.
const ATTEMPTS: usize = 16;

/// Groups of different places are changed side by side.
const TURNS: usize = 64;

/// Pushes that may be in memory at once.
const PLACES: usize = 16;

/// Faults that an answer names.
const MAX_FAULTS: usize = 10;

/// The groups. Clones share everything.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    groups: Arc<dyn PushedGroups>,
    ingest: Ingest,
    options: GatewayOptions,
    /// Whoever changes a group in this process waits for who does so before.
    turns: [Mutex<()>; TURNS],
    places: Semaphore,
    shown: Shown,
}

/// What `/metrics` shows, in the process that samples groups.
#[derive(Debug, Clone, Default)]
struct Shown {
    leading: Gauge,
    groups: Gauge,
    series: Gauge,
}

impl Gateway {
    /// Groups of a catalogue.
    pub fn new(
        groups: Arc<dyn PushedGroups>,
        ingest: Ingest,
        options: GatewayOptions,
        registry: &mut Registry,
    ) -> Self {
        let shown = Shown::default();
        let own = registry.sub_registry_with_prefix("pushgateway");
        own.register("leading", "Whether this process samples pushed groups: 1 or 0", shown.leading.clone());
        own.register("groups", "Pushed groups, in the process that samples them", shown.groups.clone());
        own.register("series", "Series of pushed groups, likewise", shown.series.clone());
        let turns = std::array::from_fn(|_| Mutex::new(()));
        let places = Semaphore::new(PLACES);
        Self(Arc::new(Inner { groups, ingest, options, turns, places, shown }))
    }

    /// A place for a push, to be had before its page is read: those who wait for each other's groups wait here, and not in
    /// the places of other protocols. `None` cannot be.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.0.places.acquire().await.ok()
    }

    /// Takes a push. On `Ok` the group stands, and its samples are committed. A push that is refused is noted with its group.
    ///
    /// # Errors
    /// The group is as it was, but for that. Samples may be stored: those of the group are brought again.
    pub async fn push(&self, push: PagePush) -> Result<(), GatewayError> {
        let _turn = self.turn(push.key.id).await;
        let key = push.key.clone();
        let outcome = self.0.push(push).await;
        if let Err(GatewayError::Refused(_)) = outcome {
            self.0.note_failure(&key).await;
        }
        outcome
    }

    /// Ends the series of a group and removes it; answers whether it was there.
    ///
    /// # Errors
    /// It may still be there, and then its samples are brought again.
    pub async fn delete(&self, key: &GroupKey) -> Result<bool, GatewayError> {
        let _turn = self.turn(key.id).await;
        self.0.remove(key.id, None).await
    }

    /// Removes all groups; answers how many.
    ///
    /// # Errors
    /// Some are still there.
    pub async fn wipe(&self) -> Result<u64, GatewayError> {
        let mut removed = 0;
        for (id, _) in self.0.groups.group_versions().await? {
            let _turn = self.turn(id).await;
            removed += u64::from(self.0.remove(id, None).await?);
        }
        Ok(removed)
    }

    /// Groups whose ids sort after `after`, at most `limit`, and their families.
    ///
    /// # Errors
    /// The catalogue does not answer.
    pub async fn groups(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(PushedGroup, Families)>, PortError> {
        let groups = self.0.groups.groups(after, limit).await?;
        Ok(groups.into_iter().map(|group| (families_of(&group), group)).map(|(f, g)| (g, f)).collect())
    }

    /// When a group goes; `None` for never.
    pub fn expires_at(&self, group: &PushedGroup) -> Option<Millis> {
        self.0.expires_at(group)
    }

    async fn turn(&self, id: Uuid) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let place = id.as_u128() % TURNS as u128;
        match self.0.turns.get(place as usize) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}

/// What a group holds; nothing where it does not read.
fn families_of(group: &PushedGroup) -> Families {
    Families::from_bytes(&group.families).unwrap_or_default()
}

impl Inner {
    async fn push(&self, push: PagePush) -> Result<(), GatewayError> {
        let PagePush { key, change, page, format, expire_after, caller } = push;
        let labels = key.labels.clone();
        let large = page.len() > LARGE;
        let bounds = PushBounds {
            max_series: self.options.max_series,
            max_bytes: self.options.max_bytes.min(MAX_BODY_BYTES as u64),
        };
        let read = move || pushgateway::read(&page, format, &labels, bounds);
        let Pushed { families: pushed, exemplars } = match large {
            false => read()?,
            true => match tokio::task::spawn_blocking(read).await {
                Ok(read) => read?,
                Err(_) => return Err(GatewayError::Refused("reading the page failed".to_owned())),
            },
        };
        self.check_kinds(&key, &pushed).await?;
        for _ in 0..ATTEMPTS {
            let standing = self.groups.group(key.id).await?;
            let old = standing.as_ref().map(families_of).unwrap_or_default();
            let new = match change {
                Change::Replace => pushed.clone(),
                Change::Merge => pushed.clone().over(old.clone()),
            };
            let kept =
                standing.as_ref().and_then(|group| group.expire_after).filter(|_| change == Change::Merge);
            let group = PushedGroup {
                pushed_at: Some(now()),
                failed_at: standing.as_ref().and_then(|group| group.failed_at),
                expire_after: expire_after.map(millis).or(kept),
                ..group_of(&key, &new)
            };
            self.check_room(&group).await?;
            // Before the group is changed: what it no longer has would otherwise never end, should this fail.
            let ended = self.store(&group, &new, &old, &exemplars, caller.clone()).await?;
            if self.groups.put_group(&group, standing.map(|group| group.version)).await? {
                if ended {
                    self.end_again(&group, &old, &new, now()).await;
                }
                return Ok(());
            }
        }
        Err(GatewayError::Busy)
    }

    /// A family has one type in all groups.
    async fn check_kinds(&self, key: &GroupKey, pushed: &Families) -> Result<(), GatewayError> {
        let own = pushed.kinds();
        let names: Vec<String> = own.keys().cloned().collect();
        let others = self.groups.other_kinds(key.id, &names).await?;
        let differs = others.iter().find_map(|(name, other)| {
            own.get(name).filter(|own| *own != other).map(|own| (name, own, other))
        });
        match differs {
            None => Ok(()),
            Some((name, own, other)) => Err(GatewayError::Refused(format!(
                "pushed metrics are inconsistent with those of other groups: {name} is a {own} here and a {other} there"
            ))),
        }
    }

    async fn check_room(&self, group: &PushedGroup) -> Result<(), GatewayError> {
        let (options, others) = (&self.options, self.groups.group_totals(group.id).await?);
        let bytes = others.bytes.saturating_add(group.families.len() as u64);
        for (what, key, is, most) in [
            ("groups", "max_groups", others.groups + 1, options.max_groups),
            ("series", "max_series", others.series.saturating_add(group.series), options.max_series),
            ("bytes", "max_bytes", bytes, options.max_bytes),
        ] {
            if is > most {
                let message =
                    format!("pushed groups would hold {is} {what}, more than pushgateway.{key} = {most}");
                return Err(GatewayError::Refused(message));
            }
        }
        Ok(())
    }

    /// Brings a group's samples, and ends the series that it had and no longer has; answers whether there are any. What the
    /// door would refuse of the group is refused as a whole.
    async fn store(
        &self,
        group: &PushedGroup,
        new: &Families,
        old: &Families,
        exemplars: &Exemplars,
        caller: Caller,
    ) -> Result<bool, GatewayError> {
        let at = now();
        let mut body = BodyWriter::new();
        new.write(at, &mut body)?;
        write_times(group, at, &mut body);
        let own = body.series_count();
        old.end(new, at, &mut body)?;
        let ended = body.series_count() > own;
        exemplars.write(at, &mut body);
        let write = write_of(&group.source_id, body, at, caller);
        let prepared = self.ingest.prepare_write(write).await?;
        check_faults(&prepared.outcome().faults, own).inspect_err(|_| {
            for (reason, count) in &prepared.outcome().refused {
                self.ingest.count_refused(Protocol::Pushgateway, *reason, *count);
            }
        })?;
        let written = self.ingest.store_write(prepared).await?;
        check_faults(&written.faults, own)?;
        Ok(ended)
    }

    /// Ends series once more after a group was changed: whoever sampled it meanwhile may have brought them again.
    async fn end_again(&self, group: &PushedGroup, old: &Families, new: &Families, at: Millis) {
        let mut body = BodyWriter::new();
        let written = match old.end(new, at, &mut body) {
            Ok(()) => self.write(group, body, at).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            warn!(%error, group = %group.id, "series of a pushed group may end late");
        }
    }

    async fn write(&self, group: &PushedGroup, body: BodyWriter, at: Millis) -> Result<(), GatewayError> {
        self.ingest.write(write_of(&group.source_id, body, at, Caller::anonymous())).await?;
        Ok(())
    }

    /// Notes that a push failed, as far as that is possible.
    async fn note_failure(&self, key: &GroupKey) {
        let noted = async {
            for _ in 0..ATTEMPTS {
                let standing = self.groups.group(key.id).await?;
                let expected = standing.as_ref().map(|group| group.version);
                let group = standing.unwrap_or_else(|| group_of(key, &Families::default()));
                let group = PushedGroup { version: Uuid::new_v4(), failed_at: Some(now()), ..group };
                self.check_room(&group).await?;
                if self.groups.put_group(&group, expected).await? {
                    let at = now();
                    let mut body = BodyWriter::new();
                    write_times(&group, at, &mut body);
                    self.write(&group, body, at).await?;
                    return Ok(());
                }
            }
            Err(GatewayError::Busy)
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "a failed push could not be noted");
        }
    }

    /// Ends the series of a group and removes it, of this version only where one is given. The ends come first: were they to
    /// fail once the group has gone, nobody would know of them.
    async fn remove(&self, id: Uuid, version: Option<Uuid>) -> Result<bool, GatewayError> {
        for _ in 0..ATTEMPTS {
            let standing = self.groups.group(id).await?;
            let Some(group) = standing.filter(|group| version.is_none_or(|version| group.version == version))
            else {
                return Ok(false);
            };
            let (body, at) = ends_of(&group)?;
            self.write(&group, body, at).await?;
            if self.groups.remove_group(id, Some(group.version)).await?.is_none() {
                // Somebody changed it meanwhile.
                continue;
            }
            // Whoever looked which groups there are while it was still there may have brought it again.
            let (body, at) = ends_of(&group)?;
            if let Err(error) = self.write(&group, body, at).await {
                warn!(%error, group = %id, "series of a pushed group may end late");
            }
            return Ok(true);
        }
        Err(GatewayError::Busy)
    }

    fn expires_at(&self, group: &PushedGroup) -> Option<Millis> {
        let after =
            group.expire_after.or(self.options.expire_after.map(millis)).filter(|after| *after > 0)?;
        Some(group.pushed_at.or(group.failed_at)?.saturating_add(after))
    }
}

fn group_of(key: &GroupKey, families: &Families) -> PushedGroup {
    PushedGroup {
        id: key.id,
        version: Uuid::new_v4(),
        labels: key.labels.clone(),
        source_id: key.source_id.clone(),
        families: families.to_bytes(),
        kinds: families.kinds(),
        series: families.series_count(),
        pushed_at: None,
        failed_at: None,
        expire_after: None,
    }
}

/// Markers for all series of a group, and their time. It is after all samples: who brings them has taken the time before
/// looking which groups there are.
fn ends_of(group: &PushedGroup) -> Result<(BodyWriter, Millis), WireError> {
    let (mut body, at) = (BodyWriter::new(), now() + 1);
    families_of(group).end(&Families::default(), at, &mut body)?;
    pushgateway::write_times(&group.labels, None, at, &mut body);
    Ok((body, at))
}

/// Refuses what is wrong with the first series of a body, which are those of the group.
fn check_faults(faults: &[WriteFault], own: usize) -> Result<(), GatewayError> {
    let own = faults.iter().filter(|fault| fault.series < own);
    let faults: Vec<&str> = own.take(MAX_FAULTS).map(|fault| fault.message.as_str()).collect();
    if faults.is_empty() { Ok(()) } else { Err(GatewayError::Refused(faults.join("; "))) }
}

fn write_of(source_id: &str, body: BodyWriter, received_at: Millis, caller: Caller) -> OwnedWrite {
    let origin = WriteOrigin { caller, ..WriteOrigin::new(source_id, Protocol::Pushgateway) };
    OwnedWrite { origin, body: body.into_bytes().into(), received_at }
}

fn write_times(group: &PushedGroup, at: Millis, body: &mut BodyWriter) {
    pushgateway::write_times(&group.labels, Some([group.pushed_at, group.failed_at]), at, body);
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
