use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open files to the most that it may have, and says what it is now.
///
/// A served namespace holds seven descriptors (five listeners, one [`Diag`](crate::Diag), one
/// [`Namespace`](crate::Namespace)), so the usual soft limit of 1024 ends at 140 namespaces. `None`
/// means that there is no limit.
///
/// # Errors
///
/// The kernel refused; the old limit stays.
pub fn raise_open_files() -> std::io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum)
}
