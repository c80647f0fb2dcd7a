//! `rolecall issuer --config FILE`: keys and public documents of the issuer in a standalone agent's data folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use disk::Folder;
use issuer::{Algorithm, IssuerUrl, KeyRing, Lead, SigningKey, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::{
    Failure,
    paper::{Output, print, table},
};

/// The part of the agent's file that concerns the issuer. The agent checks the rest.
#[derive(Debug, Deserialize)]
struct AgentFile {
    #[serde(default = "default_data")]
    data: PathBuf,
    issuer: Option<IssuerSection>,
}

#[derive(Debug, Deserialize)]
struct IssuerSection {
    url: String,
    #[serde(default)]
    algorithm: Option<String>,
    #[serde(default)]
    allow_http: bool,
}

fn default_data() -> PathBuf {
    PathBuf::from("/var/lib/rolecall")
}

/// What the agent's file says of its issuer.
pub(crate) struct Plan {
    data: PathBuf,
    pub(crate) url: IssuerUrl,
    algorithm: Algorithm,
}

/// An issuer as its agent knows it.
pub(crate) struct Issuer {
    folder: Folder,
    url: IssuerUrl,
    keys: KeyRing,
}

impl Plan {
    pub(crate) fn read(config: &Path) -> Result<Self, Failure> {
        let at = |error: &dyn ToString| {
            Failure::Input(format!("{}: {}", config.display(), error.to_string()))
        };
        let text = fs::read_to_string(config).map_err(|error| at(&error))?;
        let file: AgentFile = toml::from_str(&text).map_err(|error| at(&error))?;
        let section = file.issuer.ok_or_else(|| at(&"there is no [issuer] section"))?;
        let url = match section.allow_http {
            true => IssuerUrl::practice(&section.url),
            false => section.url.parse(),
        };
        let url = url.map_err(|error| at(&error))?;
        let algorithm = section.algorithm.as_deref().unwrap_or("ES256");
        let algorithm = algorithm.parse::<Algorithm>().map_err(|error| at(&error))?;
        Ok(Self { data: file.data, url, algorithm })
    }

    /// With its keys; at first use the first one is made.
    pub(crate) fn open(self) -> Result<Issuer, Failure> {
        let folder = Folder::open(&self.data).map_err(Failure::world)?;
        let keys = folder.issuer_keys(self.algorithm, Timestamp::now()).map_err(Failure::world)?;
        Ok(Issuer { folder, url: self.url, keys })
    }

    /// Who looks changes nothing: where there are no keys yet, none are made.
    pub(crate) fn show(&self, output: Output) -> Result<(), Failure> {
        let keys = match self.data.is_dir() {
            true => Folder::open(&self.data).and_then(|folder| folder.existing_issuer_keys()),
            false => Ok(None),
        };
        show(&self.url, keys.map_err(Failure::world)?.as_ref(), output);
        Ok(())
    }
}

impl Issuer {
    pub(crate) fn export(&self, out: &Path, output: Output) -> Result<(), Failure> {
        let folder = out.join(".well-known");
        let failed = |path: &Path, error: std::io::Error| {
            Failure::World(format!("cannot write `{}`: {error}", path.display()))
        };
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let files = [
            ("openid-configuration", issuer::discovery(&self.url), self.url.discovery_url()),
            ("jwks.json", issuer::jwks(&self.keys), self.url.jwks_url()),
        ];
        let mut written = Vec::new();
        for (name, text, url) in files {
            let (path, fresh) = (folder.join(name), folder.join(format!(".{name}.new")));
            // A web server may be reading: it sees the old document or the new one.
            let put = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path));
            put.map_err(|error| failed(&path, error))?;
            written.push((path, url));
        }
        match output {
            Output::Json => {
                let files: Vec<_> = written
                    .iter()
                    .map(|(path, url)| json!({ "path": path, "serve_at": url }))
                    .collect();
                print(&json!({ "issuer": self.url.as_str(), "files": files }).to_string());
            }
            Output::Table => {
                let mut table = table(["file", "serve it at"]);
                for (path, url) in &written {
                    table.add_row([path.display().to_string(), url.clone()]);
                }
                print(&table.to_string());
            }
        }
        Ok(())
    }

    pub(crate) fn publish(
        &mut self,
        algorithm: Option<Algorithm>,
        output: Output,
    ) -> Result<(), Failure> {
        let algorithm = algorithm.unwrap_or(self.keys.active().algorithm());
        let key = self.folder.new_issuer_key(algorithm).map_err(Failure::world)?;
        self.keys.publish(key, Timestamp::now()).map_err(Failure::input)?;
        self.keep(output)
    }

    pub(crate) fn rotate(&mut self, now: bool, output: Output) -> Result<(), Failure> {
        let lead = if now { Lead::Waived } else { Lead::Required };
        let wall = Timestamp::now();
        self.keys.rotate(wall, lead).map_err(Failure::input)?;
        self.keys.prune(wall);
        self.keep(output)
    }

    pub(crate) fn withdraw(&mut self, key: &str, output: Output) -> Result<(), Failure> {
        let is_it = |known: &SigningKey| known.kid().as_str() == key;
        if is_it(self.keys.active()) {
            let words = format!("key `{key}` signs: `publish` another and `rotate --now` first");
            return Err(Failure::Input(words));
        }
        let kid = self.keys.iter().map(|(known, _)| known).find(|known| is_it(known));
        let kid = kid.map(|known| known.kid().clone());
        let kid = kid.ok_or_else(|| Failure::Input(format!("there is no key `{key}`")))?;
        self.keys.withdraw(&kid);
        self.keep(output)
    }

    fn keep(&self, output: Output) -> Result<(), Failure> {
        self.folder.keep_issuer_keys(&self.keys).map_err(Failure::world)?;
        show(&self.url, Some(&self.keys), output);
        if output == Output::Table {
            print(
                "now run `rolecall issuer export --config FILE`, serve the files, then `rolecall-agent reload`",
            );
        }
        Ok(())
    }
}

fn show(url: &IssuerUrl, keys: Option<&KeyRing>, output: Output) {
    let keys: Vec<[String; 3]> = keys
        .into_iter()
        .flat_map(|keys| keys.iter())
        .map(|(key, state)| {
            let state = match state {
                State::Next { published } => format!("signs next, published {published}"),
                State::Active { since } => format!("signs, since {since}"),
                State::Retired { until } => format!("retired, published until {until}"),
            };
            [key.kid().as_str().to_owned(), key.algorithm().as_str().to_owned(), state]
        })
        .collect();
    match output {
        Output::Json => {
            let keys: Vec<_> = keys
                .iter()
                .map(|[kid, algorithm, state]| {
                    json!({ "kid": kid, "algorithm": algorithm, "state": state })
                })
                .collect();
            print(&json!({ "issuer": url.as_str(), "keys": keys }).to_string());
        }
        Output::Table if keys.is_empty() => {
            print(&format!("{url}\nno key yet: the agent or `rolecall issuer export` makes one"));
        }
        Output::Table => {
            let mut table = table(["key", "algorithm", "state"]);
            for key in keys {
                table.add_row(key);
            }
            print(&format!("{url}\n{table}"));
        }
    }
}
