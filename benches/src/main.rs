//! Figures of a release build, everything on this machine: `make bench`.
//!
//! `load` puts load on metricsd alone; `peers` sets metricsd side by side with Prometheus and VictoriaMetrics. Loopback
//! only, bounded in time; bodies and pages are prepared beforehand, so that making load costs next to nothing.

mod load;
mod peers;
mod process;
mod server;
mod targets;

use anyhow::Result;
use clap::Parser;

/// Measures metricsd with load that costs next to nothing to make.
#[derive(Parser)]
enum Command {
    /// Pushes and scrapes.
    Load(load::Options),
    /// The same series and queries on metricsd and on its peers.
    Peers(peers::Options),
}

#[tokio::main]
async fn main() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Command::parse() {
        Command::Load(options) => load::run(options).await,
        Command::Peers(options) => peers::run(options).await,
    }
}
