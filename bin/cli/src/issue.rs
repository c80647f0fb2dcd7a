//! `rolecall issuer`: keys and public documents of the issuer in an agent's data folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use cloud::RoleArn;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use disk::Folder;
use issuer::{Algorithm, IssuerUrl, KeyRing, Lead, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::{Done, Failure, Output, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The agent's file; its `data` and `[issuer]` are read.
    #[arg(long, global = true, default_value = "/etc/rolecall/agent.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the discovery document and the public keys, to be served at the issuer's address.
    Export {
        /// The folder that is served: `.well-known/` is made in it.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Show the keys and what each is doing.
    Show,
    /// Make the key that signs next; it must be published for a day before it signs.
    Publish {
        /// How it signs, if not like the one in use.
        #[arg(long, value_enum)]
        algorithm: Option<Signing>,
    },
    /// Let the published key sign; tokens of the old one stay good.
    Rotate {
        /// Do not wait for the day: for a key that is in wrong hands.
        #[arg(long)]
        now: bool,
    },
    /// Print the trust policy for a role in an application's account.
    Trust {
        /// The role.
        #[arg(long)]
        role: RoleArn,
        /// The application that may become it.
        #[arg(long)]
        application: String,
        /// In which environment.
        #[arg(long)]
        environment: String,
        /// The audience of the tokens.
        #[arg(long, default_value = "sts.amazonaws.com")]
        audience: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Signing {
    #[value(name = "ES256")]
    Es256,
    #[value(name = "RS256")]
    Rs256,
}

impl From<Signing> for Algorithm {
    fn from(signing: Signing) -> Self {
        match signing {
            Signing::Es256 => Self::Es256,
            Signing::Rs256 => Self::Rs256,
        }
    }
}

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

/// An issuer as its agent knows it.
struct Issuer {
    folder: Folder,
    url: IssuerUrl,
    keys: KeyRing,
}

impl Arguments {
    pub(crate) fn execute(&self, output: Output) -> Result<Done, Failure> {
        let mut issuer = Issuer::open(&self.config)?;
        match &self.command {
            Command::Export { out } => issuer.export(out, output)?,
            Command::Show => issuer.show(output),
            Command::Publish { algorithm } => issuer.publish(*algorithm, output)?,
            Command::Rotate { now } => issuer.rotate(*now, output)?,
            Command::Trust { role, application, environment, audience } => {
                let provider = issuer.url.provider_arn(role.partition(), role.account());
                let provider = provider.map_err(Failure::input)?;
                let (url, audience) = (&issuer.url, audience.as_str());
                let policy =
                    issuer::trust_policy(url, &provider, audience, application, environment);
                print(&policy.map_err(Failure::input)?);
            }
        }
        Ok(Done::Yes)
    }
}

impl Issuer {
    fn open(config: &Path) -> Result<Self, Failure> {
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
        let folder = Folder::open(&file.data).map_err(Failure::world)?;
        let keys = folder.issuer_keys(algorithm, Timestamp::now()).map_err(Failure::world)?;
        Ok(Self { folder, url, keys })
    }

    fn export(&self, out: &Path, output: Output) -> Result<(), Failure> {
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

    fn show(&self, output: Output) {
        let keys: Vec<[String; 3]> = self
            .keys
            .iter()
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
                print(&json!({ "issuer": self.url.as_str(), "keys": keys }).to_string());
            }
            Output::Table => {
                let mut table = table(["key", "algorithm", "state"]);
                for key in keys {
                    table.add_row(key);
                }
                print(&format!("{}\n{table}", self.url));
            }
        }
    }

    fn publish(&mut self, algorithm: Option<Signing>, output: Output) -> Result<(), Failure> {
        let algorithm = algorithm.map_or(self.keys.active().algorithm(), Algorithm::from);
        let key = self.folder.new_issuer_key(algorithm).map_err(Failure::world)?;
        self.keys.publish(key, Timestamp::now()).map_err(Failure::input)?;
        self.keep(output)
    }

    fn rotate(&mut self, now: bool, output: Output) -> Result<(), Failure> {
        let lead = if now { Lead::Waived } else { Lead::Required };
        let wall = Timestamp::now();
        self.keys.rotate(wall, lead).map_err(Failure::input)?;
        self.keys.prune(wall);
        self.keep(output)
    }

    fn keep(&self, output: Output) -> Result<(), Failure> {
        self.folder.keep_issuer_keys(&self.keys).map_err(Failure::world)?;
        self.show(output);
        if output == Output::Table {
            print(
                "now run `rolecall issuer export`, serve the files, then `rolecall-agent reload`",
            );
        }
        Ok(())
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}
