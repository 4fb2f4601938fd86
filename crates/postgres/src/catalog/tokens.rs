//! Tokens: who may push, read and manage.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::Millis;
use metricsd_ports::access::MAX_TOKENS;
use metricsd_ports::{AccessToken, ErrorKind, PortError, Rights, TokenCatalog};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::PostgresStore;
use crate::copy::bound;
use crate::error::{Fault, damaged};

#[async_trait]
impl TokenCatalog for PostgresStore {
    /// Not tried again: a first attempt whose answer was lost would look like another's token.
    async fn create_token(&self, token: &AccessToken) -> Result<(), PortError> {
        create(self, token).await.map_err(|fault| fault.into_port("keep the token"))
    }

    async fn tokens(&self) -> Result<Vec<AccessToken>, PortError> {
        self.retried("list tokens", || list(self)).await
    }

    async fn token_revision(&self) -> Result<i64, PortError> {
        self.retried("read the revision of tokens", || revision(self)).await
    }

    async fn revoke_token(&self, id: Uuid, at: Millis) -> Result<Option<AccessToken>, PortError> {
        self.retried("revoke the token", || revoke(self, id, at)).await
    }

    async fn note_token_uses(&self, uses: &[(Uuid, Millis)]) -> Result<(), PortError> {
        self.retried("note the use of tokens", || note_uses(self, uses)).await
    }
}

/// Locks the row, so that changes of tokens become visible in the order of their revisions.
async fn changed(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query("UPDATE access_revision SET revision = revision + 1").execute(connection).await?;
    Ok(())
}

async fn create(store: &PostgresStore, token: &AccessToken) -> Result<(), Fault> {
    let mut tx = crate::held::begin(&store.pool).await?;
    changed(&mut tx).await?;
    let most = i64::try_from(MAX_TOKENS).unwrap_or(i64::MAX);
    if count(&mut tx).await? >= most {
        sqlx::query("DELETE FROM access_tokens WHERE revoked_at IS NOT NULL OR expires_at <= $1")
            .bind(bound(token.created_at))
            .execute(&mut *tx)
            .await?;
        if count(&mut tx).await? >= most {
            let message = format!("there are {MAX_TOKENS} tokens already; revoke some that are not needed");
            return Err(PortError::new(ErrorKind::Limit, message).for_askers().into());
        }
    }
    sqlx::query(include_str!("../sql/insert_token.sql"))
        .bind(token.id)
        .bind(&token.name)
        .bind(token.digest.as_slice())
        .bind(token.rights.names())
        .bind(&token.source_id)
        .bind(Json(token.quota))
        .bind(bound(token.created_at))
        .bind(token.expires_at.map(bound))
        .bind(token.revoked_at.map(bound))
        .bind(token.last_used_at.map(bound))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

async fn count(connection: &mut PgConnection) -> Result<i64, Fault> {
    Ok(sqlx::query("SELECT count(*) FROM access_tokens").fetch_one(connection).await?.try_get(0)?)
}

async fn list(store: &PostgresStore) -> Result<Vec<AccessToken>, Fault> {
    let sql = "SELECT * FROM access_tokens ORDER BY created_at, id";
    let rows = sqlx::query(sql).fetch_all(&store.pool).await?;
    rows.iter().map(token_of).collect()
}

async fn revision(store: &PostgresStore) -> Result<i64, Fault> {
    let row = sqlx::query("SELECT revision FROM access_revision").fetch_one(&store.pool).await?;
    Ok(row.try_get(0)?)
}

async fn revoke(store: &PostgresStore, id: Uuid, at: Millis) -> Result<Option<AccessToken>, Fault> {
    let mut tx = crate::held::begin(&store.pool).await?;
    changed(&mut tx).await?;
    let sql = include_str!("../sql/revoke_token.sql");
    let row = sqlx::query(sql).bind(id).bind(bound(at)).fetch_optional(&mut *tx).await?;
    tx.commit().await?;
    row.as_ref().map(token_of).transpose()
}

async fn note_uses(store: &PostgresStore, uses: &[(Uuid, Millis)]) -> Result<(), Fault> {
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = uses.iter().map(|(id, at)| (*id, bound(*at))).unzip();
    sqlx::query(include_str!("../sql/note_token_uses.sql"))
        .bind(ids)
        .bind(times)
        .execute(&store.pool)
        .await?;
    Ok(())
}

fn token_of(row: &PgRow) -> Result<AccessToken, Fault> {
    let millis = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_millis());
    let digest: &[u8] = row.try_get("digest")?;
    let rights: &str = row.try_get("rights")?;
    let Json(quota) = row.try_get("quota")?;
    let created: DateTime<Utc> = row.try_get("created_at")?;
    Ok(AccessToken {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        digest: digest.try_into().map_err(|_| damaged("damaged digest of a token in the database"))?,
        rights: Rights::from_names(rights)
            .ok_or_else(|| damaged(format!("unknown rights {rights:?} in the database")))?,
        source_id: row.try_get("source_id")?,
        quota,
        created_at: created.timestamp_millis(),
        expires_at: millis(row.try_get("expires_at")?),
        revoked_at: millis(row.try_get("revoked_at")?),
        last_used_at: millis(row.try_get("last_used_at")?),
    })
}
