//! What the command line knows of servers: by which authority each is known, and the person's session.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
};

use api::{client::Address, login::Session};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// The servers that this person knows, in one file that nobody else can read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyring {
    /// The server that is meant where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By the first of their addresses.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, Known>,
}

/// What is known of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// All of its addresses.
    pub(crate) addresses: Vec<String>,
    /// Its authority, as PEM.
    pub(crate) ca_pem: String,
    /// The session; absent where nobody is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Session>,
}

impl Known {
    /// The addresses, parsed.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, Failure> {
        let parsed = self.addresses.iter().map(|text| text.parse().map_err(Failure::input));
        parsed.collect()
    }
}

/// The folder that the file is in.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// The folder that the environment names.
    pub(crate) fn find() -> Result<Self, Failure> {
        let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = named("ROLECALL_CONFIG_DIR")
            .or_else(|| Some(named("XDG_CONFIG_HOME")?.join("rolecall")))
            .or_else(|| Some(named("HOME")?.join(".config/rolecall")));
        folder.map(Self).ok_or_else(|| {
            Failure::Input(
                "there is no home folder: set ROLECALL_CONFIG_DIR to a folder for sessions"
                    .to_owned(),
            )
        })
    }

    #[cfg(test)]
    pub(crate) fn at(folder: &std::path::Path) -> Self {
        Self(folder.to_owned())
    }

    fn file(&self) -> PathBuf {
        self.0.join("servers.json")
    }

    /// What is known; nothing where there is no file yet.
    pub(crate) fn read(&self) -> Result<Keyring, Failure> {
        let path = self.file();
        let wrong = |why: &dyn ToString| {
            Failure::Input(format!("`{}`: {}", path.display(), why.to_string()))
        };
        let about = match fs::metadata(&path) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keyring::default()),
            Err(error) => return Err(wrong(&error)),
        };
        if about.permissions().mode() & 0o077 != 0 {
            return Err(wrong(
                &"others can read this file, and it holds a session: `chmod 600` it, and sign out and in again",
            ));
        }
        if about.len() > FILE_MAX {
            return Err(wrong(&"it is too large to be what it should be"));
        }
        let text = fs::read(&path).map_err(|error| wrong(&error))?;
        // The message names the place alone: the file holds a session.
        serde_json::from_slice(&text).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            wrong(&format!("it cannot be read at {place}; remove it and sign in again"))
        })
    }

    /// Writes all of it, or nothing.
    pub(crate) fn keep(&self, keyring: &Keyring) -> Result<(), Failure> {
        let failed = |error: io::Error| {
            Failure::World(format!("cannot write `{}`: {error}", self.file().display()))
        };
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        // A temporary file is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.0).map_err(failed)?;
        let text = serde_json::to_vec_pretty(keyring).map_err(Failure::world)?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(self.file()).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn keyring() -> Keyring {
        let session = r#"{"token":"rcs_hunter2","expires":"2026-01-01T00:00:00Z",
            "person":{"id":"ann","name":"Ann","groups":[]}}"#;
        let known = Known {
            addresses: vec!["https://a.example".to_owned()],
            ca_pem: "pem".to_owned(),
            session: Some(serde_json::from_str(session).unwrap()),
        };
        let address = "https://a.example".to_owned();
        Keyring { current: Some(address.clone()), servers: [(address, known)].into() }
    }

    #[test]
    fn a_session_is_kept_where_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("deep/rolecall"));
        assert!(home.read().unwrap().servers.is_empty());
        home.keep(&keyring()).unwrap();
        home.keep(&keyring()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&home.file()), mode(&home.0)), (0o600, 0o700));
        let read = home.read().unwrap();
        let session = read.servers["https://a.example"].session.as_ref().unwrap();
        assert_eq!(session.token.expose(), "rcs_hunter2");
        assert!(!format!("{read:?}").contains("hunter2"));
        assert_eq!(fs::read_dir(&home.0).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        home.keep(&keyring()).unwrap();
        fs::set_permissions(home.file(), fs::Permissions::from_mode(0o640)).unwrap();
        let refused = home.read().unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");

        fs::write(home.file(), r#"{"current":"rcs_hunter2"#).unwrap();
        fs::set_permissions(home.file(), fs::Permissions::from_mode(0o600)).unwrap();
        let refused = home.read().unwrap_err().to_string();
        assert!(refused.contains("sign in again") && !refused.contains("hunter2"), "{refused}");
    }
}
