//! Checks which line protocols are spoken, and how.

use std::time::Duration;

use metricsd_codec::line_names::{Names, Rules};
use metricsd_codec::{graphite, influx};
use metricsd_listeners::ListenLimits;
use metricsd_listeners::gateway::GatewayOptions;
use metricsd_listeners::graphite::GraphiteOptions;
use metricsd_listeners::statsd::{StatsdOptions, Timers};

use super::{Check, is_address};
use crate::config::settings::{Graphite, Influx, Pushgateway, Settings, Statsd};
use crate::config::{GatewayConfig, InfluxConfig, LinesConfig};

/// Collections more often than this would cost more than they say.
const MIN_FLUSH: Duration = Duration::from_millis(100);

/// The longest datagram.
const MAX_LINE: usize = 64 << 10;

impl Check<'_> {
    pub(super) fn lines(&mut self, settings: &Settings) -> LinesConfig {
        LinesConfig {
            gateway: self.gateway(&settings.pushgateway),
            influx: self.influx(&settings.influx),
            graphite: self.graphite(&settings.graphite),
            statsd: self.statsd(&settings.statsd),
        }
    }

    fn gateway(&mut self, gateway: &Pushgateway) -> Option<GatewayConfig> {
        self.at_least("pushgateway.interval", gateway.interval, Duration::from_secs(1));
        let options = GatewayOptions {
            interval: gateway.interval.0,
            expire_after: Some(gateway.expire_after.0).filter(|after| !after.is_zero()),
            max_groups: gateway.max_groups,
            max_series: gateway.max_series,
            max_bytes: gateway.max_bytes.0 as u64,
        };
        gateway.enabled.then_some(GatewayConfig { options, admin: gateway.admin })
    }

    fn influx(&mut self, influx: &Influx) -> Option<InfluxConfig> {
        if influx.db_label.starts_with("__") {
            self.refuse("influx.db_label", "expected a label that does not begin with __, or nothing at all");
        }
        let mapping = influx::Mapping {
            names: names(influx.utf8_names),
            separator: influx.separator.clone(),
            value_alone: influx.value_alone,
            labels: Vec::new(),
        };
        influx.enabled.then(|| InfluxConfig { mapping, db_label: influx.db_label.clone() })
    }

    fn graphite(&mut self, graphite: &Graphite) -> Option<GraphiteOptions> {
        let limits = ListenLimits {
            max_connections: graphite.max_connections,
            max_line_bytes: graphite.max_line_bytes.0,
            idle_timeout: graphite.idle_timeout.0,
        };
        self.listen_limits("graphite", limits);
        let rules = self.rules("graphite.rules", &graphite.rules);
        let mapping = graphite::Mapping { names: names(graphite.utf8_names), rules };
        let listen = self.line_listener("graphite.listen", &graphite.listen)?;
        Some(GraphiteOptions { listen, limits, mapping })
    }

    fn statsd(&mut self, statsd: &Statsd) -> Option<StatsdOptions> {
        let limits = ListenLimits {
            max_connections: statsd.max_connections,
            max_line_bytes: statsd.max_line_bytes.0,
            idle_timeout: statsd.idle_timeout.0,
        };
        self.listen_limits("statsd", limits);
        let rules = self.rules("statsd.rules", &statsd.rules);
        self.at_least("statsd.flush_interval", statsd.flush_interval, MIN_FLUSH);
        self.above_zero("statsd.max_series", statsd.max_series);
        self.above_zero("statsd.max_memory", statsd.max_memory.0);
        let listen = self.line_listener("statsd.listen", &statsd.listen);
        let timers = match statsd.timers.as_str() {
            "native" => Timers::Native,
            "summary" => Timers::Summary,
            other => {
                self.refuse("statsd.timers", format!("expected native or summary, not {other:?}"));
                return None;
            }
        };
        Some(StatsdOptions {
            listen: listen?,
            limits,
            names: names(statsd.utf8_names),
            rules,
            labels: statsd.labels.clone().into_iter().collect(),
            flush_interval: statsd.flush_interval.0,
            expire_after: statsd.expire_after.0,
            timers,
            max_series: statsd.max_series,
            max_bytes: statsd.max_memory.0,
        })
    }

    fn listen_limits(&mut self, section: &str, limits: ListenLimits) {
        self.above_zero(&format!("{section}.max_connections"), limits.max_connections);
        if !(1..=MAX_LINE).contains(&limits.max_line_bytes) {
            let key = format!("{section}.max_line_bytes");
            self.refuse(&key, "expected 1B to 64KiB, which is what a datagram holds");
        }
        let key = format!("{section}.idle_timeout");
        self.at_least(&key, metricsd_model::PromDuration(limits.idle_timeout), Duration::from_secs(1));
    }

    fn rules(&mut self, key: &str, rules: &[String]) -> Rules {
        Rules::parse(rules.iter().map(String::as_str)).unwrap_or_else(|error| {
            self.refuse(key, error.to_string());
            Rules::default()
        })
    }

    /// An address; `None` where it is empty. A port alone is this machine's.
    fn line_listener(&mut self, key: &str, listen: &str) -> Option<String> {
        if listen.is_empty() {
            return None;
        }
        let listen = match listen.strip_prefix(':') {
            Some(port) => format!("127.0.0.1:{port}"),
            None => listen.to_owned(),
        };
        if !is_address(&listen) {
            self.refuse(key, format!("expected host:port such as 127.0.0.1:8125, or :8125, not {listen:?}"));
        }
        Some(listen)
    }
}

fn names(utf8: bool) -> Names {
    if utf8 { Names::Utf8 } else { Names::Mapped }
}
