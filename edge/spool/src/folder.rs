use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    disk::{Disk, FileName},
    error::SpoolError,
};

/// The file whose lock says that the folder is in use.
const LOCK: &str = "lock";
/// How many files are kept open: the one that is written, the marks, and those that are read.
const OPEN_MAX: usize = 4;

/// The folder of one spool: mode 0700, its files 0600, locked for as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The one used last is at the end.
    open: Vec<(FileName, File)>,
    _lock: File,
}

impl Folder {
    /// Opens the folder, or makes it, and locks it. A link to it is followed once.
    ///
    /// # Errors
    /// When it cannot be made, another user could read it, or another process has it.
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        let failed = |act, path: &Path| {
            let place = path.display().to_string();
            move |source| SpoolError::Disk { act, place, source }
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed("make", path))?;
        let path = fs::canonicalize(path).map_err(failed("find", path))?;
        private(&path)?;
        let lock = path.join(LOCK);
        let file = writable().create(true).truncate(false).mode(0o600).open(&lock);
        let file = file.map_err(failed("open", &lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, open: Vec::new(), _lock: file }),
            Err(TryLockError::WouldBlock) => Err(SpoolError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(failed("lock", &lock)(source)),
        }
    }

    fn file(&mut self, name: FileName) -> io::Result<&File> {
        let held = self.open.iter().position(|(open, _)| *open == name);
        let file = match held {
            Some(index) => self.open.remove(index).1,
            None => writable().open(self.path.join(name.to_string()))?,
        };
        self.keep(name, file)
    }

    fn keep(&mut self, name: FileName, file: File) -> io::Result<&File> {
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push((name, file));
        let kept = self.open.last().map(|(_, file)| file);
        kept.ok_or_else(|| io::Error::other("no file is open"))
    }

    fn forget(&mut self, name: FileName) {
        self.open.retain(|(open, _)| *open != name);
    }
}

fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

/// Refuses a folder that another user owns or could read. Its files need no such check: nobody else gets there.
fn private(path: &Path) -> Result<(), SpoolError> {
    let failed = |source| {
        let place = path.display().to_string();
        SpoolError::Disk { act: "inspect", place, source }
    };
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    belongs(path, metadata.uid(), metadata.mode() & 0o7777, rustix::process::geteuid().as_raw())
}

fn belongs(path: &Path, owner: u32, mode: u32, user: u32) -> Result<(), SpoolError> {
    let path = path.to_owned();
    if owner != user {
        return Err(SpoolError::Foreign { path, owner, user });
    }
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(SpoolError::Exposed { path, mode }),
    }
}

impl Disk for Folder {
    fn names(&self) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(FileName::parse));
        }
        Ok(names)
    }

    fn len(&mut self, name: FileName) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn read(&mut self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn create(&mut self, name: FileName) -> io::Result<()> {
        self.forget(name);
        let path = self.path.join(name.to_string());
        let file = writable().create(true).truncate(true).mode(0o600).open(path)?;
        self.keep(name, file).map(|_| ())
    }

    fn write(&mut self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn cut(&mut self, name: FileName, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }

    fn sync(&mut self, name: FileName) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn remove(&mut self, name: FileName) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.path.join(name.to_string()))
    }

    fn place(&self, name: FileName) -> String {
        self.path.join(name.to_string()).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_users_folder_is_refused_with_that_users_number() {
        let error = belongs(Path::new("/data"), 4242, 0o700, 0).unwrap_err().to_string();
        assert!(error.contains("user 4242"), "{error}");
    }

    #[test]
    fn a_folder_that_others_may_read_is_refused_with_its_mode() {
        let error = belongs(Path::new("/data"), 7, 0o750, 7).unwrap_err().to_string();
        assert!(error.contains("mode 750"), "{error}");
    }
}
