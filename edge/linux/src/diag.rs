use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, connect,
        netlink::{self, SocketAddrNetlink},
        recvfrom, send, socket_with,
    },
};

use crate::{
    namespace::{Namespace, NamespaceError},
    reply::{ReplyError, SOCK_DIAG_BY_FAMILY, SocketFacts, TcpState, parse_reply, sequence},
};

/// Asks the kernel about TCP sockets of one network namespace: the one in which it was made.
///
/// The kernel answers for no other, so there is one for each namespace. It needs no privilege once it
/// is made, can be used from many threads, and one question costs two system calls.
///
/// For a socket that was redirected, ask with its [original destination]
/// (`linux::original_destination`): the client's socket never learns of the redirect.
///
/// [sock_diag(7)](https://man7.org/linux/man-pages/man7/sock_diag.7.html)
#[derive(Debug)]
pub struct Diag(Mutex<Line>);

#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    sequence: u32,
}

/// Why nothing is known of a client's socket. Each means: no verdict, no credentials.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The operator must let the agent enter the namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel has no `inet_diag`, or is out of memory.
    #[error("cannot ask the kernel about sockets: {0}")]
    Socket(io::Error),
    /// The client has gone, or it is in another namespace.
    #[error("no socket is connected from `{0}` in this network namespace")]
    NotFound(SocketAddr),
    /// The connection ended and its port serves another socket now.
    #[error("the socket at `{address}` is not the client's any more: {state:?}")]
    NotTheClient {
        /// The client's address.
        address: SocketAddr,
        /// The state of the socket that is there.
        state: TcpState,
    },
    /// The kernel and this program do not understand each other.
    #[error(transparent)]
    Reply(ReplyError),
}

impl Diag {
    /// Opens the line to the kernel inside `namespace`. About 50 µs.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered, or the kernel lacks `CONFIG_INET_DIAG`.
    pub fn open(namespace: &Namespace) -> Result<Self, DiagError> {
        namespace.run(Self::here)?
    }

    /// Opens the line for the namespace that the calling thread is in.
    ///
    /// # Errors
    ///
    /// The kernel lacks `CONFIG_INET_DIAG`.
    pub fn here() -> Result<Self, DiagError> {
        let socket = open().map_err(|errno| DiagError::Socket(errno.into()))?;
        Ok(Self(Mutex::new(Line { socket, sequence: 0 })))
    }

    /// Looks up the socket of a client: `client` is the peer address of the accepted connection,
    /// `server` the address that the client connected to.
    ///
    /// # Errors
    ///
    /// See [`DiagError`].
    pub fn lookup(&self, client: SocketAddr, server: SocketAddr) -> Result<SocketFacts, DiagError> {
        let reply = {
            let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            line.ask(client, server)?
        };
        if (reply.local, reply.remote) != (plain(client), plain(server)) {
            // The kernel falls back to a listening socket when no connection matches.
            return Err(DiagError::NotFound(client));
        }
        let state = reply.facts.state;
        if state.was_connected() {
            Ok(reply.facts)
        } else {
            Err(DiagError::NotTheClient { address: client, state })
        }
    }
}

impl Line {
    fn ask(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<crate::reply::Reply, DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = question(self.sequence, client, server);
        retry(|| send(&self.socket, &question, SendFlags::empty()))
            .map_err(|errno| DiagError::Socket(errno.into()))?;

        let mut buffer = [0; ANSWER_MAX];
        for _ in 0..STRAY_MAX {
            // The kernel answers before `send` returns, so an empty queue means that it never will.
            let received = retry(|| recvfrom(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT));
            let (length, _, from) = received.map_err(|errno| DiagError::Socket(errno.into()))?;
            let answer = buffer.get(..length).unwrap_or_default();
            if !is_kernel(from) || sequence(answer) != Some(self.sequence) {
                continue;
            }
            return parse_reply(answer).map_err(|error| match error {
                ReplyError::NotFound => DiagError::NotFound(client),
                error => DiagError::Reply(error),
            });
        }
        Err(DiagError::Reply(ReplyError::Malformed("only stray messages")))
    }
}

/// Connecting to port 0, the kernel, makes it refuse messages from anybody else: root inside of a
/// workload's namespace could otherwise send an answer of its own making to this socket.
fn open() -> rustix::io::Result<OwnedFd> {
    let kind = (AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC);
    let socket = socket_with(kind.0, kind.1, kind.2, Some(netlink::SOCK_DIAG))?;
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

fn is_kernel(from: Option<SocketAddrAny>) -> bool {
    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
    from.is_some_and(|from| from.pid() == 0)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, for exactly one socket.
fn question(sequence: u32, client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let (client_plain, server_plain) = (plain(client), plain(server));
    let family = if client_plain.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    // As if the packet had come over `lo`, as it does: a client that bound itself to that device is
    // found with no other question, and any other is found with this one as well.
    let interface = match client {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => v6.scope_id(),
        SocketAddr::V6(_) | SocketAddr::V4(_) => LOOPBACK_INDEX,
    };

    let mut bytes = Vec::with_capacity(128);
    bytes.extend(QUESTION.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());

    bytes.extend(family.as_raw().to_ne_bytes().first());
    bytes.extend([IPPROTO_TCP, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(client_plain.port().to_be_bytes());
    bytes.extend(server_plain.port().to_be_bytes());
    for address in [client_plain.ip(), server_plain.ip()] {
        bytes.extend(padded(address));
    }
    bytes.extend(interface.to_ne_bytes());
    bytes.extend(NO_COOKIE);
    bytes
}

fn padded(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(v6) => v6.octets(),
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

/// The address without what does not tell sockets apart here: mapping, flow label, scope.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// The index of `lo` in every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK_INDEX: u32 = 1;

/// Bytes in a question: 16 of header, 56 of request.
const QUESTION: u32 = 16 + 56;
/// Bytes of an answer that are read. An answer is about 100 bytes, or 200 for a socket with options.
const ANSWER_MAX: usize = 4096;
/// How many messages that answer something else are skipped before giving up.
const STRAY_MAX: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
/// `INET_DIAG_NOCOOKIE`: any socket of this address.
const NO_COOKIE: [u8; 8] = [0xff; 8];
