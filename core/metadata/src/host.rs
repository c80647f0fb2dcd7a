use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `host` (of the `Host` header, or the authority of an absolute target) is an address
/// that a workload can mean when it asks for metadata: a metadata address, or this machine for the
/// development listener. The port is not judged.
///
/// A browser or proxy that was led here by a DNS name says that name, and is refused.
pub(crate) fn known(host: &[u8]) -> bool {
    if host == b"169.254.169.254" {
        return true;
    }
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return false;
    }
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match name.parse() {
        Ok(IpAddr::V4(address)) => {
            !host.starts_with('[') && (address.is_loopback() || ADDRESSES_V4.contains(&address))
        }
        Ok(IpAddr::V6(address)) => {
            host.starts_with('[') && (address.is_loopback() || ADDRESSES_V6.contains(&address))
        }
        Err(_) => false,
    }
}

/// Instance metadata, the ECS container endpoint, EKS Pod Identity.
const ADDRESSES_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
];

/// Instance metadata, EKS Pod Identity.
const ADDRESSES_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hosts: &[&str], expected: bool) {
        for host in hosts {
            assert_eq!(known(host.as_bytes()), expected, "`{host}`");
        }
    }

    #[test]
    fn metadata_addresses_and_this_machine_are_known_with_any_port() {
        check(&["169.254.169.254", "169.254.169.254:80", "169.254.170.2", "169.254.170.23"], true);
        check(&["[fd00:ec2::254]", "[FD00:EC2::254]:80", "[fd00:ec2:0:0::23]"], true);
        check(&["127.0.0.1", "127.0.0.1:1338", "127.9.9.9:1", "localhost:5000", "[::1]:80"], true);
    }

    #[test]
    fn every_other_host_is_foreign() {
        check(
            &["", "attacker.example", "169.254.169.254.attacker.example", "169.254.169.253"],
            false,
        );
        check(&["localhost.attacker.example", "127.0.0.1.nip.io", "metadata", "0.0.0.0"], false);
        check(&["a@169.254.169.254", "169.254.169.254:80:80", "169.254.169.254:x"], false);
        check(&["169.254.169.254:+80", "169.254.169.254 ", "[169.254.169.254]"], false);
        check(
            &["fd00:ec2::254", "[fd00:ec2::254", "[fd00:ec2::254]x", "[::2]", "2852039166"],
            false,
        );
    }

    #[test]
    fn a_host_that_is_no_text_is_foreign() {
        assert!(!known(b"\xff169.254.169.254"));
    }
}
