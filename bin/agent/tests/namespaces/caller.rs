//! Who connects: somebody in a namespace, or a program that is in a cgroup as well.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::Mutex,
    time::Duration,
};

use linux::Namespace;
use practice::{
    host::Workload,
    program::{Invocation, Running},
    stage::Stage,
};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

use crate::{
    http::{Answer, Line},
    stage::until,
};

/// The doors.
pub(crate) const INSTANCE: SocketAddr = v4([169, 254, 169, 254]);
pub(crate) const INSTANCE_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 80);
pub(crate) const CONTAINER: SocketAddr = v4([169, 254, 170, 2]);
pub(crate) const POD_IDENTITY: SocketAddr = v4([169, 254, 170, 23]);

/// Where credentials are.
pub(crate) const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// A connection that is not answered within this is not answered.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a program may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(15);

const fn v4([a, b, c, d]: [u8; 4]) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 80)
}

/// Somebody who can open connections.
pub(crate) trait Caller {
    fn connect(&self, to: SocketAddr) -> io::Result<TcpStream>;

    fn line(&self) -> Line {
        Line::over(self.connect(INSTANCE).unwrap())
    }

    fn token(&self) -> String {
        self.line().token()
    }

    fn get(&self, path: &str, token: &str) -> Answer {
        self.line().get(path, token)
    }

    /// The status of the first thing that every SDK asks for.
    fn token_status(&self) -> u16 {
        let headers = [(crate::http::TTL, "60")];
        self.line().ask("PUT", "/latest/api/token", &headers).unwrap().status
    }

    /// The name of the role and the credentials that go with it, as an SDK asks for them: on one
    /// connection, again while they are not ready.
    fn credentials(&self) -> (String, Answer) {
        let mut line = self.line();
        let token = line.token();
        let role = line.get(ROLES, &token);
        assert_eq!(role.status, 200, "{role:?}");
        let mut answer = line.get(&format!("{ROLES}{}", role.body), &token);
        until("the lease", || {
            answer.status != 503 || {
                answer = line.get(&format!("{ROLES}{}", role.body), &token);
                answer.status != 503
            }
        });
        (role.body, answer)
    }
}

/// A workload's namespace, and the test's own process in it.
pub(crate) struct Guest {
    pub(crate) workload: Workload,
    pub(crate) namespace: Namespace,
}

impl Guest {
    pub(crate) fn new(workload: Workload) -> Self {
        let namespace = Namespace::open(workload.namespace().unwrap()).unwrap();
        Self { workload, namespace }
    }

    pub(crate) fn name(&self) -> &str {
        self.workload.name()
    }

    /// Waits until the agent listens in its namespace.
    pub(crate) fn served(self) -> Self {
        until("the doors", || self.connect(INSTANCE).is_ok());
        self
    }

    /// Connects from an address and port of its own.
    pub(crate) fn connect_from(&self, from: SocketAddr, to: SocketAddr) -> TcpStream {
        let open = || {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &from)?;
            connect(&socket, &to)?;
            Ok::<TcpStream, rustix::io::Errno>(socket.into())
        };
        self.namespace.run(open).unwrap().unwrap()
    }
}

impl Caller for Guest {
    fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.namespace.run(|| TcpStream::connect_timeout(&to, CONNECT)).unwrap()
    }
}

/// A program that opens connections where it was placed and hands them to the test. To the kernel
/// such a connection is the program's for ever.
pub(crate) struct Resident {
    running: Mutex<Running>,
    line: UnixStream,
}

impl Resident {
    /// Starts it where `place` puts it.
    pub(crate) fn start(stage: &Stage, place: impl FnOnce(Invocation) -> Invocation) -> Self {
        let path = stage.workspace.folder().join(format!("resident-{}.sock", crate::stage::next()));
        let listener = UnixListener::bind(&path).unwrap();
        let python = Invocation::new(stage.tools.python().unwrap());
        let python = place(python.args(["-c", SCRIPT]).arg(&path));
        let mut running = python.start().unwrap();
        running.line(PATIENCE, |line| line == "here").unwrap();
        let (line, _) = listener.accept().unwrap();
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { running: Mutex::new(running), line }
    }

    pub(crate) fn in_workload(stage: &Stage, workload: &Workload) -> Self {
        Self::start(stage, |program| workload.place(program))
    }

    pub(crate) fn id(&self) -> u32 {
        self.running.lock().unwrap().id()
    }

    /// Lets it speak on a connection that somebody else made, and returns what it heard.
    pub(crate) fn speak(&self, stream: &TcpStream, request: &str) -> String {
        let mut running = self.running.lock().unwrap();
        let request = request.escape_default().to_string();
        running.say(&format!("speak {request}")).unwrap();
        linux::unix::send(self.line.as_fd(), b"x", stream.as_fd()).unwrap();
        running.line(PATIENCE, |_| true).unwrap()
    }
}

impl Caller for Resident {
    fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let mut running = self.running.lock().unwrap();
        running.say(&format!("connect {} {}", to.ip(), to.port())).unwrap();
        let mut said = [0; 256];
        let (length, stream): (usize, Option<OwnedFd>) =
            linux::unix::receive(self.line.as_fd(), &mut said)?;
        let why = String::from_utf8_lossy(&said[..length]).into_owned();
        stream.map(TcpStream::from).ok_or_else(|| io::Error::other(why))
    }
}

/// `invocation`, started in a workload's cgroup but not in its namespace.
pub(crate) fn in_cgroup_alone(workload: &Workload, invocation: Invocation) -> Invocation {
    let procs = workload.cgroup_folder().unwrap().join("cgroup.procs");
    let script = "echo $$ > \"$0\" && exec \"$@\"";
    invocation.through("sh", ["-c".into(), script.into(), procs.into_os_string()])
}

/// `invocation`, started in a workload's namespace but not in its cgroup.
pub(crate) fn in_namespace_alone(
    stage: &Stage,
    workload: &Workload,
    invocation: Invocation,
) -> Invocation {
    let net = format!("--net={}", workload.namespace().unwrap().display());
    invocation.through(stage.tools.nsenter().unwrap(), [net, "--".to_owned()])
}

const SCRIPT: &str = "
import socket, sys
home = socket.socket(socket.AF_UNIX)
home.connect(sys.argv[1])
print('here', flush=True)
for order in sys.stdin:
    word, rest = order.rstrip('\\n').split(' ', 1)
    if word == 'connect':
        try:
            with socket.create_connection(rest.split(' '), 2) as opened:
                opened.settimeout(None)
                socket.send_fds(home, [b'+'], [opened.fileno()])
        except OSError as error:
            home.sendall(str(error).encode())
    if word == 'speak':
        _, descriptors, _, _ = socket.recv_fds(home, 1, 1)
        with socket.socket(fileno=descriptors[0]) as given:
            given.settimeout(10)
            given.sendall(rest.encode().decode('unicode_escape').encode())
            print(given.recv(65536).split(b'\\r\\n')[0].decode(), flush=True)
";
