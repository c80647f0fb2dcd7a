use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use secret::{SecretBytes, SecretKey};

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// The folder of one agent's keys: mode 0700, owned by the agent's user.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

/// The keys cannot be read or kept. The host's operator must act.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file system refuses.
    #[error("cannot {act} `{path}`: {source}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Somebody else could read or change the keys.
    #[error(
        "others may read `{path}` (mode {mode:o}): `chmod go-rwx` it, and replace the keys if they did"
    )]
    Exposed {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The keys belong to another user than the one who runs this program.
    #[error(
        "`{path}` belongs to user {owner}, and this is user {user}: type the same as that user, such as with `sudo -u '#{owner}'`"
    )]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs this program.
        user: u32,
    },
    /// A file does not hold what it should.
    #[error("`{path}` is damaged: {reason}; restore it, or remove it to make a new one")]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Folder {
    /// Opens the folder, or makes it. A link to one is followed once, since systemd puts the folders of passing
    /// users behind one: what counts is the folder, and the link is not looked at again.
    ///
    /// # Errors
    /// When it cannot be made, or when another user could read it.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let io = |act, source| DiskError::Io { act, path: path.to_owned(), source };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| io("make", source))?;
        let path = fs::canonicalize(path).map_err(|source| io("find", source))?;
        private(&path)?;
        Ok(Self { path })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The 256-bit key called `name`; a new random one at first use.
    ///
    /// # Errors
    /// When the file cannot be read or made, is exposed, or does not hold 32 bytes.
    pub fn secret_key(&self, name: &str) -> Result<SecretKey, DiskError> {
        if let Some(bytes) = self.read(name)? {
            let key = <[u8; 32]>::try_from(bytes.expose().as_slice());
            return key.map(SecretKey::new).map_err(|_| DiskError::Damaged {
                path: self.path.join(name),
                reason: format!("a key has 32 bytes, not {}", bytes.expose().len()),
            });
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| self.io("draw randomness for", name, io::Error::other(error)))?;
        let key = SecretKey::new(key);
        self.write(name, key.expose())?;
        Ok(key)
    }

    /// The bytes of the file `name`; `None` where there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read, is exposed, or is longer than 64 KiB.
    pub fn read(&self, name: &str) -> Result<Option<SecretBytes>, DiskError> {
        self.read_up_to(name, FILE_MAX)
    }

    /// The bytes of the file `name`, which may have `most` of them; `None` where there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read, is exposed, or is longer.
    pub fn read_up_to(&self, name: &str, most: u64) -> Result<Option<SecretBytes>, DiskError> {
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("open", name, error)),
        };
        private(&path)?;
        let mut bytes = Vec::with_capacity(4096);
        let read = file.take(most + 1).read_to_end(&mut bytes);
        let bytes = SecretBytes::new(bytes);
        read.map_err(|error| self.io("read", name, error))?;
        if bytes.expose().len() as u64 > most {
            let reason = format!("it is longer than {most} bytes");
            return Err(DiskError::Damaged { path, reason });
        }
        Ok(Some(bytes))
    }

    /// Replaces the file `name` so that after a crash it holds either the old bytes or the new.
    ///
    /// # Errors
    /// When the bytes cannot be made durable; the old file then stands.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let (path, fresh) = (self.path.join(name), self.path.join(format!(".{name}.new")));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.path)?.sync_all()
        })();
        written.map_err(|error| self.io("write", name, error))
    }

    /// Removes the file `name`. Says whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed for good.
    pub fn remove(&self, name: &str) -> Result<bool, DiskError> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed.map_err(|error| self.io("remove", name, error))?,
        }
        let folder = File::open(&self.path).and_then(|folder| folder.sync_all());
        folder.map(|()| true).map_err(|error| self.io("remove", name, error))
    }

    fn io(&self, act: &'static str, name: &str, source: io::Error) -> DiskError {
        DiskError::Io { act, path: self.path.join(name), source }
    }
}

/// Refuses a path that another user owns or could read.
fn private(path: &Path) -> Result<(), DiskError> {
    let io = |source| DiskError::Io { act: "inspect", path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(io)?;
    belongs(path, metadata.uid(), metadata.mode() & 0o7777, rustix::process::geteuid().as_raw())
}

fn belongs(path: &Path, owner: u32, mode: u32, user: u32) -> Result<(), DiskError> {
    let path = path.to_owned();
    if owner != user {
        return Err(DiskError::Foreign { path, owner, user });
    }
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(DiskError::Exposed { path, mode }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("data")).unwrap();
        (place, folder)
    }

    #[test]
    fn a_key_is_made_once_and_then_kept() {
        let (_place, folder) = folder();
        let key = folder.secret_key("token.key").unwrap();
        assert!(folder.secret_key("token.key").unwrap() == key);
        assert!(folder.secret_key("other.key").unwrap() != key);
    }

    #[test]
    fn a_removed_file_is_gone_and_can_be_removed_again() {
        let (_place, folder) = folder();
        folder.write("a", b"here").unwrap();
        assert!(folder.remove("a").unwrap());
        assert!(folder.read("a").unwrap().is_none());
        assert!(!folder.remove("a").unwrap());
    }

    #[test]
    fn a_file_is_read_up_to_the_length_that_it_may_have() {
        let (_place, folder) = folder();
        folder.write("a", b"four").unwrap();
        assert!(folder.read_up_to("a", 4).unwrap().is_some());
        let error = folder.read_up_to("a", 3).unwrap_err().to_string();
        assert!(error.contains("longer than 3 bytes"), "{error}");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let (_place, folder) = folder();
        folder.secret_key("token.key").unwrap();
        let path = folder.path().join("token.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = folder.secret_key("token.key").unwrap_err();
        assert!(matches!(error, DiskError::Exposed { mode: 0o644, .. }), "{error}");
    }

    #[test]
    fn a_folder_that_others_may_read_is_refused() {
        let (_place, folder) = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Folder::open(folder.path()), Err(DiskError::Exposed { .. })));
    }

    #[test]
    fn a_link_leads_to_the_folder_that_counts() {
        let (place, folder) = folder();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let key = folder.secret_key("token.key").unwrap();
        assert!(Folder::open(&link).unwrap().secret_key("token.key").unwrap() == key);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(Folder::open(&link), Err(DiskError::Exposed { mode: 0o750, .. })));
        // A key itself is never behind a link, whoever put it there.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("token.key", folder.path().join("linked.key")).unwrap();
        assert!(folder.secret_key("linked.key").is_err());
    }

    #[test]
    fn another_users_folder_is_refused_with_that_users_number() {
        let error = belongs(Path::new("/data"), 4242, 0o700, 0).unwrap_err().to_string();
        assert!(error.contains("user 4242") && error.contains("sudo -u '#4242'"), "{error}");
    }

    #[test]
    fn a_short_key_is_damage_and_is_not_replaced() {
        let (_place, folder) = folder();
        folder.write("token.key", b"short").unwrap();
        let error = folder.secret_key("token.key").unwrap_err();
        assert!(error.to_string().contains("32 bytes, not 5"), "{error}");
        assert_eq!(folder.read("token.key").unwrap().unwrap().expose(), b"short");
    }

    #[test]
    fn an_interrupted_write_leaves_the_old_bytes() {
        let (_place, folder) = folder();
        folder.write("a", b"old").unwrap();
        // What a crash between writing and renaming leaves behind.
        fs::write(folder.path().join(".a.new"), b"ne").unwrap();
        assert_eq!(folder.read("a").unwrap().unwrap().expose(), b"old");
        folder.write("a", b"new").unwrap();
        assert_eq!(folder.read("a").unwrap().unwrap().expose(), b"new");
    }
}
