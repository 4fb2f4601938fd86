//! Seals targets' credentials: what reaches a database is cipher text, what the rest of the program sees is not.

mod discovered;
mod key;
mod options;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metricsd_model::{AuthConfig, BatchId, Health, Job, Millis, Target, TargetSpec};
use metricsd_ports::{
    Catalog, CollectionStats, Created, ErrorKind, JobCounts, JobFilter, PortError, Process, TargetChange,
    TargetFilter,
};
use metricsd_store::targets::SharedOptions;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use serde_json::json;
use uuid::Uuid;

pub(crate) use key::{KeyOrigin, SealingKey};

/// Names the cipher and the layout behind it, for the day either changes.
const VERSION: &str = "v1:";

/// Seals and unseals credentials with one key.
///
/// A sealed text is `v1:` and the base64 of a nonce and the AES-256-GCM cipher text; the target's id is
/// authenticated with it, so that credentials cannot be moved to another target inside the database. The nonce is a keyed
/// hash (HMAC-SHA-256) of place and text, as in synthetic-IV modes (RFC 5297): the same secret of the same target is the
/// same text again, so that a target that is found again is seen to be unchanged; any other has another nonce.
pub(crate) struct Sealer {
    key: LessSafeKey,
    nonces: hmac::Key,
}

impl Sealer {
    /// A sealer for this key; an error where the key is of no use to the cipher.
    pub(crate) fn new(key: &SealingKey) -> Result<Self, PortError> {
        // A key of its own for the nonces, so that one key never serves two purposes.
        let nonces = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.bytes()), b"metricsd nonces");
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, nonces.as_ref());
        let key = UnboundKey::new(&AES_256_GCM, key.bytes());
        let key = key.map_err(|_| PortError::new(ErrorKind::Internal, "the sealing key is not accepted"))?;
        Ok(Self { key: LessSafeKey::new(key), nonces })
    }

    /// Seals credentials; what is sealed stays as it is.
    pub(crate) fn seal(&self, target_id: &str, auth: &AuthConfig) -> Result<AuthConfig, PortError> {
        let Some(plain) = exposed(auth) else {
            return Ok(auth.clone());
        };
        Ok(AuthConfig::Sealed { sealed: self.seal_text(target_id, plain.to_string())? })
    }

    /// Seals a text for one place; it cannot be unsealed for another.
    fn seal_text(&self, place: &str, text: String) -> Result<String, PortError> {
        let failed = || PortError::new(ErrorKind::Internal, "credentials cannot be sealed");
        let nonce = self.nonce(place, &text).ok_or_else(failed)?;
        let mut text = text.into_bytes();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut text)
            .map_err(|_| failed())?;
        let sealed = [nonce.as_slice(), &text].concat();
        Ok(format!("{VERSION}{}", STANDARD.encode(sealed)))
    }

    /// The length of the place goes first, so that no two pairs are hashed as the same bytes.
    fn nonce(&self, place: &str, text: &str) -> Option<[u8; NONCE_LEN]> {
        let mut hash = hmac::Context::with_key(&self.nonces);
        hash.update(&(place.len() as u64).to_le_bytes());
        hash.update(place.as_bytes());
        hash.update(text.as_bytes());
        hash.sign().as_ref().first_chunk().copied()
    }

    /// Unseals credentials; `None` where that needs another key, or the text is damaged.
    pub(crate) fn unseal(&self, target_id: &str, sealed: &str) -> Option<AuthConfig> {
        let auth: AuthConfig = serde_json::from_str(&self.unseal_text(target_id, sealed)?).ok()?;
        (!matches!(auth, AuthConfig::Sealed { .. })).then_some(auth)
    }

    /// Unseals a text that was sealed for this place.
    fn unseal_text(&self, place: &str, sealed: &str) -> Option<String> {
        let mut bytes = STANDARD.decode(sealed.strip_prefix(VERSION)?).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(place), text).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

/// Credentials with their secrets, which their own serialisation masks; `None` for what is sealed already.
fn exposed(auth: &AuthConfig) -> Option<serde_json::Value> {
    match auth {
        AuthConfig::Basic { username, password } => {
            Some(json!({"type": "basic", "username": username, "password": password.expose()}))
        }
        AuthConfig::Bearer { token } => Some(json!({"type": "bearer", "token": token.expose()})),
        AuthConfig::Header { name, value } => {
            Some(json!({"type": "header", "name": name, "value": value.expose()}))
        }
        AuthConfig::Sealed { .. } => None,
    }
}

/// A catalogue whose database never sees a secret. Credentials that cannot be unsealed stay sealed on their way out:
/// scraping such a target fails with reason `credentials`, and everything else about it still works.
pub(crate) struct SealedCatalog {
    inner: Arc<dyn Catalog>,
    sealer: Sealer,
    /// Sealed secrets differ from target to target, and with them their settings; unsealed ones are shared again.
    shared: SharedOptions,
}

impl SealedCatalog {
    /// Puts itself before a catalogue.
    pub(crate) fn new(inner: Arc<dyn Catalog>, sealer: Sealer) -> Self {
        Self { inner, sealer, shared: SharedOptions::default() }
    }

    fn sealed(&self, spec: &TargetSpec) -> Result<TargetSpec, PortError> {
        let mut spec = spec.clone();
        if let Some(auth) = &mut spec.scrape_config.authentication {
            *auth = self.sealer.seal(&spec.target_id, auth)?;
        }
        self.sealer.seal_options(&spec.target_id, &mut spec.scrape_config.options)?;
        Ok(spec)
    }

    fn unsealed(&self, mut target: Target) -> Target {
        if let Some(AuthConfig::Sealed { sealed }) = &target.spec.scrape_config.authentication {
            match self.sealer.unseal(&target.spec.target_id, sealed) {
                Some(auth) => target.spec.scrape_config.authentication = Some(auth),
                None => tracing::debug!(target_id = target.spec.target_id, "credentials cannot be unsealed"),
            }
        }
        let TargetSpec { target_id, scrape_config, .. } = &mut target.spec;
        if self.sealer.unseal_options(target_id, &mut scrape_config.options) {
            scrape_config.options = self.shared.share(scrape_config.options.clone());
        }
        target
    }

    fn all_unsealed(&self, targets: Vec<Target>) -> Vec<Target> {
        targets.into_iter().map(|target| self.unsealed(target)).collect()
    }
}

#[async_trait]
impl Catalog for SealedCatalog {
    async fn create_target(&self, spec: &TargetSpec) -> Result<Created, PortError> {
        Ok(match self.inner.create_target(&self.sealed(spec)?).await? {
            Created::New(target) => Created::New(self.unsealed(target)),
            Created::Existing(target) => Created::Existing(self.unsealed(target)),
        })
    }

    async fn target(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        Ok(self.inner.target(target_id).await?.map(|target| self.unsealed(target)))
    }

    async fn targets(&self, filter: &TargetFilter, limit: usize) -> Result<Vec<Target>, PortError> {
        Ok(self.all_unsealed(self.inner.targets(filter, limit).await?))
    }

    async fn replace_target(&self, spec: &TargetSpec) -> Result<Option<Target>, PortError> {
        Ok(self.inner.replace_target(&self.sealed(spec)?).await?.map(|target| self.unsealed(target)))
    }

    async fn change_target(
        &self,
        target_id: &str,
        change: &TargetChange,
    ) -> Result<Option<Target>, PortError> {
        Ok(self.inner.change_target(target_id, change).await?.map(|target| self.unsealed(target)))
    }

    async fn request_deletion(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        Ok(self.inner.request_deletion(target_id).await?.map(|target| self.unsealed(target)))
    }

    async fn finish_deletion(&self, target_id: &str) -> Result<bool, PortError> {
        self.inner.finish_deletion(target_id).await
    }

    async fn request_scrape(&self, target_id: &str, at: Millis) -> Result<Option<Target>, PortError> {
        Ok(self.inner.request_scrape(target_id, at).await?.map(|target| self.unsealed(target)))
    }

    async fn changes(&self, revision: i64, wait: Duration) -> Result<Vec<Target>, PortError> {
        Ok(self.all_unsealed(self.inner.changes(revision, wait).await?))
    }

    async fn record_health(&self, updates: &[(String, Health)]) -> Result<(), PortError> {
        self.inner.record_health(updates).await
    }

    async fn jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, PortError> {
        self.inner.jobs(filter, limit).await
    }

    async fn job_of(&self, batch: BatchId) -> Result<Option<Job>, PortError> {
        self.inner.job_of(batch).await
    }

    async fn purge_jobs(&self, before: Millis) -> Result<u64, PortError> {
        self.inner.purge_jobs(before).await
    }

    async fn stats(&self, now: Millis, window: Duration) -> Result<CollectionStats, PortError> {
        self.inner.stats(now, window).await
    }

    async fn job_counts(&self, now: Millis, window: Duration) -> Result<JobCounts, PortError> {
        self.inner.job_counts(now, window).await
    }

    async fn heartbeat(&self, process: &Process, ttl: Duration) -> Result<(), PortError> {
        self.inner.heartbeat(process, ttl).await
    }

    async fn goodbye(&self, process: Uuid) -> Result<(), PortError> {
        self.inner.goodbye(process).await
    }

    async fn processes(&self) -> Result<Vec<Process>, PortError> {
        self.inner.processes().await
    }
}
