use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    loopback::Loopback,
    namespace::{Namespace, NamespaceError},
};

/// An address at which programs look for their credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DoorAddress {
    /// Instance metadata, `169.254.169.254`.
    InstanceV4,
    /// Instance metadata, `fd00:ec2::254`.
    InstanceV6,
    /// The ECS container endpoint, `169.254.170.2`.
    Container,
    /// EKS Pod Identity, `169.254.170.23`.
    PodIdentityV4,
    /// EKS Pod Identity, `fd00:ec2::23`.
    PodIdentityV6,
}

impl DoorAddress {
    /// Every door.
    pub const ALL: [Self; 5] = [
        Self::InstanceV4,
        Self::InstanceV6,
        Self::Container,
        Self::PodIdentityV4,
        Self::PodIdentityV6,
    ];

    /// The door's address.
    pub const fn ip(self) -> IpAddr {
        match self {
            Self::InstanceV4 => IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
            Self::InstanceV6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
            Self::Container => IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
            Self::PodIdentityV4 => IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
            Self::PodIdentityV6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
        }
    }

    /// The door whose address this is: for connections that were redirected.
    pub fn at(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        Self::ALL.into_iter().find(|door| door.ip() == address)
    }
}

/// How many hops an answer may travel: 1..=64. With 1 it reaches the namespace itself and no further,
/// as on an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HopLimit(u8);

impl HopLimit {
    /// One hop.
    pub const ONE: Self = Self(1);

    /// `None` outside of 1..=64.
    pub const fn new(hops: u8) -> Option<Self> {
        if hops >= 1 && hops <= 64 { Some(Self(hops)) } else { None }
    }

    /// The number of hops.
    pub const fn hops(self) -> u8 {
        self.0
    }
}

/// What to open in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which doors.
    pub doors: Vec<DoorAddress>,
    /// The port: 80, unless connections to port 80 are [redirected](crate::Redirect) inside of the
    /// namespace, which spares a workload that wants port 80 on every address for itself.
    pub port: u16,
    /// How far answers may travel.
    pub hops: HopLimit,
}

impl Default for Plan {
    fn default() -> Self {
        Self { doors: DoorAddress::ALL.to_vec(), port: 80, hops: HopLimit::ONE }
    }
}

/// The doors of one namespace, open.
///
/// Dropped, the sockets close but the addresses stay on the namespace's `lo`, so that requests are
/// refused and never travel on to the host's own metadata: what must happen when the agent stops or
/// dies, and when a namespace is no longer served. Only [`remove_addresses`](Self::remove_addresses)
/// undoes that, for an operator who asks for it.
#[derive(Debug)]
pub struct Listeners {
    open: Vec<Listener>,
    absent: Vec<Absent>,
    added: Vec<IpAddr>,
    loopback: Loopback,
}

/// A listening socket: non-blocking, closed on exec. What it accepts inherits the hop limit.
#[derive(Debug)]
pub struct Listener {
    /// Which door it is.
    pub door: DoorAddress,
    /// The socket.
    pub socket: TcpListener,
}

/// A door that the namespace cannot have.
#[derive(Debug)]
pub struct Absent {
    /// Which door.
    pub door: DoorAddress,
    /// Why, in the kernel's words.
    pub reason: io::Error,
}

/// Why a namespace's doors could not be opened. None is open then, but addresses that were added stay:
/// the namespace's requests are refused, and cannot travel on to the host's own metadata.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The operator must not name this namespace. For it there is [`Redirect`](crate::Redirect).
    #[error("namespace `{0}` is the agent's own: its processes are served by a redirect")]
    Own(String),
    /// The operator must let the agent enter the namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The workload listens there itself.
    #[error(
        "`{address}` in namespace `{namespace}` is taken: a program listens on port {} of this or of \
         every address",
        address.port()
    )]
    Taken {
        /// The namespace's name.
        namespace: String,
        /// The address of the door.
        address: SocketAddr,
    },
    /// The operator must give the agent the capability.
    #[error("{capability} is needed over namespace `{namespace}` to {action}")]
    Forbidden {
        /// The namespace's name.
        namespace: String,
        /// The capability's name.
        capability: &'static str,
        /// What was tried.
        action: String,
    },
    /// The kernel refused something else.
    #[error("cannot {action} in namespace `{namespace}`: {source}")]
    Refused {
        /// The namespace's name.
        namespace: String,
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Listeners {
    /// Opens the doors of `plan` inside `namespace`. Its `lo` is brought up and stays up. Doors of IPv6
    /// are left [absent](Self::absent) where the namespace has no IPv6.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub fn open(namespace: &Namespace, plan: &Plan) -> Result<Self, ListenError> {
        if namespace.is_own()? {
            return Err(ListenError::Own(namespace.name().to_owned()));
        }
        namespace.run(|| Self::open_here(namespace.name(), plan))?
    }

    /// Takes the open sockets out, to accept from. The addresses can be removed
    /// only by way of this value.
    pub fn take(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.open)
    }

    /// The doors that the namespace cannot have.
    pub fn absent(&self) -> &[Absent] {
        &self.absent
    }

    /// The addresses that are ours to remove: those that were not there before.
    pub fn added(&self) -> &[IpAddr] {
        &self.added
    }

    /// Closes the doors that were not [taken](Self::take), removes the addresses that opening added, and
    /// says which. From then on requests follow the namespace's routes: where those lead to the host's
    /// own metadata, every program in the namespace has the host's role.
    ///
    /// # Errors
    ///
    /// The first address that could not be removed; the others were tried.
    pub fn remove_addresses(mut self) -> io::Result<Vec<IpAddr>> {
        self.open.clear();
        let mut result = Ok(());
        for address in &self.added {
            result = result.and(self.loopback.remove(*address));
        }
        result.map(|()| self.added)
    }

    fn open_here(namespace: &str, plan: &Plan) -> Result<Self, ListenError> {
        let prepare = |source| refused(namespace, "bring `lo` up".to_owned(), source);
        let mut loopback = Loopback::here().map_err(prepare)?;
        loopback.up().map_err(prepare)?;
        let mut added = loopback.ours().map_err(prepare)?;
        added.retain(|address| DoorAddress::at(*address).is_some());

        let mut doors = Self { open: Vec::new(), absent: Vec::new(), added, loopback };
        // All addresses first: the kernel makes their routes in the meantime.
        for door in &plan.doors {
            doors.add(namespace, *door)?;
        }
        let present = |door: &&DoorAddress| doors.absent.iter().all(|absent| absent.door != **door);
        let present: Vec<DoorAddress> = plan.doors.iter().filter(present).copied().collect();
        for door in &present {
            let action = || format!("reach `{}` at `lo`", door.ip());
            doors.settle(door.ip()).map_err(|source| refused(namespace, action(), source))?;
        }
        for door in present {
            doors.listen(namespace, door, plan)?;
        }
        Ok(doors)
    }

    fn add(&mut self, namespace: &str, door: DoorAddress) -> Result<(), ListenError> {
        let ip = door.ip();
        match self.loopback.add(ip) {
            Ok(true) => self.added.push(ip),
            Ok(false) => {}
            Err(reason) if ip.is_ipv6() && says_no_ipv6(&reason) => {
                self.absent.push(Absent { door, reason });
            }
            Err(source) => return Err(refused(namespace, format!("add `{ip}` to `lo`"), source)),
        }
        Ok(())
    }

    fn listen(
        &mut self,
        namespace: &str,
        door: DoorAddress,
        plan: &Plan,
    ) -> Result<(), ListenError> {
        let address = SocketAddr::new(door.ip(), plan.port);
        let socket = listen(address, plan.hops).map_err(|source| {
            let namespace = namespace.to_owned();
            match Errno::from_io_error(&source) {
                Some(Errno::ADDRINUSE) => ListenError::Taken { namespace, address },
                Some(Errno::ACCESS) => ListenError::Forbidden {
                    namespace,
                    capability: "CAP_NET_BIND_SERVICE",
                    action: format!("listen at `{address}`"),
                },
                _ => refused(&namespace, format!("listen at `{address}`"), source),
            }
        })?;
        self.open.push(Listener { door, socket });
        Ok(())
    }

    /// Waits until packets to an address find their way to it. The kernel makes an IPv6 address usable
    /// a moment after it was added; a client that came in between would be sent out of the namespace.
    fn settle(&mut self, ip: IpAddr) -> io::Result<()> {
        for _ in 0..SETTLE_TRIES {
            if self.loopback.is_local(ip)? {
                return Ok(());
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

fn listen(address: SocketAddr, hops: HopLimit) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::TCP))?;
    // Connections of an agent that just ended would hold the address for a minute otherwise.
    socket.set_reuse_address(true)?;
    // Before the first connection: it is inherited, and the handshake is sent with it.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(hops.hops().into())?;
    } else {
        socket.set_ttl_v4(hops.hops().into())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What the kernel answers to an IPv6 address where IPv6 is compiled out, not loaded, switched off at
/// boot, or switched off for the device.
fn says_no_ipv6(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::ACCESS | Errno::NODEV)
    )
}

fn refused(namespace: &str, action: String, source: io::Error) -> ListenError {
    let namespace = namespace.to_owned();
    match Errno::from_io_error(&source) {
        Some(Errno::PERM) => {
            ListenError::Forbidden { namespace, capability: "CAP_NET_ADMIN", action }
        }
        _ => ListenError::Refused { namespace, action, source },
    }
}

/// How often, and at what distance, the way to a new address is tried: it takes a few
/// milliseconds, and longer only when the machine is very busy.
const SETTLE_TRIES: u32 = 5000;
const SETTLE_PAUSE: Duration = Duration::from_micros(100);
/// How many connections may wait to be accepted, in each namespace. The kernel lowers it to
/// `net.core.somaxconn`.
const BACKLOG: i32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, door: Option<DoorAddress>) {
        assert_eq!(DoorAddress::at(address.parse().unwrap()), door);
    }

    #[test]
    fn a_door_is_known_by_its_address() {
        check("169.254.169.254", Some(DoorAddress::InstanceV4));
        check("::ffff:169.254.169.254", Some(DoorAddress::InstanceV4));
        check("fd00:ec2::254", Some(DoorAddress::InstanceV6));
        check("169.254.170.2", Some(DoorAddress::Container));
        check("169.254.170.23", Some(DoorAddress::PodIdentityV4));
        check("fd00:ec2::23", Some(DoorAddress::PodIdentityV6));
        check("169.254.169.253", None);
    }

    #[test]
    fn a_hop_limit_is_between_1_and_64() {
        assert_eq!(HopLimit::new(0), None);
        assert_eq!(HopLimit::new(1), Some(HopLimit::ONE));
        assert_eq!(HopLimit::new(64).map(HopLimit::hops), Some(64));
        assert_eq!(HopLimit::new(65), None);
    }
}
