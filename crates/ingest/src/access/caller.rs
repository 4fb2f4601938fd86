//! Someone who was let in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use metricsd_model::{Millis, SeriesId};
use metricsd_ports::{AccessToken, Quota, Right, Rights};
use uuid::Uuid;

use super::meter::{Meter, SeriesMeter};
use super::{Denied, all_rights, digest_of, now};

/// How often what goes on for long looks whether its token is still accepted.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A token and what of its quotas is used up.
pub(super) struct Holder {
    pub(super) token: AccessToken,
    revoked: AtomicBool,
    used: AtomicI64,
    noted: AtomicI64,
    samples: Option<Meter>,
    bytes: Option<Meter>,
    series: Option<SeriesMeter>,
}

impl Holder {
    pub(super) fn new(token: AccessToken) -> Self {
        let now = Instant::now();
        let meter = |rate: Option<u64>| rate.map(|rate| Meter::new(rate, now));
        let last = token.last_used_at.unwrap_or(i64::MIN);
        Self {
            revoked: AtomicBool::new(token.revoked_at.is_some()),
            used: AtomicI64::new(last),
            noted: AtomicI64::new(last),
            samples: meter(token.quota.samples_per_second),
            bytes: meter(token.quota.body_bytes_per_second),
            series: token.quota.active_series.map(|most| SeriesMeter::new(most, now)),
            token,
        }
    }

    /// The token of the configuration.
    pub(super) fn bootstrap(text: &str) -> Self {
        Self::new(AccessToken {
            id: Uuid::nil(),
            name: "auth.bootstrap_token".to_owned(),
            digest: digest_of(text),
            rights: all_rights(),
            source_id: None,
            quota: Quota::default(),
            created_at: 0,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        })
    }

    /// A token of which nothing is known any more but what it may use up.
    pub(super) fn gone(id: Uuid, quota: Quota) -> Self {
        Self::new(AccessToken {
            id,
            name: format!("{id}, removed"),
            digest: [0; 32],
            rights: Rights::default(),
            source_id: None,
            quota,
            created_at: 0,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        })
    }

    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    pub(super) fn check_usable(&self, now: Millis) -> Result<(), Denied> {
        if self.revoked.load(Ordering::Relaxed) {
            return Err(Denied::revoked(&self.token.name));
        }
        if self.token.expires_at.is_some_and(|expires| expires <= now) {
            return Err(Denied::expired(&self.token.name));
        }
        Ok(())
    }

    pub(super) fn used(&self, at: Millis) {
        self.used.fetch_max(at, Ordering::Relaxed);
    }

    /// When it was used since that was last noted.
    pub(super) fn unnoted_use(&self) -> Option<Millis> {
        let used = self.used.load(Ordering::Relaxed);
        (used > self.noted.load(Ordering::Relaxed)).then_some(used)
    }

    pub(super) fn noted(&self, at: Millis) {
        self.noted.fetch_max(at, Ordering::Relaxed);
    }
}

/// Who makes a request: the holder of a token, or someone of whom none was asked. Cheap to clone.
#[derive(Clone, Default)]
pub struct Caller(Option<Arc<Holder>>);

impl Caller {
    /// Someone of whom no token was asked; nothing is counted.
    pub fn anonymous() -> Self {
        Self(None)
    }

    pub(super) fn of(holder: Arc<Holder>) -> Self {
        Self(Some(holder))
    }

    /// The id of the token; absent for who presented none.
    pub fn token_id(&self) -> Option<Uuid> {
        self.0.as_ref().map(|holder| holder.token.id)
    }

    /// The quotas of the token.
    pub fn quota(&self) -> Quota {
        self.0.as_ref().map_or_else(Quota::default, |holder| holder.token.quota)
    }

    /// Whether this is allowed too; to who presented none everything is, as the door was open.
    pub fn allows(&self, right: Right) -> bool {
        self.0.as_ref().is_none_or(|holder| holder.token.rights.allow(right))
    }

    /// Whether the token is still accepted: to be asked now and then where a request lasts long, such as a stream.
    pub fn check(&self) -> Result<(), Denied> {
        self.0.as_ref().map_or(Ok(()), |holder| holder.check_usable(now()))
    }

    /// Waits until the token is no longer accepted, and says why. Never ends for who presented none.
    pub async fn ended(&self) -> Denied {
        if self.0.is_none() {
            return std::future::pending().await;
        }
        loop {
            if let Err(denied) = self.check() {
                return denied;
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    /// Whose samples the caller pushes: as asked, or else the source that the token is bound to. `None` where nobody says.
    pub fn source(&self, asked: Option<String>) -> Result<Option<String>, Denied> {
        if let Some(asked) = asked {
            self.check_source(&asked)?;
            return Ok(Some(asked));
        }
        Ok(self.0.as_ref().and_then(|holder| holder.token.source_id.clone()))
    }

    /// Whether the caller may push as this source.
    pub fn check_source(&self, source_id: &str) -> Result<(), Denied> {
        let Some(holder) = &self.0 else { return Ok(()) };
        match &holder.token.source_id {
            Some(bound) if bound != source_id => {
                Err(Denied::other_source(&holder.token.name, bound, source_id))
            }
            _ => Ok(()),
        }
    }

    /// Takes samples out of the quota.
    pub fn take_samples(&self, count: u64) -> Result<(), Denied> {
        let Some((holder, meter)) = self.metered(|holder| holder.samples.as_ref()) else { return Ok(()) };
        meter
            .take(count, Instant::now())
            .map_err(|wait| Denied::samples(&holder.token.name, meter.rate(), wait))
    }

    /// Puts back samples that were not stored for a reason of our own.
    pub fn put_back_samples(&self, count: u64) {
        if let Some((_, meter)) = self.metered(|holder| holder.samples.as_ref()) {
            meter.put_back(count, Instant::now());
        }
    }

    /// Takes the bytes of a body out of the quota before it is read.
    pub fn take_bytes(&self, count: u64) -> Result<(), Denied> {
        let Some((holder, meter)) = self.metered(|holder| holder.bytes.as_ref()) else { return Ok(()) };
        meter
            .take(count, Instant::now())
            .map_err(|wait| Denied::bytes(&holder.token.name, meter.rate(), wait))
    }

    /// Takes bytes of a body whose length nobody knows, such as a stream's; answers how long to pause before reading on.
    pub fn take_streamed_bytes(&self, count: u64) -> Duration {
        let metered = self.metered(|holder| holder.bytes.as_ref());
        metered.map_or(Duration::ZERO, |(_, meter)| meter.take_anyway(count, Instant::now()))
    }

    /// The same where a pause longer than `most` is refused; what was read is counted all the same.
    pub fn take_bytes_within(&self, count: u64, most: Duration) -> Result<Duration, Denied> {
        let Some((holder, meter)) = self.metered(|holder| holder.bytes.as_ref()) else {
            return Ok(Duration::ZERO);
        };
        let pause = meter.take_anyway(count, Instant::now());
        if pause > most { Err(Denied::bytes(&holder.token.name, meter.rate(), pause)) } else { Ok(pause) }
    }

    /// Whether bytes are counted at all.
    pub fn counts_bytes(&self) -> bool {
        self.metered(|holder| holder.bytes.as_ref()).is_some()
    }

    /// Notes that these series are active, unless they are more than the quota allows.
    pub fn admit_series(&self, ids: impl Iterator<Item = SeriesId>) -> Result<(), Denied> {
        let Some(holder) = &self.0 else { return Ok(()) };
        let Some(meter) = &holder.series else { return Ok(()) };
        meter
            .admit(ids, Instant::now())
            .map_err(|wait| Denied::series(&holder.token.name, meter.most(), wait))
    }

    fn metered<'a, M>(&'a self, meter: impl Fn(&'a Holder) -> Option<&'a M>) -> Option<(&'a Holder, &'a M)> {
        let holder = self.0.as_deref()?;
        Some((holder, meter(holder)?))
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.token_id() == other.token_id()
    }
}

impl Eq for Caller {}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.0.as_ref().map(|holder| &holder.token.name)).finish()
    }
}
