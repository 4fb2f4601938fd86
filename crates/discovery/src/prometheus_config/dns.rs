//! `dns_sd_configs`.

use metricsd_model::PromDuration;

use super::global::filled;
use super::section::Section;
use super::value::{port, shown};
use crate::config::{DnsRecord, DnsSd, ProviderConfig};

const REFRESH: PromDuration = PromDuration::from_secs(30);

/// Reads one entry.
pub(super) fn read(mut section: Section<'_>) -> Option<ProviderConfig> {
    let names = section.plain_texts("names");
    if names.is_empty() {
        section.problem("names", "no name is given");
    }
    let record = section.scalar("type", record).unwrap_or(DnsRecord::Srv);
    let port = section.scalar("port", port);
    if port.is_none() && !section.is_written("port") && record != DnsRecord::Srv {
        section.problem("port", "port is missing; only SRV records bring one");
    }
    let refresh_interval = filled(section.duration("refresh_interval")).unwrap_or(REFRESH);
    section.close();
    Some(ProviderConfig::Dns(DnsSd { names, record, port, refresh_interval }))
}

fn record(text: &str) -> Result<DnsRecord, String> {
    match text.to_ascii_uppercase().as_str() {
        "A" => Ok(DnsRecord::A),
        "AAAA" => Ok(DnsRecord::Aaaa),
        "SRV" => Ok(DnsRecord::Srv),
        "MX" => Ok(DnsRecord::Mx),
        "NS" => Ok(DnsRecord::Ns),
        _ => Err(format!("{} is none of A, AAAA, SRV, MX and NS", shown(text))),
    }
}
