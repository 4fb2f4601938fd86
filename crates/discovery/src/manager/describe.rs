//! Settings of a provider in a word.

use url::Url;

use crate::config::{DnsRecord, KubernetesRole, ProviderConfig};

/// Characters of a description; lists may be long.
const LONGEST: usize = 200;

/// What a reader needs to tell one provider from another; nothing of it is a secret.
pub fn describe(config: &ProviderConfig) -> String {
    let text = match config {
        ProviderConfig::Static(groups) => {
            let targets: usize = groups.iter().map(|group| group.targets.len()).sum();
            format!("{targets} targets in {} groups", groups.len())
        }
        ProviderConfig::File(file) => file.files.join(", "),
        ProviderConfig::Http(http) => public_url(&http.url),
        ProviderConfig::Dns(dns) => format!("{} of {}", record_name(dns.record), dns.names.join(", ")),
        ProviderConfig::Consul(consul) => {
            let server = public_url(&format!("{}://{}{}", consul.scheme, consul.server, consul.path_prefix));
            let services = consul.services.join(", ");
            if services.is_empty() { server } else { format!("{services} at {server}") }
        }
        ProviderConfig::Kubernetes(kubernetes) => {
            let place = match (kubernetes.own_namespace, kubernetes.namespaces.as_slice()) {
                (true, []) => "in the own namespace".to_owned(),
                (true, names) => format!("in the own namespace, {}", names.join(", ")),
                (false, []) => "in all namespaces".to_owned(),
                (false, names) => format!("in {}", names.join(", ")),
            };
            let server = kubernetes.api_server.as_deref().map(|url| format!(" at {}", public_url(url)));
            format!("{} {place}{}", role_name(kubernetes.role), server.unwrap_or_default())
        }
    };
    shortened(text)
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// An address without user, password and query, any of which may be a secret.
pub(crate) fn public_url(url: &str) -> String {
    let parsed = Url::parse(url).ok().filter(Url::has_host);
    let Some(mut parsed) = parsed else { return "an address that is not a URL".to_owned() };
    let secret = parsed.query().is_some();
    parsed.set_query(None);
    parsed.set_fragment(None);
    // Fails only where there can be none.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    let end = if secret { "?…" } else { "" };
    format!("{parsed}{end}")
}

/// As `type` has it.
fn record_name(record: DnsRecord) -> &'static str {
    match record {
        DnsRecord::A => "A",
        DnsRecord::Aaaa => "AAAA",
        DnsRecord::Srv => "SRV",
        DnsRecord::Mx => "MX",
        DnsRecord::Ns => "NS",
    }
}

/// As `role` has it.
fn role_name(role: KubernetesRole) -> &'static str {
    match role {
        KubernetesRole::Node => "node",
        KubernetesRole::Service => "service",
        KubernetesRole::Pod => "pod",
        KubernetesRole::Endpoints => "endpoints",
        KubernetesRole::EndpointSlice => "endpointslice",
        KubernetesRole::Ingress => "ingress",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_show_without_secrets() {
        assert_eq!(public_url("https://u:p@h:1/sd?token=x"), "https://h:1/sd?…");
        assert_eq!(public_url("http://h/"), "http://h/");
        assert_eq!(public_url("not a url"), "an address that is not a URL");
        assert_eq!(public_url("user:secret@host"), "an address that is not a URL");
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(shortened("é".repeat(LONGEST + 1)).chars().count(), LONGEST + 1);
        assert_eq!(shortened("short".into()), "short");
    }
}
