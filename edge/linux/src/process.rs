use std::{
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::MetadataExt,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, openat},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::namespace::{Namespace, NamespaceError};

/// A process that is held: its number cannot come to mean another one while this value lives.
///
/// Every answer is read from the process that was opened. Ask [`is_alive`](Self::is_alive) *after*
/// the answers were used for a verdict: only then is it known that they held at that time.
///
/// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
    folder: OwnedFd,
}

/// Why nothing can be said of a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Whoever named the process must name another.
    #[error("process `{0}` does not exist, or no longer")]
    Gone(u32),
    /// The operator must run the agent in the process's PID namespace or with more rights.
    #[error("cannot read `{file}` of process `{pid}`: {source}")]
    Read {
        /// The process.
        pid: u32,
        /// The file below `/proc/PID`.
        file: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel wrote something that this program does not understand.
    #[error("`{file}` of process `{pid}` has an unknown form")]
    Form {
        /// The process.
        pid: u32,
        /// The file below `/proc/PID`.
        file: &'static str,
    },
    /// The operator must run the agent in the host's cgroup namespace.
    #[error("process `{0}` is in a cgroup outside of the agent's cgroup namespace")]
    Outside(u32),
    /// Only cgroups of version 1 are in use on this host.
    #[error("process `{0}` is in no cgroup of version 2; mount one (`cgroup2`)")]
    NoCgroup(u32),
}

impl Process {
    /// Takes hold of process `pid`.
    ///
    /// # Errors
    ///
    /// [`Gone`](ProcessError::Gone) when there is none, or `pid` is a thread's.
    pub fn open(pid: u32) -> Result<Self, ProcessError> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or(ProcessError::Gone(pid))?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|errno| match errno {
            Errno::SRCH | Errno::INVAL | Errno::NOENT => ProcessError::Gone(pid),
            errno => ProcessError::Read { pid, file: "pidfd", source: errno.into() },
        })?;
        Self::hold(pid, pidfd)
    }

    /// Takes hold of the process that `pidfd` refers to, whose number is `pid`.
    pub(crate) fn hold(pid: u32, pidfd: OwnedFd) -> Result<Self, ProcessError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(rustix::fs::CWD, format!("/proc/{pid}"), flags, Mode::empty())
            .map_err(|errno| failure(pid, "", errno.into()))?;
        let process = Self { pid, pidfd, folder };
        // The pidfd came first. If its process lives now, the number meant it all the while, so the
        // folder is its folder; from here on both are bound to it.
        if process.is_alive() { Ok(process) } else { Err(ProcessError::Gone(pid)) }
    }

    /// The process's number in our PID namespace.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process has not ended. One that ended and waits for its parent counts as ended.
    pub fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            match poll(&mut fds, Some(&now)) {
                Ok(ready) => return ready == 0,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// The process's cgroup now, as a path from the root of the version 2 hierarchy, `/` included.
    ///
    /// It is read from `/proc/PID/cgroup`, never from the process's mounts, which it can forge.
    ///
    /// # Errors
    ///
    /// [`NoCgroup`](ProcessError::NoCgroup) on a host with version 1 alone;
    /// [`Outside`](ProcessError::Outside) when our own cgroup namespace does not reach it.
    pub fn cgroup(&self) -> Result<String, ProcessError> {
        let text = self.read("cgroup")?;
        let line = text.lines().find_map(|line| line.strip_prefix("0::"));
        let path = line.ok_or(ProcessError::NoCgroup(self.pid))?;
        // The kernel adds this to a cgroup that was removed under a dead or dying process.
        if path.ends_with(" (deleted)") {
            return Err(ProcessError::Gone(self.pid));
        }
        if path.split('/').any(|segment| segment == "..") {
            return Err(ProcessError::Outside(self.pid));
        }
        Ok(path.to_owned())
    }

    /// The inode of the process's network namespace.
    ///
    /// # Errors
    ///
    /// Needs the right to inspect the process (`CAP_SYS_PTRACE` for another user's).
    pub fn namespace_inode(&self) -> Result<u64, ProcessError> {
        Ok(self.open_file("ns/net")?.metadata().map_err(|e| failure(self.pid, "ns/net", e))?.ino())
    }

    /// The process's network namespace, named `pid-<pid>`.
    ///
    /// # Errors
    ///
    /// As [`namespace_inode`](Self::namespace_inode).
    pub fn namespace(&self) -> Result<Namespace, ProcessError> {
        let file = self.open_file("ns/net")?;
        match Namespace::from_fd(file.into(), format!("pid-{}", self.pid)) {
            Ok(namespace) => Ok(namespace),
            Err(NamespaceError::Process(error)) => Err(error),
            Err(_) => Err(ProcessError::Form { pid: self.pid, file: "ns/net" }),
        }
    }

    /// The process's real user.
    ///
    /// # Errors
    ///
    /// The process ended.
    pub fn uid(&self) -> Result<u32, ProcessError> {
        let text = self.read("status")?;
        text.lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|ids| ids.split_whitespace().next()?.parse().ok())
            .ok_or(ProcessError::Form { pid: self.pid, file: "status" })
    }

    /// When the process started, as time since boot, to the hundredth of a second. Together with the
    /// number it tells the process apart from a later one of the same number.
    ///
    /// # Errors
    ///
    /// The process ended.
    pub fn started(&self) -> Result<Duration, ProcessError> {
        let text = self.read("stat")?;
        started(&text).ok_or(ProcessError::Form { pid: self.pid, file: "stat" })
    }

    fn read(&self, file: &'static str) -> Result<String, ProcessError> {
        let mut bytes = Vec::new();
        self.open_file(file)?
            .take(FILE_MAX)
            .read_to_end(&mut bytes)
            .map_err(|source| failure(self.pid, file, source))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open_file(&self, file: &'static str) -> Result<std::fs::File, ProcessError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(self.folder.as_fd(), file, flags, Mode::empty()) {
            Ok(fd) => Ok(fd.into()),
            Err(errno) => Err(failure(self.pid, file, errno.into())),
        }
    }
}

/// Field 22 of `/proc/PID/stat`, in hundredths of a second. The program's name comes before it and
/// may hold spaces and brackets, so the count starts after the last bracket.
fn started(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    ticks.checked_mul(10).map(Duration::from_millis)
}

fn failure(pid: u32, file: &'static str, source: io::Error) -> ProcessError {
    match Errno::from_io_error(&source) {
        Some(Errno::SRCH | Errno::NOENT) => ProcessError::Gone(pid),
        _ => ProcessError::Read { pid, file, source },
    }
}

/// The most that is read of a file in `/proc`, in bytes. Each of them is far shorter.
const FILE_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stat: &str, expected: Option<u64>) {
        assert_eq!(started(stat), expected.map(Duration::from_millis));
    }

    #[test]
    fn a_program_name_with_brackets_does_not_move_the_start_time() {
        let rest = "S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 5 6";
        check(&format!("77 (cat) {rest}"), Some(12340));
        check(&format!("77 (a) b (c) {rest}"), Some(12340));
        check("77 (cat) S 1", None);
        check("", None);
    }

    #[test]
    fn our_own_process_can_be_described() {
        let process = Process::open(std::process::id()).unwrap();
        assert!(process.is_alive());
        assert!(process.started().unwrap() <= crate::clock::boot());
        assert_eq!(process.uid().unwrap(), rustix::process::getuid().as_raw());
        assert_eq!(process.namespace_inode().unwrap(), Namespace::own().unwrap().inode());
        assert_eq!(process.namespace().unwrap().inode(), Namespace::own().unwrap().inode());
    }

    #[test]
    fn a_number_without_a_process_is_gone() {
        for pid in [0, u32::MAX, 0x3fff_fffe] {
            assert!(matches!(Process::open(pid), Err(ProcessError::Gone(_))), "{pid}");
        }
    }
}
