//! `rolecall-agent join` and `rolecall-agent leave`.

use std::{path::PathBuf, time::Duration};

use api::{
    JoinToken, Label,
    agents::{
        Join as JoinByToken, JoinAws, JoinAwsRequest, JoinRequest, Joined, MakeNonce, Nonce,
        SignedRequest,
    },
    client::{Address, AskError, Client, InvalidSettings, Settings as ClientSettings, Trust},
    trust::Fingerprint,
};
use aws::{StsError, StsSettings};
use clap::Args;
use disk::Folder;
use secret::SecretText;
use serde_json::{Value, json};

use super::{
    identity::{FreshKey, Identity, IdentityError},
    told,
};

/// How long joining may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How a host joins.
#[derive(Debug, Args)]
pub struct Join {
    /// Where the server answers, such as `https://rolecall.example.com:8443`; may be named more than once.
    /// Without, the `addresses` of `[server]` in the file.
    #[arg(long, value_name = "URL")]
    pub server: Vec<Address>,
    /// By what the host may join.
    #[command(flatten)]
    pub by: By,
    /// The fingerprint of the server's authority, such as `sha256:1f…`, which every start of the server prints.
    /// A token holds it already.
    #[arg(
        long,
        value_name = "FINGERPRINT",
        conflicts_with_all = ["token", "token_file"],
        required_if_eq("aws", "true")
    )]
    pub fingerprint: Option<Fingerprint>,
    /// Joins anew and forgets who the host was.
    #[arg(long)]
    pub again: bool,
}

/// By what a host may join.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct By {
    /// The one-time token of `rolecall hosts token`. Other users of the host can see it while the command runs.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<SecretArgument>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Joins as the AWS role that this host has: `rolecall hosts rules` says which may.
    #[arg(long)]
    pub aws: bool,
}

/// By what the server is known, and by what it is to know the host.
enum Proof {
    Token(JoinToken),
    Role(Fingerprint),
}

/// A secret that was typed. It is not repeated in errors.
#[derive(Clone, Debug)]
pub struct SecretArgument(SecretText);

impl std::str::FromStr for SecretArgument {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(SecretText::new(text.to_owned())))
    }
}

/// The host could not join or leave. Nothing on its disk has changed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// What is on the disk, or would have to be.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nobody said where the server is.
    #[error("name the server: `--server https://rolecall.example.com:8443`")]
    NoAddress,
    /// The token's file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token was not copied whole.
    #[error(transparent)]
    Token(#[from] api::InvalidJoinToken),
    /// The host cannot prove its AWS role.
    #[error("the host cannot prove its AWS role: {0}")]
    Role(#[from] StsError),
    /// The connection cannot be set up.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    /// The server cannot be asked, or refused.
    #[error("{}", told::words(.0))]
    Ask(#[from] AskError),
}

impl Join {
    /// Lets the host join and keeps who it is in `folder`. `addresses` are those of the file, and `sts` says
    /// by which credentials the host proves its AWS role.
    ///
    /// # Errors
    /// When it has joined already, or the server does not let it.
    pub async fn execute(
        &self,
        folder: &Folder,
        addresses: &[Address],
        sts: &StsSettings,
    ) -> Result<Value, JoinError> {
        let before = Identity::read(folder);
        if !self.again {
            // A damaged identity is not overwritten without a word either.
            if let Some(Identity { joined: Joined { host, name, .. }, .. }) = before? {
                return Err(IdentityError::Joined { host, name }.into());
            }
        }
        let addresses = if self.server.is_empty() { addresses } else { &self.server };
        if addresses.is_empty() {
            return Err(JoinError::NoAddress);
        }
        let (key, proof) = (FreshKey::make()?, self.proof()?);
        let client = Client::new(ClientSettings {
            addresses: addresses.to_vec(),
            trust: proof.trust(),
            identity: None,
            bearer: None,
            timeout: TIMEOUT,
        })?;
        let joined = match &proof {
            Proof::Token(token) => by_token(&client, token, &key).await?,
            Proof::Role(_) => by_role(&client, sts, &key).await?,
        };
        check(&joined, &proof)?;
        let identity = key.with(joined, addresses.to_vec());
        // Before it is kept: what cannot be used must not take the place of what can.
        identity.orders_keys()?;
        connect(&identity, addresses)?;
        identity.replace(folder)?;
        let mut answer = told::identity(&identity.joined, jiff::Timestamp::now());
        if let Value::Object(answer) = &mut answer {
            let next = "name the server in [server] of the file and (re)start the agent";
            answer.insert("next".to_owned(), json!(next));
        }
        Ok(answer)
    }
}

impl Join {
    fn proof(&self) -> Result<Proof, JoinError> {
        match self.fingerprint {
            Some(fingerprint) => Ok(Proof::Role(fingerprint)),
            None => Ok(Proof::Token(self.by.token()?.expose().trim().parse()?)),
        }
    }
}

impl Proof {
    fn trust(&self) -> Trust {
        match self {
            Self::Token(token) => Trust::Pin(token.pin()),
            Self::Role(fingerprint) => Trust::Fingerprint(*fingerprint),
        }
    }

    /// Whether an authority is the one that was named beforehand.
    fn names(&self, authority: Fingerprint) -> bool {
        match self {
            Self::Token(token) => authority.pin() == token.pin(),
            Self::Role(fingerprint) => authority == *fingerprint,
        }
    }
}

async fn by_token(client: &Client, token: &JoinToken, key: &FreshKey) -> Result<Joined, AskError> {
    let (token, csr_pem) = (token.clone(), key.csr_pem().to_owned());
    let request = JoinRequest { token, csr_pem, version: version() };
    client.ask::<JoinByToken>(&(), &(), &request).await
}

/// The server sends a request to STS that this host signed, and hears whose signature it is. The nonce in
/// it is the server's, so that nobody can use it a second time.
async fn by_role(client: &Client, sts: &StsSettings, key: &FreshKey) -> Result<Joined, JoinError> {
    let Nonce { nonce, .. } = client.ask::<MakeNonce>(&(), &(), &()).await?;
    let signed = aws::Identity::new(sts).await.sign(&nonce).await?;
    let aws::SignedRequest { url, headers, body } = signed;
    let request = JoinAwsRequest {
        nonce,
        request: SignedRequest { url, headers, body },
        csr_pem: key.csr_pem().to_owned(),
        version: version(),
    };
    Ok(client.ask::<JoinAws>(&(), &(), &request).await?)
}

impl By {
    fn token(&self) -> Result<SecretText, JoinError> {
        match (&self.token, &self.token_file) {
            (Some(SecretArgument(token)), _) => Ok(token.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                let failed = |source| JoinError::File { path: path.clone(), source };
                text.map(SecretText::new).map_err(failed)
            }
            (None, None) => Err(api::InvalidJoinToken::Prefix.into()),
        }
    }
}

/// Whoever answered must name the authority by which it was known.
fn check(joined: &Joined, proof: &Proof) -> Result<(), IdentityError> {
    let authority = Fingerprint::of_pem(&joined.ca_pem);
    if authority.is_none_or(|authority| !proof.names(authority)) {
        let why = "it names another authority than the one that it was known by";
        return Err(IdentityError::Answer(why.to_owned()));
    }
    Ok(())
}

/// A client that shows this identity, and trusts nobody but the authority that the host joined by.
///
/// # Errors
/// When the certificate, its key or the authority cannot be used.
pub fn connect(identity: &Identity, addresses: &[Address]) -> Result<Client, InvalidSettings> {
    Client::new(ClientSettings {
        addresses: addresses.to_vec(),
        trust: Trust::Authority(identity.joined.ca_pem.clone()),
        identity: Some(identity.shown()),
        bearer: None,
        timeout: super::line::TIMEOUT,
    })
}

/// Forgets who the host is. The server is not asked: `rolecall hosts revoke` tells it.
///
/// # Errors
/// When a file cannot be removed.
pub fn leave(folder: &Folder) -> Result<Value, IdentityError> {
    let joined = match Identity::read(folder) {
        Ok(identity) => identity.map(|identity| identity.joined),
        // It goes all the same.
        Err(IdentityError::Damaged { .. }) => None,
        Err(error) => return Err(error),
    };
    let left = Identity::forget(folder)?;
    let next = "a running agent goes on until it is stopped, and its certificate is good until it ends: \
                `rolecall hosts revoke` ends it now";
    let (host, next) = (joined.map(|joined| joined.host), left.then_some(next));
    Ok(json!({ "left": left, "host": host, "next": next }))
}

/// The agent's version, as servers want to hear it.
#[expect(clippy::expect_used, reason = "a version is one short line")]
pub fn version() -> Label {
    env!("CARGO_PKG_VERSION").parse().expect("the version is a label")
}
