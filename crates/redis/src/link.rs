//! One connection that is made when it is needed, dropped when it is broken, and never waited for for long.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metricsd_ports::{ErrorKind, PortError};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, Pipeline};
use tokio::time::{Instant, timeout_at};

use crate::error::{port_error, text_of};

/// A call takes no longer, connecting included.
const CALL_LIMIT: Duration = Duration::from_secs(2);

/// Connecting takes no longer, the greeting (password, database) included.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Pause after the first failure to connect; doubles with each further one up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: a server that is back is noticed no later.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A connection to one server, shared by all callers.
pub(crate) struct Link {
    client: Client,
    address: String,
    state: Mutex<State>,
    /// Held while connecting, so that one caller connects and the others wait for the outcome.
    connecting: tokio::sync::Mutex<()>,
    connections: AtomicU64,
}

enum State {
    /// Not connected, and nothing speaks against trying.
    Idle,
    /// Connected; the number tells this connection from those before it.
    Up(MultiplexedConnection, u64),
    /// The last attempt failed: nobody tries again before `until`, and calls fail at once.
    Down { until: Instant, pause: Duration, why: String },
}

/// A connection to use once, and where it comes from.
struct Lease {
    connection: MultiplexedConnection,
    number: u64,
    fresh: bool,
}

impl Link {
    pub(crate) fn new(url: &str) -> Result<Self, PortError> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !matches!(scheme, "redis" | "rediss") {
            return Err(PortError::new(
                ErrorKind::Invalid,
                "the address of Redis must begin with redis:// or rediss://",
            ));
        }
        if scheme == "rediss" {
            // The client asks for the process' provider and panics where there is none; an error means that there is.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client = Client::open(url).map_err(|error| {
            let message = format!("the address of Redis does not read: {}", error.category());
            PortError::new(ErrorKind::Invalid, message).caused_by(text_of(&error))
        })?;
        let address = match client.get_connection_info().addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                let message =
                    "the address of Redis asks for TLS without verification, which metricsd does not do";
                return Err(PortError::new(ErrorKind::Invalid, message));
            }
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                format!("{scheme}://{host}:{port}")
            }
            _ => scheme.to_owned(),
        };
        Ok(Self {
            client,
            address,
            state: Mutex::new(State::Idle),
            connecting: tokio::sync::Mutex::default(),
            connections: AtomicU64::new(0),
        })
    }

    /// Scheme, host and port: nothing secret.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends commands and reads their answers. The commands must bear being sent twice: a connection that broke since
    /// the last call is noticed only by using it, and the call then goes over a new one.
    pub(crate) async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, PortError> {
        let deadline = Instant::now() + CALL_LIMIT;
        loop {
            let mut lease = timeout_at(deadline, self.lease()).await.map_err(|_| self.timed_out())??;
            let answer = timeout_at(deadline, commands.query_async(&mut lease.connection)).await;
            let Ok(result) = answer else {
                // The server or the way to it hangs; whoever comes next shall not wait behind this call.
                self.hang_up(lease.number);
                return Err(self.timed_out());
            };
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let broken = error.is_unrecoverable_error();
            if broken {
                self.hang_up(lease.number);
            }
            if !broken || lease.fresh {
                return Err(port_error(format!("Redis at {} refused a command", self.address), &error));
            }
        }
    }

    /// The connection, made now if there is none.
    async fn lease(&self) -> Result<Lease, PortError> {
        if let Some(lease) = self.ready()? {
            return Ok(lease);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(lease) = self.ready()? {
            return Ok(lease);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            // Calls have a limit of their own, which counts connecting as well.
            .set_response_timeout(None);
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                let number = self.connections.fetch_add(1, Ordering::Relaxed);
                let before =
                    std::mem::replace(&mut *self.state.lock(), State::Up(connection.clone(), number));
                if matches!(before, State::Down { .. }) {
                    tracing::info!(address = %self.address, "Redis answers again");
                }
                Ok(Lease { connection, number, fresh: true })
            }
            Err(error) => Err(self.stay_down(text_of(&error))),
        }
    }

    /// The connection where there is one, nothing where one may be made now, an error during the pause after a failure.
    fn ready(&self) -> Result<Option<Lease>, PortError> {
        match &*self.state.lock() {
            State::Up(connection, number) => {
                Ok(Some(Lease { connection: connection.clone(), number: *number, fresh: false }))
            }
            State::Down { until, why, .. } if Instant::now() < *until => Err(self.unreachable(why)),
            State::Down { .. } | State::Idle => Ok(None),
        }
    }

    /// Notes a failure to connect, and when to try again.
    fn stay_down(&self, why: String) -> PortError {
        let failure = self.unreachable(&why);
        let mut state = self.state.lock();
        let pause = match &*state {
            State::Down { pause, .. } => (*pause * 2).min(MAX_PAUSE),
            _ => {
                tracing::warn!(address = %self.address, error = %why, "Redis does not answer; trying again");
                MIN_PAUSE
            }
        };
        *state = State::Down { until: Instant::now() + jittered(pause), pause, why };
        failure
    }

    /// Forgets a connection, unless another has taken its place.
    fn hang_up(&self, broken: u64) {
        let mut state = self.state.lock();
        if matches!(&*state, State::Up(_, number) if *number == broken) {
            *state = State::Idle;
        }
    }

    fn unreachable(&self, why: &str) -> PortError {
        PortError::new(ErrorKind::Unavailable, format!("Redis at {} cannot be reached", self.address))
            .caused_by(why.to_owned())
    }

    fn timed_out(&self) -> PortError {
        let seconds = CALL_LIMIT.as_secs();
        PortError::new(
            ErrorKind::Timeout,
            format!("Redis at {} did not answer within {seconds} s", self.address),
        )
    }
}

/// Between half of the pause and all of it, so that many processes do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let share = RandomState::new().build_hasher().finish() % 512;
    pause / 2 + pause / 2 * u32::try_from(share).unwrap_or(0) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_do_not_read_are_refused_without_repeating_them() {
        let urls = [
            "",
            "hunter2",
            "http://u:hunter2@a",
            "redis://u:hunter2@",
            "redis://u:hunter2@a:port",
            "redis://:hunter2@a/db",
            "redis+unix:///hunter2",
            "rediss://u:hunter2@a#insecure",
        ];
        for url in urls {
            let error = Link::new(url).err().unwrap_or_else(|| panic!("{url:?} was taken"));
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url:?}");
            let texts = [error.chain(), format!("{error:?}")];
            assert!(texts.iter().all(|text| !text.contains("hunter2")), "{texts:?}");
        }
    }

    #[test]
    fn the_pause_is_jittered_within_bounds() {
        for _ in 0..100 {
            let pause = jittered(MAX_PAUSE);
            assert!((MAX_PAUSE / 2..=MAX_PAUSE).contains(&pause), "{pause:?}");
        }
    }
}
