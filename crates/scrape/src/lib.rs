//! Scraping: which targets there are, when each is due, and what became of its page.
//!
//! In the order of the flow: [`ownership`] says which targets are this process's, [`pool`] follows the catalogue and starts what `schedule` says is due, unless `pace` finds it
//! not worth its while; `client` fetches a
//! page from an address that [`guard`] allows, `decode` decompresses it, `page` reads it into columns with the help of
//! `naming`, `report` adds what a scrape says about itself, and `scrape` makes a batch of it all.

mod clock;
pub mod ownership;
pub mod pool;
mod schedule;

mod buffers;
pub mod check;
pub mod client;
pub mod debug;
mod decode;
pub use metricsd_client::guard;

pub mod explain;
mod naming;
mod pace;
mod page;
#[cfg(test)]
mod page_format_tests;
#[cfg(test)]
mod page_properties;
#[cfg(test)]
mod page_settings_tests;
#[cfg(test)]
mod page_tests;
mod report;
mod scrape;

pub mod metrics;
mod missed;
mod trial;

pub use buffers::PageBytes;
pub use client::PageClient;
pub use explain::{Explanation, explain};
pub use guard::AddressPolicy;
pub use metrics::ScrapeMetrics;
pub use metricsd_client::{Context, SecretAccess};
pub use ownership::{Load, Ownership, Right};
pub use pool::{PoolOptions, ScrapePool};
pub use trial::PageTrial;
