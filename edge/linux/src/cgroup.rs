use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// The number of a cgroup of version 2. It is never used twice until the machine reboots, and it
/// equals the inode of the cgroup's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupId(u64);

impl CgroupId {
    /// A cgroup's number, unless it is one that says nothing: 0 is "none" and 1 is the root, which is
    /// what every socket carries on a host where only version 1 is in use.
    pub const fn of_a_workload(number: u64) -> Option<Self> {
        if number > ROOT { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Finds cgroups by number.
///
/// Paths are from the root of the version 2 hierarchy as *our* cgroup namespace shows it: in a
/// container with a cgroup namespace of its own, the agent sees only what is below its own cgroup, and
/// everything else is [`Outside`](CgroupError::Outside). Run the agent in the host's.
///
/// What was found is kept (at most 4096 paths) and checked at each use: a path is only given
/// out while the folder there has the number that was asked for.
///
/// [cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)
#[derive(Debug)]
pub struct Cgroups {
    mount: Mount,
    root: OwnedFd,
    known: Mutex<Known>,
}

/// Why a cgroup's path is not known.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The operator must mount one.
    #[error("no cgroup2 file system is mounted; mount one at /sys/fs/cgroup")]
    NotMounted,
    /// The cgroup was removed. What it was called is not known any more.
    #[error("cgroup `{0}` is gone")]
    Gone(u64),
    /// The operator must run the agent in the host's cgroup namespace, with the whole tree mounted.
    #[error("cgroup `{0}` is outside of the part of the hierarchy that is mounted here")]
    Outside(u64),
    /// The operator must give the agent `CAP_DAC_READ_SEARCH`: the search took too long.
    #[error(
        "cgroup `{id}` was not among the first {visited} cgroups; CAP_DAC_READ_SEARCH lets the agent \
         find it at once"
    )]
    TooMany {
        /// The cgroup.
        id: u64,
        /// How many were looked at.
        visited: usize,
    },
    /// The kernel refused.
    #[error("cannot look cgroup `{id}` up: {source}")]
    Lookup {
        /// The cgroup.
        id: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// `/proc` or the mount cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Cgroups {
    /// Finds where the version 2 hierarchy is mounted, hybrid hosts (`/sys/fs/cgroup/unified`)
    /// included.
    ///
    /// # Errors
    ///
    /// [`NotMounted`](CgroupError::NotMounted) when it is not.
    pub fn open() -> Result<Self, CgroupError> {
        let reading = |source| CgroupError::Read { path: MOUNTS.into(), source };
        let mount = find_mount(&fs::read(MOUNTS).map_err(reading)?);
        let mount = mount.ok_or(CgroupError::NotMounted)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&mount.point, flags, Mode::empty()).map_err(|errno| {
            CgroupError::Read { path: mount.point.clone(), source: errno.into() }
        })?;
        Ok(Self { mount, root, known: Mutex::default() })
    }

    /// Where the hierarchy is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount.point
    }

    /// The cgroup at `path`, given as [`path_of`](Self::path_of) gives it; `None` for the root.
    ///
    /// # Errors
    ///
    /// There is none, or it is outside of what is mounted here.
    pub fn at(&self, path: &str) -> Result<Option<CgroupId>, CgroupError> {
        let reading = |source| CgroupError::Read { path: path.into(), source };
        let inside = Path::new(path).strip_prefix(&self.mount.root);
        let inside = inside.map_err(|_| reading(io::ErrorKind::NotFound.into()))?;
        let data = fs::symlink_metadata(self.mount.point.join(inside)).map_err(reading)?;
        Ok(CgroupId::of_a_workload(data.ino()))
    }

    /// The path of a cgroup, such as `/system.slice/web.service`.
    ///
    /// Costs one `stat` when the path was known and is still right, about 5 µs otherwise with
    /// `CAP_DAC_READ_SEARCH` in the first user namespace, and a bounded walk without.
    ///
    /// # Errors
    ///
    /// [`Gone`](CgroupError::Gone) for a cgroup that was removed, also if its path was known and even
    /// if a new one was made at the same path.
    pub fn path_of(&self, id: CgroupId) -> Result<String, CgroupError> {
        if self.mount.is_foreign() {
            return Err(CgroupError::Outside(id.0));
        }
        let known = self.known().get(id);
        if let Some(path) = known {
            if self.is(id, &path) {
                return Ok(self.mount.name(&path));
            }
            self.known().forget(id);
        }
        let path = match self.by_handle(id) {
            Err(CgroupError::Lookup { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.by_walk(id)?
            }
            found => found?,
        };
        let name = self.mount.name(&path);
        self.known().keep(id, path);
        Ok(name)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the folder at `path` is the cgroup `id`, now.
    fn is(&self, id: CgroupId, path: &Path) -> bool {
        path.starts_with(&self.mount.point)
            && fs::symlink_metadata(path).is_ok_and(|data| data.ino() == id.0)
    }

    fn by_handle(&self, id: CgroupId) -> Result<PathBuf, CgroupError> {
        let fd = open_by_number(&self.root, id.0).map_err(|errno| match errno {
            Errno::STALE | Errno::NOENT => CgroupError::Gone(id.0),
            errno => CgroupError::Lookup { id: id.0, source: errno.into() },
        })?;
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path =
            fs::read_link(link).map_err(|source| CgroupError::Lookup { id: id.0, source })?;
        // The link shows a folder that is hidden from us as if it hung from our root, and marks a
        // removed one only by its name. The folder's own number decides.
        if self.is(id, &path) {
            Ok(path)
        } else if rustix::fs::fstat(&fd).is_ok_and(|data| data.st_nlink > 0) {
            Err(CgroupError::Outside(id.0))
        } else {
            Err(CgroupError::Gone(id.0))
        }
    }

    /// Looks at every cgroup, the upper ones first: what the agent does without
    /// `CAP_DAC_READ_SEARCH`.
    fn by_walk(&self, id: CgroupId) -> Result<PathBuf, CgroupError> {
        let mut folders = VecDeque::from([self.mount.point.clone()]);
        let mut visited = 0;
        while let Some(folder) = folders.pop_front() {
            // A cgroup may go while we look: what cannot be listed has nothing to find in it.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let path = entry.path();
                if self.is(id, &path) {
                    return Ok(path);
                }
                visited += 1;
                if visited == WALK_MAX {
                    return Err(CgroupError::TooMany { id: id.0, visited });
                }
                folders.push_back(path);
            }
        }
        Err(CgroupError::Gone(id.0))
    }
}

/// A mounted cgroup2 file system.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The cgroup that is mounted: `/` unless it is part of the tree.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

impl Mount {
    /// What the cgroup whose folder is `path` is called.
    fn name(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.point).unwrap_or(path);
        let name = self.root.join(inside).to_string_lossy().into_owned();
        // Joining nothing leaves a slash at the end.
        if name.len() > 1 { name.trim_end_matches('/').to_owned() } else { name }
    }

    /// Whether it was mounted outside of our cgroup namespace, so that its paths are not ours.
    fn is_foreign(&self) -> bool {
        self.root.components().any(|part| part == Component::ParentDir)
    }
}

/// Finds the mount of the largest part of the tree in `/proc/self/mountinfo`.
fn find_mount(mounts: &[u8]) -> Option<Mount> {
    let mounts = mounts.split(|byte| *byte == b'\n').filter_map(parse_mount);
    mounts.min_by_key(|mount| (mount.is_foreign(), mount.root.components().count()))
}

/// One line: `36 35 98:0 /root /mount/point rw,noatime master:1 - cgroup2 cgroup2 rw`.
///
/// [proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html)
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = unescape(fields.nth(3)?);
    let point = unescape(fields.next()?);
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    (fields.next()? == b"cgroup2").then_some(Mount { root, point })
}

/// Mount points have space, tab, line end and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        (rest, _) = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if *first == b'\\' => {
                (tail, bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')))
            }
            tail => (tail, bytes.push(*first)),
        };
    }
    OsString::from_vec(bytes).into()
}

/// Paths that were found, the oldest forgotten first. Forgetting costs one more lookup, no more.
#[derive(Debug, Default)]
struct Known {
    paths: HashMap<CgroupId, PathBuf>,
    order: VecDeque<CgroupId>,
}

impl Known {
    fn get(&self, id: CgroupId) -> Option<PathBuf> {
        self.paths.get(&id).cloned()
    }

    fn keep(&mut self, id: CgroupId, path: PathBuf) {
        if self.paths.insert(id, path).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > KNOWN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.paths.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, id: CgroupId) {
        self.paths.remove(&id);
        self.order.retain(|known| *known != id);
    }
}

/// `struct file_handle` with the eight bytes that kernfs puts into it.
#[repr(C)]
struct Handle {
    length: libc::c_uint,
    kind: libc::c_int,
    id: u64,
}

// The kernel reads the number right behind the two words.
const _: () = assert!(std::mem::offset_of!(Handle, id) == 8 && size_of::<Handle>() == 16);

/// Opens a folder of the mounted file system by its number, as a mere reference.
///
/// [open_by_handle_at(2)](https://man7.org/linux/man-pages/man2/open_by_handle_at.2.html)
fn open_by_number(root: &OwnedFd, id: u64) -> Result<OwnedFd, Errno> {
    let mut handle = Handle { length: 8, kind: FILEID_KERNFS, id };
    // SAFETY: `handle` has the layout of `struct file_handle` followed by the 8 bytes that its length
    // announces, and lives through the call. The kernel writes nothing to it. `root` is open.
    #[expect(unsafe_code, reason = "open_by_handle_at(2) has no safe form")]
    let fd = unsafe {
        libc::open_by_handle_at(
            root.as_raw_fd(),
            (&raw mut handle).cast(),
            libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
    #[expect(unsafe_code, reason = "the descriptor must get an owner")]
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(fd)
}

const MOUNTS: &str = "/proc/self/mountinfo";
/// The number of the root cgroup.
const ROOT: u64 = 1;
/// From `linux/exportfs.h`.
const FILEID_KERNFS: libc::c_int = 0xfe;
/// How many paths are kept. A host runs a few hundred workloads.
const KNOWN_MAX: usize = 4096;
/// How many cgroups are looked at without `CAP_DAC_READ_SEARCH`, a few milliseconds' worth.
const WALK_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mounts: &str, expected: Option<(&str, &str)>) {
        let expected =
            expected.map(|(root, point)| Mount { root: root.into(), point: point.into() });
        assert_eq!(find_mount(mounts.as_bytes()), expected);
    }

    #[test]
    fn the_version_2_hierarchy_is_found_where_it_is_mounted() {
        check("", None);
        check("30 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", None);
        check(
            "24 1 0:5 / / rw - ext4 /dev/a rw\n\
             30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw\n",
            Some(("/", "/sys/fs/cgroup")),
        );
        check(
            "30 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            Some(("/", "/sys/fs/cgroup/unified")),
        );
    }

    #[test]
    fn of_several_mounts_the_one_with_most_of_the_tree_is_taken() {
        check(
            "30 24 0:26 /a/b /one rw - cgroup2 none rw\n31 24 0:26 /a /two rw - cgroup2 none rw\n",
            Some(("/a", "/two")),
        );
    }

    #[test]
    fn a_mount_point_with_a_space_is_unescaped() {
        check(r"30 24 0:26 / /a\040b\134 rw - cgroup2 none rw", Some(("/", r"/a b\")));
    }

    #[test]
    fn a_path_is_told_from_the_root_of_the_hierarchy() {
        let part = Mount { root: "/kubepods".into(), point: "/cg".into() };
        assert_eq!(part.name("/cg/pod1/web".as_ref()), "/kubepods/pod1/web");
        assert_eq!(part.name("/cg".as_ref()), "/kubepods");
        let whole = Mount { root: "/".into(), point: "/cg".into() };
        assert_eq!(whole.name("/cg".as_ref()), "/");
        assert_eq!(whole.name("/cg/a.slice".as_ref()), "/a.slice");
    }

    #[test]
    fn a_mount_from_outside_of_our_cgroup_namespace_is_foreign() {
        let foreign = |root: &str| Mount { root: root.into(), point: "/cg".into() }.is_foreign();
        assert!(foreign("/..") && foreign("/../other"));
        assert!(!foreign("/") && !foreign("/a..b"));
    }

    #[test]
    fn numbers_that_say_nothing_are_no_ids() {
        assert_eq!(CgroupId::of_a_workload(0), None);
        assert_eq!(CgroupId::of_a_workload(1), None);
        assert_eq!(CgroupId::of_a_workload(2).map(CgroupId::number), Some(2));
    }

    #[test]
    fn no_more_paths_are_kept_than_the_limit() {
        let mut known = Known::default();
        let ids = 2..u64::try_from(KNOWN_MAX).unwrap() + 12;
        for id in ids.clone().filter_map(CgroupId::of_a_workload) {
            known.keep(id, PathBuf::new());
            known.keep(id, PathBuf::new());
        }
        assert_eq!((known.paths.len(), known.order.len()), (KNOWN_MAX, KNOWN_MAX));
        let kept = ids.filter_map(CgroupId::of_a_workload).map(|id| known.get(id).is_some());
        assert_eq!(kept.filter(|kept| !kept).count(), 10);
    }
}
