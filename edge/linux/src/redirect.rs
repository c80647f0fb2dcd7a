use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    process::{Command, Output, Stdio},
};

use rustix::{
    io::Errno,
    net::sockopt::{ip_original_dst, ipv6_original_dst},
};
use socket2::SockRef;

use crate::listener::DoorAddress;

/// Sends connections to the metadata addresses to the agent, for processes of the namespace in which
/// it is installed: the host's own, whose `lo` must not carry those addresses.
///
/// It is one nftables table, `inet rolecall`, and touches nothing else. It stays when the agent dies:
/// with nobody at the port, connections are refused and never reach the host's own metadata. A
/// connection that was open before it was installed is not redirected.
///
/// The agent's own requests to the real metadata carry its [`Mark`] and pass. Marking takes
/// `CAP_NET_ADMIN` or `CAP_NET_RAW` over the namespace, so a host-network workload must be given
/// neither. Use a port below 1024, so that nobody without privilege can take it while the agent is
/// down.
///
/// An accepted connection shows the agent's address as its own: [`original_destination`] tells where
/// the client wanted to go, and only with that does [`Diag`](crate::Diag) find the client's socket.
///
/// [nft(8)](https://www.netfilter.org/projects/nftables/manpage.html)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The addresses whose port 80 is redirected.
    pub doors: Vec<DoorAddress>,
    /// Where to.
    pub target: Target,
    /// What the agent's own packets carry.
    pub mark: Mark,
    /// Whether packets that are forwarded, from a container whose namespace is not served, are refused
    /// too. Otherwise they travel on to the host's own metadata.
    pub refuse_forwarded: bool,
}

/// Where connections are redirected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This port of 127.0.0.1 and ::1.
    Loopback(u16),
    /// This port of the same address, for [listeners](crate::Listeners) on another port than 80.
    SameAddress(u16),
    /// Nowhere: the namespace's own processes go where they want, and only forwarded packets matter.
    Unchanged,
}

/// A number that travels with a packet inside of this host, never on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u32);

impl Mark {
    /// The mark of the agent's packets, `role` in ASCII.
    pub const AGENT: Self = Self(0x726f_6c65);
}

/// Whether the redirect is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectStatus {
    /// There is no table `inet rolecall`.
    Absent,
    /// It is exactly as this value would install it.
    Installed,
    /// There is one, but it differs.
    Different {
        /// What `nft` lists.
        listing: String,
    },
}

/// Why a redirect could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// The operator must install it.
    #[error("`nft` was not found; install the package nftables")]
    NoNft,
    /// The operator must give the agent `CAP_NET_ADMIN`, or the kernel lacks a module.
    #[error("`nft` refused: {0}")]
    Refused(String),
    /// `nft` could not be run.
    #[error("cannot run `nft`: {0}")]
    Run(#[from] io::Error),
}

impl Redirect {
    /// All doors to a port of the loopback addresses; forwarded packets are refused.
    pub fn to_loopback(port: u16) -> Self {
        Self {
            doors: DoorAddress::ALL.to_vec(),
            target: Target::Loopback(port),
            mark: Mark::AGENT,
            refuse_forwarded: true,
        }
    }

    /// Inside of a workload's namespace: all doors to another port of the same addresses, so that the
    /// workload can have port 80 for itself.
    pub fn inside(port: u16) -> Self {
        Self { target: Target::SameAddress(port), ..Self::to_loopback(port) }
    }

    /// No redirect: forwarded packets to the doors are refused, and nothing else changes.
    pub fn forwarded_alone() -> Self {
        Self { target: Target::Unchanged, ..Self::to_loopback(0) }
    }

    /// Installs it in the calling thread's namespace, in place of an earlier one, in one transaction:
    /// there is no moment without a redirect.
    ///
    /// # Errors
    ///
    /// See [`RedirectError`]. The earlier one stays.
    pub fn install(&self) -> Result<(), RedirectError> {
        nft(&["-f", "-"], &format!("{CLEAR}{}", self.table())).map(drop)
    }

    /// Removes it from the calling thread's namespace. It may be gone already.
    ///
    /// # Errors
    ///
    /// See [`RedirectError`].
    pub fn remove() -> Result<(), RedirectError> {
        nft(&["-f", "-"], CLEAR).map(drop)
    }

    /// What is in effect in the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// See [`RedirectError`].
    pub fn status(&self) -> Result<RedirectStatus, RedirectError> {
        match nft(&["-n", "list", "table", "inet", "rolecall"], "") {
            Ok(listing) if words(&listing) == words(&self.table()) => Ok(RedirectStatus::Installed),
            Ok(listing) => Ok(RedirectStatus::Different { listing }),
            Err(RedirectError::Refused(why)) if why.contains("No such file or directory") => {
                Ok(RedirectStatus::Absent)
            }
            Err(error) => Err(error),
        }
    }

    /// The table in the very words in which `nft -n list` shows it.
    fn table(&self) -> String {
        let mut text = "table inet rolecall {\n".to_owned();
        self.output(&mut text);
        if self.refuse_forwarded {
            text.push_str("\tchain forward {\n");
            text.push_str("\t\ttype filter hook forward priority -10; policy accept;\n");
            for door in &self.doors {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "\t\t{} reject with tcp reset", condition(*door));
            }
            text.push_str("\t}\n");
        }
        text.push_str("}\n");
        text
    }
}

impl Redirect {
    /// What becomes of the packets of the namespace's own processes.
    fn output(&self, text: &mut String) {
        let verdict = |door: DoorAddress| match self.target {
            Target::Unchanged => None,
            Target::Loopback(port) => Some(format!("redirect to :{port}")),
            Target::SameAddress(port) => {
                let family = if door.ip().is_ipv4() { "ip" } else { "ip6" };
                Some(format!("dnat {family} to {}", SocketAddr::new(door.ip(), port)))
            }
        };
        let verdicts = self.doors.iter().filter_map(|door| Some((*door, verdict(*door)?)));
        let mut verdicts = verdicts.peekable();
        if verdicts.peek().is_none() {
            return;
        }
        text.push_str("\tchain output {\n\t\ttype nat hook output priority -100; policy accept;\n");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\t\tmeta mark 0x{:08x} accept", self.mark.0);
        for (door, verdict) in verdicts {
            let _ = writeln!(text, "\t\t{} {verdict}", condition(door));
        }
        text.push_str("\t}\n");
    }
}

/// Marks the packets of a socket, so that they pass the [`Redirect`]. Before it is connected.
///
/// # Errors
///
/// `PermissionDenied` without `CAP_NET_ADMIN` or `CAP_NET_RAW`.
///
/// [socket(7), SO_MARK](https://man7.org/linux/man-pages/man7/socket.7.html)
pub fn set_mark(socket: impl AsFd, mark: Mark) -> io::Result<()> {
    SockRef::from(&socket).set_mark(mark.0)
}

/// Where the client of an accepted connection wanted to go, before it was redirected. `None` when it
/// was not.
///
/// # Errors
///
/// The kernel's: the socket is not connected.
pub fn original_destination(socket: impl AsFd) -> io::Result<Option<SocketAddr>> {
    let local = SockRef::from(&socket).local_addr()?.as_socket();
    let local = local.ok_or(io::ErrorKind::Unsupported)?;
    // A listener for both families shows an IPv4 client as IPv6, but its connection is tracked as IPv4.
    let destination = match local.ip().to_canonical() {
        IpAddr::V4(_) => ip_original_dst(&socket).map(SocketAddr::from),
        IpAddr::V6(_) => ipv6_original_dst(&socket).map(SocketAddr::from),
    };
    match destination {
        Ok(destination) => {
            let wanted = SocketAddr::new(destination.ip(), destination.port());
            let ours = SocketAddr::new(local.ip().to_canonical(), local.port());
            Ok((wanted != ours).then_some(wanted))
        }
        // Not tracked, or tracking is not even loaded: nothing was redirected.
        Err(Errno::NOENT | Errno::NOPROTOOPT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn condition(door: DoorAddress) -> String {
    match door.ip() {
        IpAddr::V4(ip) => format!("ip daddr {ip} tcp dport 80"),
        IpAddr::V6(ip) => format!("ip6 daddr {ip} tcp dport 80"),
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split([' ', '\t', '\n', ';']).filter(|word| !word.is_empty()).collect()
}

fn nft(arguments: &[&str], input: &str) -> Result<String, RedirectError> {
    for program in ["nft", "/usr/sbin/nft"] {
        match run(program, arguments, input) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
            Ok(output) if output.status.success() => {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                return Err(RedirectError::Refused(why.trim().replace('\n', "; ")));
            }
        }
    }
    Err(RedirectError::NoNft)
}

fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Where it ends early, what it says and its exit code tell more than a broken pipe.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

/// Deleting alone would fail when there is no table.
const CLEAR: &str = "add table inet rolecall\ndelete table inet rolecall\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(redirect: &Redirect, expected: &str) {
        assert_eq!(redirect.table(), expected);
    }

    #[test]
    fn without_a_target_only_what_is_forwarded_is_refused() {
        let doors = vec![DoorAddress::InstanceV4];
        check(
            &Redirect { doors, ..Redirect::forwarded_alone() },
            "table inet rolecall {\n\
             \tchain forward {\n\
             \t\ttype filter hook forward priority -10; policy accept;\n\
             \t\tip daddr 169.254.169.254 tcp dport 80 reject with tcp reset\n\
             \t}\n\
             }\n",
        );
    }

    #[test]
    fn the_agents_mark_is_the_only_exemption() {
        let redirect = Redirect {
            doors: vec![DoorAddress::InstanceV4, DoorAddress::InstanceV6],
            refuse_forwarded: false,
            ..Redirect::to_loopback(911)
        };
        check(
            &redirect,
            "table inet rolecall {\n\
             \tchain output {\n\
             \t\ttype nat hook output priority -100; policy accept;\n\
             \t\tmeta mark 0x726f6c65 accept\n\
             \t\tip daddr 169.254.169.254 tcp dport 80 redirect to :911\n\
             \t\tip6 daddr fd00:ec2::254 tcp dport 80 redirect to :911\n\
             \t}\n\
             }\n",
        );
    }
}
