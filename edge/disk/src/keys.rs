use std::{fs, io};

use getrandom::SysRng;
use issuer::{Algorithm, KeyId, KeyRing, Manifest, SigningKey};
use jiff::Timestamp;
use secret::SecretText;

use crate::{DiskError, Folder};

/// The file that says which key does what; it holds no key.
const MANIFEST: &str = "issuer.json";

impl Folder {
    /// The issuer's keys; at first use a new one for `algorithm`, which signs at once.
    ///
    /// # Errors
    /// When a file cannot be read, is exposed or damaged, or names a key that is not there.
    pub fn issuer_keys(&self, algorithm: Algorithm, wall: Timestamp) -> Result<KeyRing, DiskError> {
        if let Some(ring) = self.existing_issuer_keys()? {
            return Ok(ring);
        }
        let ring = KeyRing::new(self.new_issuer_key(algorithm)?, wall);
        self.keep_issuer_keys(&ring)?;
        Ok(ring)
    }

    /// The issuer's keys, or `None` where none were made yet.
    ///
    /// # Errors
    /// When a file cannot be read, is exposed or damaged, or names a key that is not there.
    pub fn existing_issuer_keys(&self) -> Result<Option<KeyRing>, DiskError> {
        let Some(manifest) = self.read_text(MANIFEST)? else { return Ok(None) };
        let damaged = |reason: String| self.damaged(MANIFEST, reason);
        let manifest =
            Manifest::parse(manifest.expose()).map_err(|error| damaged(error.to_string()))?;
        let mut keys = Vec::new();
        for entry in manifest.entries() {
            let name = file_name(&entry.kid);
            let missing = || self.damaged(&name, "the manifest names it, but it is missing".into());
            let pem = self.read_text(&name)?.ok_or_else(missing)?;
            let key = SigningKey::from_pem(&pem);
            keys.push(key.map_err(|error| self.damaged(&name, error.to_string()))?);
        }
        KeyRing::assemble(&manifest, keys).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Makes a key; it is kept only with [`Folder::keep_issuer_keys`].
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new_issuer_key(&self, algorithm: Algorithm) -> Result<SigningKey, DiskError> {
        SigningKey::generate(algorithm, &mut SysRng).map_err(|error| DiskError::Io {
            act: "draw randomness for a key in",
            path: self.path().to_owned(),
            source: io::Error::other(error.to_string()),
        })
    }

    /// Keeps the ring. Keys are durable before the manifest names them, and go after it forgot
    /// them: a crash in between leaves a whole ring, old or new.
    ///
    /// # Errors
    /// When something cannot be written; what was kept before then stands.
    pub fn keep_issuer_keys(&self, ring: &KeyRing) -> Result<(), DiskError> {
        for (key, _) in ring.iter() {
            let name = file_name(key.kid());
            let pem = key.to_pem().map_err(|error| self.damaged(&name, error.to_string()))?;
            self.write(&name, pem.expose().as_bytes())?;
        }
        self.write(MANIFEST, ring.manifest().to_json().as_bytes())?;
        self.forget_other_keys(ring)
    }

    fn forget_other_keys(&self, ring: &KeyRing) -> Result<(), DiskError> {
        let io = |source| DiskError::Io { act: "clean", path: self.path().to_owned(), source };
        let kept: Vec<_> = ring.iter().map(|(key, _)| file_name(key.kid())).collect();
        for entry in fs::read_dir(self.path()).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_key = name.starts_with("issuer-") && name.ends_with(".pem");
            if is_key && !kept.contains(&name) {
                fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        Ok(())
    }

    fn read_text(&self, name: &str) -> Result<Option<SecretText>, DiskError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let text = std::str::from_utf8(bytes.expose());
        let text = text.map_err(|_| self.damaged(name, "it is not text".to_owned()))?;
        Ok(Some(SecretText::new(text.to_owned())))
    }

    fn damaged(&self, name: &str, reason: String) -> DiskError {
        DiskError::Damaged { path: self.path().join(name), reason }
    }
}

/// Key ids are base64url, so they are safe in a file's name.
fn file_name(kid: &KeyId) -> String {
    format!("issuer-{}.pem", kid.as_str())
}

#[cfg(test)]
mod tests {
    use issuer::Lead;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("data")).unwrap();
        (place, folder)
    }

    fn pems(folder: &Folder) -> usize {
        let files = fs::read_dir(folder.path()).unwrap();
        files.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "pem")).count()
    }

    #[test]
    fn the_issuers_key_is_made_once_and_then_kept() {
        let (_place, folder) = folder();
        let ring = folder.issuer_keys(Algorithm::Es256, Timestamp::UNIX_EPOCH).unwrap();
        let again = folder.issuer_keys(Algorithm::Rs256, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(ring.active().kid(), again.active().kid());
        assert_eq!(issuer::jwks(&ring), issuer::jwks(&again));
    }

    #[test]
    fn a_rotated_ring_survives_and_forgotten_keys_leave_the_disk() {
        let (_place, folder) = folder();
        let mut wall = Timestamp::UNIX_EPOCH;
        let mut ring = folder.issuer_keys(Algorithm::Es256, wall).unwrap();
        let old = ring.active().kid().clone();
        ring.publish(folder.new_issuer_key(Algorithm::Es256).unwrap(), wall).unwrap();
        ring.rotate(wall, Lead::Waived).unwrap();
        folder.keep_issuer_keys(&ring).unwrap();
        let mut ring = folder.existing_issuer_keys().unwrap().unwrap();
        assert_ne!(*ring.active().kid(), old);
        assert_eq!(pems(&folder), 2);

        wall += KeyRing::RETENTION;
        assert_eq!(ring.prune(wall), [old]);
        folder.keep_issuer_keys(&ring).unwrap();
        assert_eq!(pems(&folder), 1);
    }

    #[test]
    fn a_missing_or_foreign_key_file_is_damage_that_names_the_file() {
        let (_place, folder) = folder();
        let ring = folder.issuer_keys(Algorithm::Es256, Timestamp::UNIX_EPOCH).unwrap();
        let name = file_name(ring.active().kid());
        folder.write(&name, b"-----BEGIN nonsense").unwrap();
        let error = folder.existing_issuer_keys().unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
        fs::remove_file(folder.path().join(&name)).unwrap();
        let error = folder.existing_issuer_keys().unwrap_err().to_string();
        assert!(error.contains("it is missing"), "{error}");
    }
}
