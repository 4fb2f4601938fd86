//! metricsd: collects metrics, keeps them, answers questions about them, and tells others when a collection happened.
//!
//! Read the command line ([`cli`]), read the configuration ([`config`]), build and run a [`node`]; the other commands
//! are clients of a running one. Nothing but this crate names an adapter or reads the environment.

mod cli;

mod config;
mod logging;
mod sealing;

mod node;

#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // TLS of every library goes through one provider; that it is installed already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let finished = match cli.command.dispatch(&environment()) {
        Ok(exit) => exit,
        Err(failure) => failure.report(),
    };
    ExitCode::from(finished as u8)
}

/// The environment as a map, so that everything behind it is told and not left to look. Names and values that are no
/// UTF-8 are kept as far as they read: a damaged value is refused where it is used.
fn environment() -> BTreeMap<String, String> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}
