//! The server's file: TOML in, checked values out. Every error names its line.
//!
//! Unknown keys are errors: a misspelt `allow_http` must not pass in silence.

use std::{
    fmt::Display,
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use api::bindings::Audience;
use cloud::Region;
use issuer::IssuerUrl;
use rustls::pki_types::ServerName;
use secret::SecretText;
use serde::{Deserialize, Deserializer, de::Error as _};

/// The largest file that is read, in bytes.
pub const CONFIG_MAX: usize = 1024 * 1024;
/// The same, as readers count.
const FILE_MAX: u64 = CONFIG_MAX as u64;

/// The server's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server keeps what is its own: the key file, and the database where it is SQLite.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// Where agents, programs and people reach the server, over TLS.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The DNS names and addresses in the server's certificate.
    #[serde(default = "default_names", deserialize_with = "names")]
    pub names: Vec<String>,
    /// What private keys in the database are sealed with; `server.key` in `data` where absent.
    pub key_file: Option<PathBuf>,
    /// Where the state is.
    #[serde(default)]
    pub database: DatabaseSection,
    /// The issuer of tokens.
    pub issuer: IssuerSection,
    /// How people sign in; without it they can only by the one-time token.
    pub oidc: Option<OidcSection>,
    /// AWS, for the issuer's keys in KMS and for hosts that join as their role.
    #[serde(default)]
    pub aws: AwsSection,
    /// What one caller may take.
    #[serde(default)]
    pub limits: LimitsSection,
    /// Where requests are recorded.
    #[serde(default)]
    pub log: LogSection,
}

/// `[database]`: where the state is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSection {
    /// A PostgreSQL database: `postgres://…`. Where absent, the state is in SQLite: `state.db` in `data`.
    #[serde(deserialize_with = "postgres")]
    pub url: Option<SecretText>,
    /// A file that holds the URL, for one with a password in it.
    pub url_file: Option<PathBuf>,
    /// The most connections of this replica, 2 to 200.
    pub connections_max: Option<Bounded<2, 200>>,
    /// How long a request waits for the database before it fails, in seconds, 1 to 60.
    pub wait_s: Option<Bounded<1, 60>>,
}

/// `[issuer]`: the issuer of tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSection {
    /// The address that IAM knows the issuer by: `https://…`.
    pub url: String,
    /// Lets the address be `http://`: for practice clouds, never for AWS.
    #[serde(default)]
    pub allow_http: bool,
    /// Where the issuer's public documents are served; not at all where absent.
    pub listen: Option<SocketAddr>,
    /// The certificate that `listen` shows, as PEM; plain HTTP where absent, for a proxy in front.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, as PEM.
    pub certificate_key_file: Option<PathBuf>,
    /// The audience of tokens by bindings that name none; `sts.amazonaws.com` where absent.
    #[serde(default, deserialize_with = "parsed_option")]
    pub audience: Option<Audience>,
    /// How long a token lives, in seconds, 60 to 300: it is used once, at once.
    #[serde(default)]
    pub token_life_s: Bounded<60, 300, 300>,
    /// After how many days another key signs, 1 to 365.
    #[serde(default)]
    pub rotate_days: Bounded<1, 365, 30>,
    /// Whether the server makes keys by itself. Where it does not, people add keys in KMS.
    #[serde(default = "yes")]
    pub make_keys: bool,
}

/// `[oidc]`: the provider that people sign in with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSection {
    /// Its address.
    pub issuer: String,
    /// What it knows this server as.
    pub client_id: String,
    /// A file with the secret that it gave this server.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for besides `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// The claim that lists a person's groups.
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// Where it sends browsers back to: `https://…/v1/login/callback`.
    pub redirect_url: String,
    /// Lets the provider's address be `http://`: for practice, never for people.
    #[serde(default)]
    pub allow_http: bool,
}

/// `[aws]`: how AWS is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AwsSection {
    /// The region; the environment's where absent.
    #[serde(deserialize_with = "parsed_option")]
    pub region: Option<Region>,
    /// Another address than AWS's own, for practice clouds. Hosts may then join by its STS as well.
    pub endpoint: Option<String>,
}

/// `[limits]`: what one caller may take.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// The most connections at once.
    pub connections_max: Bounded<16, 1_000_000, 20_000>,
    /// How many of them one address may hold.
    pub connections_per_address: Bounded<1, 1_000_000, 5_000>,
    /// How many requests to open endpoints one address may make in a second, as a mean.
    pub open_per_s: Bounded<1, 1_000_000, 20>,
    /// How many of them at once.
    pub open_burst: Bounded<1, 1_000_000, 200>,
    /// How long a TLS handshake may take, in seconds.
    pub handshake_s: Bounded<1, 120, 10>,
    /// How long a request's head may take, and how long a connection may rest, in seconds.
    pub idle_s: Bounded<5, 3600, 75>,
    /// How long a request's body may take, in seconds.
    pub body_s: Bounded<1, 600, 30>,
    /// How long the server waits for requests in flight when it stops, in seconds.
    pub stop_s: Bounded<1, 600, 20>,
}

/// `[log]`: where requests are recorded.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The request log's file; standard output where absent.
    pub requests: Option<PathBuf>,
}

/// A whole number from `LEAST` to `MOST`, `USUAL` where the file does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounded<const LEAST: u64, const MOST: u64, const USUAL: u64 = 0>(u64);

impl<const LEAST: u64, const MOST: u64, const USUAL: u64> Bounded<LEAST, MOST, USUAL> {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const LEAST: u64, const MOST: u64, const USUAL: u64> Default for Bounded<LEAST, MOST, USUAL> {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl<'de, const LEAST: u64, const MOST: u64, const USUAL: u64> Deserialize<'de>
    for Bounded<LEAST, MOST, USUAL>
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(from)?;
        if (LEAST..=MOST).contains(&number) {
            return Ok(Self(number));
        }
        Err(D::Error::custom(format!("must be {LEAST} to {MOST}, not `{number}`")))
    }
}

/// The file cannot be used. Whoever wrote it must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {reason}", place(*.line, *.column))]
pub struct ConfigError {
    /// The file's name.
    pub file: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 where the whole file is meant.
    pub column: usize,
    /// What is wrong and how to mend it.
    pub reason: String,
}

/// As editors and compilers write it: `:7:1`, or nothing.
fn place(line: usize, column: usize) -> String {
    if line == 0 { String::new() } else { format!(":{line}:{column}") }
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, with the line of the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|open| open.take(FILE_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|error| whole(&file, format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| whole(&file, "the file is not UTF-8 text".to_owned()))?;
        Self::parse(&file, &text)
    }

    /// Parses the text of the file called `file`.
    ///
    /// # Errors
    /// With the line of the first thing that is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_MAX {
            return Err(whole(file, format!("the file is longer than {CONFIG_MAX} bytes")));
        }
        let config: Self = toml::from_str(text).map_err(|error| {
            let reason = error.message().trim().to_owned();
            match error.span() {
                Some(span) => at(file, text, span.start, reason),
                None => whole(file, reason),
            }
        })?;
        config.check().map_err(|(key, reason)| at_key(file, text, key, reason))?;
        Ok(config)
    }

    /// What no single key shows: the key to mend, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let url = &self.issuer.url;
        self.issuer.url().map_err(|error| ("url", format!("`{url}`: {error}")))?;
        if self.issuer.certificate_file.is_some() != self.issuer.certificate_key_file.is_some() {
            let reason = "a certificate and its key come together: `certificate_key_file`";
            return Err(("certificate_file", reason.to_owned()));
        }
        if self.database.url.is_some() && self.database.url_file.is_some() {
            return Err(("url_file", "`url` says where the database is already".to_owned()));
        }
        self.oidc.as_ref().map_or(Ok(()), OidcSection::check)
    }

    /// What private keys in the database are sealed with.
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data.join("server.key"))
    }
}

impl IssuerSection {
    /// The address that IAM knows the issuer by.
    ///
    /// # Errors
    /// When it is none.
    pub fn url(&self) -> Result<IssuerUrl, issuer::InvalidIssuerUrl> {
        if self.allow_http { IssuerUrl::practice(&self.url) } else { self.url.parse() }
    }
}

impl OidcSection {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let secure = |url: &str| {
            url.starts_with("https://") || (self.allow_http && url.starts_with("http://"))
        };
        if !secure(&self.issuer) {
            return Err(("issuer", "the provider's address must begin with `https://`".to_owned()));
        }
        if !self.redirect_url.starts_with("https://")
            && !self.redirect_url.starts_with("http://127.0.0.1")
        {
            return Err(("redirect_url", "must begin with `https://`".to_owned()));
        }
        if !self.redirect_url.ends_with(crate::login::CALLBACK) {
            let reason = format!("must end with `{}`", crate::login::CALLBACK);
            return Err(("redirect_url", reason));
        }
        Ok(())
    }
}

fn whole(file: &str, reason: String) -> ConfigError {
    ConfigError { file: file.to_owned(), line: 0, column: 0, reason }
}

fn at(file: &str, text: &str, offset: usize, reason: String) -> ConfigError {
    let before = text.get(..offset).unwrap_or(text);
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
    ConfigError { file: file.to_owned(), line, column, reason }
}

/// At the first line that sets `key`.
fn at_key(file: &str, text: &str, key: &str, reason: String) -> ConfigError {
    let sets = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if sets(line) {
            return at(file, text, offset, reason);
        }
        offset += line.len();
    }
    whole(file, reason)
}

fn default_data() -> PathBuf {
    PathBuf::from("/var/lib/rolecall-server")
}

const fn default_listen() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8443)
}

fn default_names() -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    // Where the machine does not say its name there is one name less.
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname")
        && ServerName::try_from(name.trim()).is_ok()
        && !names.iter().any(|known| known == name.trim())
    {
        names.push(name.trim().to_owned());
    }
    names
}

fn default_scopes() -> Vec<String> {
    ["profile", "email", "groups"].map(str::to_owned).to_vec()
}

fn default_groups_claim() -> String {
    "groups".to_owned()
}

const fn yes() -> bool {
    true
}

fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    if names.is_empty() {
        return Err(D::Error::custom("the server's certificate needs a name: agents check it"));
    }
    for name in &names {
        ServerName::try_from(name.as_str()).map_err(|_| {
            D::Error::custom(format!("`{name}` is neither a DNS name nor an address"))
        })?;
    }
    Ok(names)
}

fn postgres<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretText>, D::Error> {
    let url = SecretText::new(String::deserialize(from)?);
    let known = ["postgres://", "postgresql://"];
    if !known.iter().any(|scheme| url.expose().starts_with(scheme)) {
        return Err(D::Error::custom("the database's URL must begin with `postgres://`"));
    }
    Ok(Some(url))
}

fn parsed_option<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[issuer]\nurl = \"https://issuer.example.com\"\n";

    #[track_caller]
    fn check(text: &str, refused: Result<(), (usize, &str)>) {
        match (Config::parse("server.toml", text), refused) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err((line, part))) => {
                assert_eq!(error.line, line, "{error}");
                assert!(error.reason.contains(part), "{error}");
            }
            (parsed, _) => panic!("{text}: {parsed:?}"),
        }
    }

    #[test]
    fn an_address_of_the_issuer_is_enough() {
        let config = Config::parse("server.toml", LEAST).unwrap();
        assert_eq!(config.listen.port(), 8443);
        assert_eq!(config.issuer.token_life_s.get(), 300);
        assert_eq!(config.issuer.rotate_days.get(), 30);
        assert_eq!(config.limits.connections_max.get(), 20_000);
        assert_eq!(config.key_file(), Path::new("/var/lib/rolecall-server/server.key"));
        assert!(config.names.iter().any(|name| name == "localhost"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        check("", Err((1, "issuer")));
        check(&format!("listn = \"[::]:1\"\n{LEAST}"), Err((1, "unknown field")));
        check(&format!("names = []\n{LEAST}"), Err((1, "needs a name")));
        check(&format!("names = [\"a b\"]\n{LEAST}"), Err((1, "neither")));
        check("[issuer]\nurl = \"http://issuer.example.com\"\n", Err((2, "https")));
        check("[issuer]\nallow_http = true\nurl = \"http://127.0.0.1:80\"\n", Ok(()));
        check(&format!("{LEAST}audience = \"\"\n"), Err((3, "one line")));
        check(&format!("{LEAST}token_life_s = 5\n"), Err((3, "60 to 300")));
        check(&format!("{LEAST}certificate_file = \"a\"\n"), Err((3, "come together")));
        check(&format!("{LEAST}[database]\nurl = \"mysql://x\"\n"), Err((4, "postgres://")));
        check(&format!("{LEAST}[limits]\nopen_per_s = 0\n"), Err((4, "1 to")));
    }

    #[test]
    fn the_way_back_from_the_provider_is_one_of_ours() {
        let oidc = |issuer: &str, redirect: &str| {
            format!(
                "{LEAST}[oidc]\nissuer = \"{issuer}\"\nclient_id = \"r\"\nredirect_url = \"{redirect}\"\n"
            )
        };
        let back = "https://rolecall.example.com/v1/login/callback";
        check(&oidc("https://login.example.com", back), Ok(()));
        check(&oidc("http://login.example.com", back), Err((4, "https://")));
        check(
            &oidc("https://login.example.com", "https://rolecall.example.com/"),
            Err((6, "callback")),
        );
        check(
            &oidc("https://login.example.com", "http://rolecall.example.com/v1/login/callback"),
            Err((6, "https")),
        );
    }

    #[test]
    fn the_database_s_password_is_not_in_any_message() {
        let text = format!("{LEAST}[database]\nurl = \"postgre://u:hunter2@h/d\"\n");
        let error = Config::parse("server.toml", &text).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
