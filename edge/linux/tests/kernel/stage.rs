//! What the tests play on: namespaces, cgroups, folders and programs of their own, gone afterwards.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use linux::{Cgroups, DoorAddress, Listener, Namespace, NamespaceError};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::{CapabilitySet, capabilities, set_capabilities},
};

/// The one door for what a test cannot do without: gives the value, or prints why the test is skipped
/// and ends it.
macro_rules! need {
    ($made:expr) => {
        match $made {
            Ok(made) => made,
            Err(why) => {
                $crate::stage::skip(module_path!(), &format!("{why}"));
                return;
            }
        }
    };
}
pub(crate) use need;

/// Prints past the test harness, which hides what a passing test prints.
pub(crate) fn skip(place: &str, why: &str) {
    let test = std::thread::current().name().unwrap_or(place).to_owned();
    let line = format!("skipped: {test}: {why}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A name that no other test has.
pub(crate) fn name(purpose: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("rolecall-{}-{purpose}-{number}", std::process::id())
}

/// A new namespace.
pub(crate) fn namespace() -> Result<Namespace, NamespaceError> {
    Namespace::create(name("net"))
}

/// The open socket of one door.
pub(crate) fn door(listeners: &[Listener], door: DoorAddress) -> &TcpListener {
    &listeners.iter().find(|listener| listener.door == door).unwrap().socket
}

/// Waits for a connection.
pub(crate) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    assert!(readable(listener), "nobody connected");
    listener.accept().unwrap()
}

/// Whether `fd` can be read, now or within ten seconds.
pub(crate) fn readable(fd: impl AsFd) -> bool {
    ready(fd, 10)
}

/// Whether `fd` can be read already.
pub(crate) fn readable_now(fd: impl AsFd) -> bool {
    ready(fd, 0)
}

fn ready(fd: impl AsFd, seconds: i64) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() > 0
}

/// Does `work` on a thread that has given a capability up.
pub(crate) fn without<T: Send>(capability: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(capability);
            set_capabilities(None, sets).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Runs a program to its end inside a namespace. Fails with what it printed.
pub(crate) fn sh(namespace: &Namespace, script: &str) -> Result<String, String> {
    let run = || Command::new("sh").args(["-ec", script]).output();
    let output = namespace.run(run).map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(format!("`{script}`: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// A folder that goes with all that is mounted in it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(name("folder"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            remove(&entry.path());
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Unmounts and removes a namespace's file, as `ip netns delete` does.
pub(crate) fn remove(path: &Path) {
    let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
    let _ = fs::remove_file(path);
}

/// A cgroup of version 2.
pub(crate) struct Cgroup {
    pub(crate) folder: PathBuf,
    pub(crate) path: String,
}

impl Cgroup {
    pub(crate) fn new() -> Result<Self, String> {
        let cgroups = Cgroups::open().map_err(|error| error.to_string())?;
        let name = name("cgroup");
        Self::at(cgroups.mount_point().join(&name), format!("/{name}"))
    }

    pub(crate) fn at(folder: PathBuf, path: String) -> Result<Self, String> {
        fs::create_dir(&folder).map_err(|e| format!("cannot make cgroup `{path}`: {e}"))?;
        Ok(Self { folder, path })
    }

    pub(crate) fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The processes in it were killed by the owners that were dropped before, but the kernel may
        // count one for a moment after it was reaped. It tells when the last is gone.
        while let Err(error) = fs::remove_dir(&self.folder) {
            let news = fs::File::open(self.folder.join("cgroup.events")).unwrap();
            let empty = fs::read_to_string(self.folder.join("cgroup.events"));
            if !empty.unwrap().contains("populated 0") {
                let mut fds = [PollFd::new(&news, PollFlags::PRI)];
                let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
                if poll(&mut fds, Some(&limit)).unwrap() == 0 {
                    let line = format!("cannot remove cgroup `{}`: {error}\n", self.path);
                    io::stderr().write_all(line.as_bytes()).unwrap();
                    return;
                }
            }
        }
    }
}

/// The user of unprivileged programs.
pub(crate) const NOBODY: u32 = 65534;

/// A shell that does what it is told, in a namespace.
pub(crate) struct Program {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        Self::start_as(namespace, None).unwrap()
    }

    /// As `nobody`, who a user namespace may not know.
    pub(crate) fn start_unprivileged(namespace: &Namespace) -> io::Result<Self> {
        Self::start_as(namespace, Some(NOBODY))
    }

    fn start_as(namespace: &Namespace, uid: Option<u32>) -> io::Result<Self> {
        let run = || {
            let mut command = Command::new("bash");
            command.args(["-c", "while read -r order; do eval \"$order\"; echo done $?; done"]);
            if let Some(uid) = uid {
                command.uid(uid);
            }
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        };
        let mut child = namespace.run(run).unwrap()?;
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Ok(Self { child, orders, answers })
    }

    /// Does it and waits until it is done.
    #[track_caller]
    pub(crate) fn tell(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "`{order}`: ended");
            match line.trim_end().strip_prefix("done ") {
                Some("0") => return said,
                Some(code) => panic!("`{order}`: exit code {code}"),
                None => said.push_str(&line),
            }
        }
    }

    /// Opens a connection as descriptor 3.
    #[track_caller]
    pub(crate) fn connect(&mut self, to: DoorAddress) {
        self.tell(&format!("exec 3<>/dev/tcp/{}/80", to.ip()));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
