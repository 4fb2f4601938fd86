//! The providers that need no more than files, DNS and HTTP.

mod dns;
mod file;
mod r#static;

pub use dns::DnsProvider;
pub use file::FileProvider;
pub use r#static::StaticProvider;
