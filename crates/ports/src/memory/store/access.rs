//! Tokens in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use metricsd_model::Millis;
use uuid::Uuid;

use super::MemoryStore;
use crate::access::MAX_TOKENS;
use crate::{AccessToken, ErrorKind, PortError, TokenCatalog};

/// Tokens and what changed of them.
#[derive(Default)]
pub(super) struct Tokens {
    by_id: BTreeMap<Uuid, AccessToken>,
    revision: i64,
}

#[async_trait]
impl TokenCatalog for MemoryStore {
    async fn create_token(&self, token: &AccessToken) -> Result<(), PortError> {
        let mut state = self.state.lock();
        let tokens = &mut state.tokens;
        if tokens.by_id.contains_key(&token.id) {
            return Err(PortError::new(ErrorKind::Conflict, "a token of this id exists"));
        }
        if tokens.by_id.len() >= MAX_TOKENS {
            tokens.by_id.retain(|_, kept| kept.is_usable(token.created_at));
        }
        if tokens.by_id.len() >= MAX_TOKENS {
            let message = format!("there are {MAX_TOKENS} tokens already; revoke some that are not needed");
            return Err(PortError::new(ErrorKind::Limit, message).for_askers());
        }
        tokens.by_id.insert(token.id, token.clone());
        tokens.revision += 1;
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<AccessToken>, PortError> {
        let mut tokens: Vec<AccessToken> = self.state.lock().tokens.by_id.values().cloned().collect();
        tokens.sort_by_key(|token| (token.created_at, token.id));
        Ok(tokens)
    }

    async fn token_revision(&self) -> Result<i64, PortError> {
        Ok(self.state.lock().tokens.revision)
    }

    async fn revoke_token(&self, id: Uuid, at: Millis) -> Result<Option<AccessToken>, PortError> {
        let mut state = self.state.lock();
        let tokens = &mut state.tokens;
        let Some(token) = tokens.by_id.get_mut(&id) else { return Ok(None) };
        token.revoked_at = token.revoked_at.or(Some(at));
        let token = token.clone();
        tokens.revision += 1;
        Ok(Some(token))
    }

    async fn note_token_uses(&self, uses: &[(Uuid, Millis)]) -> Result<(), PortError> {
        let mut state = self.state.lock();
        for (id, at) in uses {
            if let Some(token) = state.tokens.by_id.get_mut(id) {
                token.last_used_at = token.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }
}
