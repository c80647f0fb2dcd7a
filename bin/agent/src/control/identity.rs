//! What the host is to the server, on disk: its key, its certificate and the orders that came.

use api::{
    agents::Joined,
    client::{self, Address, InvalidAddress},
    orders::{ORDERS_MAX, SignedOrders},
};
use disk::{DiskError, Folder};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use secret::{SecretBytes, SecretText};
use serde::{Deserialize, Serialize};

use super::obedience::{InvalidKeys, OrdersKeys};
use crate::report;

/// The file of the host's key and of what the server said of the host: one, so that they change together.
const IDENTITY: &str = "host.json";
/// The file of the orders, as they came.
const ORDERS: &str = "orders.json";
/// The longest file of orders: JSON within JSON escapes at most every byte, and there is more beside.
const ORDERS_FILE_MAX: u64 = 2 * ORDERS_MAX as u64 + 64 * 1024;

/// What the host is to the server.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What the server said.
    pub joined: Joined,
    /// Where the server answered when the host joined.
    pub addresses: Vec<Address>,
    key_pem: SecretText,
}

/// A private key that is no identity yet. It never leaves the host.
#[derive(Debug)]
pub struct FreshKey {
    key_pem: SecretText,
    csr_pem: String,
}

/// The identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk. The host's operator must act.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file does not hold what it should. The host's operator must act.
    #[error(
        "`{file}` in the data folder is damaged: {reason}; let the host join again: `rolecall-agent join --again`"
    )]
    Damaged {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The host never joined. Its operator must act.
    #[error(
        "this host has not joined a server: `rolecall-agent join --server URL --token-file FILE`"
    )]
    NotJoined,
    /// There is an identity, and nobody said that it may go. The host's operator must act.
    #[error(
        "this host has joined already, as `{name}` ({host}); `--again` lets it join anew and forgets that"
    )]
    Joined {
        /// Its id.
        host: String,
        /// What people call it.
        name: String,
    },
    /// Orders could not be verified. The server's operator must act.
    #[error(transparent)]
    Keys(#[from] InvalidKeys),
    /// The server's answer names another authority or host than it must. Somebody is in between, or the
    /// server has a fault.
    #[error("the server's answer cannot be trusted: {0}")]
    Answer(String),
    /// A key could not be made. The host's operator must act.
    #[error("no key can be made: {0}")]
    Key(#[from] rcgen::Error),
}

/// How it lies on the disk.
#[derive(Serialize, Deserialize)]
struct Kept {
    joined: Joined,
    addresses: Vec<String>,
    private_key_pem: String,
}

impl FreshKey {
    /// Makes a key on the curve P-256, and a request for a certificate of it.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = CertificateParams::default().serialize_request(&key)?;
        Ok(Self { key_pem: SecretText::new(key.serialize_pem()), csr_pem: request.pem()? })
    }

    /// The request for a certificate. The server says who the host is, whatever stands in it.
    pub fn csr_pem(&self) -> &str {
        &self.csr_pem
    }

    /// The identity that the server made of it.
    pub fn with(self, joined: Joined, addresses: Vec<Address>) -> Identity {
        Identity { joined, addresses, key_pem: self.key_pem }
    }
}

impl Identity {
    /// The host's identity, or none where it never joined.
    ///
    /// # Errors
    /// When the file cannot be read, is exposed or damaged.
    pub fn read(folder: &Folder) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = folder.read(IDENTITY)? else { return Ok(None) };
        let damaged = |reason: String| IdentityError::Damaged { file: IDENTITY, reason };
        // What stands in the file is a secret: the error names the place alone.
        let kept = serde_json::from_slice::<Kept>(bytes.expose()).map_err(|error| {
            damaged(format!("it is not what was written ({}:{})", error.line(), error.column()))
        })?;
        let Kept { joined, addresses, private_key_pem } = kept;
        let addresses = addresses.iter().map(|address| address.parse());
        let addresses = addresses.collect::<Result<_, _>>();
        let addresses = addresses.map_err(|error: InvalidAddress| damaged(error.to_string()))?;
        Ok(Some(Self { joined, addresses, key_pem: SecretText::new(private_key_pem) }))
    }

    /// Keeps the identity: key and certificate together, or neither.
    ///
    /// # Errors
    /// When it cannot be made durable; what was kept before then stands.
    pub fn keep(&self, folder: &Folder) -> Result<(), IdentityError> {
        let kept = Kept {
            joined: self.joined.clone(),
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
            private_key_pem: self.key_pem.expose().clone(),
        };
        let bytes = serde_json::to_vec(&kept).map(SecretBytes::new).map_err(|error| {
            IdentityError::Damaged { file: IDENTITY, reason: error.to_string() }
        })?;
        Ok(folder.write(IDENTITY, bytes.expose())?)
    }

    /// Keeps the identity in the place of another one, whose orders go.
    ///
    /// # Errors
    /// When it cannot be made durable; what was kept before then stands, its orders as well.
    pub fn replace(&self, folder: &Folder) -> Result<(), IdentityError> {
        // The identity first: what it was made with can be used once, so the old one must not be gone where the
        // new one is not there. Orders that are left behind are for another host, and not obeyed.
        self.keep(folder)?;
        if let Err(error) = folder.remove(ORDERS) {
            report(&format!("the old orders stay on the disk, and are not obeyed: {error}"));
        }
        Ok(())
    }

    /// Forgets the identity and the orders. Says whether there was one.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget(folder: &Folder) -> Result<bool, IdentityError> {
        // Orders first: without an identity nothing tells whose they are.
        folder.remove(ORDERS)?;
        Ok(folder.remove(IDENTITY)?)
    }

    /// What the host shows of itself.
    pub fn shown(&self) -> client::Identity {
        client::Identity {
            certificate_pem: self.joined.certificate_pem.clone(),
            key_pem: self.key_pem.clone(),
        }
    }

    /// The keys that orders may be signed with.
    ///
    /// # Errors
    /// When there is none that this program can use.
    pub fn orders_keys(&self) -> Result<OrdersKeys, IdentityError> {
        Ok(OrdersKeys::read(&self.joined.orders_keys)?)
    }
}

/// The orders on the disk, as they came; they prove nothing yet.
///
/// # Errors
/// When the file cannot be read, is exposed or damaged.
pub fn read_orders(folder: &Folder) -> Result<Option<SignedOrders>, IdentityError> {
    let Some(bytes) = folder.read_up_to(ORDERS, ORDERS_FILE_MAX)? else { return Ok(None) };
    let orders = serde_json::from_slice(bytes.expose());
    orders.map(Some).map_err(|error: serde_json::Error| IdentityError::Damaged {
        file: ORDERS,
        reason: error.to_string(),
    })
}

/// Keeps orders as they came.
///
/// # Errors
/// When they cannot be made durable; those that were kept before then stand.
pub fn keep_orders(folder: &Folder, orders: &SignedOrders) -> Result<(), IdentityError> {
    let bytes = serde_json::to_vec(orders)
        .map_err(|error| IdentityError::Damaged { file: ORDERS, reason: error.to_string() })?;
    Ok(folder.write(ORDERS, &bytes)?)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use jiff::Timestamp;

    use super::*;

    /// A host that joined, with orders.
    fn joined(host: &str) -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("data")).unwrap();
        identity(host).keep(&folder).unwrap();
        let text = || "what they say".to_owned();
        let orders = SignedOrders { orders: text(), key: text(), signature: text() };
        keep_orders(&folder, &orders).unwrap();
        (place, folder)
    }

    fn identity(host: &str) -> Identity {
        let joined = Joined {
            host: host.to_owned(),
            name: host.to_owned(),
            certificate_pem: String::new(),
            ca_pem: String::new(),
            expires: Timestamp::UNIX_EPOCH,
            renew_after: Timestamp::UNIX_EPOCH,
            orders_keys: Vec::new(),
            region: None,
            labels: BTreeMap::new(),
        };
        FreshKey::make().unwrap().with(joined, Vec::new())
    }

    fn host(folder: &Folder) -> String {
        Identity::read(folder).unwrap().unwrap().joined.host
    }

    #[test]
    fn a_host_that_joins_anew_has_no_orders_of_who_it_was() {
        let (_place, folder) = joined("h1");
        identity("h2").replace(&folder).unwrap();
        assert_eq!(host(&folder), "h2");
        assert!(read_orders(&folder).unwrap().is_none());
    }

    #[test]
    fn a_new_identity_that_the_disk_does_not_take_leaves_the_old_one_and_its_orders() {
        let (_place, folder) = joined("h1");
        // Nothing can be written where the new file would be, as on a disk that is full.
        fs::create_dir(folder.path().join(format!(".{IDENTITY}.new"))).unwrap();
        assert!(identity("h2").replace(&folder).is_err());
        assert_eq!(host(&folder), "h1");
        assert!(read_orders(&folder).unwrap().is_some());
    }
}
