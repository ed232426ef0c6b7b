//! Hosts that are reached without a proxy. Compares names and addresses; resolves none.

use std::net::IpAddr;

/// A host, or many, reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Excluded {
    All,
    /// In lower case; and every name below it.
    Name(String),
    Network {
        address: IpAddr,
        bits: u8,
    },
}

/// A list with commas or blanks between.
pub(super) fn excluded(list: &str) -> Result<Vec<Excluded>, String> {
    list.split([',', ' ']).filter(|entry| !entry.is_empty()).map(Excluded::parse).collect()
}

impl Excluded {
    fn parse(entry: &str) -> Result<Self, String> {
        if entry == "*" {
            return Ok(Self::All);
        }
        let bad = || format!("`{entry}` is not a host, an address or a network that needs no proxy");
        let (base, bits) = entry.split_once('/').map_or((entry, None), |(base, bits)| (base, Some(bits)));
        if let Ok(address) = base.trim_matches(['[', ']']).parse::<IpAddr>() {
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(all), |bits| bits.parse().ok()).filter(|bits| *bits <= all);
            return Ok(Self::Network { address, bits: bits.ok_or_else(bad)? });
        }
        let name = base.trim_start_matches('.').trim_end_matches('.');
        match url::Host::parse(name) {
            Ok(url::Host::Domain(name)) if bits.is_none() => Ok(Self::Name(name)),
            _ => Err(bad()),
        }
    }

    /// Whether a host, in lower case, is one of them; `address` if it is one.
    pub(super) fn holds(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => {
                let above = host.strip_suffix(name.as_str());
                address.is_none() && above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Self::Network { address: network, bits } => {
                address.is_some_and(|address| same_network(address, *network, *bits))
            }
        }
    }
}

fn same_network(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let shift = 32 - u32::from(bits);
            u32::from(one).checked_shr(shift) == u32::from(other).checked_shr(shift)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let shift = 128 - u32::from(bits);
            u128::from(one).checked_shr(shift) == u128::from(other).checked_shr(shift)
        }
        _ => false,
    }
}
