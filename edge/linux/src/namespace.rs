use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::process::{Process, ProcessError};

/// A network namespace, held open, under the name that its owner calls it.
///
/// While a value lives the namespace does, as it does while a socket lives that was made in it (a
/// [`Listener`](crate::Listener), a [`Diag`](crate::Diag)): drop them all when its file is removed. Two values are the same
/// namespace exactly when their [`inode`](Self::inode)s are equal.
///
/// [network_namespaces(7)](https://man7.org/linux/man-pages/man7/network_namespaces.7.html)
#[derive(Debug)]
pub struct Namespace {
    name: String,
    inode: u64,
    fd: OwnedFd,
}

/// Why a namespace could not be opened or entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Whoever named the path must correct it, or nothing is mounted there *yet*.
    #[error("`{0}` is not a network namespace")]
    NotOne(String),
    /// The file or process cannot be opened.
    #[error("cannot open the network namespace of `{name}`: {source}")]
    Open {
        /// The path or process that was named.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process is gone.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The operator must give the agent the right.
    #[error(
        "cannot enter network namespace `{0}`: CAP_SYS_ADMIN is needed in the user namespace that \
         owns it"
    )]
    Forbidden(String),
    /// The machine is out of threads or memory.
    #[error("cannot enter network namespace `{name}`: {source}")]
    Enter {
        /// The namespace's name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Namespace {
    /// The namespace that this process runs in.
    ///
    /// # Errors
    ///
    /// `/proc` is not mounted.
    pub fn own() -> Result<Self, NamespaceError> {
        Self::open_as("/proc/self/ns/net".as_ref(), "own".to_owned())
    }

    /// The namespace mounted at `path`, named after the file.
    ///
    /// # Errors
    ///
    /// [`NotOne`](NamespaceError::NotOne) when something else is there: `ip netns add` makes the file
    /// first and mounts the namespace on it later.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NamespaceError> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self::open_as(path, name)
    }

    /// The namespace of process `pid`, named `pid-<pid>`.
    ///
    /// # Errors
    ///
    /// [`Process`](NamespaceError::Process) when the process is gone, also if it went meanwhile.
    pub fn of(pid: u32) -> Result<Self, NamespaceError> {
        Ok(Process::open(pid)?.namespace()?)
    }

    /// The namespace that `fd` refers to. The name is the sender's word and proves nothing.
    ///
    /// # Errors
    ///
    /// [`NotOne`](NamespaceError::NotOne) when the descriptor is anything else.
    pub fn from_fd(fd: OwnedFd, name: impl Into<String>) -> Result<Self, NamespaceError> {
        let name = name.into();
        let file = File::from(fd);
        match inode_of(&file) {
            Ok(Some(inode)) => Ok(Self { name, inode, fd: file.into() }),
            Ok(None) => Err(NamespaceError::NotOne(name)),
            Err(source) => Err(NamespaceError::Open { name, source }),
        }
    }

    /// A new namespace with nothing in it but a loopback device that is down. It ends when its last
    /// user does, unless it is [mounted](Self::mount).
    ///
    /// # Errors
    ///
    /// [`Forbidden`](NamespaceError::Forbidden) without `CAP_SYS_ADMIN`.
    pub fn create(name: impl Into<String>) -> Result<Self, NamespaceError> {
        let name = name.into();
        on_a_thread(&name, || {
            // SAFETY: only the network namespace is unshared. The descriptor table stays shared, so
            // the one danger that the function names does not arise.
            #[expect(unsafe_code, reason = "unshare(2) has no safe form")]
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .map_err(|errno| entering(&name, errno))?;
            Self::open_as("/proc/thread-self/ns/net".as_ref(), name.clone())
        })?
    }

    /// Mounts the namespace on `path` as `ip netns add` does, so that it outlives its processes.
    ///
    /// # Errors
    ///
    /// The file exists already, or mounting is not allowed.
    pub fn mount(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        File::create_new(path)?;
        rustix::mount::mount_bind(self.link(), path).map_err(|errno| {
            // Best effort: the mount's own error is what the caller must hear.
            let _ = fs::remove_file(path);
            io::Error::from(errno)
        })
    }

    /// The name that its owner calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that identifies the namespace until it ends. The kernel may use it again later.
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether this is the namespace that this process runs in.
    ///
    /// # Errors
    ///
    /// See [`own`](Self::own).
    pub fn is_own(&self) -> Result<bool, NamespaceError> {
        Ok(Self::own()?.inode == self.inode)
    }

    /// Runs `work` inside the namespace, on a thread that ends with it: no other thread ever leaves
    /// its own namespace, whatever `work` does. Sockets that `work` makes stay in the namespace.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](NamespaceError::Forbidden) without `CAP_SYS_ADMIN` over the owner, which a
    /// process has in a user namespace of its own making as well.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        on_a_thread(&self.name, || {
            move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|errno| entering(&self.name, errno))?;
            Ok(work())
        })?
    }

    pub(crate) fn open_as(path: &Path, name: String) -> Result<Self, NamespaceError> {
        // Without waiting: the path may turn out to be a pipe that nobody writes to.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        match File::options().read(true).custom_flags(flags).open(path) {
            Ok(file) => Self::from_fd(file.into(), name),
            Err(source) => Err(NamespaceError::Open { name: path.display().to_string(), source }),
        }
    }

    fn link(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The inode if `file` is a network namespace: on the kernel's namespace file system, and of the
/// right kind. The file system is asked first because the request number means other things elsewhere.
/// An error is no answer: it says neither yes nor no.
fn inode_of(file: &File) -> io::Result<Option<u64>> {
    let system = rustix::fs::fstatfs(file)?;
    if system.f_type != libc::NSFS_MAGIC {
        return Ok(None);
    }
    // SAFETY: NS_GET_NSTYPE takes no argument and writes nothing; it answers in its return value.
    #[expect(unsafe_code, reason = "ioctl(2) has no safe form")]
    let kind = unsafe { rustix::ioctl::ioctl(file, NamespaceKind) }?;
    if kind == libc::CLONE_NEWNET { Ok(Some(file.metadata()?.ino())) } else { Ok(None) }
}

/// `NS_GET_NSTYPE`, which answers with the `CLONE_NEW…` flag.
///
/// [ioctl_ns(2)](https://man7.org/linux/man-pages/man2/ioctl_ns.2.html)
struct NamespaceKind;

// SAFETY: the request is a plain number without size or direction, the argument is null, and the
// output is made from the return value alone.
#[expect(unsafe_code, reason = "rustix asks for this promise")]
unsafe impl rustix::ioctl::Ioctl for NamespaceKind {
    type Output = i32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        rustix::ioctl::opcode::none(b'\xb7', 3)
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        core::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        output: rustix::ioctl::IoctlOutput,
        _: *mut core::ffi::c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(output)
    }
}

fn entering(name: &str, errno: Errno) -> NamespaceError {
    match errno {
        Errno::PERM => NamespaceError::Forbidden(name.to_owned()),
        errno => NamespaceError::Enter { name: name.to_owned(), source: errno.into() },
    }
}

/// Runs `work` on a thread of its own. A panic in it goes on in the caller.
fn on_a_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|source| NamespaceError::Enter { name: name.to_owned(), source })?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}
