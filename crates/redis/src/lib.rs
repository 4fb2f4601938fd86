//! The four caches in Redis, under the source document's keys, so that any process and any other program reads them.
//!
//! In reading order: [`RedisCache`] says what is asked of the server, `link` keeps the connection to it.

mod error;
mod link;

use std::borrow::Cow;
use std::fmt;
use std::iter::Peekable;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_ports::{Cache, CacheEntry, CacheKey, PortError};
use redis::Pipeline;

use crate::link::Link;

/// Commands in one message: few round trips, yet each answers well within its time.
const CHUNK_COMMANDS: usize = 256;

/// Bytes after which a message is sent although it has few commands.
const CHUNK_BYTES: usize = 1 << 20;

/// The caches in a Redis server. Cheap to share; one connection carries all calls.
///
/// The server may be away when this is made and at any later time: calls then fail at once or within two seconds
/// with an error that is worth a retry, and the connection is made again by the first call after a pause.
pub struct RedisCache {
    link: Link,
}

impl RedisCache {
    /// A cache at `redis://[user][:password@]host[:port][/database]`, or `rediss://…` for TLS.
    ///
    /// Does not connect yet, so it fails only where the address does not read; the error never repeats the address,
    /// which may hold a password.
    pub fn connect(url: &str) -> Result<Self, PortError> {
        Ok(Self { link: Link::new(url)? })
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache").field("address", &self.link.address()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn put(&self, entries: &[CacheEntry]) -> Result<(), PortError> {
        let mut texts = entries.iter().map(|entry| (&entry.key, entry.value.text())).peekable();
        while texts.peek().is_some() {
            self.link.run::<()>(&next_message(&mut texts)).await?;
        }
        Ok(())
    }

    async fn get(&self, key: &CacheKey) -> Result<Option<String>, PortError> {
        let mut command = Pipeline::new();
        command.cmd("GET").arg(key.name());
        let (value,): (Option<String>,) = self.link.run(&command).await?;
        Ok(value)
    }

    async fn remove(&self, keys: &[CacheKey]) -> Result<(), PortError> {
        for chunk in keys.chunks(CHUNK_COMMANDS) {
            let mut commands = Pipeline::with_capacity(chunk.len());
            for key in chunk {
                // One key a command, so that it also works where keys live on different nodes behind a proxy.
                commands.cmd("DEL").arg(key.name()).ignore();
            }
            self.link.run::<()>(&commands).await?;
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), PortError> {
        let mut command = Pipeline::new();
        command.cmd("PING").ignore();
        self.link.run(&command).await
    }
}

/// Takes as many entries as go into one message: at least one.
fn next_message<'a>(entries: &mut Peekable<impl Iterator<Item = (&'a CacheKey, Cow<'a, str>)>>) -> Pipeline {
    let mut commands = Pipeline::new();
    let mut bytes = 0;
    while let Some((key, text)) =
        entries.next_if(|(_, text)| commands.is_empty() || bytes + text.len() <= CHUNK_BYTES)
    {
        bytes += text.len();
        commands.cmd("SET").arg(key.name()).arg(&*text).arg("EX").arg(seconds(key.ttl())).ignore();
        if commands.len() == CHUNK_COMMANDS {
            break;
        }
    }
    commands
}

/// Redis counts lifetimes in whole seconds, and refuses zero.
fn seconds(lifetime: Duration) -> u64 {
    lifetime.as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_in_commands_and_bytes() {
        let first = |count: usize, size: usize| {
            let key = CacheKey::CollectionStats;
            let entries = vec![(&key, Cow::from("x".repeat(size))); count];
            next_message(&mut entries.into_iter().peekable()).len()
        };
        assert_eq!(first(0, 10), 0);
        assert_eq!(first(3, 10), 3);
        assert_eq!(first(1_000, 10), CHUNK_COMMANDS);
        assert_eq!(first(10, CHUNK_BYTES / 4), 4);
        assert_eq!(first(2, CHUNK_BYTES + 1), 1, "a large entry travels alone");
    }
}
