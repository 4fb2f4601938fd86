//! Tokens: who may push, read and manage.

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::access::MAX_TOKENS;
use metricsd_ports::{AccessToken, ErrorKind, PortError, Rights, TokenCatalog};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::told;
use crate::SqliteStore;
use crate::columns::{json, named, uuid, written};
use crate::error::{Fault, damaged};

#[async_trait]
impl TokenCatalog for SqliteStore {
    async fn create_token(&self, token: &AccessToken) -> Result<(), PortError> {
        told("keep the token", create(self, token).await)
    }

    async fn tokens(&self) -> Result<Vec<AccessToken>, PortError> {
        told("list tokens", list(self).await)
    }

    async fn token_revision(&self) -> Result<i64, PortError> {
        told("read the revision of tokens", revision(self).await)
    }

    async fn revoke_token(&self, id: Uuid, at: Millis) -> Result<Option<AccessToken>, PortError> {
        told("revoke the token", revoke(self, id, at).await)
    }

    async fn note_token_uses(&self, uses: &[(Uuid, Millis)]) -> Result<(), PortError> {
        told("note the use of tokens", note_uses(self, uses).await)
    }
}

async fn changed(connection: &mut SqliteConnection) -> Result<(), Fault> {
    sqlx::query("UPDATE access_revision SET revision = revision + 1").execute(connection).await?;
    Ok(())
}

async fn create(store: &SqliteStore, token: &AccessToken) -> Result<(), Fault> {
    let quota = written(serde_json::to_string(&token.quota))?;
    let mut tx = store.write().await?;
    let count = async |tx: &mut SqliteConnection| {
        let row = sqlx::query("SELECT count(*) FROM access_tokens").fetch_one(tx).await?;
        Ok::<i64, Fault>(row.try_get(0)?)
    };
    let most = i64::try_from(MAX_TOKENS).unwrap_or(i64::MAX);
    if count(&mut tx).await? >= most {
        sqlx::query("DELETE FROM access_tokens WHERE revoked_at IS NOT NULL OR expires_at <= ?1")
            .bind(token.created_at)
            .execute(&mut *tx)
            .await?;
        if count(&mut tx).await? >= most {
            let message = format!("there are {MAX_TOKENS} tokens already; revoke some that are not needed");
            return Err(PortError::new(ErrorKind::Limit, message).for_askers().into());
        }
    }
    sqlx::query(
        "INSERT INTO access_tokens (id, name, digest, rights, source_id, quota, created_at, expires_at, revoked_at,
            last_used_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )
    .bind(token.id.to_string())
    .bind(&token.name)
    .bind(token.digest.as_slice())
    .bind(token.rights.names())
    .bind(&token.source_id)
    .bind(quota)
    .bind(token.created_at)
    .bind(token.expires_at)
    .bind(token.revoked_at)
    .bind(token.last_used_at)
    .execute(&mut *tx)
    .await?;
    changed(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn list(store: &SqliteStore) -> Result<Vec<AccessToken>, Fault> {
    let sql = "SELECT * FROM access_tokens ORDER BY created_at, id";
    let rows = sqlx::query(sql).fetch_all(&store.readers).await?;
    rows.iter().map(token_of).collect()
}

async fn revision(store: &SqliteStore) -> Result<i64, Fault> {
    let row = sqlx::query("SELECT revision FROM access_revision").fetch_one(&store.readers).await?;
    Ok(row.try_get(0)?)
}

async fn revoke(store: &SqliteStore, id: Uuid, at: Millis) -> Result<Option<AccessToken>, Fault> {
    let mut tx = store.write().await?;
    let sql = "UPDATE access_tokens SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1 RETURNING *";
    let row = sqlx::query(sql).bind(id.to_string()).bind(at).fetch_optional(&mut *tx).await?;
    changed(&mut tx).await?;
    tx.commit().await?;
    row.as_ref().map(token_of).transpose()
}

async fn note_uses(store: &SqliteStore, uses: &[(Uuid, Millis)]) -> Result<(), Fault> {
    if uses.is_empty() {
        return Ok(());
    }
    let mut tx = store.write().await?;
    for (id, at) in uses {
        sqlx::query(
            "UPDATE access_tokens SET last_used_at = ?2
            WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
        )
        .bind(id.to_string())
        .bind(at)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

fn token_of(row: &SqliteRow) -> Result<AccessToken, Fault> {
    let digest: &[u8] = row.try_get("digest")?;
    Ok(AccessToken {
        id: uuid(row, "id")?,
        name: row.try_get("name")?,
        digest: digest.try_into().map_err(|_| damaged("damaged digest of a token in the database"))?,
        rights: named(row, "rights", Rights::from_names)?,
        source_id: row.try_get("source_id")?,
        quota: json(row, "quota", |text| serde_json::from_str(text))?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}
