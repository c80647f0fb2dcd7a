//! Which access keys were leased: what makes a call's key mean a workload and its role.

use std::{collections::BTreeMap, time::Duration};

use calls::{AccessKeyId, Leased, Signer};
use cloud::RoleArn;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use workload::Workload;

/// The most keys that are remembered. With a lease of an hour, and renewed after half of it, a thousand workloads have two
/// thousand of them.
const KEYS_MAX: usize = 65_536;
/// How long a key is remembered after its end: calls with it are told of late, and CloudTrail is later.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest file of them, in bytes.
pub(super) const FILE_MAX: u64 = 32 << 20;

/// The keys that were leased here, by their ids. Those are names and no secrets.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: BTreeMap<String, Known>,
    changed: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    workload: Workload,
    role: RoleArn,
    until: Timestamp,
}

/// A key in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    workload: String,
    role: String,
    until: Timestamp,
}

impl Keys {
    /// Those of an earlier run. What cannot be read is not known: then it is foreign, and looked at.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut keys = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').take(KEYS_MAX) {
            let Ok(kept) = serde_json::from_slice::<Kept>(line) else { continue };
            let parsed = (kept.workload.parse(), kept.role.parse());
            if let (Ok(workload), Ok(role)) = parsed {
                keys.known.insert(kept.key, Known { workload, role, until: kept.until });
            }
        }
        keys
    }

    /// One more. Where there are too many, what ends first is forgotten.
    pub(super) fn learn(&mut self, leased: &Leased, wall: Timestamp) {
        if self.known.len() >= KEYS_MAX {
            self.known.retain(|_, known| known.until + REMEMBERED > wall);
        }
        if self.known.len() >= KEYS_MAX
            && let Some((first, _)) = self.known.iter().min_by_key(|(_, known)| known.until)
        {
            let first = first.clone();
            self.known.remove(&first);
        }
        let Leased { workload, role, until, .. } = leased.clone();
        self.known.insert(leased.access_key.as_str().to_owned(), Known { workload, role, until });
        self.changed = true;
    }

    /// Whose key it is.
    pub(super) fn signer(&self, key: Option<&AccessKeyId<'_>>) -> Signer {
        let Some(key) = key else { return Signer::Unknown };
        match self.known.get(key.as_str()) {
            Some(Known { workload, role, .. }) => {
                Signer::Leased { role: role.clone(), to: workload.clone() }
            }
            None => Signer::Foreign,
        }
    }

    /// The file, if it has changed since it was last asked for.
    pub(super) fn changed(&mut self, wall: Timestamp) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.known.retain(|_, known| known.until + REMEMBERED > wall);
        let mut file = Vec::new();
        for (key, Known { workload, role, until }) in &self.known {
            let (workload, role) = (workload.to_string(), role.to_string());
            let kept = Kept { key: key.clone(), workload, role, until: *until };
            // Texts, into memory: there is nothing that can fail.
            if serde_json::to_writer(&mut file, &kept).is_ok() {
                file.push(b'\n');
            }
        }
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leased(key: &str, until: &str) -> Leased {
        Leased {
            access_key: AccessKeyId::parse(key.to_owned()).unwrap(),
            workload: "orders/prod/1".parse().unwrap(),
            role: "arn:aws:iam::111122223333:role/orders".parse().unwrap(),
            from: "2026-11-25T10:00:00Z".parse().unwrap(),
            until: until.parse().unwrap(),
        }
    }

    fn signer(keys: &Keys, key: &str) -> &'static str {
        match keys.signer(AccessKeyId::parse(key.to_owned()).as_ref()) {
            Signer::Leased { .. } => "leased",
            Signer::Foreign => "foreign",
            Signer::Unknown => "unknown",
        }
    }

    const OURS: &str = "ASIAY34FZKBOKMUTVV7A";
    const NOW: &str = "2026-11-25T10:30:00Z";

    #[test]
    fn a_key_that_was_leased_is_known_after_a_restart() {
        let mut keys = Keys::default();
        let now: Timestamp = NOW.parse().unwrap();
        keys.learn(&leased(OURS, "2026-11-25T11:00:00Z"), now);
        let file = keys.changed(now).unwrap();
        assert_eq!(keys.changed(now), None);
        let keys = Keys::read(&file);
        assert_eq!(signer(&keys, OURS), "leased");
        assert_eq!(signer(&keys, "ASIAY34FZKBOKMUTVV7B"), "foreign");
        assert_eq!(signer(&keys, ""), "unknown");
    }

    #[test]
    fn a_key_is_remembered_for_a_day_after_its_end() {
        let mut keys = Keys::default();
        keys.learn(&leased(OURS, "2026-11-24T10:29:59Z"), NOW.parse().unwrap());
        keys.learn(&leased("ASIAY34FZKBOKMUTVV7B", "2026-11-24T10:30:01Z"), NOW.parse().unwrap());
        let keys = Keys::read(&keys.changed(NOW.parse().unwrap()).unwrap());
        assert_eq!(signer(&keys, OURS), "foreign");
        assert_eq!(signer(&keys, "ASIAY34FZKBOKMUTVV7B"), "leased");
    }

    #[test]
    fn a_file_with_a_broken_line_keeps_the_others() {
        let mut keys = Keys::default();
        keys.learn(&leased(OURS, NOW), NOW.parse().unwrap());
        let file = keys.changed(NOW.parse().unwrap()).unwrap();
        let broken = [b"{\"key\":\n\xff\n".as_slice(), &file].concat();
        assert_eq!(signer(&Keys::read(&broken), OURS), "leased");
    }
}
