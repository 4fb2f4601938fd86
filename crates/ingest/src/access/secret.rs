//! The text of a token: its id and a secret of 256 random bits, of which only the hash is kept.

use metricsd_model::Secret;
use metricsd_model::hex::hex;
use metricsd_ports::{ErrorKind, PortError};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// What tokens begin with, so that people and scanners for leaked secrets know them.
const PREFIX: &str = "mtk_";

/// A token that was just made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: Uuid,
    /// Its text, to be shown once.
    pub text: Secret,
    /// What is kept of it.
    pub digest: [u8; 32],
}

impl NewToken {
    /// Made of the system's randomness.
    pub fn generate() -> Result<Self, PortError> {
        let mut secret = [0u8; 32];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| PortError::new(ErrorKind::Internal, "the system gives no random numbers"))?;
        let id = Uuid::new_v4();
        let text = format!("{PREFIX}{}_{}", id.simple(), hex(&secret));
        let digest = digest_of(&text);
        Ok(Self { id, text: Secret::new(text), digest })
    }
}

/// SHA-256 of a token's whole text. The text holds 256 random bits, so that nothing slower is called for.
pub fn digest_of(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// The id that stands in a token.
pub(super) fn id_in(text: &str) -> Option<Uuid> {
    let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
    Uuid::try_parse(id).ok()
}

/// Takes as long whatever differs.
pub(super) fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differences = a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b));
    std::hint::black_box(differences) == 0
}
