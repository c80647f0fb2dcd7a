//! `rolecall issuer`: the keys that sign tokens, of the server or, with `--config`, of a standalone agent; and
//! what an application's account must be told to trust them.

use std::path::PathBuf;

use ::issuer::{Algorithm, IssuerUrl};
use api::{
    Reason,
    issuer::{
        AddIssuerKey, Algorithm as WireAlgorithm, Issuer, KeyFacts, KeyId, KeyPath, KmsKey,
        ReadIssuer, RetireIssuerKey, RotateIssuer, Rotation,
    },
    switch::ReasonAsked,
};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    Done, Failure, check,
    issue::Plan,
    line::{Line, Place},
    paper::{Output, facts, perhaps, print, table, when, word},
    trust::{self, Trusted, Whom},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolecall issuer show
  rolecall issuer add --algorithm RS256
  rolecall issuer rotate --reason 'CHG-9: yearly'
  rolecall issuer trust --role arn:aws:iam::111122223333:role/orders --app orders --env prod \\
      --format cloudformation
  rolecall issuer check --role arn:aws:iam::111122223333:role/orders --app orders --env prod
  rolecall issuer export --config /etc/rolecall/agent.toml --out public/

Without --config the server's issuer is meant; with it, that of a standalone agent.")]
pub(crate) struct Arguments {
    /// The file of a standalone agent, whose own issuer is meant; its `data` and `[issuer]` are read.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Standalone agent")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the keys and what each is doing.
    Show,
    /// Let the server make the key that signs next, or take one in KMS.
    Add {
        /// How it signs.
        #[arg(long, value_enum, default_value = "ES256")]
        algorithm: Signing,
        /// The ARN of a key in KMS that signs; the server makes a key of its own where absent.
        #[arg(long, value_name = "ARN")]
        kms_key: Option<KmsKey>,
    },
    /// Let the next key sign; tokens of the old one stay good.
    Rotate {
        /// Do not wait until everybody has read its public half: for a key that is in wrong hands.
        #[arg(long)]
        now: bool,
        /// Why. The server wants to know.
        #[arg(long)]
        reason: Option<Reason>,
    },
    /// Let the server publish a key no more, so that tokens by it stop being taken at once.
    Retire {
        /// The key, as `show` names it. Its name may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        key: KeyId,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
    /// Print what an application's account needs so that a role can be assumed: the OIDC provider and the
    /// role's trust policy.
    Trust(trust::Arguments),
    /// Look into an account, with this person's own AWS credentials, whether tokens for the application make
    /// the role and no others do. Exit code 1, and what to do, if not.
    Check(check::Arguments),
    /// Standalone: write the discovery document and the public keys, to be served at the issuer's address.
    Export {
        /// The folder that is served: `.well-known/` is made in it.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Standalone: make the key that signs next; it must be published for a day before it signs.
    Publish {
        /// How it signs, if not like the one in use.
        #[arg(long, value_enum)]
        algorithm: Option<Signing>,
    },
    /// Standalone: take a key that waits or is retired out at once, when it is in wrong hands.
    Withdraw {
        /// The key, as `show` names it. Its name may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        key: String,
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

impl From<Signing> for WireAlgorithm {
    fn from(signing: Signing) -> Self {
        match signing {
            Signing::Es256 => Self::Es256,
            Signing::Rs256 => Self::Rs256,
        }
    }
}

impl Arguments {
    /// Whether the server is meant.
    pub(crate) fn asks_server(&self) -> bool {
        // With the issuer's address typed, there is nothing to ask.
        let whom = match &self.command {
            Command::Trust(trust) => Some(&trust.whom),
            Command::Check(check) => Some(&check.whom),
            _ => None,
        };
        self.config.is_none() && !whom.is_some_and(Whom::tells_issuer)
    }

    /// With what lies on this machine.
    pub(crate) fn standalone(&self, output: Output) -> Result<Done, Failure> {
        let plan = || match &self.config {
            Some(config) => Plan::read(config),
            None => Err(Failure::Input("say which agent: --config FILE".to_owned())),
        };
        match &self.command {
            Command::Export { out } => plan()?.open()?.export(out, output)?,
            Command::Show => plan()?.show(output)?,
            Command::Publish { algorithm } => {
                plan()?.open()?.publish(algorithm.map(Algorithm::from), output)?;
            }
            Command::Rotate { now, .. } => plan()?.open()?.rotate(*now, output)?,
            Command::Withdraw { key } => plan()?.open()?.withdraw(key, output)?,
            Command::Trust(trust) => print(&trust.document(&self.trusted(&trust.whom)?)?),
            Command::Check(check) => {
                return crate::wait(check.execute(&self.trusted(&check.whom)?, output));
            }
            Command::Add { .. } => {
                return Err(other_side("add", "a server's", "`publish` with --config"));
            }
            Command::Retire { .. } => {
                return Err(other_side("retire", "a server's", "`withdraw` with --config"));
            }
        }
        Ok(Done::Yes)
    }

    /// The issuer of the agent whose file was named, or the one whose address was typed.
    fn trusted(&self, whom: &Whom) -> Result<Trusted, Failure> {
        match &self.config {
            Some(config) => Ok(whom.of(Plan::read(config)?.url, None)),
            None => whom.told(),
        }
    }

    /// With the server.
    pub(crate) async fn with_server(&self, place: &Place, output: Output) -> Result<Done, Failure> {
        let line = || place.connect(output);
        match &self.command {
            Command::Show => {
                let line = line()?;
                line.show(&line.ask::<ReadIssuer>(&(), &(), &()).await?, shown)?;
            }
            Command::Add { algorithm, kms_key } => {
                let line = line()?;
                let algorithm = WireAlgorithm::from(*algorithm);
                let facts = KeyFacts { algorithm, kms_key: kms_key.clone() };
                let key = line.ask::<AddIssuerKey>(&(), &(), &facts).await?;
                line.show(&key, |key| {
                    format!("key {} is published; it may sign from {}", key.kid, when(key.ready))
                })?;
            }
            Command::Rotate { now, reason } => {
                let reason = reason.clone().ok_or_else(|| {
                    Failure::Input("the server wants to know why: --reason".to_owned())
                })?;
                rotate(&line()?, *now, reason).await?;
            }
            Command::Retire { key, reason } => {
                let line = line()?;
                let (path, asked) =
                    (KeyPath { kid: key.clone() }, ReasonAsked { reason: reason.clone() });
                line.show(&line.ask::<RetireIssuerKey>(&path, &asked, &()).await?, shown)?;
            }
            Command::Trust(trust) => {
                print(&trust.document(&asked(&line()?, &trust.whom).await?)?);
            }
            Command::Check(check) => {
                let issuer = asked(&line()?, &check.whom).await?;
                return check.execute(&issuer, output).await;
            }
            Command::Export { .. } => {
                let way = "the server serves its documents itself";
                return Err(other_side("export", "a standalone agent's", way));
            }
            Command::Publish { .. } => {
                return Err(other_side("publish", "a standalone agent's", "`add`"));
            }
            Command::Withdraw { .. } => {
                return Err(other_side("withdraw", "a standalone agent's", "`retire`"));
            }
        }
        Ok(Done::Yes)
    }
}

fn other_side(command: &str, whose: &str, way: &str) -> Failure {
    Failure::Input(format!(
        "`issuer {command}` is for {whose} issuer, which --config decides; for the other one: {way}"
    ))
}

/// The issuer's address, also one of a practice server.
pub(crate) fn address(text: &str) -> Result<IssuerUrl, Failure> {
    let url = if text.starts_with("http://") { IssuerUrl::practice(text) } else { text.parse() };
    url.map_err(Failure::input)
}

/// The server's issuer.
async fn asked(line: &Line, whom: &Whom) -> Result<Trusted, Failure> {
    let issuer = line.ask::<ReadIssuer>(&(), &(), &()).await?;
    Ok(whom.of(address(&issuer.url)?, Some(&issuer.audience)))
}

async fn rotate(line: &Line, now: bool, reason: Reason) -> Result<(), Failure> {
    let rotation = Rotation { now, reason };
    line.show(&line.ask::<RotateIssuer>(&(), &(), &rotation).await?, shown)
}

fn shown(issuer: &Issuer) -> String {
    let mut keys =
        table(["key", "algorithm", "state", "in KMS", "ready", "signs since", "retires"]);
    for key in &issuer.keys {
        keys.add_row([
            key.kid.clone(),
            word(&key.algorithm),
            word(&key.state),
            key.kms_key.clone().unwrap_or_else(|| "-".to_owned()),
            when(key.ready),
            perhaps(key.signs_since),
            perhaps(key.retires),
        ]);
    }
    let facts = facts([
        ("issuer", issuer.url.clone()),
        ("audience", issuer.audience.clone()),
        ("a token lives", format!("{} s", issuer.token_life_s)),
    ]);
    format!("{facts}\n{keys}")
}
