//! `rolecall login`, `logout`, `whoami`.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use api::{
    Client,
    client::{Settings, Trust},
    login::{
        BeginDeviceLogin, DeviceHandle, DevicePoll, LoginByToken, Logout, PollDeviceLogin, ReadMe,
        Session, TokenLogin,
    },
    trust::{Fingerprint, ReadTrust},
};
use clap::Args;
use jiff::Timestamp;
use secret::SecretText;

use crate::{
    Done, Failure,
    keyring::{Home, Known},
    line::{Place, TIMEOUT},
    paper::{Output, facts, note, show, when},
};

/// The longest one-time token that is read, in bytes.
const TOKEN_MAX: u64 = 4096;

/// The shortest time between two questions about a sign-in.
const PACE_MIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The one-time token that the server printed at its first start; `-` reads it from standard input.
    #[arg(long, value_name = "rca_…", value_parser = secret_text)]
    token: Option<SecretText>,
    /// The fingerprint of the server's authority, as the server printed it. Needed once.
    #[arg(long, value_name = "sha256:…", conflicts_with = "ca")]
    fingerprint: Option<Fingerprint>,
    /// The authority that the server is known by, as PEM: its own, or that of a proxy in front of it.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

fn secret_text(text: &str) -> Result<SecretText, std::convert::Infallible> {
    Ok(SecretText::new(text.to_owned()))
}

impl Login {
    pub(crate) async fn execute(&self, place: &Place, output: Output) -> Result<Done, Failure> {
        let home = Home::find()?;
        let mut keyring = home.read()?;
        let name = place.name(&keyring)?;
        let known = keyring.servers.get(&name);
        let addresses = place.addresses(known)?;
        let client = |trust| {
            let addresses = addresses.clone();
            let settings =
                Settings { addresses, trust, identity: None, bearer: None, timeout: TIMEOUT };
            Client::new(settings).map_err(Failure::input)
        };
        let ca_pem = self.authority(&name, known, client).await?;
        let client = client(Trust::Authority(ca_pem.clone()))?;
        let session = match &self.token {
            Some(token) => by_token(&client, token).await?,
            None => by_device(&client).await?,
        };
        let (person, expires) = (session.person.clone(), session.expires);
        let addresses = addresses.iter().map(ToString::to_string).collect();
        keyring.servers.insert(name.clone(), Known { addresses, ca_pem, session: Some(session) });
        keyring.current = Some(name.clone());
        home.keep(&keyring)?;
        show(output, &person, |person| {
            format!("signed in at {name} as {} until {}", person.name, when(expires))
        })?;
        Ok(Done::Yes)
    }

    /// The authority that the server is known by, as PEM.
    async fn authority(
        &self,
        name: &str,
        known: Option<&Known>,
        client: impl Fn(Trust) -> Result<Client, Failure>,
    ) -> Result<String, Failure> {
        if let Some(path) = &self.ca {
            return fs::read_to_string(path)
                .map_err(|error| Failure::Input(format!("`{}`: {error}", path.display())));
        }
        let Some(fingerprint) = self.fingerprint else {
            return known.map(|known| known.ca_pem.clone()).ok_or_else(|| {
                Failure::Input(format!(
                    "{name} is not known yet: give --fingerprint sha256:… as the server printed it at its \
                     first start, or --ca FILE"
                ))
            });
        };
        let trust = client(Trust::Fingerprint(fingerprint))?;
        let trust = trust.ask::<ReadTrust>(&(), &(), &()).await?;
        match Fingerprint::of_pem(&trust.ca_pem) {
            Some(found) if found == fingerprint => Ok(trust.ca_pem),
            _ => Err(Failure::World(format!(
                "{name} tells of another authority than the one that it shows; trust neither"
            ))),
        }
    }
}

async fn by_token(client: &Client, token: &SecretText) -> Result<Session, Failure> {
    let token = match token.expose().as_str() {
        "-" => {
            let mut text = String::new();
            let read = io::stdin().take(TOKEN_MAX).read_to_string(&mut text);
            read.map_err(|error| Failure::Input(format!("standard input: {error}")))?;
            SecretText::new(text.trim().to_owned())
        }
        _ => token.clone(),
    };
    Ok(client.ask::<LoginByToken>(&(), &(), &TokenLogin { token }).await?)
}

async fn by_device(client: &Client) -> Result<Session, Failure> {
    let begun = client.ask::<BeginDeviceLogin>(&(), &(), &()).await?;
    let uri = begun.verification_uri_complete.as_deref().unwrap_or(&begun.verification_uri);
    note(&format!("open {uri} in a browser and allow the code {}", begun.user_code));
    let handle = DeviceHandle { handle: begun.handle };
    let mut pace = Duration::from_secs(begun.interval_s.into());
    while Timestamp::now() < begun.expires {
        tokio::time::sleep(pace.max(PACE_MIN)).await;
        match client.ask::<PollDeviceLogin>(&(), &(), &handle).await? {
            DevicePoll::SignedIn { session } => return Ok(session),
            DevicePoll::Pending { interval_s } => pace = Duration::from_secs(interval_s.into()),
        }
    }
    Err(Failure::Access(
        "nobody allowed the sign-in in time: run `rolecall login` again".to_owned(),
    ))
}

/// `rolecall logout`.
pub(crate) async fn logout(place: &Place, output: Output) -> Result<Done, Failure> {
    let home = Home::find()?;
    let mut keyring = home.read()?;
    let name = place.name(&keyring)?;
    let told = match place.connect(output) {
        Ok(line) => line.ask::<Logout>(&(), &(), &()).await,
        Err(failure) => Err(failure),
    };
    if let Some(known) = keyring.servers.get_mut(&name) {
        known.session = None;
    }
    home.keep(&keyring)?;
    match told {
        // A session that the server no longer knows has ended already.
        Ok(()) | Err(Failure::Access(_)) => {
            note(&format!("signed out at {name}"));
            Ok(Done::Yes)
        }
        Err(failure) => Err(Failure::World(format!(
            "the session is forgotten here, but the server was not told, so it lives to its end: {failure}"
        ))),
    }
}

/// `rolecall whoami`.
pub(crate) async fn whoami(place: &Place, output: Output) -> Result<Done, Failure> {
    let line = place.connect(output)?;
    let me = line.ask::<ReadMe>(&(), &(), &()).await?;
    line.show(&me, |me| {
        let may = me.actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        facts([
            ("server", line.client.address().to_string()),
            ("person", me.person.id.clone()),
            ("name", me.person.name.clone()),
            ("groups", me.person.groups.join(" ")),
            ("may", may),
            ("until", when(me.expires)),
        ])
    })?;
    Ok(Done::Yes)
}
