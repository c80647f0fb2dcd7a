//! `rolecall doctor`: what is well, what is not, and what to do about it.

use std::{path::PathBuf, time::Duration};

use api::{
    Client,
    client::{Address, AskError, Healthy, Settings, Trust},
    login::ReadMe,
};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    Done, Failure, host,
    keyring::{Home, Known},
    line::Place,
    paper::{Output, show, table, when},
};

/// How long one address may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Clocks that differ by more are worth a word, and by much more break tokens.
const CLOCK_WARN: SignedDuration = SignedDuration::from_secs(5);
const CLOCK_FAIL: SignedDuration = SignedDuration::from_secs(60);

/// A session that ends sooner is worth a word.
const SESSION_WARN: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolecall doctor
  rolecall doctor -o json --server https://rolecall.example.com:8443
  sudo rolecall doctor --agent /etc/rolecall/agent.toml")]
pub(crate) struct Doctor {
    /// Look at this host instead: the agent whose file this is. Its program must be in PATH.
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Look {
    /// What.
    pub(crate) what: String,
    /// How it is.
    pub(crate) state: State,
    /// What was found.
    pub(crate) found: String,
    /// What to do; empty where nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) to_do: String,
}

impl Look {
    pub(crate) fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Ok, found: found.into(), to_do: String::new() }
    }

    pub(crate) fn warn(
        what: impl Into<String>,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        let (what, found, to_do) = (what.into(), found.into(), to_do.into());
        Self { what, state: State::Warn, found, to_do }
    }

    pub(crate) fn fail(
        what: impl Into<String>,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        let (what, found, to_do) = (what.into(), found.into(), to_do.into());
        Self { what, state: State::Fail, found, to_do }
    }
}

impl Doctor {
    pub(crate) async fn execute(&self, place: &Place, output: Output) -> Result<Done, Failure> {
        let looks = match &self.agent {
            Some(file) => host::look(file),
            None => server(place).await,
        };
        let well = looks.iter().all(|look| look.state != State::Fail);
        show(output, &looks, |looks| {
            let mut table = table(["", "what", "found", "what to do"]);
            for look in looks {
                let state = match look.state {
                    State::Ok => "ok",
                    State::Warn => "warn",
                    State::Fail => "FAIL",
                };
                table.add_row([state, &look.what, &look.found, &look.to_do]);
            }
            table.to_string()
        })?;
        Ok(if well { Done::Yes } else { Done::No })
    }
}

/// Looks at the way to the server.
async fn server(place: &Place) -> Vec<Look> {
    let keyring = match Home::find().and_then(|home| home.read()) {
        Ok(keyring) => keyring,
        Err(failure) => {
            let way = "mend the file, or remove it and sign in again";
            return vec![Look::fail("settings", failure.to_string(), way)];
        }
    };
    let name = match place.name(&keyring) {
        Ok(name) => name,
        Err(failure) => {
            let way = "rolecall login --server https://HOST:PORT --fingerprint sha256:…";
            return vec![Look::fail("settings", failure.to_string(), way)];
        }
    };
    let login = format!("rolecall login --server {name}");
    let Some(known) = keyring.servers.get(&name) else {
        let way = format!("{login} --fingerprint sha256:…");
        return vec![Look::fail("trust", format!("{name} is not known here"), way)];
    };
    let mut looks = vec![Look::ok("settings", name)];
    let addresses = match place.addresses(Some(known)) {
        Ok(addresses) => addresses,
        Err(failure) => {
            looks.push(Look::fail("addresses", failure.to_string(), login));
            return looks;
        }
    };
    let mut answered = Vec::new();
    let mut troubles = Vec::new();
    for address in addresses {
        match ask_health(&address, known).await {
            Ok(healthy) => {
                looks.push(Look::ok(address.to_string(), works(&healthy)));
                looks.extend(clock(&address, healthy.time, Timestamp::now()));
                looks.extend(version(&healthy.health.version));
                answered.push(address);
            }
            Err(look) => troubles.push(look),
        }
    }
    // One replica that is down is what several are for.
    if !answered.is_empty() {
        troubles.iter_mut().for_each(|look| look.state = State::Warn);
    }
    looks.extend(troubles);
    if !answered.is_empty() {
        looks.push(session(answered, known, &login).await);
    }
    looks
}

fn client(addresses: Vec<Address>, known: &Known) -> Result<Client, String> {
    let settings = Settings {
        addresses,
        trust: Trust::Authority(known.ca_pem.clone()),
        identity: None,
        bearer: known.session.as_ref().map(|session| session.token.clone()),
        timeout: WITHIN,
    };
    Client::new(settings).map_err(|error| error.to_string())
}

async fn ask_health(address: &Address, known: &Known) -> Result<Healthy, Look> {
    let what = address.to_string();
    let client = client(vec![address.clone()], known)
        .map_err(|why| Look::fail(&what, why, "sign in again with --fingerprint or --ca"))?;
    client.health().await.map_err(|error| {
        let to_do = match &error {
            AskError::Unreachable(_) => "start the server, or mend the address or the way to it",
            AskError::Untrusted { .. } => {
                "compare the fingerprint with the server's own; if it has another authority now, sign in \
                 again with --fingerprint"
            }
            AskError::Refused(_) => "look into the server's log",
            AskError::IdentityRefused { .. }
            | AskError::Lost { .. }
            | AskError::Illegible { .. }
            | AskError::Unfit(_) => "see what answers at the address",
        };
        Look::fail(what, error.to_string(), to_do)
    })
}

fn works(healthy: &Healthy) -> String {
    let api::health::Health { version, started, revision } = &healthy.health;
    format!("works: version {version}, since {}, revision {revision}", when(*started))
}

fn clock(address: &Address, theirs: Option<Timestamp>, ours: Timestamp) -> Option<Look> {
    let what = format!("clock of {}", address.host());
    let Some(theirs) = theirs else {
        let found = "unknown: the answer has no date";
        return Some(Look::warn(what, found, "see whether a proxy takes it out"));
    };
    let apart = ours.duration_since(theirs).abs();
    let found = format!("{} s apart", apart.as_secs());
    let way = "synchronise this machine's clock and the server's";
    Some(match apart {
        apart if apart > CLOCK_FAIL => Look::fail(what, found, way),
        apart if apart > CLOCK_WARN => Look::warn(what, found, way),
        _ => Look::ok(what, found),
    })
}

/// A server that is older than this program may not know what it is asked.
fn version(theirs: &str) -> Option<Look> {
    let ours = env!("CARGO_PKG_VERSION");
    let parts = |version: &str| -> Option<Vec<u64>> {
        version.split('.').map(|part| part.parse().ok()).collect()
    };
    let older = parts(theirs)? < parts(ours)?;
    older.then(|| {
        let found = format!("the server has {theirs}, this program {ours}");
        Look::warn("version", found, "upgrade the server first")
    })
}

async fn session(addresses: Vec<Address>, known: &Known, login: &str) -> Look {
    if known.session.is_none() {
        return Look::fail("session", "nobody is signed in", login);
    }
    let client = match client(addresses, known) {
        Ok(client) => client,
        Err(why) => return Look::fail("session", why, login),
    };
    match client.ask::<ReadMe>(&(), &(), &()).await {
        Ok(me) => {
            let found = format!("{} until {}", me.person.name, when(me.expires));
            let left = me.expires.duration_since(Timestamp::now());
            match left < SESSION_WARN {
                true => Look::warn("session", found, login),
                false => Look::ok("session", found),
            }
        }
        Err(error) => Look::fail("session", error.to_string(), login),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little_and_an_absent_one_is_unknown() {
        let address: Address = "https://a.example".parse().unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let state = |apart: i64| {
            let theirs = now + SignedDuration::from_secs(apart);
            clock(&address, Some(theirs), now).unwrap().state
        };
        for (apart, expected) in [
            (0, State::Ok),
            (-5, State::Ok),
            (6, State::Warn),
            (-60, State::Warn),
            (61, State::Fail),
        ] {
            assert_eq!(state(apart), expected, "{apart}");
        }
        assert_eq!(clock(&address, None, now).unwrap().state, State::Warn);
    }

    #[test]
    fn an_older_server_is_worth_a_word() {
        assert_eq!(version("0.0.9").unwrap().state, State::Warn);
        assert_eq!(version(env!("CARGO_PKG_VERSION")), None);
        assert_eq!(version("99.0.0"), None);
    }
}
