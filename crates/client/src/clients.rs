//! One client for all who have the same settings: ten thousand targets of a job share its connections and its token.

use std::time::Duration;

use metricsd_model::HttpOptions;
use moka::sync::Cache;

use crate::client::HttpClient;
use crate::context::{Context, SecretAccess};
use crate::error::ClientError;

/// Clients that are kept; settings beyond them work too, but open their connections anew now and then.
const MAX_CLIENTS: u64 = 4_096;

/// A client that nobody asked for is given up after this long; longer than most intervals.
const IDLE: Duration = Duration::from_secs(15 * 60);

type Key = (HttpOptions, SecretAccess);

/// Clients by their settings. Clones share them.
#[derive(Clone)]
pub struct Clients {
    context: Context,
    known: Cache<Key, Result<HttpClient, ClientError>>,
}

impl Clients {
    /// None yet. What settings may name is said with each question; of `context` everything else holds for all.
    pub fn new(context: Context) -> Self {
        let known = Cache::builder().max_capacity(MAX_CLIENTS).time_to_idle(IDLE).build();
        Self { context, known }
    }

    /// What all clients have in common.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The client for these settings.
    pub fn client(&self, options: &HttpOptions, access: &SecretAccess) -> Result<HttpClient, ClientError> {
        let key = (options.clone(), access.clone());
        self.known.get_with_by_ref(&key, || {
            let context = Context { access: access.clone(), ..self.context.clone() };
            HttpClient::new(options, &context)
        })
    }
}
