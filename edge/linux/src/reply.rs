use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
};

use crate::cgroup::CgroupId;

/// What the kernel says of one TCP socket.
///
/// The traps that this type closes:
///
/// - The cgroup is that of the process which *made* the socket, when it made it. A process that moved
///   since, or one that inherited the socket, does not change it.
/// - When the owner closed the socket or died, the kernel reports inode 0 and may report user 0. That
///   is not root: without an inode [`uid`](Self::uid) is `None`. The cgroup stays true.
/// - Cgroup 0 and cgroup 1 (the root, which is what every socket has on a host where only version 1
///   is in use) say nothing about a workload: both become `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// The cgroup that made the socket, unless that is the root.
    pub cgroup: Option<CgroupId>,
    /// The user that owns the socket, as our user namespace numbers it.
    pub uid: Option<u32>,
    /// The socket's inode, as in `/proc/PID/fd`. `None` once no process holds it.
    pub inode: Option<NonZeroU32>,
    /// A number that no other socket gets until the machine reboots.
    pub cookie: u64,
    /// How far the connection is.
    pub state: TcpState,
}

/// The state of a TCP socket. [RFC 9293, section 3.3.2](https://www.rfc-editor.org/rfc/rfc9293)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Connected, in both directions.
    Established,
    /// Asked for a connection and was not answered yet.
    SynSent,
    /// Was asked for a connection, and answered.
    SynReceived,
    /// Has closed; the peer did not confirm.
    FinWait1,
    /// Has closed; the peer confirmed.
    FinWait2,
    /// Over; kept for stray packets. No socket, no cgroup, no user.
    TimeWait,
    /// Not connected.
    Closed,
    /// The peer has closed.
    CloseWait,
    /// Both have closed; the peer did not confirm.
    LastAck,
    /// Waits for connections.
    Listening,
    /// Both closed at the same time.
    Closing,
    /// A state that this program does not know, by its number.
    Other(u8),
}

impl TcpState {
    /// Whether a socket in this state can be the other end of a connection that was accepted.
    ///
    /// One that only asked (`SynSent`) cannot: it is a later socket with the port of the one that
    /// was accepted. Nor can a listening one, which the kernel finds when there is nothing better.
    pub const fn was_connected(self) -> bool {
        match self {
            Self::Established
            | Self::FinWait1
            | Self::FinWait2
            | Self::TimeWait
            | Self::CloseWait
            | Self::LastAck
            | Self::Closing => true,
            Self::SynSent | Self::SynReceived | Self::Closed | Self::Listening | Self::Other(_) => {
                false
            }
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listening,
            11 => Self::Closing,
            other => Self::Other(other),
        }
    }
}

/// The kernel's answer about one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The number of the question.
    pub sequence: u32,
    /// The socket's own address. An IPv4 address inside of an IPv6 one is taken out.
    pub local: SocketAddr,
    /// Where it is connected to.
    pub remote: SocketAddr,
    /// The rest.
    pub facts: SocketFacts,
}

/// Why an answer holds no socket.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// There is no such socket in the namespace where the question was asked.
    #[error("no such socket in this network namespace")]
    NotFound,
    /// The kernel refused the question.
    #[error("the kernel refused to look a socket up: {0}")]
    Refused(io::Error),
    /// The bytes are not an answer.
    #[error("malformed socket answer: {0}")]
    Malformed(&'static str),
}

/// Reads one netlink message that answers a socket question. Looks at no more than the message's own
/// length and at most 64 attributes.
///
/// ```
/// # use linux::{ReplyError, parse_reply};
/// assert!(matches!(parse_reply(b"short"), Err(ReplyError::Malformed(_))));
/// ```
///
/// # Errors
///
/// [`NotFound`](ReplyError::NotFound) is the kernel's `ENOENT`; the other errors mean that nothing is
/// known.
///
/// [sock_diag(7)](https://man7.org/linux/man-pages/man7/sock_diag.7.html)
pub fn parse_reply(bytes: &[u8]) -> Result<Reply, ReplyError> {
    let header = Header::parse(bytes).ok_or(ReplyError::Malformed("header"))?;
    let body = header.body(bytes).ok_or(ReplyError::Malformed("length"))?;
    match header.kind {
        NLMSG_ERROR => Err(parse_error(body)),
        SOCK_DIAG_BY_FAMILY => parse_socket(header.sequence, body),
        _ => Err(ReplyError::Malformed("kind")),
    }
}

/// The number of the question that `bytes` answers.
pub(crate) fn sequence(bytes: &[u8]) -> Option<u32> {
    Header::parse(bytes).map(|header| header.sequence)
}

fn parse_error(body: &[u8]) -> ReplyError {
    let Some((code, _)) = body.split_first_chunk() else {
        return ReplyError::Malformed("error");
    };
    match i32::from_ne_bytes(*code).checked_neg() {
        Some(libc::ENOENT) => ReplyError::NotFound,
        Some(errno) if errno > 0 => ReplyError::Refused(io::Error::from_raw_os_error(errno)),
        _ => ReplyError::Malformed("error"),
    }
}

fn parse_socket(sequence: u32, body: &[u8]) -> Result<Reply, ReplyError> {
    let mut cursor = Cursor(body);
    let (reply, attributes) = read_socket(&mut cursor, sequence)
        .map(|reply| (reply, cursor.0))
        .ok_or(ReplyError::Malformed("socket"))?;
    let cgroup = find_cgroup(attributes)?;
    Ok(Reply { facts: SocketFacts { cgroup, ..reply.facts }, ..reply })
}

/// Reads `struct inet_diag_msg`.
fn read_socket(cursor: &mut Cursor<'_>, sequence: u32) -> Option<Reply> {
    let [family, state, _timer, _retransmits] = cursor.take()?;
    let local_port = u16::from_be_bytes(cursor.take()?);
    let remote_port = u16::from_be_bytes(cursor.take()?);
    let local = read_address(family, cursor.take()?)?;
    let remote = read_address(family, cursor.take()?)?;
    let _interface: [u8; 4] = cursor.take()?;
    let low = u32::from_ne_bytes(cursor.take()?);
    let high = u32::from_ne_bytes(cursor.take()?);
    let _expires_and_queues: [u8; 12] = cursor.take()?;
    let uid = u32::from_ne_bytes(cursor.take()?);
    let inode = NonZeroU32::new(u32::from_ne_bytes(cursor.take()?));
    Some(Reply {
        sequence,
        local: SocketAddr::new(local, local_port),
        remote: SocketAddr::new(remote, remote_port),
        facts: SocketFacts {
            cgroup: None,
            uid: inode.map(|_| uid),
            inode,
            cookie: u64::from(high) << 32 | u64::from(low),
            state: TcpState::from_number(state),
        },
    })
}

/// A program that opened an IPv6 socket and connected it to an IPv4 address (Java does) has a socket
/// of the IPv6 family with IPv4 inside.
fn read_address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => bytes.first_chunk().map(|v4: &[u8; 4]| Ipv4Addr::from(*v4).into()),
        libc::AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()),
        _ => None,
    }
}

fn find_cgroup(attributes: &[u8]) -> Result<Option<CgroupId>, ReplyError> {
    const WRONG: ReplyError = ReplyError::Malformed("attribute");
    let mut rest = attributes;
    for _ in 0..ATTRIBUTES_MAX {
        if rest.is_empty() {
            return Ok(None);
        }
        let mut cursor = Cursor(rest);
        let length = usize::from(u16::from_ne_bytes(cursor.take().ok_or(WRONG)?));
        let kind = u16::from_ne_bytes(cursor.take().ok_or(WRONG)?);
        let value = rest.get(4..length).ok_or(WRONG)?;
        if kind & ATTRIBUTE_KIND == INET_DIAG_CGROUP_ID {
            let id = value.first_chunk().ok_or(WRONG)?;
            return Ok(CgroupId::of_a_workload(u64::from_ne_bytes(*id)));
        }
        // The last one may end without padding.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Err(ReplyError::Malformed("too many attributes"))
}

struct Header {
    length: usize,
    kind: u16,
    sequence: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let length = usize::try_from(u32::from_ne_bytes(cursor.take()?)).ok()?;
        let kind = u16::from_ne_bytes(cursor.take()?);
        let _flags: [u8; 2] = cursor.take()?;
        let sequence = u32::from_ne_bytes(cursor.take()?);
        Some(Self { length, kind, sequence })
    }

    fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(HEADER..self.length)
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// The most attributes of an answer that are looked at. Linux 6.18 knows fewer than 30.
const ATTRIBUTES_MAX: usize = 64;
/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// From `linux/sock_diag.h`.
pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// From `linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
/// From `linux/inet_diag.h`; since Linux 5.7, sent without being asked for.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// The two highest bits of an attribute's kind are flags.
const ATTRIBUTE_KIND: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn socket(family: i32, uid: u32, inode: u32, attributes: &[u8]) -> Vec<u8> {
        let mut body = vec![u8::try_from(family).unwrap(), 1, 0, 0];
        body.extend(40000_u16.to_be_bytes());
        body.extend(80_u16.to_be_bytes());
        let mapped = family == libc::AF_INET6;
        for last in [7, 9] {
            let v4 = Ipv4Addr::new(10, 0, 0, last);
            if mapped {
                body.extend(v4.to_ipv6_mapped().octets());
            } else {
                body.extend(v4.octets());
                body.extend([0; 12]);
            }
        }
        body.extend([0; 4]);
        body.extend(1_u32.to_ne_bytes());
        body.extend(2_u32.to_ne_bytes());
        body.extend([0; 12]);
        body.extend(uid.to_ne_bytes());
        body.extend(inode.to_ne_bytes());
        body.extend(attributes);
        message(SOCK_DIAG_BY_FAMILY, &body)
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(5_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn cgroup(id: u64) -> Vec<u8> {
        [attribute(8, &[0]), attribute(INET_DIAG_CGROUP_ID, &id.to_ne_bytes())].concat()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let printed = match parse_reply(bytes) {
            Ok(reply) => format!(
                "{} -> {}, cgroup {:?}, uid {:?}",
                reply.local,
                reply.remote,
                reply.facts.cgroup.map(CgroupId::number),
                reply.facts.uid
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(printed, expected);
    }

    #[test]
    fn a_socket_has_addresses_cgroup_and_user() {
        let expected = "10.0.0.7:40000 -> 10.0.0.9:80, cgroup Some(77), uid Some(1000)";
        check(&socket(libc::AF_INET, 1000, 33, &cgroup(77)), expected);
    }

    #[test]
    fn a_dual_stack_socket_shows_its_ipv4_addresses() {
        let expected = "10.0.0.7:40000 -> 10.0.0.9:80, cgroup Some(77), uid Some(1000)";
        check(&socket(libc::AF_INET6, 1000, 33, &cgroup(77)), expected);
    }

    #[test]
    fn without_an_inode_user_zero_is_unknown_and_not_root() {
        let expected = "10.0.0.7:40000 -> 10.0.0.9:80, cgroup Some(77), uid None";
        check(&socket(libc::AF_INET, 0, 0, &cgroup(77)), expected);
    }

    #[test]
    fn the_root_cgroup_and_none_at_all_say_nothing() {
        let expected = "10.0.0.7:40000 -> 10.0.0.9:80, cgroup None, uid Some(0)";
        for attributes in [cgroup(0), cgroup(1), vec![]] {
            check(&socket(libc::AF_INET, 0, 33, &attributes), expected);
        }
    }

    #[test]
    fn not_found_is_told_apart_from_other_refusals() {
        let error = |errno: i32| message(NLMSG_ERROR, &(-errno).to_ne_bytes());
        check(&error(libc::ENOENT), "no such socket in this network namespace");
        check(
            &error(libc::EPERM),
            "the kernel refused to look a socket up: Operation not permitted (os error 1)",
        );
        check(&error(0), "malformed socket answer: error");
        check(&message(NLMSG_ERROR, &i32::MIN.to_ne_bytes()), "malformed socket answer: error");
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_refused() {
        let whole = socket(libc::AF_INET, 0, 33, &cgroup(77));
        for length in 0..whole.len() {
            assert!(parse_reply(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_attribute_that_is_shorter_than_its_header_is_refused() {
        check(&socket(libc::AF_INET, 0, 33, &[0; 8]), "malformed socket answer: attribute");
        let many = attribute(8, &[]).repeat(ATTRIBUTES_MAX + 1);
        check(&socket(libc::AF_INET, 0, 33, &many), "malformed socket answer: too many attributes");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = parse_reply(&bytes);
            let _ = parse_reply(&message(SOCK_DIAG_BY_FAMILY, &bytes));
            let _ = parse_reply(&socket(libc::AF_INET6, 0, 1, &bytes));
        }
    }
}
