//! The four caches in Redis, under the source document's keys, so that any process and any other program reads them.
//!
//! In reading order: [`RedisCache`] says what is asked of the server, `link` keeps the connection to it.

mod error;
mod link;

use std::fmt;
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
        let mut rest = entries;
        while !rest.is_empty() {
            let commands = next_message(&mut rest);
            self.link.run::<()>(&commands).await?;
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
fn next_message(rest: &mut &[CacheEntry]) -> Pipeline {
    let mut commands = Pipeline::new();
    let mut bytes = 0;
    while bytes < CHUNK_BYTES
        && commands.len() < CHUNK_COMMANDS
        && let Some((CacheEntry { key, value }, more)) = rest.split_first()
    {
        let text = value.text();
        bytes += text.len();
        commands.cmd("SET").arg(key.name()).arg(&*text).arg("EX").arg(seconds(key.ttl())).ignore();
        *rest = more;
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
            let entry = CacheEntry { key: CacheKey::CollectionStats, value: "x".repeat(size).into() };
            let entries = vec![entry; count];
            let mut rest = entries.as_slice();
            let taken = next_message(&mut rest).len();
            assert_eq!(taken + rest.len(), count);
            taken
        };
        assert_eq!(first(0, 10), 0);
        assert_eq!(first(3, 10), 3);
        assert_eq!(first(1_000, 10), CHUNK_COMMANDS);
        assert_eq!(first(10, CHUNK_BYTES / 4), 4);
        assert_eq!(first(2, CHUNK_BYTES + 1), 1, "a large entry is the last of its message");
    }
}
