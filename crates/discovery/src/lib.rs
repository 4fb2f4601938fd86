//! Where targets come from: a job of a configuration names providers, each of which finds groups of targets; relabelling
//! makes of each target what is scraped, or drops it.

pub mod config;
pub mod groups;
pub mod manager;
pub mod metrics;
mod pace;
pub mod prometheus_config;
pub mod provider;
pub mod providers;
pub mod resolve;

pub use config::{JobConfig, ProviderConfig};
pub use manager::{Manager, ManagerHandle, ProviderFactory};
pub use provider::{Provider, TargetGroup, Updates};
pub use resolve::{ActiveTarget, JobTargets, Resolved, resolve_job};
