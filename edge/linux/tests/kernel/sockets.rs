use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Barrier,
};

use linux::{
    Cgroups, Diag, DiagError, DoorAddress, Listener, Listeners, Namespace, NamespaceError, Plan,
    SocketFacts, TcpState,
};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, netlink, sendto, socket_with,
};
use socket2::{Domain, SockRef, Socket, Type};

use crate::stage::{Cgroup, NOBODY, Program, accept, door, namespace, need, readable, sh};

const TO: DoorAddress = DoorAddress::InstanceV4;

/// A namespace that is served.
struct Served {
    namespace: Namespace,
    listeners: Vec<Listener>,
    _doors: Listeners,
    diag: Diag,
}

impl Served {
    fn new() -> Result<Self, NamespaceError> {
        let namespace = namespace()?;
        let mut doors = Listeners::open(&namespace, &Plan::default()).unwrap();
        let diag = Diag::open(&namespace).unwrap();
        Ok(Self { listeners: doors.take(), _doors: doors, diag, namespace })
    }

    fn connect(&self) -> TcpStream {
        self.namespace.run(|| TcpStream::connect((TO.ip(), 80)).unwrap()).unwrap()
    }

    fn accept(&self) -> TcpStream {
        accept(door(&self.listeners, TO)).0
    }

    fn facts(&self, accepted: &TcpStream) -> Result<SocketFacts, DiagError> {
        self.diag.lookup(accepted.peer_addr().unwrap(), accepted.local_addr().unwrap())
    }
}

#[test]
fn a_client_is_known_by_cgroup_user_and_inode() {
    let served = need!(Served::new());
    let cgroup = need!(Cgroup::new());
    let mut program = need!(Program::start_unprivileged(&served.namespace));
    cgroup.add(program.pid());
    let cgroups = Cgroups::open().unwrap();
    for to in DoorAddress::ALL {
        program.connect(to);
        let (accepted, from) = accept(door(&served.listeners, to));
        let facts = served.diag.lookup(from, accepted.local_addr().unwrap()).unwrap();
        assert_eq!(cgroups.path_of(facts.cgroup.unwrap()).unwrap(), cgroup.path);
        assert_eq!((facts.uid, facts.state), (Some(NOBODY), TcpState::Established));
        let link = std::fs::read_link(format!("/proc/{}/fd/3", program.pid())).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", facts.inode.unwrap()));
    }
}

// Trap 1.
#[test]
fn the_kernel_answers_for_the_namespace_in_which_the_line_was_opened_and_no_other() {
    let served = need!(Served::new());
    let _client = served.connect();
    let accepted = served.accept();
    let elsewhere = Diag::here().unwrap();
    let asked = elsewhere.lookup(accepted.peer_addr().unwrap(), accepted.local_addr().unwrap());
    assert!(matches!(asked, Err(DiagError::NotFound(_))), "{asked:?}");
    served.facts(&accepted).unwrap();
}

// Trap 2.
#[test]
fn a_socket_keeps_the_cgroup_that_made_it_when_its_process_moves() {
    let served = need!(Served::new());
    let (maker, other) = (need!(Cgroup::new()), need!(Cgroup::new()));
    let mut program = Program::start(&served.namespace);
    maker.add(program.pid());
    program.connect(TO);
    let accepted = served.accept();
    other.add(program.pid());
    let cgroup = served.facts(&accepted).unwrap().cgroup.unwrap();
    assert_eq!(Cgroups::open().unwrap().path_of(cgroup).unwrap(), maker.path);
}

// Trap 2, the other half.
#[test]
fn an_inherited_socket_keeps_the_cgroup_that_made_it() {
    let served = need!(Served::new());
    let (maker, heir) = (need!(Cgroup::new()), need!(Cgroup::new()));
    let mut program = Program::start(&served.namespace);
    maker.add(program.pid());
    program.connect(TO);
    let accepted = served.accept();
    let child: u32 = program.tell("cat <&3 >/dev/null & echo $!").trim().parse().unwrap();
    heir.add(child);
    program.tell("exec 3>&-");
    let cgroup = served.facts(&accepted).unwrap().cgroup.unwrap();
    assert_eq!(Cgroups::open().unwrap().path_of(cgroup).unwrap(), maker.path);
    // Its end is the child's end of file, after which both cgroups are empty.
    drop(accepted);
    program.tell(&format!("wait {child}"));
}

// Trap 3.
#[test]
fn after_the_client_died_its_user_is_unknown_and_not_root() {
    let served = need!(Served::new());
    let cgroup = need!(Cgroup::new());
    let mut program = need!(Program::start_unprivileged(&served.namespace));
    cgroup.add(program.pid());
    program.connect(TO);
    let accepted = served.accept();
    let id = served.facts(&accepted).unwrap().cgroup.unwrap();
    program.kill();
    // The end of the stream says that the kernel has closed the client's socket.
    assert!(readable(&accepted));
    match served.facts(&accepted) {
        Ok(facts) => {
            println!("after death: {facts:?}");
            assert_eq!((facts.uid, facts.inode), (None, None));
            assert_ne!(facts.state, TcpState::Established);
            assert!(facts.cgroup.is_none_or(|cgroup| cgroup == id));
        }
        Err(error) => assert!(matches!(error, DiagError::NotFound(_)), "{error}"),
    }
}

// Trap 3, while the client still has something to send: the socket lives on without an owner.
#[test]
fn an_orphaned_socket_keeps_its_cgroup_and_loses_its_user() {
    let served = need!(Served::new());
    let cgroup = need!(Cgroup::new());
    let mut program = need!(Program::start_unprivileged(&served.namespace));
    cgroup.add(program.pid());
    program.connect(TO);
    let accepted = served.accept();
    let id = served.facts(&accepted).unwrap().cgroup.unwrap();
    // More than we take, so that the kernel holds the rest back; the program dies while it writes.
    program.tell("(head -c 50000000 /dev/zero >&3) & exec 3>&-");
    assert!(readable(&accepted));
    program.tell("kill -9 $!; wait $! || true");
    let facts = served.facts(&accepted).unwrap();
    assert_eq!((facts.uid, facts.inode, facts.cgroup), (None, None, Some(id)));
}

// Trap 4 is with the redirects, trap 5 in `reply.rs`: this machine cannot be without version 2.

// Trap 5, the part that every machine shows.
#[test]
fn a_client_in_the_root_cgroup_has_none() {
    let served = need!(Served::new());
    let mut program = Program::start(&served.namespace);
    let root = Cgroups::open().map(|cgroups| cgroups.mount_point().join("cgroup.procs"));
    need!(std::fs::write(need!(root), program.pid().to_string()));
    program.connect(TO);
    assert_eq!(served.facts(&served.accept()).unwrap().cgroup, None);
}

// Trap 6.
#[test]
fn the_cgroup_is_sent_without_being_asked_for() {
    let served = need!(Served::new());
    let cgroup = need!(Cgroup::new());
    let mut program = Program::start(&served.namespace);
    cgroup.add(program.pid());
    program.connect(TO);
    let id = served.facts(&served.accept()).unwrap().cgroup;
    assert_eq!(id, Cgroups::open().unwrap().at(&cgroup.path).unwrap());
}

#[test]
fn a_dual_stack_client_is_found_by_its_ipv4_address() {
    let served = need!(Served::new());
    let IpAddr::V4(v4) = TO.ip() else { panic!("an IPv4 door") };
    let mapped = SocketAddr::from((v4.to_ipv6_mapped(), 80));
    let connect = || {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.connect(&mapped.into()).unwrap();
        socket
    };
    let _client = served.namespace.run(connect).unwrap();
    let accepted = served.accept();
    assert!(accepted.peer_addr().unwrap().is_ipv4());
    served.facts(&accepted).unwrap();
}

/// Anybody may bind a socket to a device, and must not go unseen for it.
#[test]
fn a_client_that_bound_itself_to_lo_is_found() {
    let served = need!(Served::new());
    for to in [TO, DoorAddress::InstanceV6] {
        let connect = || {
            let address = SocketAddr::from((to.ip(), 80));
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.bind_device(Some(b"lo")).unwrap();
            socket.connect(&address.into()).unwrap();
            socket
        };
        let _client = served.namespace.run(connect).unwrap();
        let accepted = accept(door(&served.listeners, to)).0;
        served.facts(&accepted).unwrap();
    }
}

#[test]
fn a_dual_stack_listener_finds_an_ipv4_client() {
    let served = need!(Served::new());
    let listen = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8080)).unwrap();
    let listener = served.namespace.run(listen).unwrap();
    let connect = || TcpStream::connect("127.0.0.1:8080").unwrap();
    let _client = served.namespace.run(connect).unwrap();
    let accepted = listener.accept().unwrap().0;
    assert!(accepted.peer_addr().unwrap().is_ipv6());
    served.facts(&accepted).unwrap();
}

#[test]
fn a_listener_on_the_clients_old_port_is_not_the_client() {
    let served = need!(Served::new());
    let client = served.connect();
    let accepted = served.accept();
    let from = client.local_addr().unwrap();
    // Zero seconds of lingering: the connection is reset and its port is free at once.
    SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let _listener = served.namespace.run(|| TcpListener::bind(from).unwrap()).unwrap();
    let asked = served.diag.lookup(from, accepted.local_addr().unwrap());
    assert!(matches!(asked, Err(DiagError::NotFound(_))), "{asked:?}");
}

#[test]
fn a_later_client_with_the_same_port_has_another_cookie() {
    let served = need!(Served::new());
    let first = served.connect();
    let accepted = served.accept();
    let cookie = served.facts(&accepted).unwrap().cookie;
    let from = first.local_addr().unwrap();
    SockRef::from(&first).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(first);
    let again = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&SocketAddr::from((TO.ip(), 80)).into()).unwrap();
        socket
    };
    let _second = served.namespace.run(again).unwrap();
    let accepted = served.accept();
    assert_eq!(accepted.peer_addr().unwrap(), from);
    assert_ne!(served.facts(&accepted).unwrap().cookie, cookie);
}

#[test]
fn nobody_but_the_kernel_can_send_an_answer() {
    let served = need!(Served::new());
    let lines = sh(&served.namespace, "cat /proc/net/netlink").unwrap();
    // Protocol 4 is the socket questions'; port 0 is the kernel itself.
    let ports: Vec<u32> = lines
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[1] == "4" && fields[2] != "0")
        .map(|fields| fields[2].parse().unwrap())
        .collect();
    assert_eq!(ports.len(), 1, "{lines}");
    let forge = || {
        let kind = (AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC);
        let socket = socket_with(kind.0, kind.1, kind.2, Some(netlink::SOCK_DIAG)).unwrap();
        let to = netlink::SocketAddrNetlink::new(ports[0], 0);
        sendto(&socket, &[0; 64], SendFlags::empty(), &to).unwrap_err()
    };
    assert_eq!(served.namespace.run(forge).unwrap(), rustix::io::Errno::CONNREFUSED);
    let _client = served.connect();
    served.facts(&served.accept()).unwrap();
}

#[test]
fn many_threads_ask_at_once_and_each_gets_its_own_answer() {
    let served = need!(Served::new());
    let pairs: Vec<_> = (0..8).map(|_| (served.connect(), served.accept())).collect();
    let cookie = |(_, accepted): &(_, TcpStream)| served.facts(accepted).unwrap().cookie;
    let cookies: Vec<u64> = pairs.iter().map(cookie).collect();
    let barrier = Barrier::new(pairs.len());
    std::thread::scope(|scope| {
        for (pair, expected) in pairs.iter().zip(&cookies) {
            let (barrier, cookie) = (&barrier, &cookie);
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..200 {
                    assert_eq!(cookie(pair), *expected);
                }
            });
        }
    });
}

#[test]
fn bytes_flow_through_a_door() {
    let served = need!(Served::new());
    let mut client = served.connect();
    let mut accepted = served.accept();
    accepted.set_nonblocking(false).unwrap();
    client.write_all(b"who am I?").unwrap();
    let mut asked = [0; 9];
    accepted.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"who am I?");
}
