//! The agent's file: TOML in, checked settings out. Every error names its line.
//!
//! The structures here are the file as it is written; [`crate::settings`] turns them into what the
//! agent works with. Unknown keys are errors: a misspelt `imdsv1` must not pass in silence.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::File,
    io::Read,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
};

use api::client::Address;
use cloud::{AccountId, Region, RoleArn};
use linux::Redirect;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use toml::Spanned;
use workload::{Application, Environment};

/// The largest file that is read, in bytes.
pub const CONFIG_MAX: usize = 4 * 1024 * 1024;
/// The same, as readers count.
const FILE_MAX: u64 = CONFIG_MAX as u64;

/// The first port that needs no privilege.
const FREE_PORTS: u16 = 1024;

/// Where SDKs ask.
const HTTP: NonZeroU16 = NonZeroU16::MIN.saturating_add(79);

/// Where `ip netns` keeps namespaces.
const NAMESPACES: &str = "/run/netns";

/// The agent's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where keys and the agent's own state are kept; readable by the agent alone.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// The region whose STS is asked.
    #[serde(deserialize_with = "parsed")]
    pub region: Region,
    /// How workloads reach the agent.
    #[serde(default)]
    pub metadata: MetadataSection,
    /// What the host says of itself, and what of it workloads may see.
    #[serde(default)]
    pub host: HostSection,
    /// How STS is asked.
    #[serde(default)]
    pub sts: StsSection,
    /// The issuer of web identity tokens.
    pub issuer: Option<IssuerSection>,
    /// The server that says which application gets which role, and that signs tokens.
    pub server: Option<Spanned<ServerSection>>,
    /// Where requests are recorded.
    #[serde(default)]
    pub log: LogSection,
    /// The socket for the operator's commands.
    #[serde(default)]
    pub admin: AdminSection,
    /// How calls are recorded; none are where the file says nothing of it.
    pub calls: Option<CallsSection>,
    /// Where container labels come from.
    pub docker: Option<DockerSection>,
    /// Which application gets which role.
    #[serde(default, rename = "binding")]
    pub bindings: Vec<Spanned<BindingSection>>,
}

/// `[metadata]`: how workloads reach the agent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataSection {
    /// Development listeners that speak the instance protocol, for `workload` alone.
    pub listen: Vec<SocketAddr>,
    /// Development listeners that speak the ECS container protocol.
    pub listen_container: Vec<SocketAddr>,
    /// Development listeners that speak the EKS Pod Identity protocol.
    pub listen_pod_identity: Vec<SocketAddr>,
    /// Who is behind the development listeners: `application/environment/instance`.
    pub workload: Option<String>,
    /// The folder whose network namespaces are served; see [`MetadataSection::watched`].
    pub namespaces: Option<PathBuf>,
    /// How many hops an answer may travel, 1 to 64.
    pub hop_limit: u8,
    /// The port of the listeners inside of namespaces. Where it is not 80, connections to port 80 of
    /// the metadata addresses are redirected there, and workloads may have port 80 for themselves.
    pub port: NonZeroU16,
    /// The most connections that one listener holds at once.
    pub connections_max: usize,
    /// The redirect for processes in the host's own namespace.
    pub redirect: Option<RedirectSection>,
    /// Refuses packets that this host forwards to the metadata addresses. Without, a container that
    /// is not served (yet) reaches the host's own metadata.
    pub refuse_forwarded: bool,
    /// Lets a client's address decide where a rule names one. Addresses can be forged or reused.
    pub trust_addresses: bool,
}

/// `[metadata.redirect]`: nftables sends the metadata addresses of the host's own namespace here.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct RedirectSection {
    /// The loopback port that the agent listens on; below 1024 nobody without privilege can take it
    /// while the agent is down.
    #[serde(deserialize_with = "privileged_port")]
    pub port: NonZeroU16,
    /// What becomes of the redirect when the agent stops.
    #[serde(default)]
    pub on_stop: OnStop,
}

/// What becomes of the redirect when the agent stops in order. A crash always keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStop {
    /// It stays: without an agent nobody gets anything.
    #[default]
    Keep,
    /// It goes: the host's own role is reachable again.
    Remove,
}

/// `[host]`: what the host says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSection {
    /// The host's own metadata service, such as `http://169.254.169.254`; absent where there is none.
    pub metadata: Option<String>,
    /// Paths below `meta-data/`, `dynamic/` or `user-data` that workloads may read besides the default.
    pub allow: Vec<String>,
    /// The instance id to answer with, instead of asking the host.
    #[serde(deserialize_with = "fact")]
    pub instance_id: Option<String>,
    /// The zone, such as `eu-central-1a`.
    #[serde(deserialize_with = "fact")]
    pub availability_zone: Option<String>,
    /// The zone's id, such as `euc1-az2`.
    #[serde(deserialize_with = "fact")]
    pub availability_zone_id: Option<String>,
    /// The compute account.
    #[serde(deserialize_with = "parsed_option")]
    pub account: Option<AccountId>,
    /// The hardware address.
    #[serde(deserialize_with = "fact")]
    pub mac: Option<String>,
    /// The private address.
    pub local_ipv4: Option<IpAddr>,
    /// The instance's type.
    #[serde(deserialize_with = "fact")]
    pub instance_type: Option<String>,
    /// The image.
    #[serde(deserialize_with = "fact")]
    pub ami_id: Option<String>,
    /// The name.
    #[serde(deserialize_with = "fact")]
    pub hostname: Option<String>,
    /// The architecture: `x86_64` or `arm64`.
    #[serde(deserialize_with = "fact")]
    pub architecture: Option<String>,
}

/// `[sts]`: how STS is asked.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct StsSection {
    /// Another endpoint than AWS's own.
    pub endpoint: Option<String>,
    /// How long one call may take, in seconds: 1 to 15, after which a fetch is given up anyway.
    pub timeout_s: u64,
    /// A file of two lines, access key id and secret, for practice clouds; else the SDK's chain.
    pub host_key_file: Option<PathBuf>,
}

/// `[issuer]`: our OIDC provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSection {
    /// The issuer's address, as IAM knows it.
    pub url: Spanned<String>,
    /// How tokens are signed.
    #[serde(default)]
    pub algorithm: SigningAlgorithm,
    /// Lets `url` be plain http: for practice clouds alone.
    #[serde(default)]
    pub allow_http: bool,
}

/// `[server]`: the control plane, in place of `[issuer]` and `[[binding]]`.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ServerSection {
    /// Where it answers, such as `https://rolecall.example.com:8443`: one address or more of one
    /// deployment. The next one is asked where one does not answer.
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<Address>,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA over P-256 with SHA-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

/// `[log]`: where requests are recorded.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The access log's file; standard output where absent.
    pub access: Option<PathBuf>,
}

/// `[admin]`: the socket for the operator's commands.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// The socket's path.
    pub socket: PathBuf,
}

/// `[calls]`: how calls are recorded.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct CallsSection {
    /// The socket that shims connect to.
    pub socket: PathBuf,
    /// The port at 127.0.0.1 where the monitoring of SDKs without a shim is heard, in the host's own namespace and in every
    /// served one; 0 for nowhere.
    pub monitoring_port: u16,
    /// How much of the disk calls may take until a server has them, in MiB: 16 to 1,048,576.
    pub spool_mib: u64,
    /// How much memory the table of equal calls may take, in MiB: 1 to 4,096.
    pub table_mib: usize,
    /// How often counts of equal calls are stored, in seconds: 1 to 3,600. A first sight never waits.
    pub count_s: u64,
    /// How many lines a second are taken from one workload: 10 to 10,000,000.
    pub lines_per_second: u32,
    /// How much of an S3 object's key is recorded.
    pub objects: ObjectKeys,
}

/// How much of an object's key is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKeys {
    /// Its first segment: keys may be personal, and there are many.
    #[default]
    FirstSegment,
    /// All of it.
    Whole,
}

/// `[docker]`: where container labels come from.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct DockerSection {
    /// The Engine API's socket.
    pub socket: PathBuf,
}

/// `[[binding]]`: application and environment to role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingSection {
    /// The application.
    #[serde(deserialize_with = "parsed")]
    pub application: Application,
    /// The environment.
    #[serde(deserialize_with = "parsed")]
    pub environment: Environment,
    /// What a process must show to be this application.
    #[serde(rename = "match", default)]
    pub conditions: ConditionsSection,
    /// The role in the application's own account.
    #[serde(deserialize_with = "parsed")]
    pub role: RoleArn,
    /// How the role is asked for.
    pub source: SourceKind,
    /// The audience of the token: what the role's trust policy names. Web identity only.
    pub audience: Option<String>,
    /// The external id that the role's trust policy names. Assume role only.
    pub external_id: Option<String>,
    /// Session tags besides `application`, `environment` and `instance`.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Answers requests without a session token. Off by default.
    #[serde(default)]
    pub imdsv1: bool,
    /// Whether credentials come from the binding or the host answers.
    #[serde(default)]
    pub switch: SwitchPosition,
    /// The life of a lease, in minutes: 15 to 720.
    #[serde(default = "default_duration")]
    pub duration_minutes: u64,
}

/// `match = { … }`: each condition that is named must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConditionsSection {
    /// The network namespace's name, as a pattern.
    pub netns: Option<String>,
    /// The cgroup's path, as a pattern.
    pub cgroup: Option<String>,
    /// The systemd unit, as a pattern.
    pub unit: Option<String>,
    /// Container labels, each a pattern.
    pub labels: BTreeMap<String, String>,
    /// The client's network, such as `10.1.2.0/24`. Needs `metadata.trust_addresses`.
    pub address: Option<String>,
}

/// How a role is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// With a token of our issuer.
    WebIdentity,
    /// With the host's own credentials.
    AssumeRole,
}

/// The switch's position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchPosition {
    /// Credentials come from the binding.
    #[default]
    On,
    /// The host answers, through the allow-list.
    Off,
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
    /// Parses the text of the file called `file`.
    ///
    /// # Errors
    /// With the line of the first thing that is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        parse(Place { file, text })
    }
}

/// Where the agent of a file listens for commands, also while other parts of the file are wrong: a
/// running agent can be asked then as well.
///
/// # Errors
/// When the file cannot be read, is no TOML, or `[admin]` itself is wrong.
pub fn admin_socket(path: &Path) -> Result<PathBuf, ConfigError> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        admin: AdminSection,
    }
    let (file, text) = read(path)?;
    parse::<Part>(Place { file: &file, text: &text }).map(|part| part.admin.socket)
}

/// The name and the text of a file. No more is read than a file may have.
pub(crate) fn read(path: &Path) -> Result<(String, String), ConfigError> {
    let file = path.display().to_string();
    let at = Place { file: &file, text: "" };
    let mut text = Vec::new();
    let read = File::open(path).and_then(|open| open.take(FILE_MAX + 1).read_to_end(&mut text));
    read.map_err(|error| at.whole(format!("cannot be read: {error}")))?;
    if text.len() > CONFIG_MAX {
        return Err(at.whole(format!("the file is longer than {CONFIG_MAX} bytes")));
    }
    let text = String::from_utf8(text);
    let text = text.map_err(|_| at.whole("the file is not UTF-8 text".to_owned()))?;
    Ok((file, text))
}

fn parse<T: DeserializeOwned>(at: Place<'_>) -> Result<T, ConfigError> {
    if at.text.len() > CONFIG_MAX {
        return Err(at.whole(format!("the file is longer than {CONFIG_MAX} bytes")));
    }
    toml::from_str(at.text).map_err(|error| {
        let reason = error.message().trim().to_owned();
        error.span().map_or_else(|| at.whole(reason.clone()), |span| at.at(span.start, &reason))
    })
}

/// A file's text, to turn offsets into lines.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Place<'_> {
    pub(crate) fn at(self, offset: usize, reason: &impl ToString) -> ConfigError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
        ConfigError { file: self.file.to_owned(), line, column, reason: reason.to_string() }
    }

    /// At the line where `key` is set. The keys that this is used for occur once in a file.
    pub(crate) fn key(self, key: &str, reason: &str) -> ConfigError {
        let sets = |line: &str| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let found = self.text.lines().enumerate().find(|(_, line)| sets(line));
        let (line, column) = found.map_or((0, 0), |(number, line)| {
            (number + 1, 1 + line.chars().take_while(|c| c.is_whitespace()).count())
        });
        ConfigError { file: self.file.to_owned(), line, column, reason: reason.to_owned() }
    }

    /// Where the table that begins at `table` sets `key`, itself or within `{ }`; else at its start.
    pub(crate) fn key_of_table(self, table: usize, key: &str, reason: &str) -> ConfigError {
        let rest = self.text.get(table..).unwrap_or_default();
        let mut offset = table;
        for (number, line) in rest.split_inclusive('\n').enumerate() {
            if number > 0 && line.starts_with("[[") {
                break;
            }
            let found = line.match_indices(key).find(|(at, _)| sets(line, *at, key));
            if let Some((at, _)) = found {
                return self.at(offset + at, &reason);
            }
            offset += line.len();
        }
        self.at(table, &reason)
    }

    pub(crate) fn whole(self, reason: String) -> ConfigError {
        ConfigError { file: self.file.to_owned(), line: 0, column: 0, reason }
    }
}

/// Whether `key` at this place of a line is what is set there.
fn sets(line: &str, at: usize, key: &str) -> bool {
    let (before, after) = line.split_at_checked(at).unwrap_or_default();
    let after = after.get(key.len()..).unwrap_or_default();
    let starts = before.trim_end().is_empty() || before.trim_end().ends_with(['{', ',', '.']);
    !key.is_empty() && starts && after.trim_start().starts_with(['=', '.'])
}

impl Default for MetadataSection {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listen_container: Vec::new(),
            listen_pod_identity: Vec::new(),
            workload: None,
            namespaces: None,
            hop_limit: 1,
            port: HTTP,
            connections_max: 1024,
            redirect: None,
            refuse_forwarded: true,
            trust_addresses: false,
        }
    }
}

impl MetadataSection {
    /// The folder whose network namespaces are served: the named one, else `/run/netns`. An empty
    /// name is none, and so is silence beside a development listener, which needs no rights at all.
    pub fn watched(&self) -> Option<&Path> {
        match &self.namespaces {
            Some(folder) => Some(folder.as_path()).filter(|folder| !folder.as_os_str().is_empty()),
            None => (!self.develops()).then(|| Path::new(NAMESPACES)),
        }
    }

    /// What the packet filter of the host's own namespace is to do, if anything.
    pub fn rules(&self) -> Option<Redirect> {
        let refuse_forwarded = self.refuse_forwarded;
        match &self.redirect {
            Some(section) => {
                let redirect = Redirect::to_loopback(section.port.get());
                Some(Redirect { refuse_forwarded, ..redirect })
            }
            None => (refuse_forwarded && self.watched().is_some()).then(Redirect::forwarded_alone),
        }
    }

    fn develops(&self) -> bool {
        let listens = [&self.listen, &self.listen_container, &self.listen_pod_identity];
        listens.into_iter().any(|addresses| !addresses.is_empty())
    }

    /// What cannot be changed while sockets are open.
    pub(crate) fn sockets(&self) -> impl PartialEq + use<'_> {
        (
            (&self.listen, &self.listen_container, &self.listen_pod_identity),
            (self.watched(), self.hop_limit, self.port, self.connections_max),
            (&self.redirect, self.refuse_forwarded),
        )
    }
}

impl Default for StsSection {
    fn default() -> Self {
        Self { endpoint: None, timeout_s: 10, host_key_file: None }
    }
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/rolecall/agent.sock") }
    }
}

impl Default for CallsSection {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/rolecall/calls.sock"),
            monitoring_port: 31_000,
            spool_mib: 1024,
            table_mib: 64,
            count_s: 60,
            lines_per_second: 20_000,
            objects: ObjectKeys::FirstSegment,
        }
    }
}

fn default_data() -> PathBuf {
    PathBuf::from("/var/lib/rolecall")
}

const fn default_duration() -> u64 {
    60
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn parsed_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    parsed(deserializer).map(Some)
}

/// At least one address, each of which can be one.
fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Address>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.is_empty() {
        return Err(serde::de::Error::custom("`addresses` must name at least one address"));
    }
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// What the host says of itself is sent as it stands, a line each.
fn fact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        let reason = "what is said of the host must be one line with something in it; without the \
                      key the host is asked";
        return Err(serde::de::Error::custom(reason));
    }
    Ok(Some(text))
}

/// Anybody could take another port while the agent is down, and be asked for credentials.
fn privileged_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU16, D::Error> {
    let port = NonZeroU16::deserialize(deserializer)?;
    if port.get() >= FREE_PORTS {
        return Err(serde::de::Error::custom(format!(
            "the redirect's port must be 1 to {}: anybody may listen on `{port}` while the agent is \
             down",
            FREE_PORTS - 1
        )));
    }
    Ok(port)
}
