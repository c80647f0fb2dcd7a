//! A real PostgreSQL server on loopback, with databases that nobody else uses.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::guard::Watched;
use crate::program::{Invocation, ProgramError, Running};
use crate::tools::{Missing, Tools, version};

/// A server with a folder of its own. It can be stopped, killed and resumed; its databases and its address
/// stay. Dropped, it ends, and the folder goes.
///
/// It does not wait for disks: what it acknowledged outlives the server's death, not the machine's.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    owner: Option<Owner>,
    folder: PathBuf,
    port: u16,
    password: Password,
    running: Mutex<Option<Running>>,
    databases: AtomicU32,
    _watched: Watched,
}

impl Postgres {
    /// Makes a server and starts it.
    ///
    /// # Errors
    /// [`PostgresError`]: it is not installed, or did not come up.
    pub fn start(tools: &Tools) -> Result<Self, PostgresError> {
        let programs = tools.postgres()?;
        let name = format!("rolecall-postgres-{}-{}", std::process::id(), next());
        let folder = std::env::temp_dir().join(name);
        let password = Password::random().map_err(PostgresError::Files)?;
        let owner = Owner::wanted().map_err(PostgresError::Files)?;
        std::fs::create_dir_all(&folder).map_err(PostgresError::Files)?;
        let server = Self {
            _watched: Watched::folder(&folder),
            programs,
            owner,
            folder,
            port: free_port().map_err(PostgresError::Files)?,
            password,
            running: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.initialise()?;
        server.resume()?;
        Ok(server)
    }

    /// The server of this process: the first who asks starts it, and it ends with the last who holds it.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn shared(tools: &Tools) -> Result<Arc<Self>, PostgresError> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start(tools)?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Makes a database and answers its URL, in which the password is.
    ///
    /// # Errors
    /// [`PostgresError`] where the server does not make one.
    pub fn database(&self) -> Result<String, PostgresError> {
        let name = format!("practice_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = Invocation::new(self.programs.join("createdb"))
            .args(["--host", LOOPBACK, "--port", &self.port.to_string(), "--username", USER])
            .args(["--no-password", &name])
            .env("PGPASSWORD", &self.password.0);
        create.run(QUICK)?.success()?;
        Ok(self.url(&name))
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        let Self { port, password, .. } = self;
        format!("postgres://{USER}:{}@{LOOPBACK}:{port}/{database}?sslmode=disable", password.0)
    }

    /// Starts it again, so that it speaks TLS to who wants that, with a certificate and its key in PEM.
    ///
    /// # Errors
    /// [`PostgresError`] where it does not take them.
    pub fn show(&self, certificate: &str, key: &str) -> Result<(), PostgresError> {
        self.stop()?;
        for (name, text) in [(CERTIFICATE, certificate), (CERTIFICATE_KEY, key)] {
            let path = self.data().join(name);
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(PostgresError::Files)?;
            if let Some(owner) = &self.owner {
                owner.give(&path).map_err(PostgresError::Files)?;
            }
        }
        self.resume()
    }

    /// The port on which it listens, now or when it is resumed.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, and returns when it answers. Nothing happens where it runs.
    ///
    /// # Errors
    /// [`PostgresError`] where it does not come up.
    pub fn resume(&self) -> Result<(), PostgresError> {
        let mut running = self.running();
        if running.as_mut().is_some_and(Running::is_running) {
            return Ok(());
        }
        let until = Instant::now() + START;
        loop {
            let mut fresh = self.server().start()?;
            match fresh.line(START, |line| line.contains("ready to accept connections")) {
                Ok(_) => {
                    *running = Some(fresh);
                    return Ok(());
                }
                // Where it was killed, its children hold its memory a moment longer.
                Err(_) if Instant::now() < until => std::thread::sleep(AGAIN),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Stops it in good order: who is connected is cut off.
    ///
    /// # Errors
    /// [`PostgresError`] where it had to be killed.
    pub fn stop(&self) -> Result<(), PostgresError> {
        self.end(Signal::INT)
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// [`PostgresError`] where even that takes too long.
    pub fn kill(&self) -> Result<(), PostgresError> {
        self.end(Signal::KILL)
    }

    fn end(&self, signal: Signal) -> Result<(), PostgresError> {
        let Some(mut running) = self.running().take() else { return Ok(()) };
        if running.is_running() {
            // It may end between the two lines: then there is nobody to ask.
            let _ = running.signal(signal);
        }
        running.wait(START)?;
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn initialise(&self) -> Result<(), PostgresError> {
        let words = self.folder.join("password");
        std::fs::write(&words, &self.password.0).map_err(PostgresError::Files)?;
        if let Some(owner) = &self.owner {
            owner.give(&self.folder).map_err(PostgresError::Files)?;
            owner.give(&words).map_err(PostgresError::Files)?;
        }
        let program = self.programs.join("initdb");
        let said = Invocation::new(&program).arg("--version").run(QUICK)?.success()?;
        let mut make = Invocation::new(program)
            .arg("--pgdata")
            .arg(self.data())
            .args([
                "--username",
                USER,
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--no-sync",
            ])
            .args(["--locale", "C.UTF-8"])
            .arg("--pwfile")
            .arg(&words);
        // Most databases sort as a language does, and nothing may lean on how.
        if version(&said.stdout) >= Some(WITH_ICU) {
            make = make.args(["--locale-provider", "icu", "--icu-locale", "en"]);
        }
        self.owned(make).run(LONG)?.success()?;
        std::fs::remove_file(&words).map_err(PostgresError::Files)
    }

    fn server(&self) -> Invocation {
        let tls = if self.data().join(CERTIFICATE).exists() { "on" } else { "off" };
        let settings = [
            format!("ssl={tls}"),
            format!("listen_addresses={LOOPBACK}"),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.folder.display()),
            "max_connections=200".to_owned(),
            "shared_buffers=32MB".to_owned(),
            // All of its memory goes with its folder and itself.
            "dynamic_shared_memory_type=mmap".to_owned(),
            "fsync=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "logging_collector=off".to_owned(),
        ];
        let server = Invocation::new(self.programs.join("postgres")).arg("-D").arg(self.data());
        let server =
            settings.into_iter().fold(server, |server, setting| server.arg("-c").arg(setting));
        // It says on its standard error when it is ready.
        self.owned(server.through("sh", ["-c", "exec \"$@\" 2>&1", "sh"]))
    }

    /// Its programs do not run as root.
    fn owned(&self, invocation: Invocation) -> Invocation {
        let invocation = invocation.folder(&self.folder);
        let Some(Owner { user, group }) = self.owner else { return invocation };
        let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
        invocation.through("setpriv", [user, group, "--clear-groups".to_owned()])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Cut off at once; killed where that does not help.
        let _ = self.end(Signal::QUIT);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Who the server runs as where we are root.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    fn wanted() -> io::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = std::fs::read_to_string("/etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::of(name, &users));
        found.map(Some).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn of(name: &str, users: &str) -> Option<Self> {
        let mut fields = users.lines().map(|line| line.split(':'));
        let mut fields =
            fields.find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        let user = fields.nth(1)?.parse().ok()?;
        Some(Self { user, group: fields.next()?.parse().ok()? })
    }

    fn give(self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.user), Some(self.group))
    }
}

/// Good for one server that lives for minutes, yet not shown.
struct Password(String);

impl Password {
    fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[password]")
    }
}

/// Why there is no PostgreSQL server, or it did not do something.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// It must be installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// One of its programs failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Its folder, its user or a port cannot be used.
    #[error("could not use a folder, user or port of the practice PostgreSQL")]
    Files(#[source] io::Error),
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const LOOPBACK: &str = "127.0.0.1";
const USER: &str = "rolecall";
/// Where PostgreSQL looks for its certificate, and for the key of it.
const CERTIFICATE: &str = "server.crt";
const CERTIFICATE_KEY: &str = "server.key";
/// The first release whose databases can sort as a language does on every system.
const WITH_ICU: (u32, u32) = (15, 0);
/// How long it may take to start or to end on a busy machine.
const START: Duration = Duration::from_secs(30);
/// How long making a cluster may take on a busy machine.
const LONG: Duration = Duration::from_secs(120);
/// How long a small program may take.
const QUICK: Duration = Duration::from_secs(30);
/// Between two attempts to start it.
const AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_from_the_list_of_users() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/bash\n";
        let owner = Owner::of("postgres", users).unwrap();
        assert_eq!((owner.user, owner.group), (101, 104));
        assert!(Owner::of("nobody", users).is_none());
    }
}
