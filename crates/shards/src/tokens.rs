//! Tokens: at home, as all of the catalogue.

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{AccessToken, PortError, TokenCatalog};
use uuid::Uuid;

use crate::ShardedStore;

#[async_trait]
impl TokenCatalog for ShardedStore {
    async fn create_token(&self, token: &AccessToken) -> Result<(), PortError> {
        self.home.create_token(token).await
    }

    async fn tokens(&self) -> Result<Vec<AccessToken>, PortError> {
        self.home.tokens().await
    }

    async fn token_revision(&self) -> Result<i64, PortError> {
        self.home.token_revision().await
    }

    async fn revoke_token(&self, id: Uuid, at: Millis) -> Result<Option<AccessToken>, PortError> {
        self.home.revoke_token(id, at).await
    }

    async fn note_token_uses(&self, uses: &[(Uuid, Millis)]) -> Result<(), PortError> {
        self.home.note_token_uses(uses).await
    }
}
