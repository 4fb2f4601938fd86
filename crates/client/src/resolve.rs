//! Resolves names and leaves only addresses that are allowed.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper_util::client::legacy::connect::dns::Name;
use metricsd_model::FailureReason;
use tower_service::Service;

use crate::error::ClientError;
use crate::guard::AddressPolicy;
use crate::trace::{Phase, Trace};

/// The system's resolver behind the policy.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    pub(crate) guard: Arc<AddressPolicy>,
    pub(crate) trace: Option<Trace>,
}

impl GuardedResolver {
    async fn resolve(self, name: Name) -> Result<std::vec::IntoIter<SocketAddr>, ClientError> {
        let started = Instant::now();
        let name = name.as_str();
        let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| {
            ClientError::new(FailureReason::Dns, format!("{name} does not resolve: {error}"))
        })?;
        if let Some(trace) = &self.trace {
            trace.took(Phase::Dns, started.elapsed());
        }
        let allowed = self.guard.retain(found).map_err(|error| {
            ClientError::new(FailureReason::Forbidden, format!("{name} resolves to {error}"))
        })?;
        Ok(allowed.into_iter())
    }
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}
