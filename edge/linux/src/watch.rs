use std::{
    collections::BTreeMap,
    fs::{self, DirEntry, File},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    event::{Timespec, epoll},
    fs::inotify,
    io::Errno,
};

use crate::namespace::{Namespace, NamespaceError};

/// Watches a folder of mounted network namespaces, `/run/netns` by default.
///
/// Wait until the descriptor ([`AsFd`]) can be read, then [`poll`](Self::poll). There is no timer: a
/// file that is not a namespace *yet* (`ip netns add` makes the file first and mounts the namespace
/// later) is looked at again when anything is mounted, and the kernel tells us about that. The folder
/// itself may appear later, go, and come back.
///
/// Every [`poll`](Self::poll) compares the whole folder with what was reported before, so nothing is
/// lost when the kernel's queue overflows, and a namespace that was replaced under the same name is
/// reported as removed and added. What cannot be looked at is never taken for gone: the poll fails, and
/// nothing is reported until a later one saw everything.
///
/// [inotify(7)](https://man7.org/linux/man-pages/man7/inotify.7.html)
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    ready: OwnedFd,
    inotify: OwnedFd,
    /// Kept open because the kernel reports mounts by way of this descriptor.
    _mounts: File,
    watched: Option<i32>,
    reported: BTreeMap<String, u64>,
    pending: usize,
}

/// What changed in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A namespace is there.
    Added(Found),
    /// It is gone, or another took its name.
    Removed {
        /// The file's name.
        name: String,
    },
}

/// A namespace that was seen in the folder. It is not held open: that would keep it alive, and cost a
/// descriptor for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file's name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The number that the namespace had when it was seen.
    pub inode: u64,
}

impl Found {
    /// Opens the namespace, named like the file. `None` when it has gone meanwhile or another took its
    /// name: a later [`poll`](Watch::poll) tells.
    ///
    /// # Errors
    ///
    /// It may be there, but cannot be opened.
    pub fn open(&self) -> Result<Option<Namespace>, NamespaceError> {
        let namespace = look_at(&self.path)?;
        Ok(namespace.filter(|namespace| namespace.inode() == self.inode))
    }
}

/// Why the folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The operator must raise `fs.inotify.max_user_instances` or `max_user_watches`.
    #[error(
        "cannot watch `{folder}`: out of inotify watches; raise fs.inotify.max_user_instances and \
         fs.inotify.max_user_watches"
    )]
    Exhausted {
        /// The folder.
        folder: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot watch `{folder}`: {source}")]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The operator must look: descriptors may be short, or a file cannot be read.
    #[error("cannot look at the namespaces in `{folder}`: {source}")]
    Unseen {
        /// The folder.
        folder: PathBuf,
        /// What cannot be opened.
        source: NamespaceError,
    },
    /// The operator must tidy up or name another folder.
    #[error(
        "more than {NAMES_MAX} files in `{folder}`; new namespaces are not seen until some are removed"
    )]
    TooMany {
        /// The folder.
        folder: PathBuf,
    },
}

impl Watch {
    /// Begins to watch `folder`, an absolute path. The first [`poll`](Self::poll) reports all that is
    /// there already.
    ///
    /// # Errors
    ///
    /// [`Exhausted`](WatchError::Exhausted) or [`Refused`](WatchError::Refused); a folder that does not
    /// exist is none.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, WatchError> {
        let folder = folder.into();
        let refuse = |source| refused(&folder, source);
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).map_err(|errno| refuse(errno.into()))?;
        let mounts = File::open("/proc/self/mountinfo").map_err(refuse)?;
        let ready = ready(&inotify, &mounts).map_err(|errno| refuse(errno.into()))?;
        let reported = BTreeMap::new();
        let mut watch =
            Self { folder, ready, inotify, _mounts: mounts, watched: None, reported, pending: 0 };
        watch.place()?;
        Ok(watch)
    }

    /// What changed since the last time. Never blocks. Call it once at the start, and whenever the
    /// descriptor can be read.
    ///
    /// # Errors
    ///
    /// See [`WatchError`]. The next call tries again, and nothing is lost.
    pub fn poll(&mut self) -> Result<Vec<Event>, WatchError> {
        self.drain()?;
        self.place()?;
        let mut found = self.scan()?;

        let mut events = Vec::new();
        self.reported.retain(|name, inode| {
            let stays = found.get(name) == Some(inode);
            if stays {
                found.remove(name);
            } else {
                events.push(Event::Removed { name: name.clone() });
            }
            stays
        });
        for (name, inode) in found {
            self.reported.insert(name.clone(), inode);
            let path = self.folder.join(&name);
            events.push(Event::Added(Found { name, path, inode }));
        }
        Ok(events)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many files in the folder were no namespaces when it was last looked at. They are looked at
    /// again when anything is mounted.
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Empties the kernel's queue. What was in it does not matter: the folder itself is looked at.
    fn drain(&self) -> Result<(), WatchError> {
        let refuse = |errno: Errno| refused(&self.folder, errno.into());
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        loop {
            match rustix::io::read(&self.inotify, &mut buffer[..]) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(refuse(errno)),
            }
        }
        // Asking takes the news of a mount back as well, so that the descriptor falls silent.
        let mut events = [const { MaybeUninit::uninit() }; 2];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.ready, &mut events, Some(&now)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(refuse(errno)),
        }
    }

    /// Watches the folder, or the nearest one above it that exists. Only one at a time: the folders
    /// above may be busy with other things.
    fn place(&mut self) -> Result<(), WatchError> {
        for folder in self.folder.ancestors() {
            let own = folder == self.folder;
            let flags = if own { OWN } else { ABOVE };
            match inotify::add_watch(&self.inotify, folder, flags) {
                Ok(watch) => {
                    let before = self.watched.replace(watch).filter(|before| *before != watch);
                    if let Some(before) = before {
                        // It fails when the folder is gone, and with it the watch.
                        let _ = inotify::remove_watch(&self.inotify, before);
                    }
                    // It may have been made between the two attempts, before we watched above it.
                    if own || !self.folder.is_dir() {
                        return Ok(());
                    }
                    return self.place();
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(refused(&self.folder, errno.into())),
            }
        }
        Err(refused(&self.folder, io::ErrorKind::NotFound.into()))
    }

    /// The namespaces in the folder, with their numbers. They are opened one after the other. One with
    /// a name that is no text is nobody's, and the agent's own namespace is no workload's.
    fn scan(&mut self) -> Result<BTreeMap<String, u64>, WatchError> {
        let refuse = |source| WatchError::Refused { folder: self.folder.clone(), source };
        let unseen = |source| WatchError::Unseen { folder: self.folder.clone(), source };
        let own = Namespace::own().map_err(unseen)?.inode();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(refuse(source)),
        };
        let (mut found, mut pending) = (BTreeMap::new(), 0);
        for (number, entry) in entries.enumerate() {
            if number == NAMES_MAX {
                return Err(WatchError::TooMany { folder: self.folder.clone() });
            }
            let entry = entry.map_err(refuse)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A pipe or device in the folder must not be opened.
            if !is_file(&entry).map_err(refuse)? {
                continue;
            }
            match look_at(&entry.path()).map_err(unseen)? {
                Some(namespace) if namespace.inode() == own => {}
                Some(namespace) => {
                    found.insert(name, namespace.inode());
                }
                None => pending += 1,
            }
        }
        self.pending = pending;
        Ok(found)
    }
}

/// Whether it is a plain file, as a mounted namespace is. What went meanwhile is none.
fn is_file(entry: &DirEntry) -> io::Result<bool> {
    match entry.file_type() {
        Ok(kind) => Ok(kind.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The namespace at `path`, or `None` where there surely is none (yet). Any other doubt is an error.
fn look_at(path: &Path) -> Result<Option<Namespace>, NamespaceError> {
    match Namespace::open(path) {
        Ok(namespace) => Ok(Some(namespace)),
        Err(NamespaceError::NotOne(_)) => Ok(None),
        Err(NamespaceError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        // `ip netns add` makes a file that nobody may read. Its file system can be asked nevertheless.
        Err(NamespaceError::Open { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied
                && rustix::fs::statfs(path).is_ok_and(|on| on.f_type != libc::NSFS_MAGIC) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

/// One descriptor that can be read when either has news.
fn ready(inotify: &OwnedFd, mounts: &File) -> rustix::io::Result<OwnedFd> {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&ready, inotify, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    // A change of mounts is told as an exceptional condition: proc_pid_mounts(5).
    epoll::add(&ready, mounts, epoll::EventData::new_u64(1), epoll::EventFlags::PRI)?;
    Ok(ready)
}

fn refused(folder: &Path, source: io::Error) -> WatchError {
    let folder = folder.to_owned();
    match Errno::from_io_error(&source) {
        Some(Errno::MFILE | Errno::NOSPC) => WatchError::Exhausted { folder },
        _ => WatchError::Refused { folder, source },
    }
}

const OWN: inotify::WatchFlags = inotify::WatchFlags::ONLYDIR
    .union(inotify::WatchFlags::CREATE)
    .union(inotify::WatchFlags::DELETE)
    .union(inotify::WatchFlags::MOVE)
    .union(inotify::WatchFlags::DELETE_SELF)
    .union(inotify::WatchFlags::MOVE_SELF);
const ABOVE: inotify::WatchFlags = inotify::WatchFlags::ONLYDIR
    .union(inotify::WatchFlags::CREATE)
    .union(inotify::WatchFlags::MOVED_TO)
    .union(inotify::WatchFlags::DELETE_SELF)
    .union(inotify::WatchFlags::MOVE_SELF);
/// How many files are looked at. A host runs a few hundred workloads.
const NAMES_MAX: usize = 4096;
