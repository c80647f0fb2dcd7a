use std::{
    io,
    net::{IpAddr, TcpListener, TcpStream},
};

use linux::{DoorAddress, HopLimit, ListenError, Listeners, Namespace, Plan};
use rustix::thread::CapabilitySet;
use socket2::SockRef;

use crate::stage::{accept, door, namespace, need, sh, without};

fn addresses(namespace: &Namespace) -> Vec<IpAddr> {
    let listing = sh(namespace, "ip -o address show dev lo").unwrap();
    let mut addresses: Vec<IpAddr> = listing
        .split_whitespace()
        .filter_map(|word| word.split('/').next()?.parse().ok())
        .filter(|address: &IpAddr| !address.is_loopback())
        .collect();
    addresses.sort();
    addresses
}

fn all() -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = DoorAddress::ALL.into_iter().map(DoorAddress::ip).collect();
    all.sort();
    all
}

fn refused(namespace: &Namespace, address: DoorAddress) -> io::ErrorKind {
    namespace.run(|| TcpStream::connect((address.ip(), 80)).unwrap_err().kind()).unwrap()
}

#[test]
fn every_door_takes_connections_from_inside_the_namespace() {
    let namespace = need!(namespace());
    let mut doors = Listeners::open(&namespace, &Plan::default()).unwrap();
    let listeners = doors.take();
    assert_eq!(listeners.len(), 5, "{:?}", doors.absent());
    for address in DoorAddress::ALL {
        let client = namespace.run(|| TcpStream::connect((address.ip(), 80)).unwrap()).unwrap();
        let (stream, from) = accept(door(&listeners, address));
        assert_eq!(from, client.local_addr().unwrap());
        assert_eq!(stream.local_addr().unwrap().ip(), address.ip());
    }
}

#[test]
fn two_namespaces_have_the_same_addresses_and_never_each_others_connections() {
    let (one, two) = (need!(namespace()), need!(namespace()));
    let plan = Plan::default();
    let first = Listeners::open(&one, &plan).unwrap().take();
    let second = Listeners::open(&two, &plan).unwrap().take();
    let to = DoorAddress::InstanceV4;
    let _client = one.run(|| TcpStream::connect((to.ip(), 80)).unwrap()).unwrap();
    accept(door(&first, to));
    let none = door(&second, to).accept().unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn accepted_sockets_inherit_the_hop_limit() {
    for hops in [HopLimit::ONE, HopLimit::new(3).unwrap()] {
        let namespace = need!(namespace());
        let mut doors = Listeners::open(&namespace, &Plan { hops, ..Plan::default() }).unwrap();
        let listeners = doors.take();
        let connect = |address: DoorAddress| {
            let client = namespace.run(|| TcpStream::connect((address.ip(), 80)).unwrap()).unwrap();
            (client, accept(door(&listeners, address)).0)
        };
        let (_client, v4) = connect(DoorAddress::InstanceV4);
        assert_eq!(SockRef::from(&v4).ttl_v4().unwrap(), u32::from(hops.hops()));
        let (_client, v6) = connect(DoorAddress::InstanceV6);
        assert_eq!(SockRef::from(&v6).unicast_hops_v6().unwrap(), u32::from(hops.hops()));
    }
}

#[test]
fn removing_addresses_removes_those_that_opening_added_and_no_others() {
    let namespace = need!(namespace());
    sh(&namespace, "ip address add 169.254.170.2/32 dev lo").unwrap();
    let doors = Listeners::open(&namespace, &Plan::default()).unwrap();
    assert_eq!(doors.added().len(), 4);
    assert_eq!(addresses(&namespace), all());
    assert_eq!(doors.remove_addresses().unwrap().len(), 4);
    assert_eq!(addresses(&namespace), [DoorAddress::Container.ip()]);
}

#[test]
fn without_the_agent_requests_are_refused_and_travel_nowhere() {
    let namespace = need!(namespace());
    drop(Listeners::open(&namespace, &Plan::default()).unwrap());
    assert_eq!(addresses(&namespace), all());
    for address in DoorAddress::ALL {
        assert_eq!(refused(&namespace, address), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn an_agent_that_comes_back_opens_the_doors_again_and_can_remove_the_addresses() {
    let namespace = need!(namespace());
    drop(Listeners::open(&namespace, &Plan::default()).unwrap());
    let doors = Listeners::open(&namespace, &Plan::default()).unwrap();
    assert_eq!(doors.remove_addresses().unwrap().len(), 5);
    assert_eq!(addresses(&namespace), Vec::<IpAddr>::new());
}

#[test]
fn a_namespace_without_ipv6_has_the_doors_of_ipv4_and_says_why() {
    let namespace = need!(namespace());
    let off = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    need!(sh(&namespace, off));
    let mut doors = Listeners::open(&namespace, &Plan::default()).unwrap();
    assert_eq!(doors.take().len(), 3);
    let absent: Vec<_> = doors.absent().iter().map(|absent| absent.door).collect();
    assert_eq!(absent, [DoorAddress::InstanceV6, DoorAddress::PodIdentityV6]);
    assert!(!doors.absent()[0].reason.to_string().is_empty());
}

#[test]
fn a_port_that_the_workload_took_is_named() {
    let namespace = need!(namespace());
    let _taken = namespace.run(|| TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
    let error = Listeners::open(&namespace, &Plan::default()).unwrap_err();
    let ListenError::Taken { address, .. } = &error else { panic!("{error}") };
    assert_eq!(address.to_string(), "169.254.169.254:80");
    assert!(error.to_string().contains("port 80"), "{error}");
    // Nothing is open, but the addresses still keep requests inside.
    assert_eq!(refused(&namespace, DoorAddress::InstanceV6), io::ErrorKind::ConnectionRefused);
    assert_eq!(addresses(&namespace), all());
}

#[test]
fn the_agents_own_namespace_is_refused() {
    let own = Namespace::own().unwrap();
    let error = Listeners::open(&own, &Plan::default()).unwrap_err();
    assert!(matches!(error, ListenError::Own(_)), "{error}");
}

#[track_caller]
fn check_without(capability: CapabilitySet, expected: &str) {
    let namespace = need!(namespace());
    let opened = without(capability, || Listeners::open(&namespace, &Plan::default()));
    let error = opened.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_missing_capability_is_named() {
    check_without(CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN is needed");
    check_without(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN is needed");
    check_without(CapabilitySet::NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE is needed");
}
