//! What is logged, where and how: to standard error, as text for people or as JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::{EnvFilter, ParseError};

use crate::config::{LogConfig, LogFormat};

/// The variable whose directives (`info,metricsd_scrape=debug`) go before `log.level`.
pub(crate) const DIRECTIVES_VARIABLE: &str = "METRICSD_LOG";

/// What libraries tell at `info` is about themselves, and not for the one who runs metricsd.
const QUIET: &str = "sqlx=warn,hyper=warn,h2=warn,reqwest=warn,rdkafka=warn,librdkafka=warn,redis=warn";

/// Starts logging; `directives` replaces the configured level. May be called once.
pub(crate) fn init(config: &LogConfig, directives: Option<&str>, no_color: bool) -> Result<(), ParseError> {
    let default = format!("{},{QUIET}", config.level);
    let filter = EnvFilter::builder().parse(directives.unwrap_or(&default))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let installed = match config.format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal() && !no_color).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    // Only a test that runs beside others finds a subscriber already there.
    drop(installed);
    Ok(())
}
