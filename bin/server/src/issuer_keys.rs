//! The issuer's keys between their rows and the ring that signs.
//!
//! A row that has once said `retired` stays, without its private half: a key that is over never signs again.

use std::{collections::BTreeMap, fmt, sync::Arc};

use api::{
    Kind, Problem,
    issuer::{Algorithm as WireAlgorithm, Key, KeyState},
};
use aws::{KmsAlgorithm, KmsError, KmsKey};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cloud::Arn;
use getrandom::SysRng;
use issuer::{
    Algorithm, Entry, Jwk, Key as _, KeyId, KeyRing, Manifest, Schedule, SigningKey, State as Life,
};
use jiff::Timestamp;
use secret::SecretText;
use serde::{Deserialize, Serialize};
use state::{Act, IssuerKeyRow, StateError};

use crate::{rows, seal::Seal};

/// What the name of a sealed issuer key begins with; its id follows.
const SEALED_AS: &str = "issuer/";

/// A key of the issuer: one that this server holds, or one that signs in KMS. Cheap to clone.
#[derive(Clone)]
pub struct Signer(Arc<Way>);

enum Way {
    Held(SigningKey),
    Kms {
        kms: aws::Kms,
        arn: Arn,
        public: Jwk,
    },
    /// It is published and signs no more, so nobody opens it.
    Public(Jwk),
}

/// No signature came out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key `{kid}` did not sign: {why}")]
pub struct NoSignature {
    /// The key.
    pub kid: String,
    /// Why.
    pub why: String,
}

/// Opens what is sealed and reaches what is elsewhere.
#[derive(Clone, Debug)]
pub struct Opener {
    /// The seal of this deployment.
    pub seal: Arc<Seal>,
    /// KMS, where the operator says in which region this server is.
    pub kms: Option<aws::Kms>,
    /// When keys change.
    pub schedule: Schedule,
}

/// What belongs to a key beside its columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyBody {
    /// Its name in a token's header: `ES256` or `RS256`.
    pub algorithm: String,
    /// The public half: DER of a `SubjectPublicKeyInfo`, in base64. Absent for keys that the server holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_der: Option<String>,
    /// The ARN of the key in KMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// When it was made, and with that published.
    pub made: Timestamp,
    /// When it could sign at the earliest by the schedule.
    pub ready: Timestamp,
    /// Since when it signs, or signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when it is published at least, once it signs no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Every key that the issuer has or had.
#[derive(Debug, Default)]
pub struct IssuerKeys {
    ring: Option<KeyRing<Signer>>,
    /// By id, each with what its row says and how it is sealed.
    rows: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    state: KeyState,
    body: KeyBody,
    sealed: Option<String>,
}

impl Signer {
    /// A key that this server holds.
    pub fn held(key: SigningKey) -> Self {
        Self(Arc::new(Way::Held(key)))
    }

    /// The key itself, where this server holds it.
    pub fn key(&self) -> Option<&SigningKey> {
        match &*self.0 {
            Way::Held(key) => Some(key),
            Way::Kms { .. } | Way::Public(_) => None,
        }
    }

    /// Signs: PKCS#1 v1.5 bytes for RSA, `r ‖ s` for ECDSA. A key that the server holds works on the thread
    /// that asks.
    ///
    /// # Errors
    /// When KMS says no or nothing, the system has no randomness, or the key signs no more.
    pub async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NoSignature> {
        let failed = |why: &dyn fmt::Display| NoSignature {
            kid: self.kid().to_string(),
            why: why.to_string(),
        };
        match &*self.0 {
            Way::Held(key) => key.sign(message, &mut SysRng).map_err(|error| failed(&error)),
            Way::Kms { kms, arn, public } => {
                let algorithm = match public.algorithm() {
                    Algorithm::Es256 => KmsAlgorithm::Es256,
                    Algorithm::Rs256 => KmsAlgorithm::Rs256,
                };
                let signature = kms.sign_message(arn, algorithm, message).await;
                let signature = signature.map_err(|error| failed(&error))?;
                match algorithm {
                    KmsAlgorithm::Rs256 => Ok(signature),
                    KmsAlgorithm::Es256 => issuer::p256_signature(&signature)
                        .map(|signature| signature.to_vec())
                        .map_err(|error| failed(&error)),
                }
            }
            Way::Public(_) => Err(failed(&"it signs no more")),
        }
    }
}

impl issuer::Key for Signer {
    fn public(&self) -> &Jwk {
        match &*self.0 {
            Way::Held(key) => key.public(),
            Way::Kms { public, .. } | Way::Public(public) => public,
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} {})", self.algorithm(), self.kid())
    }
}

impl IssuerKeys {
    /// The keys out of their rows. Those that were open `before` need not be opened again.
    ///
    /// # Errors
    /// [`StateError::Damaged`] where a row cannot be read, and [`StateError::Settings`] where the key file
    /// does not open one.
    pub fn of(
        rows: &[IssuerKeyRow],
        opener: &Opener,
        before: Option<&Self>,
    ) -> Result<Self, StateError> {
        let mut kept = BTreeMap::new();
        let (mut entries, mut signers, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let body: KeyBody = rows::read("issuer_keys", &row.kid, &row.body)?;
            let state = state_of(&row.state)?;
            let kid: KeyId = row.kid.parse().map_err(|error| damaged(&row.kid, &error))?;
            let algorithm = body.algorithm.parse().map_err(|error| damaged(&row.kid, &error))?;
            let need = |time: Option<Timestamp>| {
                time.ok_or_else(|| damaged(&row.kid, &"a time is missing"))
            };
            let life = match state {
                KeyState::Next => Some(Life::Next { published: body.made }),
                KeyState::Signing => Some(Life::Active { since: need(body.since)? }),
                KeyState::Retiring => Some(Life::Retired { until: need(body.until)? }),
                KeyState::Retired => None,
            };
            match life {
                Some(state) => {
                    let open = before.and_then(|before| before.signer(&kid));
                    signers.push(open.map_or_else(|| opener.open(row, &body), Ok)?);
                    entries.push(Entry { kid, algorithm, state });
                }
                None => gone.push(kid),
            }
            kept.insert(row.kid.clone(), Kept { state, body, sealed: row.sealed.clone() });
        }
        // The ring's order: the waiting one, the one that signs, then those that signed, latest first.
        let rank = |entry: &Entry| match entry.state {
            Life::Next { .. } => (0, std::cmp::Reverse(Timestamp::MAX)),
            Life::Active { .. } => (1, std::cmp::Reverse(Timestamp::MAX)),
            Life::Retired { until } => (2, std::cmp::Reverse(until)),
        };
        entries.sort_by_key(rank);
        let ring = if entries.is_empty() {
            None
        } else {
            let manifest = Manifest::new(entries).map_err(|error| damaged("*", &error))?;
            let ring =
                KeyRing::assemble(&manifest, signers).map_err(|error| damaged("*", &error))?;
            Some(ring.with_schedule(opener.schedule).with_gone(gone))
        };
        Ok(Self { ring, rows: kept })
    }

    /// The ring; none until there is a key.
    pub fn ring(&self) -> Option<&KeyRing<Signer>> {
        self.ring.as_ref()
    }

    /// The ring, to be changed within an act.
    pub fn ring_mut(&mut self) -> &mut Option<KeyRing<Signer>> {
        &mut self.ring
    }

    /// Adds what the row of a new key says; [`IssuerKeys::save`] writes it once the key is in the ring.
    pub fn note(&mut self, kid: &KeyId, body: KeyBody, sealed: Option<String>) {
        self.rows.insert(kid.to_string(), Kept { state: KeyState::Next, body, sealed });
    }

    /// Writes the rows of all keys as the ring has them now; what is in the ring no more is over.
    ///
    /// # Errors
    /// [`StateError`] of the act.
    pub async fn save(&mut self, act: &mut Act) -> Result<(), StateError> {
        let lives: BTreeMap<String, Life> = self
            .ring
            .iter()
            .flat_map(KeyRing::iter)
            .map(|(key, life)| (key.kid().to_string(), life))
            .collect();
        for (kid, kept) in &mut self.rows {
            kept.state = match lives.get(kid) {
                Some(Life::Next { .. }) => KeyState::Next,
                Some(Life::Active { since }) => {
                    kept.body.since = Some(*since);
                    KeyState::Signing
                }
                Some(Life::Retired { until }) => {
                    kept.body.until = Some(*until);
                    KeyState::Retiring
                }
                None => {
                    // A private half that nobody needs is one that nobody can steal.
                    kept.sealed = None;
                    KeyState::Retired
                }
            };
            act.put_issuer_key(&IssuerKeyRow {
                kid: kid.clone(),
                state: word(kept.state).to_owned(),
                body: rows::write("issuer_keys", &kept.body)?,
                sealed: kept.sealed.clone(),
            })
            .await?;
        }
        Ok(())
    }

    /// The keys as the API tells them: the waiting one, the one that signs, those that signed, and those that
    /// are over, latest first.
    pub fn told(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.rows.iter().map(|(kid, kept)| told(kid, kept)).collect();
        keys.sort_by_key(|key| (key.state, std::cmp::Reverse(key.made)));
        keys
    }

    fn signer(&self, kid: &KeyId) -> Option<Signer> {
        let mut keys = self.ring.iter().flat_map(KeyRing::iter);
        keys.find(|(key, _)| key.kid() == kid).map(|(key, _)| key.clone())
    }
}

impl Opener {
    /// Seals a key that was just made.
    ///
    /// # Errors
    /// When it cannot be written as text or sealed.
    pub fn seal(&self, key: &SigningKey) -> Result<String, StateError> {
        let name = format!("{SEALED_AS}{}", key.kid());
        let pem = key.to_pem().map_err(|error| damaged(&name, &error))?;
        let sealed = self.seal.seal(&name, pem.expose().as_bytes());
        sealed.map_err(|error| StateError::Settings { why: error.to_string() })
    }

    /// A key in KMS that is there already: what signs by it, and what KMS says of it.
    ///
    /// # Errors
    /// When KMS does not know it, or it is no key that tokens can be signed with.
    pub async fn in_kms(&self, key: &str) -> Result<(Signer, KmsKey), Problem> {
        let wrong = |reason: &dyn fmt::Display| {
            let field = reason.to_string();
            Problem::invalid("the key in KMS cannot be used").with_field("kms_key", field)
        };
        let kms = self.kms.as_ref();
        let kms = kms.ok_or_else(|| wrong(&"the server's file names no `region` in `[aws]`"))?;
        let arn: Arn = key.parse().map_err(|error| wrong(&error))?;
        let found = kms.public_key(&arn).await.map_err(|error| match error {
            KmsError::NotAKey(_) | KmsError::Unsuitable { .. } => wrong(&error),
            KmsError::Ask(aws::AskError::Denied { .. }) => wrong(&error),
            KmsError::Ask(error) => Problem::new(Kind::UpstreamUnavailable, error.to_string()),
        })?;
        let public = Jwk::from_der(&found.der).map_err(|error| wrong(&error))?;
        // By an alias another key would sign tomorrow, whose public half nobody has read.
        let way = Way::Kms { kms: kms.clone(), arn: found.arn.clone(), public };
        Ok((Signer(Arc::new(way)), found))
    }

    fn open(&self, row: &IssuerKeyRow, body: &KeyBody) -> Result<Signer, StateError> {
        let closed = |error: &dyn fmt::Display| StateError::Settings { why: error.to_string() };
        if let Some(sealed) = &row.sealed {
            let name = format!("{SEALED_AS}{}", row.kid);
            let opened = self.seal.unseal(&name, sealed).map_err(|error| closed(&error))?;
            let pem = String::from_utf8(opened.expose().clone())
                .map_err(|error| damaged(&row.kid, &error.utf8_error()))?;
            let key = SigningKey::from_pem(&SecretText::new(pem));
            return key.map(Signer::held).map_err(|error| damaged(&row.kid, &error));
        }
        let missing = || damaged(&row.kid, &"it has neither a private nor a public half");
        let der = body.public_der.as_ref().ok_or_else(missing)?;
        let der = BASE64_STANDARD.decode(der).map_err(|error| damaged(&row.kid, &error))?;
        let public = Jwk::from_der(&der).map_err(|error| damaged(&row.kid, &error))?;
        Ok(Signer(Arc::new(match (&body.kms_key, &self.kms) {
            (Some(arn), Some(kms)) => {
                let arn = arn.parse().map_err(|error| damaged(&row.kid, &error))?;
                Way::Kms { kms: kms.clone(), arn, public }
            }
            // It can still be published; whoever wants it to sign is told that it does not.
            (Some(_) | None, _) => Way::Public(public),
        })))
    }
}

impl KeyBody {
    /// What is kept of a key that the server made.
    pub fn held(public: &Jwk, made: Timestamp, ready: Timestamp) -> Self {
        Self {
            algorithm: public.algorithm().as_str().to_owned(),
            public_der: None,
            kms_key: None,
            made,
            ready,
            since: None,
            until: None,
        }
    }

    /// What is kept of a key in KMS.
    pub fn kms(key: &KmsKey, made: Timestamp, ready: Timestamp) -> Self {
        let algorithm = match key.algorithm {
            KmsAlgorithm::Es256 => Algorithm::Es256,
            KmsAlgorithm::Rs256 => Algorithm::Rs256,
        };
        Self {
            algorithm: algorithm.as_str().to_owned(),
            public_der: Some(BASE64_STANDARD.encode(&key.der)),
            kms_key: Some(key.arn.to_string()),
            made,
            ready,
            since: None,
            until: None,
        }
    }
}

fn told(kid: &str, kept: &Kept) -> Key {
    let KeyBody { algorithm, kms_key, made, ready, since, until, .. } = kept.body.clone();
    Key {
        kid: kid.to_owned(),
        algorithm: match algorithm.parse() {
            Ok(Algorithm::Rs256) => WireAlgorithm::Rs256,
            Ok(Algorithm::Es256) | Err(_) => WireAlgorithm::Es256,
        },
        state: kept.state,
        kms_key,
        made,
        ready,
        signs_since: since,
        retires: until,
    }
}

/// How rows spell what a key does.
const fn word(state: KeyState) -> &'static str {
    match state {
        KeyState::Next => "next",
        KeyState::Signing => "signing",
        KeyState::Retiring => "retiring",
        KeyState::Retired => "retired",
    }
}

fn state_of(text: &str) -> Result<KeyState, StateError> {
    let all = [KeyState::Next, KeyState::Signing, KeyState::Retiring, KeyState::Retired];
    all.into_iter()
        .find(|state| word(*state) == text)
        .ok_or_else(|| damaged(text, &"no such state"))
}

fn damaged(kid: &str, why: &dyn fmt::Display) -> StateError {
    StateError::Damaged { table: "issuer_keys", why: format!("has a key `{kid}`: {why}").into() }
}
