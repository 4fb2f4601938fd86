//! Tokens: what is kept of them is a hash already.

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{AccessToken, PortError, TokenCatalog};
use uuid::Uuid;

use super::SealedCatalog;

#[async_trait]
impl TokenCatalog for SealedCatalog {
    async fn create_token(&self, token: &AccessToken) -> Result<(), PortError> {
        self.inner.create_token(token).await
    }

    async fn tokens(&self) -> Result<Vec<AccessToken>, PortError> {
        self.inner.tokens().await
    }

    async fn token_revision(&self) -> Result<i64, PortError> {
        self.inner.token_revision().await
    }

    async fn revoke_token(&self, id: Uuid, at: Millis) -> Result<Option<AccessToken>, PortError> {
        self.inner.revoke_token(id, at).await
    }

    async fn note_token_uses(&self, uses: &[(Uuid, Millis)]) -> Result<(), PortError> {
        self.inner.note_token_uses(uses).await
    }
}
