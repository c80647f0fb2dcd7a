use std::{fmt, net::IpAddr, str::FromStr};

use crate::workload::excerpt;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
///
/// No bit may be set behind the prefix, because whoever writes `10.0.0.1/8` means something else. An
/// IPv4 address that arrives as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address.
///
/// ```
/// # use workload::Network;
/// let network: Network = "10.0.0.0/8".parse().unwrap();
/// assert!(network.contains("10.1.2.3".parse().unwrap()));
/// assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
/// assert!("10.0.0.1/8".parse::<Network>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network must look like `10.0.0.0/8` or `fd00::1`, with no bit behind the prefix: `{0}`")]
pub struct InvalidNetwork(String);

impl Network {
    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (left, right) = (wide(self.address), wide(address.to_canonical()));
        left.0 == right.0 && (left.1 ^ right.1) & self.mask() == 0
    }

    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNetwork(excerpt(text));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        if address != address.to_canonical() {
            return Err(invalid());
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse::<u8>).map_err(|_| invalid())?;
        // `wide` puts an IPv4 address at the top, so one mask serves both families.
        let network = Self { address, prefix };
        if prefix <= longest && wide(address).1 & !network.mask() == 0 {
            Ok(network)
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whether it is IPv4, and its bits from the top of 128 down.
fn wide(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (false, address.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, inside: bool) {
        let network: Network = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        assert_eq!(network.to_string().parse(), Ok(network));
    }

    #[test]
    fn a_network_holds_exactly_the_addresses_with_its_prefix() {
        check("10.0.0.0/8", "10.255.255.255", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("fd00::/8", "fdff::1", true);
        check("::/0", "fe80::1", true);
    }

    #[test]
    fn the_families_never_mix() {
        check("0.0.0.0/0", "fd00::1", false);
        check("::/0", "10.0.0.1", false);
        check("::/0", "::ffff:10.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
    }

    #[test]
    fn a_network_with_bits_behind_its_prefix_is_refused() {
        for text in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "fd00::1/8",
            "fd00::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::ffff:10.0.0.0/104",
            "10.0.0/8",
            "orders",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
