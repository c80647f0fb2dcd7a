//! The agent's half of how calls are recorded: it hears shims and monitoring, knows who speaks, names and folds what they say,
//! and puts it into the spool.
//!
//! ```text
//! shim ── unix stream ──▶ ear ──▶ collector ──▶ store ──▶ spool ── (line to the server)
//! SDK ─── UDP 31000 ────▶         who, lease,    waits for the disk
//!                                 name, fold
//! ```
//!
//! [`ear`] has a thread of its own with everything that comes in, so that no flood of calls takes anything from those who ask for
//! credentials; [`store`] has another one, so that no slow disk holds up who listens. [`collector`] is what both are for, without
//! sockets, clocks and files.

pub mod collector;
pub mod ear;
mod keys;
mod lines;
pub mod shown;
pub mod store;
pub mod who;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    thread::JoinHandle,
};

use calls::{AccessKeyId, Leased};
use credentials::{Credentials, LeaseKey};
use linux::datagrams;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use workload::Namespace;

use crate::report;

/// Where SDKs with client-side monitoring send to.
pub const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
/// How much room the kernel keeps for datagrams of one namespace, in bytes.
const DATAGRAM_ROOM: usize = 4 << 20;

/// What the ear is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Hear datagrams of a namespace.
    Hear(Namespace, UdpSocket),
    /// Hear them no longer.
    Forget(String),
    /// What has been heard?
    Status(oneshot::Sender<Value>),
    /// Tell all that is counted, and end.
    Stop,
}

/// The way to the ear.
#[derive(Debug)]
pub struct Calls {
    commands: mpsc::UnboundedSender<Command>,
    leases: mpsc::UnboundedSender<Leased>,
    store: Arc<store::Store>,
    /// The port of monitoring; 0 for none.
    port: u16,
}

/// The threads, to be waited for at the end.
#[derive(Debug)]
pub struct Threads {
    ear: JoinHandle<()>,
    store: JoinHandle<()>,
}

impl Threads {
    /// Waits for both.
    pub fn join(self) {
        for thread in [self.ear, self.store] {
            // A thread that panicked has said so, and the process with it.
            let _ = thread.join();
        }
    }
}

impl Calls {
    /// A lease was fetched. Told before anybody is served with it.
    pub fn leased(&self, key: &LeaseKey, credentials: &Credentials) {
        let Some(access_key) = AccessKeyId::parse(credentials.access_key_id.clone()) else {
            return report("STS gave an access key whose id is none: its calls will look foreign");
        };
        // The ear ends with the agent.
        let _ = self.leases.send(Leased {
            access_key,
            workload: key.workload.clone(),
            role: key.role.clone(),
            from: credentials.fetched,
            until: credentials.expiration,
        });
    }

    /// Hears the monitoring of a namespace from now on. Where another program has the port there, it stays unheard.
    pub fn hear(&self, namespace: &linux::Namespace, evidence: &Namespace) {
        if self.port == 0 {
            return;
        }
        let address = SocketAddr::from((LOOPBACK, self.port));
        let opened = namespace.run(|| datagrams::listen(address, DATAGRAM_ROOM));
        match opened.map_err(|error| error.to_string()) {
            Ok(Ok(socket)) => {
                let _ = self.commands.send(Command::Hear(evidence.clone(), socket));
            }
            Ok(Err(error)) => self.deaf(evidence, &error.to_string()),
            Err(error) => self.deaf(evidence, &error),
        }
    }

    fn deaf(&self, evidence: &Namespace, error: &str) {
        let (name, port) = (&evidence.name, self.port);
        report(&format!("monitoring in namespace `{name}` is not heard at port {port}: {error}"));
    }

    /// Hears a namespace no longer.
    pub fn forget(&self, name: &str) {
        let _ = self.commands.send(Command::Forget(name.to_owned()));
    }

    /// What is said of it to the operator.
    pub async fn status(&self) -> Value {
        let (answer, answered) = oneshot::channel();
        let _ = self.commands.send(Command::Status(answer));
        answered.await.unwrap_or_default()
    }

    /// The spool.
    pub fn store(&self) -> &Arc<store::Store> {
        &self.store
    }

    /// Tells all that is counted, and ends; [`Threads::join`] waits for it.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }
}
