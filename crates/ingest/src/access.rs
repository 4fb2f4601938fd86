//! Who may come in: tokens with rights and quotas, checked the same way for every protocol.
//!
//! A listener says where it listens ([`Door`]) and what a client presented ([`credential`]); [`Access::check`] answers the
//! [`Caller`], or why not. The caller goes along with the push ([`crate::WriteOrigin::caller`]), and the door of samples
//! asks it for what is known only later: how many samples there are, which series, whose they are.
//!
//! Tokens are kept in the catalogue and cached here: [`Access::run`] looks every second whether they have changed, so that
//! one that is revoked is refused within seconds everywhere. While the catalogue does not answer, what is known goes on.

mod caller;
mod credential;
mod denied;
mod meter;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Millis, Secret};
use metricsd_ports::{PortError, Quota, Right, Rights, TokenCatalog};
use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use caller::Holder;
use secret::equal;

pub use caller::Caller;
pub use credential::credential;
pub use denied::{Denied, DeniedKind};
pub use secret::{NewToken, digest_of};

/// How often a process looks whether tokens have changed.
const REFRESH: Duration = Duration::from_secs(1);

/// Tokens that are known no more, of which what they use up is remembered.
const MAX_GONE: usize = 1_000;

/// How often it notes which were used.
const NOTE_USES: Duration = Duration::from_secs(30);

/// Where a listener listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// On an address that only this machine reaches.
    Loopback,
    /// On any other.
    Elsewhere,
}

impl Door {
    /// That of a listener's address.
    pub fn of(listener: SocketAddr) -> Self {
        if listener.ip().to_canonical().is_loopback() { Self::Loopback } else { Self::Elsewhere }
    }
}

/// Configuration `auth`.
#[derive(Debug, Clone, Default)]
pub struct AccessOptions {
    /// A token is asked for on loopback too.
    pub required: bool,
    /// None is asked for elsewhere either.
    pub open: bool,
    /// Accepted beside those of the catalogue, with all rights.
    pub bootstrap: Option<Secret>,
}

/// Requests that were not let in.
#[derive(Debug, Clone, Default)]
pub struct AccessMetrics {
    denied: Family<DeniedLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeniedLabel {
    reason: &'static str,
}

impl AccessMetrics {
    /// Creates and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let own = registry.sub_registry_with_prefix("access");
        own.register("denied_requests", "Requests not let in, by reason", metrics.denied.clone());
        metrics
    }

    fn counted(&self, denied: Denied) -> Denied {
        self.denied.get_or_create(&DeniedLabel { reason: denied.reason() }).inc();
        denied
    }
}

/// Decides who comes in. One for a process, shared by all of its listeners.
pub struct Access {
    options: AccessOptions,
    bootstrap: Option<Arc<Holder>>,
    catalog: Option<Arc<dyn TokenCatalog>>,
    known: RwLock<Known>,
    metrics: AccessMetrics,
}

#[derive(Default)]
struct Known {
    /// Absent: the catalogue was never read.
    revision: Option<i64>,
    tokens: HashMap<Uuid, Arc<Holder>>,
    /// Those that are not, of which there is work.
    gone: HashMap<Uuid, Arc<Holder>>,
}

impl Access {
    /// Knows no token until [`Self::refresh`] or [`Self::run`] has read them.
    pub fn new(catalog: Arc<dyn TokenCatalog>, options: AccessOptions, metrics: AccessMetrics) -> Arc<Self> {
        let bootstrap = options.bootstrap.as_ref().map(|secret| Arc::new(Holder::bootstrap(secret.expose())));
        Arc::new(Self { options, bootstrap, catalog: Some(catalog), known: RwLock::default(), metrics })
    }

    /// Lets everyone in and knows no tokens: for tests, and for who keeps no catalogue.
    pub fn open() -> Arc<Self> {
        Arc::new(Self {
            options: AccessOptions { open: true, ..AccessOptions::default() },
            bootstrap: None,
            catalog: None,
            known: RwLock::new(Known { revision: Some(0), ..Known::default() }),
            metrics: AccessMetrics::default(),
        })
    }

    /// Whether who presents nothing comes in by this door.
    pub fn is_open(&self, door: Door) -> bool {
        match door {
            Door::Loopback => !self.options.required,
            Door::Elsewhere => self.options.open && !self.options.required,
        }
    }

    /// Who this is, if they may do this. `presented` is what [`credential`] found; where the door is open, what is no
    /// token of ours counts as nothing, since clients of other services have to present something.
    pub fn check(&self, presented: Option<&str>, right: Right, door: Door) -> Result<Caller, Denied> {
        self.decide(presented, right, door).map_err(|denied| self.metrics.counted(denied))
    }

    /// Counts a request that was refused later, for what [`Caller`] said.
    pub fn count(&self, denied: &Denied) {
        let _ = self.metrics.counted(denied.clone());
    }

    fn decide(&self, presented: Option<&str>, right: Right, door: Door) -> Result<Caller, Denied> {
        let is_open = self.is_open(door);
        let Some(text) = presented.filter(|text| !text.is_empty()) else {
            return if is_open { Ok(Caller::anonymous()) } else { Err(Denied::nothing_presented(right)) };
        };
        let holder = match self.find(text) {
            Some(holder) => holder,
            None if is_open => return Ok(Caller::anonymous()),
            None if self.known.read().revision.is_none() => return Err(Denied::not_loaded()),
            None => return Err(Denied::unknown()),
        };
        let now = now();
        holder.check_usable(now)?;
        if !holder.token.rights.allow(right) {
            return Err(Denied::forbidden(&holder.token.name, &holder.token.rights, right));
        }
        holder.used(now);
        Ok(Caller::of(holder))
    }

    /// Compares in a time that does not depend on what differs.
    fn find(&self, text: &str) -> Option<Arc<Holder>> {
        let digest = digest_of(text);
        if let Some(holder) = self.bootstrap.as_ref().filter(|holder| equal(&holder.token.digest, &digest)) {
            return Some(Arc::clone(holder));
        }
        let id = secret::id_in(text)?;
        let holder = self.known.read().tokens.get(&id).cloned()?;
        equal(&holder.token.digest, &digest).then_some(holder)
    }

    /// The holder of a token, for work that was accepted from it: whether it is still accepted is not asked. Where it is known
    /// no more, the quotas that it had then hold on.
    pub fn caller_of(&self, token: Uuid, quota: Quota) -> Caller {
        if let Some(holder) = self.known.read().tokens.get(&token).cloned() {
            return Caller::of(holder);
        }
        if quota == Quota::default() {
            return Caller::anonymous();
        }
        let mut known = self.known.write();
        if known.gone.len() >= MAX_GONE {
            known.gone.retain(|_, holder| Arc::strong_count(holder) > 1);
        }
        if known.gone.len() >= MAX_GONE && !known.gone.contains_key(&token) {
            return Caller::of(Arc::new(Holder::gone(token, quota)));
        }
        let holder = known.gone.entry(token).or_insert_with(|| Arc::new(Holder::gone(token, quota)));
        Caller::of(holder.clone())
    }

    /// Makes a token of these rights that is not kept yet; who asked may be shown its text this once.
    pub fn new_token() -> Result<NewToken, PortError> {
        NewToken::generate()
    }

    /// Reads the tokens of the catalogue, where they have changed.
    pub async fn refresh(&self) -> Result<(), PortError> {
        let Some(catalog) = &self.catalog else { return Ok(()) };
        let revision = catalog.token_revision().await?;
        if self.known.read().revision == Some(revision) {
            return Ok(());
        }
        let tokens = catalog.tokens().await?;
        let mut known = self.known.write();
        let mut before = std::mem::take(&mut known.tokens);
        for token in tokens {
            // Its counts stay.
            let kept = before.remove(&token.id).filter(|holder| holder.token.digest == token.digest);
            let holder = kept.unwrap_or_else(|| Arc::new(Holder::new(token.clone())));
            if token.revoked_at.is_some() {
                holder.revoke();
            }
            known.tokens.insert(token.id, holder);
        }
        // Streams that are open may still hold one that is gone.
        before.values().for_each(|holder| holder.revoke());
        known.revision = Some(revision);
        Ok(())
    }

    /// Keeps up with the catalogue until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut away, mut since_noted) = (false, Duration::ZERO);
        loop {
            match self.refresh().await {
                Ok(()) if away => {
                    info!("tokens are read again");
                    away = false;
                }
                Ok(()) => {}
                Err(error) if !away => {
                    warn!(error = error.chain(), "tokens cannot be read; those that are known stay");
                    away = true;
                }
                Err(_) => {}
            }
            let stopped =
                tokio::select! { () = tokio::time::sleep(REFRESH) => false, () = stop.cancelled() => true };
            since_noted += REFRESH;
            if stopped || since_noted >= NOTE_USES {
                since_noted = Duration::ZERO;
                self.note_uses().await;
            }
            if stopped {
                return;
            }
        }
    }

    async fn note_uses(&self) {
        let Some(catalog) = &self.catalog else { return };
        let used: Vec<(Arc<Holder>, Millis)> = {
            let known = self.known.read();
            known.tokens.values().filter_map(|holder| Some((holder.clone(), holder.unnoted_use()?))).collect()
        };
        if used.is_empty() {
            return;
        }
        let uses: Vec<(Uuid, Millis)> = used.iter().map(|(holder, at)| (holder.token.id, *at)).collect();
        match catalog.note_token_uses(&uses).await {
            Ok(()) => used.iter().for_each(|(holder, at)| holder.noted(*at)),
            Err(error) => debug!(error = error.chain(), "the use of tokens was not noted"),
        }
    }
}

/// What the configured token allows.
fn all_rights() -> Rights {
    Rights::new(Right::ALL)
}

fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}
