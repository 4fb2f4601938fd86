//! Which addresses may be targets: metricsd must not be turned into a way to reach what its users cannot.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Addresses that may be scraped. Checked when a target is created, after every name resolution and on every redirect.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// Networks that are allowed whatever else says no.
    pub allow: Vec<IpNet>,
    /// Also refuse loopback and private networks.
    pub close_private: bool,
}

impl AddressPolicy {
    /// Whether one address may be scraped; the error says why not.
    pub fn check(&self, address: IpAddr) -> Result<(), String> {
        let address = address.to_canonical();
        if self.allow.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        let refused = |what: &str, how: &str| Err(format!("{address} is {what}; {how}"));
        let allow_cidrs = "add its network to scrape.allow_cidrs to allow it";
        if is_link_local(address) {
            return refused("a link-local or metadata address", allow_cidrs);
        }
        if address.is_unspecified() || address.is_multicast() || is_broadcast(address) {
            return refused("no address of a single host", allow_cidrs);
        }
        if self.close_private && is_private(address) {
            return refused("a loopback or private address, and scrape.close_private is set", allow_cidrs);
        }
        Ok(())
    }

    /// Those of the resolved addresses that may be scraped; an error where none is left.
    pub fn retain(&self, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let mut refusal = None;
        let allowed: Vec<SocketAddr> = addresses
            .filter(|address| match self.check(address.ip()) {
                Ok(()) => true,
                Err(error) => {
                    refusal = Some(error);
                    false
                }
            })
            .collect();
        match refusal {
            Some(error) if allowed.is_empty() => Err(error),
            _ => Ok(allowed),
        }
    }

    /// Checks a URL whose host is an address rather than a name; names are checked when they are resolved.
    pub fn check_host(&self, url: &url::Url) -> Result<(), String> {
        match url.host() {
            Some(url::Host::Ipv4(address)) => self.check(address.into()),
            Some(url::Host::Ipv6(address)) => self.check(address.into()),
            Some(url::Host::Domain(_)) => Ok(()),
            None => Err("the address names no host".to_owned()),
        }
    }
}

/// Cloud providers' metadata services outside the link-local range: AWS over IPv6, Alibaba, Oracle.
const METADATA: [&str; 3] = ["fd00:ec2::254", "100.100.100.200", "192.0.0.192"];

fn is_link_local(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || embedded_v4(v6).is_some_and(|v4| v4.is_link_local()),
    };
    link_local || METADATA.iter().any(|text| text.parse() == Ok(address))
}

/// The IPv4 address inside a NAT64 (64:ff9b::/96) or 6to4 (2002::/16) address, which leads to the same host.
fn embedded_v4(v6: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let segments = v6.segments();
    let join = |high: u16, low: u16| std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || embedded_v4(v6).is_some_and(|v4| is_private(v4.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_allowed_as_configured() {
        let open = AddressPolicy::default();
        let closed = AddressPolicy { close_private: true, ..AddressPolicy::default() };
        let some = AddressPolicy { allow: vec!["169.254.1.0/24".parse().unwrap()], close_private: true };
        let check = |address: &str, expected: [bool; 3]| {
            let ip: IpAddr = address.parse().unwrap();
            let seen = [&open, &closed, &some].map(|policy| policy.check(ip).is_ok());
            assert_eq!(seen, expected, "{address}");
        };
        check("127.0.0.1", [true, false, false]);
        check("10.1.2.3", [true, false, false]);
        check("192.168.1.1", [true, false, false]);
        check("8.8.8.8", [true, true, true]);
        check("169.254.169.254", [false, false, false]);
        check("169.254.1.9", [false, false, true]);
        check("::ffff:169.254.169.254", [false, false, false]);
        check("64:ff9b::a9fe:a9fe", [false, false, false]);
        check("fe80::1", [false, false, false]);
        check("fd00:ec2::254", [false, false, false]);
        check("fd00::1", [true, false, false]);
        check("0.0.0.0", [false, false, false]);
        check("255.255.255.255", [false, false, false]);
        check("224.0.0.1", [false, false, false]);
    }
}
