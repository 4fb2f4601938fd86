//! Why someone does not come in.

use std::time::Duration;

use metricsd_ports::{Right, Rights};

/// What may be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeniedKind {
    /// Present a token that is accepted: 401.
    Unauthorized,
    /// The token does not allow this: 403.
    Forbidden,
    /// A quota of the token is used up: 429. Nothing of the request was stored.
    Limited,
    /// Tokens cannot be read so far: 503.
    Unavailable,
}

/// Why a request is not let in. The message is for who asked, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    kind: DeniedKind,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

/// Nobody is told to come back later than this.
const MAX_RETRY: Duration = Duration::from_secs(3_600);

/// The reason of [`Denied::is_of_samples`].
const SAMPLES_QUOTA: &str = "samples_quota";

impl Denied {
    fn new(kind: DeniedKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), retry_after: None }
    }

    /// What may be done about it.
    pub fn kind(&self) -> DeniedKind {
        self.kind
    }

    /// A short name out of a closed set, for counting.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// Whether it is for the number of samples, which may come later.
    pub(crate) fn is_of_samples(&self) -> bool {
        self.reason == SAMPLES_QUOTA
    }

    /// When trying again may help: whole seconds, at least one.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(super) fn nothing_presented(right: Right) -> Self {
        let message = format!(
            "a token with the right {:?} is needed here: send Authorization: Bearer TOKEN, Authorization: Token TOKEN, or \
             the token as the password of basic authentication. `metricsd token create` makes one. Without tokens \
             metricsd answers on loopback addresses only, unless auth.open is true",
            right.as_str()
        );
        Self::new(DeniedKind::Unauthorized, "no_token", message)
    }

    pub(super) fn unknown() -> Self {
        let message = "the token is not one that metricsd knows: check that it is whole, or make another with `metricsd \
                       token create`";
        Self::new(DeniedKind::Unauthorized, "unknown_token", message)
    }

    pub(super) fn revoked(name: &str) -> Self {
        Self::new(DeniedKind::Unauthorized, "revoked_token", format!("the token {name:?} was revoked"))
    }

    pub(super) fn expired(name: &str) -> Self {
        Self::new(DeniedKind::Unauthorized, "expired_token", format!("the token {name:?} has expired"))
    }

    pub(super) fn forbidden(name: &str, rights: &Rights, right: Right) -> Self {
        let message = format!(
            "the token {name:?} has the rights {}; this needs the right {}",
            rights.names(),
            right.as_str()
        );
        Self::new(DeniedKind::Forbidden, "missing_right", message)
    }

    pub(super) fn other_source(name: &str, bound: &str, asked: &str) -> Self {
        let message = format!("the token {name:?} pushes as source {bound:?} only, not as {asked:?}");
        Self::new(DeniedKind::Forbidden, "other_source", message)
    }

    pub(super) fn not_loaded() -> Self {
        let message = "tokens cannot be read from the database so far; try again";
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(DeniedKind::Unavailable, "not_loaded", message)
        }
    }

    pub(super) fn samples(name: &str, rate: u64, wait: Duration) -> Self {
        let message = format!(
            "the token {name:?} may send {rate} samples a second (samples_per_second); nothing of this request was \
             stored, send it again later"
        );
        Self::limited(SAMPLES_QUOTA, message, wait)
    }

    pub(super) fn bytes(name: &str, rate: u64, wait: Duration) -> Self {
        let message = format!(
            "the token {name:?} may send {rate} bytes of bodies a second (body_bytes_per_second); nothing of this request \
             was stored, send it again later"
        );
        Self::limited("bytes_quota", message, wait)
    }

    pub(super) fn series(name: &str, most: u64, wait: Duration) -> Self {
        let message = format!(
            "the token {name:?} may have {most} active series (active_series), and this request brings more; nothing of \
             it was stored. A series is active for an hour after its last sample: remove labels with ever new values"
        );
        Self::limited("series_quota", message, wait)
    }

    fn limited(reason: &'static str, message: String, wait: Duration) -> Self {
        let wait = wait.clamp(Duration::from_secs(1), MAX_RETRY);
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let retry_after = Some(Duration::from_secs(seconds));
        Self { retry_after, ..Self::new(DeniedKind::Limited, reason, message) }
    }
}
