//! Tokens: who may push, read and manage, and how much.

use async_trait::async_trait;
use metricsd_model::Millis;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::PortError;

/// Tokens that a catalogue keeps, revoked ones included; [`TokenCatalog::create_token`] makes room by removing those
/// that are of no use any more.
pub const MAX_TOKENS: usize = 10_000;

/// Characters of a token's name.
pub const MAX_TOKEN_NAME: usize = 100;

/// Something that a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Sending samples.
    Push,
    /// Asking for samples, targets, events.
    Read,
    /// Changing targets, tokens and what else there is; allows the others too.
    Manage,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Push, Self::Read, Self::Manage];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }
}

/// What a token allows: at least one right, each once, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(Vec<Right>);

impl Rights {
    /// These, in order and each once.
    pub fn new(rights: impl IntoIterator<Item = Right>) -> Self {
        let mut rights: Vec<Right> = rights.into_iter().collect();
        rights.sort_unstable();
        rights.dedup();
        Self(rights)
    }

    /// Whether this is allowed; whoever may manage may do all.
    pub fn allow(&self, right: Right) -> bool {
        self.0.contains(&right) || self.0.contains(&Right::Manage)
    }

    /// Which they are.
    pub fn iter(&self) -> impl Iterator<Item = Right> {
        self.0.iter().copied()
    }

    /// Their names, separated by commas.
    pub fn names(&self) -> String {
        self.0.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Reads [`Self::names`] back.
    pub fn from_names(names: &str) -> Option<Self> {
        let rights: Option<Vec<Right>> = names.split(',').map(Right::from_name).collect();
        Some(Self::new(rights?))
    }
}

/// How much a token allows; absent: no bound. Each process counts what it takes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Samples a second.
    pub samples_per_second: Option<u64>,
    /// Series with a sample within the last hour.
    pub active_series: Option<u64>,
    /// Bytes of bodies a second, as they arrive.
    pub body_bytes_per_second: Option<u64>,
}

/// A token as it is kept: enough to know it again, not enough to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Stands in the token too.
    pub id: Uuid,
    /// For people; need not be the only one of its name.
    pub name: String,
    /// SHA-256 of its secret.
    pub digest: [u8; 32],
    /// What it allows.
    pub rights: Rights,
    /// The only source that it may push as; absent: any.
    pub source_id: Option<String>,
    /// How much it allows.
    pub quota: Quota,
    /// When it was made.
    pub created_at: Millis,
    /// When it is no longer accepted; absent: never.
    pub expires_at: Option<Millis>,
    /// Since when it is not accepted.
    pub revoked_at: Option<Millis>,
    /// When it was last used, to about a minute; absent: never.
    pub last_used_at: Option<Millis>,
}

impl AccessToken {
    /// Whether it may be used at this time.
    pub fn is_usable(&self, now: Millis) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| now < expires)
    }
}

/// Keeps tokens.
#[async_trait]
pub trait TokenCatalog: Send + Sync + 'static {
    /// Keeps a new token. A conflict where its id is taken. Where there are [`MAX_TOKENS`], those that are not usable at
    /// its `created_at` are removed first; a limit where none are.
    async fn create_token(&self, token: &AccessToken) -> Result<(), PortError>;

    /// All tokens, ordered by creation, then id.
    async fn tokens(&self) -> Result<Vec<AccessToken>, PortError>;

    /// A number that grows whenever a token is created, revoked or removed, though not when one is used: who knows the
    /// number knows the tokens. Whoever reads the number before the tokens misses no change.
    async fn token_revision(&self) -> Result<i64, PortError>;

    /// Accepts a token no longer; `None` where there is none. Of one that is revoked already the time stays.
    async fn revoke_token(&self, id: Uuid, at: Millis) -> Result<Option<AccessToken>, PortError>;

    /// Notes when tokens were used; a time before the one that is noted, or an unknown id, changes nothing.
    async fn note_token_uses(&self, uses: &[(Uuid, Millis)]) -> Result<(), PortError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_back_and_managing_includes_the_others() {
        let rights = Rights::new([Right::Read, Right::Push, Right::Read]);
        assert_eq!(rights.names(), "push,read");
        assert_eq!(Rights::from_names("read,push"), Some(rights.clone()));
        assert_eq!(Rights::from_names("push,write"), None);
        assert_eq!(Rights::from_names(""), None);
        assert!(rights.allow(Right::Push) && rights.allow(Right::Read) && !rights.allow(Right::Manage));
        assert!(Right::ALL.into_iter().all(|right| Rights::new([Right::Manage]).allow(right)));
    }

    #[test]
    fn tokens_end() {
        let token = AccessToken {
            id: Uuid::nil(),
            name: String::new(),
            digest: [0; 32],
            rights: Rights::default(),
            source_id: None,
            quota: Quota::default(),
            created_at: 0,
            expires_at: Some(10),
            revoked_at: None,
            last_used_at: None,
        };
        assert!(token.is_usable(9) && !token.is_usable(10));
        assert!(!AccessToken { revoked_at: Some(5), ..token }.is_usable(1));
    }
}
