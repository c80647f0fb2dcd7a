use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
};

use linux::{
    Diag, DiagError, DoorAddress, Listeners, Mark, Namespace, Plan, Redirect, RedirectStatus,
    original_destination, set_mark,
};
use socket2::{Domain, Socket, Type};

use crate::stage::{Program, accept, door, namespace, need, sh};

/// The agent's port, and what the tests' real metadata listens on.
const PORT: u16 = 911;

/// A host with a way out to the provider's own metadata, and a container behind it.
struct Host {
    host: Namespace,
    container: Namespace,
    provider: TcpListener,
    _programs: [Program; 2],
    _provider: Namespace,
}

impl Host {
    fn new() -> Result<Self, String> {
        let make = || namespace().map_err(|error| error.to_string());
        let (host, provider, container) = (make()?, make()?, make()?);
        // Devices move to a namespace by the number of a process in it.
        let programs = [Program::start(&provider), Program::start(&container)];
        let [there, inside] = [programs[0].pid(), programs[1].pid()];
        sh(
            &host,
            &format!(
                "ip link set lo up
                 ip link add out type veth peer name in netns {there}
                 ip address add 10.9.0.1/24 dev out
                 ip -6 address add fd99::1/64 dev out nodad
                 ip link set out up
                 ip link add docker type veth peer name eth0 netns {inside}
                 ip address add 10.8.0.1/24 dev docker
                 ip link set docker up
                 echo 1 > /proc/sys/net/ipv4/ip_forward"
            ),
        )?;
        sh(
            &provider,
            "ip link set lo up
             ip address add 10.9.0.2/24 dev in
             ip address add 169.254.169.254/32 dev in
             ip -6 address add fd99::2/64 dev in nodad
             ip link set in up
             ip route add default via 10.9.0.1",
        )?;
        sh(
            &container,
            "ip link set lo up
             ip address add 10.8.0.2/24 dev eth0
             ip link set eth0 up
             ip route add default via 10.8.0.1",
        )?;
        sh(&host, "ip route add default via 10.9.0.2; ip -6 route add default via fd99::2")?;
        let listen = || TcpListener::bind("169.254.169.254:80").map_err(|error| error.to_string());
        let listener = provider.run(listen).map_err(|error| error.to_string())??;
        Ok(Self { host, container, provider: listener, _programs: programs, _provider: provider })
    }

    fn connect(&self, to: DoorAddress) -> io::Result<TcpStream> {
        self.host.run(|| TcpStream::connect((to.ip(), 80))).unwrap()
    }

    fn agent(&self, address: &str) -> TcpListener {
        let address: IpAddr = address.parse().unwrap();
        self.host.run(|| TcpListener::bind((address, PORT)).unwrap()).unwrap()
    }

    fn status(&self, redirect: &Redirect) -> RedirectStatus {
        self.host.run(|| redirect.status().unwrap()).unwrap()
    }
}

/// Installs it in the host and hands it over.
fn install(host: &Host, redirect: &Redirect) -> Result<(), String> {
    host.host
        .run(|| redirect.install())
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

#[test]
fn requests_reach_the_agent_and_the_original_destination_is_known() {
    let host = need!(Host::new());
    let (v4, v6) = (host.agent("127.0.0.1"), host.agent("::1"));
    need!(install(&host, &Redirect::to_loopback(PORT)));
    for to in DoorAddress::ALL {
        let listener = if to.ip().is_ipv4() { &v4 } else { &v6 };
        let client = host.connect(to).unwrap();
        let (accepted, from) = accept(listener);
        assert_eq!(from, client.local_addr().unwrap());
        let wanted = original_destination(&accepted).unwrap().unwrap();
        assert_eq!(wanted, SocketAddr::new(to.ip(), 80));
        assert_eq!(DoorAddress::at(wanted.ip()), Some(to));
    }
}

// Trap 4.
#[test]
fn a_redirected_client_is_found_by_its_original_destination_and_not_by_ours() {
    let host = need!(Host::new());
    let agent = host.agent("127.0.0.1");
    need!(install(&host, &Redirect::to_loopback(PORT)));
    let diag = Diag::open(&host.host).unwrap();
    let _client = host.connect(DoorAddress::InstanceV4).unwrap();
    let (accepted, from) = accept(&agent);
    let ours = accepted.local_addr().unwrap();
    assert_eq!(ours.to_string(), format!("127.0.0.1:{PORT}"));
    assert!(matches!(diag.lookup(from, ours), Err(DiagError::NotFound(_))));
    let wanted = original_destination(&accepted).unwrap().unwrap();
    diag.lookup(from, wanted).unwrap();
}

#[test]
fn a_connection_that_came_straight_has_no_original_destination() {
    let host = need!(Host::new());
    let agent = host.agent("127.0.0.1");
    let connect = || TcpStream::connect(("127.0.0.1", PORT)).unwrap();
    for redirected in [false, true] {
        if redirected {
            need!(install(&host, &Redirect::to_loopback(PORT)));
        }
        let _client = host.host.run(connect).unwrap();
        let (accepted, _) = accept(&agent);
        assert_eq!(original_destination(&accepted).unwrap(), None);
    }
}

#[test]
fn with_the_agent_down_requests_are_refused_and_never_reach_the_provider() {
    let host = need!(Host::new());
    let before = host.connect(DoorAddress::InstanceV4).unwrap();
    accept(&host.provider);
    drop(before);
    need!(install(&host, &Redirect::to_loopback(PORT)));
    for to in DoorAddress::ALL {
        let error = host.connect(to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{to:?}");
    }
    host.provider.set_nonblocking(true).unwrap();
    assert_eq!(host.provider.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn only_the_agents_mark_passes() {
    let host = need!(Host::new());
    need!(install(&host, &Redirect::to_loopback(PORT)));
    let connect = |mark: u32| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        set_mark(&socket, Mark(mark)).unwrap();
        socket.connect(&SocketAddr::from(([169, 254, 169, 254], 80)).into())
    };
    for mark in [0, 1, Mark::AGENT.0 ^ 1] {
        let error = host.host.run(|| connect(mark)).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "mark {mark}");
    }
    host.host.run(|| connect(Mark::AGENT.0)).unwrap().unwrap();
    accept(&host.provider);
}

#[test]
fn forwarded_requests_are_refused_unless_they_may_pass() {
    let host = need!(Host::new());
    let connect = || TcpStream::connect("169.254.169.254:80");
    let open = Redirect { refuse_forwarded: false, ..Redirect::to_loopback(PORT) };
    need!(install(&host, &open));
    host.container.run(connect).unwrap().unwrap();
    accept(&host.provider);
    install(&host, &Redirect::to_loopback(PORT)).unwrap();
    let error = host.container.run(connect).unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn installing_again_replaces_it_and_removing_twice_is_no_error() {
    let host = need!(Host::new());
    let (first, second) = (Redirect::to_loopback(PORT), Redirect::to_loopback(PORT + 1));
    assert_eq!(host.status(&first), RedirectStatus::Absent);
    need!(install(&host, &first));
    install(&host, &first).unwrap();
    assert_eq!(host.status(&first), RedirectStatus::Installed);
    assert!(matches!(host.status(&second), RedirectStatus::Different { .. }));
    install(&host, &second).unwrap();
    assert_eq!(host.status(&second), RedirectStatus::Installed);
    for _ in 0..2 {
        host.host.run(Redirect::remove).unwrap().unwrap();
        assert_eq!(host.status(&second), RedirectStatus::Absent);
    }
    host.connect(DoorAddress::InstanceV4).unwrap();
    accept(&host.provider);
}

#[test]
fn a_rule_that_somebody_added_shows_in_the_status() {
    let host = need!(Host::new());
    let redirect = Redirect::to_loopback(PORT);
    need!(install(&host, &redirect));
    sh(&host.host, "nft insert rule inet rolecall output meta skuid 0 accept").unwrap();
    let RedirectStatus::Different { listing } = host.status(&redirect) else {
        panic!("the rule did not show")
    };
    assert!(listing.contains("skuid"), "{listing}");
}

#[test]
fn other_tables_are_left_alone() {
    let host = need!(Host::new());
    need!(sh(&host.host, "nft add table inet other; nft add chain inet other kept"));
    let list = || sh(&host.host, "nft list table inet other").unwrap();
    let before = list();
    need!(install(&host, &Redirect::to_loopback(PORT)));
    host.host.run(Redirect::remove).unwrap().unwrap();
    assert_eq!(list(), before);
}

#[test]
fn a_workload_that_wants_port_80_for_itself_has_it_when_requests_are_redirected_inside() {
    let namespace = need!(namespace());
    let plan = Plan { port: PORT, ..Plan::default() };
    let mut doors = Listeners::open(&namespace, &plan).unwrap();
    let listeners = doors.take();
    let inside = Redirect::inside(PORT);
    need!(namespace.run(|| inside.install()).unwrap());
    assert_eq!(namespace.run(|| inside.status().unwrap()).unwrap(), RedirectStatus::Installed);
    let workload = || TcpListener::bind("[::]:80").unwrap();
    let _workload = namespace.run(workload).unwrap();

    let diag = Diag::open(&namespace).unwrap();
    for to in DoorAddress::ALL {
        let connect = || TcpStream::connect((to.ip(), 80)).unwrap();
        let _client = namespace.run(connect).unwrap();
        let (accepted, from) = accept(door(&listeners, to));
        let wanted = original_destination(&accepted).unwrap().unwrap();
        assert_eq!(wanted, SocketAddr::new(to.ip(), 80));
        diag.lookup(from, wanted).unwrap();
    }
}
