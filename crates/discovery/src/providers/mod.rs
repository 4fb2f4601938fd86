//! The providers that need no more than files, DNS and HTTP.

mod consul;
mod dns;
mod file;
mod http;
mod r#static;

use metricsd_client::Context;

pub use consul::ConsulProvider;
pub use dns::DnsProvider;
pub use file::FileProvider;
pub use http::HttpProvider;
pub use r#static::StaticProvider;

use crate::config::ProviderConfig;
use crate::provider::Provider;

/// A provider for these settings; `None` where they are those of Kubernetes, which another crate reads.
///
/// # Errors
/// A sentence without secrets: what of the settings cannot be.
pub fn built_in(config: &ProviderConfig, context: &Context) -> Result<Option<Box<dyn Provider>>, String> {
    Ok(Some(match config {
        ProviderConfig::Static(groups) => Box::new(StaticProvider::new(groups)),
        ProviderConfig::File(file) => Box::new(FileProvider::new(file.clone())),
        ProviderConfig::Http(http) => Box::new(HttpProvider::new(http, context)?),
        ProviderConfig::Dns(dns) => Box::new(DnsProvider::new(dns.clone())),
        ProviderConfig::Consul(consul) => Box::new(ConsulProvider::new(consul, context)?),
        ProviderConfig::Kubernetes(_) => return Ok(None),
    }))
}
